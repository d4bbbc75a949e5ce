"""What every dataset is, whatever its layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.exif import camera_of_photograph
from lbr.io.images import ImageFolder
from lbr.io.text_lists import Problem
from lbr.types import Query


@dataclass(frozen=True)
class Labels:
    """Label images of the instances. None: the dataset has none.

    masks: folder of the db images' label images, at the same relative paths. vocabulary: file that names their colours;
    without it, they are named by what two label images or more show. truth: folder of the queries' true label images,
    which evaluate alone reads.
    """

    masks: Path | None = None
    vocabulary: Path | None = None
    truth: Path | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Db images to map, queries to localize.

    image_root: names are relative to it. cameras: of the db images, by name. poses: cam_from_world of the db images,
    None when there is no reference model. model: its folder. queries: in the order of their list. truth: file of
    query poses, which evaluate alone reads. problems: what of the dataset could not be used.
    result_name: a query's name as the result file of its benchmark wants it.
    stylized_root: folder of stylised copies, one folder per variant; names in it lack `stylized_prefix`.
    labels: label images of the instances. reference: poses of db images that evaluate alone reads, where the map is
    made without them. turned: photographs that are turned upright when they are read (EXIF), as nobody gave their
    intrinsics; those of the others speak of stored pixels. remarks: what a person should know of how it was read, and
    that is no problem.
    """

    image_root: Path
    cameras: Mapping[str, Camera]
    poses: Mapping[str, Pose] | None
    queries: tuple[Query, ...]
    model: Path | None = None
    truth: Path | None = None
    problems: tuple[Problem, ...] = ()
    result_name: Callable[[str], str] = str
    stylized_root: Path = Path("stylized")
    stylized_prefix: str = ""
    labels: Labels = Labels()
    reference: Mapping[str, Pose] | None = None
    turned: frozenset[str] = frozenset()
    remarks: tuple[str, ...] = ()

    @property
    def images(self) -> ImageFolder:
        """The photographs, db images and queries, by name."""
        return ImageFolder(self.image_root, self.turned)

    @property
    def db_names(self) -> list[str]:
        return list(self.cameras)

    @property
    def model_files(self) -> list[Path]:
        """The files of the reference model, none without one."""
        return sorted(path for path in self.model.iterdir() if path.is_file()) if self.model else []

    @cached_property
    def said_cameras(self) -> dict[str, Camera]:
        """What the db photographs themselves say of their cameras (EXIF, or a guess), also where others are given; of
        those that can be read."""
        said = {name: camera for name, camera in self.cameras.items() if not camera.is_known}
        for name in self.cameras.keys() - said.keys():
            with suppress(DataError):
                said[name] = camera_of_photograph(self.image_root / name)
        return said

    def copies(self, name: str) -> list[Path]:
        """The stylised copies of a db image that are there, in the order of their variants' names."""
        if not self.stylized_root.is_dir():
            return []
        short = name.removeprefix(self.stylized_prefix)
        raw = {"images", self.stylized_prefix.strip("/")}  # what the datasets ship as the first of their copies
        variants = sorted(v for v in self.stylized_root.iterdir() if v.is_dir() and v.name not in raw)
        return [v / short for v in variants if not v.name.startswith(".") and (v / short).is_file()]
