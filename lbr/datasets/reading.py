"""What the layouts share: db images from a COLMAP model, queries from lists, folders under more than one spelling."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from filecmp import cmp
from pathlib import Path, PurePosixPath

from lbr.datasets.dataset import Labels
from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import posed_cameras, read_model
from lbr.io.exif import camera_of_photograph, is_read_upright
from lbr.io.images import image_size
from lbr.io.labels import sharing_label_image
from lbr.io.text_lists import Problem, read_query_list
from lbr.settings import ConfigPath, Settings
from lbr.types import Query

SHOWN = 3  # names spelled out in a message about many
SAMPLE = 4096  # bytes
LABEL_FOLDERS = ("global_seg_instance", "gloabl_seg_instance")  # the second as the published page spells it
MODEL_FILES = ("images.bin", "images.txt")


class LabelSettings(Settings):
    """labels: folder of label images; null: the dataset's own place. vocabulary: file that names their colours; null:
    vocabulary.txt in that folder, where there is one. ground_truth_labels: the queries' true label images."""

    labels: ConfigPath | None = None
    vocabulary: ConfigPath | None = None
    ground_truth_labels: ConfigPath | None = None

    def find_labels(self, root: Path, problems: list[Problem]) -> Labels:
        """The label images of a dataset at `root`; true ones that are missing are a problem, as nothing waits for them.

        Raises DataError when those of the db images are named and not there.
        """
        truth = self.ground_truth_labels
        if self.labels is not None and not self.labels.is_dir():
            raise DataError(f"{self.labels}: no such folder of label images; see dataset.labels")
        if truth is not None and not truth.is_dir():
            problems.append(Problem(str(truth), "no such folder, so recognition is not scored"))
            truth = None
        masks = self.labels or next((root / s for s in LABEL_FOLDERS if (root / s).is_dir()), None)
        own = None if masks is None else masks / "vocabulary.txt"
        vocabulary = self.vocabulary or (own if own and own.is_file() else None)
        return Labels(masks, vocabulary, truth)


def first_folder(root: Path, spellings: Sequence[str], what: str) -> Path:
    """The first of `spellings` that is a folder under root. Raises DataError when none is, naming them all."""
    for spelling in spellings:
        if (root / spelling).is_dir():
            return root / spelling
    raise DataError(f"{root}: no {what}: looked for {', '.join(spellings)}; set dataset.root")


def model_folder(root: Path, spellings: Sequence[str]) -> Path:
    """The first of `spellings` under root that holds a COLMAP model. Raises DataError when none does."""
    for spelling in spellings:
        if any((root / spelling / name).is_file() for name in MODEL_FILES):
            return root / spelling
    raise DataError(f"{root}: no COLMAP model (images.bin or .txt) in {', '.join(spellings)}")


def modelled_images(
    image_root: Path, model: Path, problems: list[Problem]
) -> tuple[dict[str, Camera], dict[str, Pose]]:
    """Cameras and poses of the model's images that are on disk; the others become one problem. Cameras of photographs
    that were resized since are scaled, and it is said; those of another shape are left out.

    Raises DataError when none is there.
    """
    cameras, poses = posed_cameras(read_model(model))
    missing = [name for name in cameras if not (image_root / name).is_file()]
    if len(missing) == len(cameras):
        raise DataError(f"{image_root}: none of the {len(missing)} images of {model} is there (first: {missing[0]})")
    if missing:
        shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        why = f"{len(missing)} of {len(cameras)} images are not under {image_root} ({shown}); left out"
        problems.append(Problem(str(model), why))
    gone = set(missing)
    present = in_one_format([name for name in cameras if name not in gone], problems)
    cameras = _of_their_sizes(image_root, {n: cameras[n] for n in present}, problems)
    return cameras, {n: poses[n] for n in cameras}


def _of_their_sizes(
    image_root: Path, cameras: Mapping[str, Camera], problems: list[Problem]
) -> dict[str, Camera]:  # fmt: skip
    """The cameras as the files are, stored or upright, by name. Of a header that cannot be read, whoever decodes the
    image says so."""
    fitting, resized = dict(cameras), []
    for name, camera in cameras.items():
        with suppress(DataError):
            stored, upright = (image_size(image_root / name, turned) for turned in (False, True))
            if camera.size in (stored, upright):
                continue
            unlike = camera.unlike(stored)
            if size := next((size for size in (stored, upright) if camera.is_shaped(size)), None):
                fitting[name] = camera.scaled(*size)
                resized.append(f"{name} {unlike}")
            else:
                del fitting[name]
                problems.append(Problem(name, f"{unlike}, which is another shape; left out"))
    if resized:
        why = f"{len(resized)} of {len(cameras)} photographs were resized ({resized[0]}); their intrinsics are scaled"
        problems.append(Problem("cameras", why))
    return fitting


def photographs(image_root: Path, names: Sequence[str], problems: list[Problem]) -> dict[str, Camera]:
    """EXIF or guessed cameras; equal ones (body, size and focal length) will be one camera in a reconstruction."""
    cameras: dict[str, Camera] = {}
    for name in one_of_each(image_root, names, problems):
        try:
            cameras[name] = camera_of_photograph(image_root / name)
        except DataError as error:
            problems.append(Problem(name, str(error)))
    return cameras


def shown_by(files: Set[Path], image_root: Path, names: Iterable[str]) -> list[str]:
    """The names of images that are, links followed, one of these files."""
    return [name for name in names if (image_root / name).resolve() in files] if files else []


def remarks_on_queries(num: int) -> tuple[str, ...]:
    """What is said where `num` photographs that would be mapped are queries."""
    return (f"{num} of the photographs are queries, and not mapped",) if num else ()


def in_one_format(names: Sequence[str], problems: list[Problem]) -> list[str]:
    """Those that have a label image of their own; the others become problems."""
    twins = sharing_label_image(names)
    problems += [Problem(name, f"left out: differs from {kept} in its suffix alone") for name, kept in twins.items()]
    return [name for name in names if name not in twins]


def one_of_each(image_root: Path, names: Sequence[str], problems: list[Problem]) -> list[str]:
    """Those that are no copy of another, nor the same in another format; the others become problems.

    Two copies have no baseline: what they see together is nowhere, and a reconstruction may begin with them.
    """
    alike: dict[tuple[int, bytes], list[str]] = {}  # files of one size and one sample, which are hardly ever two
    kept = []
    for name in in_one_format(names, problems):
        others = alike.setdefault(_size_and_sample(image_root / name), [])
        same = next((other for other in others if cmp(image_root / other, image_root / name, shallow=False)), None)
        if same is None:
            others.append(name)
            kept.append(name)
        else:
            problems.append(Problem(name, f"left out: a copy of {same}"))
    return kept


def _size_and_sample(path: Path) -> tuple[int, bytes]:
    """Of a file; what is in the middle of it tells photographs of one size apart that are not compressed."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(size // 2)
            return size, file.read(SAMPLE)
    except OSError:  # like no other: who reads it says what is wrong
        return -1, os.fsencode(path)


def turned_photographs(image_root: Path, cameras: Mapping[str, Camera], queries: Iterable[Query]) -> frozenset[str]:
    """Names of the photographs that are read upright (`is_read_upright`)."""
    given = {query.name: query.camera for query in queries}
    given |= {name: camera if camera.source == "given" else None for name, camera in cameras.items()}
    return frozenset(name for name, camera in given.items() if is_read_upright(image_root / name, camera))


def listed_queries(lists: Iterable[Path], problems: list[Problem]) -> tuple[Query, ...]:
    """The queries of several lists, each once, in their order, with its first camera; wrong lines become problems."""
    cameras: dict[str, Camera | None] = {}
    for path in lists:
        listed, wrong = read_query_list(path)
        problems += wrong
        cameras = {**cameras, **listed, **cameras}  # those listed before keep their row, and their camera
    return tuple(Query(name, camera, condition_of(name)) for name, camera in cameras.items())


def condition_of(name: str) -> str:
    """query/night/a.jpg -> 'night': the folder below the first, 'all' where there is none."""
    parts = PurePosixPath(name).parts[1:-1]
    return parts[0] if parts else "all"
