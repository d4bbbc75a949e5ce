"""RobotCar-Seasons, and whatever is written in its layout (METHOD.md 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from pydantic import Field

from lbr.datasets.dataset import Dataset
from lbr.datasets.reading import (
    LabelSettings,
    first_folder,
    listed_queries,
    model_folder,
    modelled_images,
    turned_photographs,
)
from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.files import read_text
from lbr.io.images import list_images
from lbr.io.text_lists import Problem
from lbr.settings import ConfigPath
from lbr.types import Query, RigPlace

REFERENCE = "overcast-reference"
MODELS = ("3D-models/sfm-sift", "3D-models", "3D-models/all-merged")
QUERY_LISTS = "queries/*.txt"
Side = Literal["left", "rear", "right"]


class RobotCarSettings(LabelSettings):
    """root: the folder RobotCar-Seasons. cameras: the sides that are mapped and localized (published: rear alone)."""

    name: Literal["robotcar"] = "robotcar"
    root: ConfigPath
    cameras: tuple[Side, ...] = Field(default=("rear",), min_length=1)
    ground_truth: ConfigPath | None = None


def load_robotcar(settings: RobotCarSettings) -> Dataset:
    """Images of the reference drive from the model, queries of all other traverses. Raises DataError as its parts."""
    image_root = first_folder(settings.root, ("images",), "images of RobotCar-Seasons")
    model = model_folder(settings.root, MODELS)
    problems: list[Problem] = []
    rig = read_rig(settings.root, settings.cameras, problems) if len(settings.cameras) > 1 else {}
    cameras, poses = modelled_images(image_root, model, problems)
    mapped = {name: camera for name, camera in cameras.items() if side_of(name) in settings.cameras}
    if not mapped:
        raise DataError(f"{model}: has no image of the cameras {', '.join(settings.cameras)}")
    lists = sorted(settings.root.glob(QUERY_LISTS))
    queries = listed_queries(lists, problems) if lists else _unlisted_queries(image_root, mapped)
    queries = tuple(
        Query(q.name, q.camera, PurePosixPath(q.name).parts[0], _place(q.name, rig))
        for q in queries
        if side_of(q.name) in settings.cameras
    )
    labels = settings.find_labels(settings.root, problems)
    return Dataset(
        image_root, mapped, {name: poses[name] for name in mapped}, queries, model, settings.ground_truth,
        tuple(problems), result_name, settings.root / "stylized", f"{REFERENCE}/",
        labels, turned=turned_photographs(image_root, mapped, queries),
    )  # fmt: skip


def read_rig(root: Path, sides: Iterable[Side], problems: list[Problem]) -> dict[str, Pose]:
    """cam_from_vehicle of the cameras, from extrinsics/<side>_extrinsics.txt, camera-to-vehicle matrices 4 x 4.

    A file that is missing or no rigid transform is a problem: its camera stands in no rig.
    """
    rig: dict[str, Pose] = {}
    for side in sides:
        path = root / "extrinsics" / f"{side}_extrinsics.txt"
        try:
            matrix = np.array([float(v) for v in read_text(path).split()]).reshape(4, 4)
            rig[side] = Pose(matrix[:3, :3], matrix[:3, 3]).inverse()
        except (ValueError, OSError, DataError) as error:
            why = f"no 4 x 4 camera-to-vehicle transform ({error}); the camera '{side}' stands in no rig"
            problems.append(Problem(str(path), why))
    return rig


def _place(name: str, rig: Mapping[str, Pose]) -> RigPlace | None:
    """night/rear/123.jpg: the side 'rear' at the moment night/123.jpg."""
    side, path = side_of(name), PurePosixPath(name)
    return RigPlace(str(path.parent.parent / path.name), side, rig[side]) if side in rig else None


def side_of(name: str) -> str:
    """night/rear/123.jpg -> 'rear': the folder of the image, never a match anywhere in the path."""
    return PurePosixPath(name).parent.name


def result_name(name: str) -> str:
    """The benchmark's server wants the camera and the base name: night/rear/123.jpg -> rear/123.jpg."""
    return "/".join(PurePosixPath(name).parts[-2:])


def _unlisted_queries(image_root: Path, mapped: Mapping[str, Camera]) -> tuple[Query, ...]:
    """All images of the other traverses; a side's intrinsics are those of the reference drive."""
    of_side = {side_of(name): camera for name, camera in mapped.items()}
    traverses = sorted(p.name for p in image_root.iterdir() if p.is_dir() and p.name != REFERENCE)
    names = [name for traverse in traverses for name in list_images(image_root, traverse)]
    return tuple(Query(name, of_side[side_of(name)]) for name in names if side_of(name) in of_side)
