"""The plain layout: a folder of images, a COLMAP model with db poses or none, a query list or none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Literal

from lbr.datasets.dataset import Dataset
from lbr.errors import DataError
from lbr.geometry.camera import Camera, guess_camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import posed_cameras, read_model
from lbr.io.images import exif_focal_px, image_size, list_images
from lbr.io.text_lists import Problem, read_query_list
from lbr.settings import ConfigPath, Settings
from lbr.types import Query

SHOWN = 3  # names spelled out in a message about many


class FolderSettings(Settings):
    """Paths below are relative to `root`, the names in them to `root/images`.

    model: a COLMAP model with cameras and poses of the db images; null reconstructs them by structure from motion.
    queries: a list `name MODEL w h params...`, or names alone; null takes all images under `query_folder`.
    """

    name: Literal["folder"] = "folder"
    root: ConfigPath
    images: Path = Path("images")
    model: Path | None = Path("3D-models")
    db_folder: Path = Path("db")
    queries: Path | None = Path("queries.txt")
    query_folder: Path = Path("query")
    ground_truth: Path | None = Path("gt.txt")


def load_folder(settings: FolderSettings) -> Dataset:
    """Raises DataError when the folder, the model or the images are not there; smaller faults become problems."""
    root, image_root = settings.root, settings.root / settings.images
    if not image_root.is_dir():
        raise DataError(f"{image_root}: no such folder of images; set dataset.root (and dataset.images)")
    problems: list[Problem] = []
    model = None if settings.model is None else root / settings.model
    cameras, poses = _mapped_images(image_root, settings.db_folder, model, problems)
    queries = _queries(settings, image_root, set(cameras), problems)
    truth = None if settings.ground_truth is None else root / settings.ground_truth
    truth = truth if truth and truth.is_file() else None
    return Dataset(image_root, cameras, poses, queries, model, truth, tuple(problems))


def _mapped_images(
    image_root: Path, db_folder: Path, model: Path | None, problems: list[Problem]
) -> tuple[dict[str, Camera], dict[str, Pose] | None]:
    if model is None:
        folder = db_folder if (image_root / db_folder).is_dir() else Path()
        names = list_images(image_root, str(folder))
        if not names:
            raise DataError(f"{image_root / folder}: no images to map in it")
        return _cameras_of(image_root, names, problems), None
    cameras, poses = posed_cameras(read_model(model))
    missing = [name for name in cameras if not (image_root / name).is_file()]
    if len(missing) == len(cameras):
        raise DataError(f"{image_root}: none of the {len(missing)} images of {model} is there (first: {missing[0]})")
    if missing:
        why = f"{len(missing)} of {len(cameras)} images are not under {image_root} ({_some(missing)}); left out"
        problems.append(Problem(str(model), why))
    present = [name for name in cameras if name not in set(missing)]
    return {n: cameras[n] for n in present}, {n: poses[n] for n in present}


def _cameras_of(image_root: Path, names: Iterable[str], problems: list[Problem]) -> dict[str, Camera]:
    """EXIF or guessed cameras; equal ones (same size and focal length) will be one camera in the reconstruction."""
    cameras: dict[str, Camera] = {}
    for name in names:
        try:
            cameras[name] = guess_camera(*image_size(image_root / name), exif_focal_px(image_root / name))
        except DataError as error:
            problems.append(Problem(name, str(error)))
    return cameras


def _queries(
    settings: FolderSettings, image_root: Path, mapped: set[str], problems: list[Problem]
) -> tuple[Query, ...]:
    if settings.queries is not None:
        listed, wrong = read_query_list(settings.root / settings.queries)
        problems += wrong
        return tuple(Query(name, camera, _condition(name)) for name, camera in listed.items())
    if not (image_root / settings.query_folder).is_dir():
        return ()
    names = list_images(image_root, str(settings.query_folder))
    return tuple(Query(name, None, _condition(name)) for name in names if name not in mapped)


def _condition(name: str) -> str:
    """query/night/a.jpg -> 'night': the folder below the first, 'all' where there is none."""
    parts = PurePosixPath(name).parts[1:-1]
    return parts[0] if parts else "all"


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
