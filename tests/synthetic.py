"""Scenes with known truth: exact projections of random points, and photographs rendered by pycolmap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import build_model, project, write_model
from lbr.io.colmap_arrays import ModelArrays
from lbr.io.text_lists import write_poses, write_query_list
from lbr.mapping.map import Map, build_map
from lbr.types import LocalFeatures

CAMERA = Camera("SIMPLE_RADIAL", 640, 480, (600.0, 320.0, 240.0, 0.02))
PHOTOGRAPH = Camera("SIMPLE_RADIAL", 480, 360, (450.0, 240.0, 180.0, 0.02))
CENTRE_DISTANCE = 6.0  # metres from the cameras of an arc to the middle of the scene
HALF_EXTENT = np.array([2.2, 1.6, 1.0])  # of the box of points, metres


def look_at(centre: np.ndarray, target: np.ndarray) -> Pose:
    """cam_from_world of an upright camera at `centre` that looks at `target` (the world's y axis points down)."""
    z = (target - centre) / np.linalg.norm(target - centre)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    R = np.stack([x, np.cross(z, x), z])
    return Pose(R, -R @ centre)


def between_views_deg(a: Pose, b: Pose) -> float:
    """The angle between the viewing directions of two poses."""
    return float(np.degrees(np.arccos(np.clip(a.R[2] @ b.R[2], -1, 1))))


def arc_poses(num: int, step_deg: float = 5.0, seed: int = 0) -> list[Pose]:
    """Cameras on an arc around the origin, `step_deg` apart, at three heights, all looking about at its middle."""
    rng = np.random.default_rng(seed)
    angles = np.radians(step_deg * (np.arange(num) - (num - 1) / 2))
    centres = [
        np.array([CENTRE_DISTANCE * np.sin(a), 0.6 * (i % 3 - 1), -CENTRE_DISTANCE * np.cos(a)])
        for i, a in enumerate(angles)
    ]
    return [look_at(centre, rng.normal(size=3) * 0.1) for centre in centres]


def box_points(num: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-HALF_EXTENT, HALF_EXTENT, (num, 3))


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    return Pose.from_quaternion(rng.normal(size=4), np.zeros(3)).R


def unit_rows(num: int, width: int, rng: np.random.Generator) -> np.ndarray:
    rows = rng.normal(size=(num, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def visible(camera: Camera, pose: Pose, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [K, 2] of the points that fall into the image, and which they are [K]."""
    xy = project(camera, pose, points)
    with np.errstate(invalid="ignore"):
        inside = ((xy > 0) & (xy < camera.size)).all(axis=1)
    return xy[inside], np.flatnonzero(inside)


@dataclass(frozen=True, eq=False)
class ExactWorld:
    """Points with one descriptor each, and db cameras that see them without any error."""

    points: np.ndarray
    descriptors: np.ndarray
    camera: Camera
    poses: dict[str, Pose]

    @staticmethod
    def make(num_points: int = 200, num_images: int = 5, seed: int = 0, width: int = 32) -> ExactWorld:
        rng = np.random.default_rng(seed)
        poses = {f"db/{i}.png": pose for i, pose in enumerate(arc_poses(num_images, seed=seed))}
        return ExactWorld(box_points(num_points, seed), unit_rows(num_points, width, rng), CAMERA, poses)

    def features(self, pose: Pose, noise_px: float = 0.0, seed: int = 0, camera: Camera | None = None) -> LocalFeatures:
        """What an ideal extractor finds in the photograph taken from `pose`: float32 keypoints, true descriptors."""
        camera = camera or self.camera
        xy, seen = visible(camera, pose, self.points)
        xy = xy + np.random.default_rng(seed).normal(size=xy.shape) * noise_px
        kept = ((xy > 0) & (xy < camera.size)).all(axis=1)
        return LocalFeatures(
            xy[kept].astype(np.float32), np.ones(kept.sum(), np.float32), self.descriptors[seen[kept]], camera.size
        )

    def model(self) -> ModelArrays:
        """The model a perfect mapper makes: every point with all its observations."""
        seen = [visible(self.camera, pose, self.points) for pose in self.poses.values()]
        return ModelArrays(
            tuple(self.poses), (self.camera,) * len(self.poses), tuple(self.poses.values()),
            np.concatenate([[0], np.cumsum([len(i) for _, i in seen])]).astype(np.int64),
            np.concatenate([xy for xy, _ in seen]).astype(np.float32),
            np.concatenate([i for _, i in seen]).astype(np.int32), self.points,
            np.zeros(len(self.points), np.float32),
        )  # fmt: skip

    def map(self) -> Map:
        seen = [visible(self.camera, pose, self.points)[1] for pose in self.poses.values()]
        return build_map(self.model(), [self.descriptors[i] for i in seen], {})


def colmap_model(camera: Camera, poses: dict[str, Pose], points: np.ndarray) -> pycolmap.Reconstruction:
    """A COLMAP model with all observations of `points` in the images, as pycolmap's own objects."""
    model = build_model(dict.fromkeys(poses, camera), poses)
    ids = {image.name: image.image_id for image in model.images.values()}
    tracks = [pycolmap.Track() for _ in points]
    for name, pose in poses.items():
        xy, seen = visible(camera, pose, points)
        model.images[ids[name]].points2D = pycolmap.Point2DList([pycolmap.Point2D(p) for p in xy])
        for place, point in enumerate(seen):
            tracks[point].add_element(ids[name], place)
    for xyz, track in zip(points, tracks, strict=True):
        if track.length():
            model.add_point3D(xyz, track)
    return model


def render(folder: Path, model: pycolmap.Reconstruction) -> None:
    """Photographs of a model: a patch of noise for each of its points, upright, placed to the nearest pixel."""
    options = pycolmap.SyntheticImageOptions()
    options.feature_peak_radius, options.feature_patch_radius = 2, 12
    for image in model.images.values():
        (folder / image.name).parent.mkdir(parents=True, exist_ok=True)
    pycolmap.synthesize_images(options, model, folder)


@dataclass(frozen=True, eq=False)
class RenderedScene:
    """A dataset in the layout of `dataset.name: folder`, with its truth. `model`: all images and all points."""

    root: Path
    camera: Camera
    poses: dict[str, Pose]
    model: pycolmap.Reconstruction

    @property
    def db(self) -> list[str]:
        return [name for name in self.poses if name.startswith("db/")]

    @property
    def queries(self) -> list[str]:
        return [name for name in self.poses if name.startswith("query/")]


def write_scene(root: Path, num_images: int = 10, num_points: int = 150) -> RenderedScene:
    """images/db, images/query (every fourth), 3D-models (db poses, no points), queries.txt, gt.txt.

    One db image and one query have names with spaces and dots; that query lies in a folder of its own condition.
    """
    special = {2: "db/a name with spaces.v2.png", 5: "query/night/new photo 1.b.png"}
    names = [special.get(i, f"{'query' if i % 4 == 1 else 'db'}/{i:02d}.png") for i in range(num_images)]
    poses = dict(zip(names, arc_poses(num_images), strict=True))
    model = colmap_model(PHOTOGRAPH, poses, box_points(num_points))
    render(root / "images", model)
    scene = RenderedScene(root, PHOTOGRAPH, poses, model)
    write_model(root / "3D-models", build_model(dict.fromkeys(scene.db, PHOTOGRAPH), {n: poses[n] for n in scene.db}))
    write_query_list(root / "queries.txt", dict.fromkeys(scene.queries, PHOTOGRAPH))
    write_poses(root / "gt.txt", {name: poses[name] for name in scene.queries})
    return scene


def similarity(source: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale, rotation and shift that bring points [N, 3] onto others best (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    U, S, Vt = np.linalg.svd(b.T @ a / len(a))
    sign = np.diag([1, 1, np.sign(np.linalg.det(U @ Vt))])
    R = U @ sign @ Vt
    scale = np.trace(np.diag(S) @ sign) / a.var(0).sum()
    return scale, R, target.mean(0) - scale * R @ source.mean(0)


def blobs(size: tuple[int, int], centres: Sequence[np.ndarray] | np.ndarray, sigma: float) -> np.ndarray:
    """RGB picture of Gaussian blobs at corner-origin places: pixel (i, j) is sampled at its centre (i + .5, j + .5)."""
    x, y = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    light = np.zeros((size[1], size[0]))
    for cx, cy in centres:
        light += np.outer(np.exp(-((y - cy) ** 2) / 2 / sigma**2), np.exp(-((x - cx) ** 2) / 2 / sigma**2))
    return np.repeat((30 + 180 * np.clip(light, 0, 1)).round().astype(np.uint8)[..., None], 3, axis=2)
