"""A street with known truth: upright painted rectangles, photographs of them, and the map a good mapper would make.

World: x east, y north, z up, metres. Facades look south; the cameras stand south of them and look north.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import cv2
import numpy as np

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import cam_from_img, project
from lbr.io.colmap_arrays import ModelArrays
from lbr.mapping.map import Map, build_map
from lbr.mapping.places import join_places

CAMERA = Camera("PINHOLE", 320, 240, (230.0, 230.0, 160.0, 120.0))
SKY, GROUND = (205, 215, 230), (90, 88, 86)


@dataclass(frozen=True, eq=False)
class Facade:
    """A rectangle from start [2] to end [2] on the plan (left to right as seen), `height` above the ground; RGB; 0:
    unlabelled. leaves: its edges have no direction. depth: its points stand up to so far before and behind it."""

    start: tuple[float, float]
    end: tuple[float, float]
    colour: tuple[int, int, int]
    label: int
    height: float = 8.0
    only: tuple[int, ...] | None = None  # the photographs it stands in; None: all
    leaves: bool = False
    depth: float = 0.0

    @property
    def length(self) -> float:
        return float(np.hypot(*np.subtract(self.end, self.start)))

    @property
    def along(self) -> np.ndarray:
        return np.subtract(self.end, self.start) / self.length

    @cache  # noqa: B019  # a handful of facades a test
    def texture(self) -> np.ndarray:
        """RGB float32 [H, W, 3], ten cells a metre: the colour with windows and blotches of its own."""
        rng = np.random.default_rng([self.label, *self.colour])
        size = round(self.length * 10), round(self.height * 10)
        if self.leaves:
            rough = cv2.GaussianBlur(rng.normal(0, 140, size[::-1]).astype(np.float32), (0, 0), 1.5)
            return np.clip(np.array(self.colour, np.float32) + rough[..., None], 0, 255)
        coarse = cv2.resize(rng.normal(0, 22, (size[1] // 6 + 2, size[0] // 6 + 2)).astype(np.float32), size)
        fine = cv2.resize(rng.normal(0, 12, (size[1] // 2 + 1, size[0] // 2 + 1)).astype(np.float32), size)
        wall = np.array(self.colour, np.float32) + (coarse + fine)[..., None]
        for top, left in np.argwhere(rng.random((size[1] // 20, size[0] // 15)) < 0.8):  # no two houses have them alike
            (y, x), (high, wide) = rng.integers(2, 7, 2), rng.integers((8, 5), (13, 9))
            window = np.s_[20 * top + y : 20 * top + y + high, 15 * left + x : 15 * left + x + wide]
            wall[window] += rng.choice([-1, 1]) * rng.uniform(25, 70)
        return np.clip(wall, 0, 255)


@dataclass(frozen=True, eq=False)
class Street:
    """Facades, the poses of photographs by name, and what they see. noise: of points (metres) and keypoints
    (pixels)."""

    facades: Sequence[Facade]
    poses: dict[str, Pose]
    noise_m: float = 0.01
    noise_px: float = 0.3
    points_per_m2: float = 3.0
    given: dict[str, Pose] = field(
        default_factory=dict
    )  # the poses that the map has, where they differ from the true ones

    @cache  # noqa: B019
    def photograph(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(RGB uint8 [H, W, 3], true labels int [H, W])."""
        number, pose = list(self.poses).index(name), self.poses[name]
        x, y = np.meshgrid(np.arange(CAMERA.width) + 0.5, np.arange(CAMERA.height) + 0.5)
        flat = cam_from_img(CAMERA, np.stack([x, y], -1).reshape(-1, 2))
        rays = (np.column_stack([flat, np.ones(len(flat))]) @ pose.R).reshape(CAMERA.height, CAMERA.width, 3)
        image = np.where(rays[..., 2:] > 0, np.array(SKY, np.float32), np.array(GROUND, np.float32))
        labels, nearest = np.zeros(rays.shape[:2], np.int64), np.full(rays.shape[:2], np.inf)
        for facade in self.facades:
            if facade.only is None or number in facade.only:
                depth, u, z = _meet(rays, pose.centre, facade)
                hit = (depth > 0) & (depth < nearest) & (u > 0) & (u < facade.length) & (z > 0) & (z < facade.height)
                at = [np.where(hit, v, 0).astype(np.float32) for v in (u * 10 - 0.5, (facade.height - z) * 10 - 0.5)]
                image = np.where(hit[..., None], cv2.remap(facade.texture(), *at, cv2.INTER_LINEAR), image)
                labels, nearest = np.where(hit, facade.label, labels), np.where(hit, depth, nearest)
        return np.round(image).astype(np.uint8), labels

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """(float64 [N, 3], the label of each [N]): all over the facades that stand in all photographs, and on the
        ground."""
        rng, xyz, labels = np.random.default_rng(5), [], []
        for facade in self.facades:
            if facade.only is None:
                num = round(facade.length * facade.height * self.points_per_m2)
                u, z = rng.uniform(0.1, facade.length - 0.1, num), rng.uniform(0.1, facade.height - 0.1, num)
                ground = np.array(facade.start) + u[:, None] * facade.along
                if facade.depth:
                    ground += rng.uniform(-facade.depth, facade.depth, (num, 1)) * facade.along[::-1] * [1, -1]
                xyz.append(np.column_stack([ground, z]))
                labels += [facade.label] * num
        centres = np.stack([pose.centre for pose in self.poses.values()])
        low, high = centres.min(axis=0) - 2, centres.max(axis=0) + [2, 8, 0]
        ground = rng.uniform([low[0], low[1], 0], [high[0], high[1], 0.02], (150, 3))
        return np.concatenate([*xyz, ground]) + rng.normal(0, self.noise_m, (len(labels) + 150, 3)), np.array(
            labels + [0] * 150
        )

    def map(self) -> Map:
        return map_of([self.model()])

    def model(self) -> ModelArrays:
        """Points seen by two photographs or more, from the poses that are given."""
        rng, (points, _) = np.random.default_rng(6), self.points()
        seen = [self._observed(pose, points) for pose in self.poses.values()]
        number = np.bincount(np.concatenate([i for _, i in seen]), minlength=len(points))
        kept = number >= 2
        renumber = np.cumsum(kept) - 1
        seen = [(xy[kept[i]], renumber[i[kept[i]]]) for xy, i in seen]
        noisy = [xy + rng.normal(0, self.noise_px, xy.shape) for xy, _ in seen]
        return ModelArrays(
            tuple(self.poses), (CAMERA,) * len(self.poses), tuple((self.given or self.poses).values()),
            np.concatenate([[0], np.cumsum([len(i) for _, i in seen])]).astype(np.int64),
            np.concatenate(noisy).astype(np.float32), np.concatenate([i for _, i in seen]).astype(np.int32),
            points[kept], np.full(kept.sum(), 0.5, np.float32),
        )  # fmt: skip

    def _observed(self, pose: Pose, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [K, 2] and indices [K] of the points in the photograph that no facade hides."""
        xy = project(CAMERA, pose, points)
        with np.errstate(invalid="ignore"):
            shown = ((xy > 0) & (xy < CAMERA.size)).all(axis=1)
        rays = points - pose.centre
        for facade in self.facades:
            if facade.only is None:
                depth, u, z = _meet(rays, pose.centre, facade)
                shown &= ~((depth > 0) & (depth < 0.97) & (u > 0) & (u < facade.length) & (z > 0) & (z < facade.height))
        return xy[shown], np.flatnonzero(shown)


def map_of(models: Sequence[ModelArrays]) -> Map:
    """Of one place or several, with descriptors of nothing."""
    model, place = join_places(models)
    return build_map(model, [np.zeros((n, 2), np.float32) for n in np.diff(model.offsets)], {}, place)


def elsewhere(model: ModelArrays, folder: str, frame: Pose) -> ModelArrays:
    """The same place in another frame (new from old), its photographs in another folder."""
    names = tuple(name.replace("db/", f"{folder}/") for name in model.names)
    poses = tuple(pose @ frame.inverse() for pose in model.poses)
    return replace(model, names=names, poses=poses, points=frame.apply(model.points))


def _meet(rays: np.ndarray, centre: np.ndarray, facade: Facade) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Along each ray [..., 3]: the share of it at which it meets the plane, and there (along, height)."""
    along = facade.along
    normal = np.array([along[1], -along[0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = ((np.array(facade.start) - centre[:2]) @ normal) / (rays[..., :2] @ normal)
        depth = np.nan_to_num(depth, nan=-1.0, posinf=-1.0, neginf=-1.0)
    hit = centre + depth[..., None] * rays
    return depth, (hit[..., :2] - np.array(facade.start)) @ along, hit[..., 2]


def walk(num: int, first: tuple[float, float], last: tuple[float, float], yaw_deg: float = 20.0) -> dict[str, Pose]:
    """Photographs from `first` to `last` on the plan, 1.6 m high, looking north, turned a little to and fro."""
    places = np.linspace(first, last, num)
    turns = np.radians(yaw_deg) * np.array([0.0, 1.0, -1.0])[np.arange(num) % 3]
    poses = {}
    for k, ((x, y), turn) in enumerate(zip(places, turns, strict=True)):
        ahead = np.array([np.sin(turn), np.cos(turn), 0.12])
        ahead /= np.linalg.norm(ahead)
        right = np.array([np.cos(turn), -np.sin(turn), 0.0])
        R = np.stack([right, np.cross(ahead, right), ahead])
        poses[f"db/{k:02d}.png"] = Pose(R, -R @ np.array([x, y, 1.6]))
    return poses


RED, YELLOW, BLUE = (170, 90, 80), (200, 180, 110), (100, 120, 170)


def row(num_images: int = 12, **options: object) -> Street:
    """Two houses in a row of different colour, then a gap of 5 m and a third one; a car before the first in photograph
    2."""
    facades = [
        Facade((0, 0), (9, 0), RED, 1), Facade((9, 0), (18, 0), YELLOW, 2), Facade((23, 0), (31, 0), BLUE, 3),
        Facade((3, -3), (6, -3), (40, 160, 60), 0, 1.5, only=(2,)),
    ]  # fmt: skip
    return Street(facades, walk(num_images, (2, -11), (29, -11)), **options)  # type: ignore[arg-type]


def corner() -> Street:
    """Two facades that meet at a right angle; the second looks west."""
    facades = [Facade((0, 0), (12, 0), RED, 1), Facade((12, 0), (12, -9), BLUE, 2)]
    return Street(facades, walk(12, (1, -11), (7, -9), 28))
