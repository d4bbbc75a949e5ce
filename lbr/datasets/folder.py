"""The plain layout: a folder of images, a COLMAP model with db poses or none, a query list or none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from lbr.datasets.dataset import Dataset
from lbr.datasets.reading import (
    LabelSettings,
    condition_of,
    listed_queries,
    modelled_images,
    photographs,
    remarks_on_queries,
    shown_by,
    turned_photographs,
)
from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import posed_cameras, read_model
from lbr.io.images import list_images
from lbr.io.text_lists import Problem, read_names
from lbr.settings import ConfigPath
from lbr.types import Query


class FolderSettings(LabelSettings):
    """Paths below are relative to `root`, the names in them to `root/images`.

    model: a COLMAP model with cameras and poses of the db images; null reconstructs them by structure from motion.
    reference: a COLMAP model with poses of db images, used only to evaluate such a map, which is aligned to them.
    queries: a list `name MODEL w h params...`, or names alone; null takes all images under `query_folder`. A photograph
    that is a query, by its name or as the same file, is not mapped.
    held_out: a list of photographs, one a line, that would be mapped and are queries instead (with their cameras, where
    the model has them). stylized: folder of the stylised copies; null: root/stylized.
    """

    name: Literal["folder"] = "folder"
    root: ConfigPath
    images: Path = Path("images")
    model: Path | None = Path("3D-models")
    reference: Path | None = None
    db_folder: Path = Path("db")
    queries: Path | None = Path("queries.txt")
    query_folder: Path = Path("query")
    ground_truth: Path | None = Path("gt.txt")
    held_out: ConfigPath | None = None
    stylized: ConfigPath | None = None


def load_folder(settings: FolderSettings) -> Dataset:
    """Raises DataError when the folder, the model or the images are not there; smaller faults become problems."""
    root, image_root = settings.root, settings.root / settings.images
    if not image_root.is_dir():
        raise DataError(f"{image_root}: no such folder of images; set dataset.root (and dataset.images)")
    problems: list[Problem] = []
    model = None if settings.model is None else root / settings.model
    cameras, poses = _mapped_images(settings, image_root, model, problems)
    queries = _queries(settings, image_root, set(cameras), problems)
    left_out = _leave_out(image_root, queries, cameras, poses)
    if settings.held_out is not None:
        queries += _hold_out(settings.held_out, cameras, poses, given=model is not None)
    truth = _truth(settings, problems)
    labels = settings.find_labels(root, problems)
    reference = None if settings.reference is None else posed_cameras(read_model(root / settings.reference))[1]
    return Dataset(
        image_root, cameras, poses, queries, model, truth, tuple(problems),
        stylized_root=settings.stylized or root / "stylized", labels=labels, reference=reference,
        turned=turned_photographs(image_root, cameras, queries), remarks=remarks_on_queries(left_out),
    )  # fmt: skip


def _truth(settings: FolderSettings, problems: list[Problem]) -> Path | None:
    """The file of true poses, where there is one; a problem where one is named and not there."""
    if settings.ground_truth is None:
        return None
    truth, usual = settings.root / settings.ground_truth, type(settings).model_fields["ground_truth"].default
    if truth.is_file():
        return truth
    if settings.ground_truth != usual:
        why = "no such file, so poses are not scored (dataset.ground_truth is relative to dataset.root)"
        problems.append(Problem(str(truth), why))
    return None


def _mapped_images(
    settings: FolderSettings, image_root: Path, model: Path | None, problems: list[Problem]
) -> tuple[dict[str, Camera], dict[str, Pose] | None]:
    if model is not None:
        return modelled_images(image_root, model, problems)
    folder = settings.db_folder if (image_root / settings.db_folder).is_dir() else Path()
    queries = f"{settings.query_folder.as_posix()}/"  # maybe below the photographs to map
    names = [name for name in list_images(image_root, str(folder)) if not name.startswith(queries)]
    if not names:
        raise DataError(f"{image_root / folder}: no images to map in it")
    return photographs(image_root, names, problems), None


def _leave_out(
    image_root: Path, queries: Iterable[Query], cameras: dict[str, Camera], poses: dict[str, Pose] | None
) -> int:
    """Take the photographs that are queries from those to map: how many. Raises DataError where none is left."""
    files = {(image_root / query.name).resolve() for query in queries}
    twice = shown_by(files, image_root, cameras)
    for name in twice:
        del cameras[name]
        (poses or {}).pop(name, None)
    if not cameras:
        raise DataError(f"{image_root}: all of its photographs are queries, so none is left to map")
    return len(twice)


def _hold_out(path: Path, cameras: dict[str, Camera], poses: dict[str, Pose] | None, given: bool) -> tuple[Query, ...]:
    """The listed photographs as queries; they leave `cameras` and `poses`. Raises DataError for an unknown name."""
    if not path.is_file():
        raise DataError(f"{path}: no such list of held-out photographs; see dataset.held_out")
    names = read_names(path)
    if unknown := [name for name in names if name not in cameras]:
        raise DataError(f"{path}: {unknown[0]} is not one of the {len(cameras)} photographs to map")
    if len(names) >= len(cameras):
        raise DataError(f"{path}: holds out all {len(cameras)} photographs, so none is left to map")
    held = tuple(Query(name, cameras.pop(name) if given else None, condition_of(name)) for name in names)
    for name in names:
        if given:
            (poses or {}).pop(name, None)
        else:
            del cameras[name]
    return held


def _queries(
    settings: FolderSettings, image_root: Path, mapped: set[str], problems: list[Problem]
) -> tuple[Query, ...]:
    if settings.queries is not None:
        return listed_queries([settings.root / settings.queries], problems)
    if not (image_root / settings.query_folder).is_dir():
        return ()
    names = list_images(image_root, str(settings.query_folder))
    return tuple(Query(name, None, condition_of(name)) for name in names if name not in mapped)
