"""`lbr export`: what leaves a workspace, for COLMAP's viewers and tools, or for a machine that only localizes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lbr.errors import DataError
from lbr.io.colmap_arrays import ModelArrays, write_arrays
from lbr.io.files import atomic_path, write_text
from lbr.io.images import ImageFolder
from lbr.io.text_lists import Problem
from lbr.mapping.map import Map, open_map
from lbr.mapping.places import in_one_frame, part_of
from lbr.parallel import parallel_map
from lbr.pipeline.geography import places_on_earth
from lbr.pipeline.locating import Locator
from lbr.pipeline.prototyping import checkpoint_path
from lbr.pipeline.stage import Context, Report
from lbr.pipeline.workers import Arrays, Worker
from lbr.pipeline.workspace import Workspace, manifest_path
from lbr.retrieval.candidates import without_list

CONFIG, WEIGHTS = "config.yaml", Path("weights")  # of an exported locator
ORIGIN = "origin.txt"  # of an exported model on earth
READ = dict.fromkeys(("labelling", "extractor", "localization", "seed"), True) | {
    "recognition": {"network", "input_size", "weights", "published", "prediction", "ranking"}
}  # of the configuration, by a locator


def export_colmap(context: Context, folder: Path) -> list[Report]:
    """The map as it stands, additions and all, as a COLMAP model: keypoints that have a point, points in the colours of
    their photographs. Several places are models of their own, in folder, folder/1, ... as in sfm/.

    Raises DataError when there is no map, or something in `folder`. Photographs that cannot be read are problems.
    """
    _check_free(folder)
    scene = open_map(context.workspace.map)
    colours, problems = _colours(context, scene)
    with atomic_path(folder) as temporary:
        for place in range(scene.num_places):
            part, points = part_of(scene, scene.images_of(place))
            write_arrays(temporary / str(place) if place else temporary, _as_model(part), colours[points])
    places = f" in {scene.num_places} models, as their places have no common frame" if scene.num_places > 1 else ""
    return [Report(folder, f"{len(scene)} images, {len(scene.points):,} points{places}", problems=tuple(problems))]


def export_colmap_enu(context: Context, folder: Path) -> list[Report]:
    """All places that lie on earth, as one COLMAP model in metres east, north and up of the first one's origin, which
    origin.txt has. What does not lie on earth is a problem.

    Raises DataError as `export_colmap`, and when no place lies on earth.
    """
    _check_free(folder)
    scene, found = open_map(context.workspace.map), places_on_earth(context)
    if not found:
        raise DataError(
            f"{context.workspace.map}: no place of it lies on earth; `lbr georeference` tells why, "
            "`--as colmap` writes it in its own frame"
        )
    origin = found[min(found)].origin
    part, _ = part_of(scene, np.flatnonzero(np.isin(scene.place, list(found))))
    model = in_one_frame(part, {place: georeference.enu_at(origin) for place, georeference in found.items()})
    colours, problems = _colours(context, part)
    for place in sorted(set(range(scene.num_places)) - set(found)):
        problems.append(
            Problem(f"place {place} of the map", f"{len(scene.images_of(place))} images, not on earth: left out")
        )
    with atomic_path(folder) as temporary:
        write_arrays(temporary, _as_model(model), colours)
        here = "{:.9f} {:.9f} {:.4f}".format(*origin)
        write_text(temporary / ORIGIN, f"# latitude, longitude (WGS84), height (m) of east, north, up = 0\n{here}\n")
    where = f"in metres east, north, up of {here}"
    return [Report(folder, f"{len(part)} images, {len(part.points):,} points, {where}", problems=tuple(problems))]


def export_locator(context: Context, folder: Path) -> list[Report]:
    """All that `lbr locate` and `Locator.open(folder / 'config.yaml')` need, without any photograph: map, index,
    network and the weights that the configuration names.

    Raises DataError when something of it is not there yet or not made for each other, or something is in `folder`.
    """
    _check_free(folder)
    Locator(context).check()
    workspace, config = context.workspace, context.config
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        target = Workspace(temporary)
        _copy(workspace.map, target.map)
        if context.uses_instances:
            _copy(workspace.index, target.index)
            shutil.copyfile(manifest_path(workspace.db_predictions), manifest_path(target.db_predictions))
            if checkpoint_path(context) == workspace.recognition:
                _copy(workspace.recognition, target.recognition)
            if workspace.prototypes.is_file():
                _copy(workspace.prototypes, target.prototypes)
        settings = {
            "dataset": {"name": "folder", "root": "."}, "workspace": ".",
            **_with_weights(config.model_dump(mode="json", include=READ), temporary),
            "candidates": without_list(config.candidates).model_dump(mode="json"),
        }  # fmt: skip
        (temporary / CONFIG).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return [Report(folder, f"{size / 1e6:.1f} MB; `lbr locate --config {folder / CONFIG} PHOTO...` uses it")]


EXPORTS: dict[str, Callable[[Context, Path], list[Report]]] = {
    "colmap": export_colmap, "colmap-enu": export_colmap_enu, "locator": export_locator,
}  # fmt: skip


def _check_free(folder: Path) -> None:
    if folder.exists():
        raise DataError(f"{folder}: is there already; export to another folder, or delete it")


def _copy(source: Path, target: Path) -> None:
    """An output with its manifest."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    shutil.copyfile(manifest_path(source), manifest_path(target))


def _with_weights(tree: Mapping[str, Any], folder: Path, below: Path = WEIGHTS) -> dict[str, Any]:
    """The settings with copies of the files of weights that they name, in a folder of `folder` for each section."""
    changed = dict(tree)
    for key, value in tree.items():
        if isinstance(value, dict):
            changed[key] = _with_weights(value, folder, below / key)
        elif value is not None and (key == "weights" or (below.name, key) == ("published", "path")):
            copy = below / Path(value).name
            (folder / below).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(value, folder / copy)
            changed[key] = str(copy)
    return changed


def _as_model(scene: Map) -> ModelArrays:
    images = range(len(scene))
    return ModelArrays(
        scene.names, tuple(scene.camera(i) for i in images), tuple(scene.pose(i) for i in images), scene.offsets,
        scene.keypoints, scene.point_index, scene.points, scene.point_errors,
    )  # fmt: skip


@dataclass
class ColoursOfImage(Worker[str]):
    """Image name -> `colours`, uint8 [n, 3], RGB of the photograph at its keypoints in the map."""

    images: ImageFolder
    scene: Map

    def make(self, name: str) -> Arrays:
        photograph, image = self.images.read(name), self.scene.index_of(name)
        last = np.array(photograph.shape[1::-1]) - 1
        column, row = np.clip(self.scene.keypoints[self.scene.observations(image)].astype(int), 0, last).T
        return {"colours": photograph[row, column]}


def _colours(context: Context, scene: Map) -> tuple[np.ndarray, list[Problem]]:
    """uint8 [P, 3]: the mean colour of each point in the photographs that see it; which could not be read."""
    sums, counts, problems = np.zeros((len(scene.points), 3)), np.zeros(len(scene.points)), []
    items = [(name, name) for name in scene.names]
    worker = ColoursOfImage(context.images, scene)
    for (name, _), found in parallel_map(worker, items, context.config.parallel, "colours"):
        if isinstance(found, Problem):
            problems.append(found)
            continue
        points = scene.point_index[scene.observations(scene.index_of(name))]
        np.add.at(sums, points, found["colours"])
        np.add.at(counts, points, 1)
    return np.round(sums / np.maximum(counts, 1)[:, None]).astype(np.uint8), problems
