"""The two datasets' layouts: which photograph goes where, and the lists, models and truth beside them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from lbr.io.colmap import build_model, write_model
from lbr.io.files import atomic_path, write_text
from lbr.io.labels import unpack_colours
from lbr.io.text_lists import write_poses, write_query_list
from lbr.town.plan import Plan
from lbr.town.viewpoints import (
    RIG_YAW,
    Shot,
    drive_shots,
    query_shots,
    rig_pose,
    sequence_shots,
    street_camera,
    walk_shots,
)
from lbr.town.world import Town

TRAVERSES = ("dawn", "dusk", "night", "night-rain", "rain", "snow", "sun")
REFERENCE = "overcast-reference"
DATASETS = {"aachen": "aachen_v1.1", "robotcar": "RobotCar-Seasons"}
TRUTH = "ground_truth"


@dataclass(frozen=True)
class Files:
    """Where the parts of a photograph go."""

    image: Path
    mask: Path
    depth: Path

    def complete(self) -> bool:
        return self.image.exists() and self.mask.exists() and self.depth.exists()


@dataclass(frozen=True)
class Layout:
    """Folders, and every shot with its files; the first `num_reference` shots are the map's."""

    kind: str
    dataset: Path
    truth: Path
    shots: tuple[tuple[Shot, Files], ...]
    num_reference: int

    @property
    def reference(self) -> list[Shot]:
        return [shot for shot, _ in self.shots[: self.num_reference]]

    @property
    def queries(self) -> list[Shot]:
        return [shot for shot, _ in self.shots[self.num_reference :]]


def make_layout(town: Town, root: Path) -> Layout:
    """Decide all photographs and their places below `root`."""
    reference, queries = _aachen_shots(town) if town.config.layout == "aachen" else _robotcar_shots(town)
    dataset, truth = root / DATASETS[town.config.layout], root / TRUTH
    shots = []
    for group, masks in ((reference, dataset / "global_seg_instance"), (queries, truth / "masks")):
        for shot in group:
            png = PurePosixPath(shot.name).with_suffix(".png")
            shots.append((shot, Files(dataset / "images" / shot.name, masks / png, truth / "depth" / png)))
    return Layout(town.config.layout, dataset, truth, tuple(shots), len(reference))


def _aachen_shots(town: Town) -> tuple[list[Shot], list[Shot]]:
    config = town.config
    draw = [np.random.default_rng([config.seed, 8, k, config.walk]) for k in range(4)]
    reference = walk_shots(town, config.num_db, "db", draw[0])
    reference += sequence_shots(town, config.num_sequence, "sequences/walk1", draw[1])
    queries = query_shots(town, config.num_day, "query/day/milestone", "milestone", draw[2], reference)
    queries += query_shots(town, config.num_night, "query/night/nexus5x", "nexus5x", draw[3], reference)
    return reference, queries


def _robotcar_shots(town: Town) -> tuple[list[Shot], list[Shot]]:
    config = town.config
    reference = drive_shots(
        town, config.num_stations, REFERENCE, np.random.default_rng([config.seed, 9, 0, config.walk]), reference=True
    )
    queries = []
    for k, condition in enumerate(TRAVERSES):
        rng = np.random.default_rng([config.seed, 9, k, config.walk])
        queries += drive_shots(town, config.num_per_traverse, condition, rng)
    return reference, queries


def colour_mask(plan: Plan, instance_ids: np.ndarray) -> np.ndarray:
    """Instance ids [H, W] -> label image uint8 [H, W, 3] RGB; colour id = R * 65536 + G * 256 + B, background black."""
    return unpack_colours(np.array([0, *(f.colour_id for f in plan.facades)]))[instance_ids]


def write_lists(town: Town, layout: Layout) -> None:
    """Everything but the photographs."""
    vocabulary = [(0, 0), *((f.colour_id, f.instance) for f in town.plan.facades)]
    text = "".join(f"{colour} {label}\n" for colour, label in vocabulary)
    write_text(layout.dataset / "global_seg_instance" / "vocabulary.txt", text)
    cameras = {shot.name: shot.camera for shot in layout.reference}
    poses = {shot.name: shot.pose for shot in layout.reference}
    folder = layout.dataset / "3D-models" / ("" if layout.kind == "aachen" else "sfm-sift")
    if layout.kind == "aachen":
        _write_flat_model(folder, cameras, poses)
        _copy_tree(layout.dataset, layout.reference, "images", "stylized/images")
    else:
        write_model(folder, build_model(cameras, poses))
        _copy_tree(layout.dataset, layout.reference, f"images/{REFERENCE}", f"stylized/{REFERENCE}")
        _write_rig(town, layout.dataset)
    _write_queries(layout)
    _write_truth(town, layout)


def _write_flat_model(folder: Path, cameras: dict, poses: dict) -> None:
    """The model's files right inside `folder`."""
    staging = folder / ".model"
    write_model(staging, build_model(cameras, poses))
    for file in staging.iterdir():
        os.replace(file, folder / file.name)
    staging.rmdir()


def _write_queries(layout: Layout) -> None:
    """Lists `name MODEL w h params...`, by day and night or by traverse."""
    folder = layout.dataset / "queries"
    if layout.kind == "aachen":
        groups = {"day_time": "query/day/", "night_time": "query/night/"}
    else:
        groups = {condition: f"{condition}/" for condition in TRAVERSES}
    for group, prefix in groups.items():
        chosen = {shot.name: shot.camera for shot in layout.queries if shot.name.startswith(prefix)}
        write_query_list(folder / f"{group}_queries_with_intrinsics.txt", chosen)


def _write_rig(town: Town, dataset: Path) -> None:
    """Intrinsics and camera-to-vehicle transforms (4 x 4) of the three cameras."""
    camera = street_camera(town.config, "rig")
    fx, fy, cx, cy = camera.params
    for name in RIG_YAW:
        write_text(dataset / "intrinsics" / f"{name}_intrinsics.txt", f"fx {fx!r}\nfy {fy!r}\ncx {cx!r}\ncy {cy!r}\n")
        matrix = np.vstack([rig_pose(name).inverse().matrix, [0, 0, 0, 1]])
        rows = "".join(" ".join(repr(float(v)) for v in row) + "\n" for row in matrix)
        write_text(dataset / "extrinsics" / f"{name}_extrinsics.txt", rows)


def _copy_tree(dataset: Path, shots: Iterable[Shot], source: str, target: str) -> None:
    """Hard links (copies where links do not work) of the map's photographs, as the first of their stylised copies."""
    for shot in shots:
        image = dataset / "images" / shot.name
        copy = dataset / target / image.relative_to(dataset / source)
        if copy.exists():
            continue
        with atomic_path(copy) as temporary:
            try:
                os.link(image, temporary)
            except OSError:
                shutil.copyfile(image, temporary)


def _write_truth(town: Town, layout: Layout) -> None:
    """Poses of all photographs, what each instance is, which are near twins. Only evaluation reads this."""
    write_poses(layout.truth / "poses.txt", {shot.name: shot.pose for shot, _ in layout.shots})
    conditions = {shot.name: shot.condition for shot, _ in layout.shots}
    instances = [
        {
            "instance": f.instance, "colour": f.colour_id, "building": f.building, "kind": f.kind,
            "start": f.start.tolist(), "end": f.end.tolist(), "eave_m": design.style.eave,
            "family": design.style.family,
        }
        for f, design in zip(town.plan.facades, town.designs, strict=True)
    ]  # fmt: skip
    write_text(layout.truth / "instances.json", json.dumps(instances, indent=1))
    write_text(layout.truth / "twins.json", json.dumps(town.plan.twins))
    write_text(layout.truth / "conditions.json", json.dumps(conditions, indent=1))
