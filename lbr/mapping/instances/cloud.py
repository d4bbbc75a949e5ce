"""The points of a map in the level frame (x east, north, z up), with what their observations tell of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from lbr.errors import DataError
from lbr.geometry.gravity import Ground
from lbr.mapping.instances.views import level_centres
from lbr.mapping.map import Map

SURE_PX = 1.0  # points of two images, where they are of use at all, are kept only below this error
ALONE = 0.12  # a point with no third neighbour within this share of its viewing distance is alone
MAX_NOISE = 0.08  # of the viewing distance: what is less sure along the ray tells no plane


@dataclass(frozen=True, eq=False)
class Cloud:
    """The usable points of a map.

    index: int64 [N] into the map's points. xyz: float64 [N, 3], level frame. reach: float64 [N], mean distance to the
    cameras that see the point; all lengths of this package are relative to it, as a map without scale has no metres.
    noise: float64 [N], its uncertainty along the ray. towards: float64 [N, 2], mean direction to those cameras on the
    plan, shorter than 1. eye: float64 [N], their mean height.
    """

    index: np.ndarray
    xyz: np.ndarray
    reach: np.ndarray
    noise: np.ndarray
    towards: np.ndarray
    eye: np.ndarray

    def __len__(self) -> int:
        return len(self.index)


def cloud_of(scene: Map, ground: Ground, min_track: int = 2) -> Cloud:
    """The usable points of a map, of those that `min_track` images or more see. Raises DataError when there are next to
    none."""
    points = ground.level_from_world @ np.asarray(scene.points, np.float64).T
    centres = level_centres(scene, ground)
    observed = np.asarray(scene.point_index, np.int64)
    images = np.repeat(np.arange(len(scene)), np.diff(scene.offsets))
    rays = centres[images] - points.T[observed]
    length = np.maximum(np.linalg.norm(rays, axis=1), 1e-12)
    unit = rays / length[:, None]
    number = np.maximum(np.bincount(observed, minlength=len(scene.points)), 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(observed, values, minlength=len(number)) / number

    reach, eye = mean(length), mean(centres[images, 2])
    direction = np.stack([mean(unit[:, k]) for k in range(3)], 1)
    focal = np.array([np.mean(scene.camera(i).focal) for i in range(len(scene))])
    # directions to the cameras that spread by an angle a have a mean of length cos(a) or so
    spread = np.sqrt(np.maximum(2 * (1 - np.linalg.norm(direction, axis=1)), 1e-9))
    noise = reach / mean(focal[images]) * np.maximum(scene.point_errors, 0.3) / spread
    tracks = np.asarray(scene.track_lengths)
    usable = (tracks >= min_track) & ((tracks > 2) | (scene.point_errors < SURE_PX))
    usable &= (noise < MAX_NOISE * reach) & np.isfinite(points).all(axis=0)
    kept = np.flatnonzero(usable)
    kept = kept[_in_company(points.T[kept], reach[kept])]
    if len(kept) < 10:
        raise DataError(
            f"{len(kept)} of the map's {len(number)} points are of use (seen in {min_track} images "
            "or more, not alone): too few to find instances in"
        )
    return Cloud(kept, points.T[kept], reach[kept], noise[kept], direction[kept, :2], eye[kept])


def _in_company(xyz: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """bool [N]: the points that have three neighbours near by."""
    if len(xyz) < 4:
        return np.zeros(len(xyz), bool)
    distance, _ = cKDTree(xyz).query(xyz, k=4)
    return distance[:, 3] < ALONE * reach
