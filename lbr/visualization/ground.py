"""The ground plane of a map: where things lie when seen from above."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lbr.geometry.gravity import Ground, ground_of
from lbr.mapping.map import Map


@dataclass(frozen=True, eq=False)
class MapPlan:
    """A place of a map seen from above, in its units: points [P, 2], db cameras [K, 2] and where they look [K, 2].

    Of very many points it holds an even choice. images: int [K], which of the map's images the cameras are; all by
    default. metres_per_unit: None where nothing tells how long a unit is.
    """

    ground: Ground
    points: np.ndarray
    cameras: np.ndarray
    directions: np.ndarray
    images: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    metres_per_unit: float | None = 1.0

    def __post_init__(self) -> None:
        if not len(self.images):
            object.__setattr__(self, "images", np.arange(len(self.cameras)))

    def camera_of(self, image: int) -> int | None:
        """Which camera of the plan an image of the map is; None when it is of another place."""
        found = np.flatnonzero(self.images == image)
        return int(found[0]) if len(found) else None

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corner [2] of the cameras and of nearly all points."""
        around = [self.cameras, np.percentile(self.points, [2, 98], axis=0)] if len(self.points) else [self.cameras]
        together = np.concatenate(around)
        return together.min(axis=0), together.max(axis=0)


def plan_of(scene: Map, max_points: int = 400_000, place: int = 0, metres_per_unit: float | None = 1.0) -> MapPlan:
    """A place of a map seen from above: of other places it shows nothing, as their frames are others."""
    images, seen = scene.images_of(place), scene.points_of(place)
    rotations = np.asarray(scene.poses[images, :, :3], np.float64)
    ground = ground_of(rotations)
    step = max(1, -(-len(seen) // max_points))
    points, cameras = ground.flat(scene.points[seen[::step]]), ground.flat(scene.centres[images])
    return MapPlan(ground, points, cameras, ground.flat(rotations[:, 2]), images, metres_per_unit)


def ellipse(covariance: np.ndarray, sigmas: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """The ellipse of so many standard deviations of a covariance [2, 2].

    Returns half-axes float64 [2], longer first, and their directions, rows of [2, 2].
    """
    values, vectors = np.linalg.eigh(covariance)
    return sigmas * np.sqrt(np.maximum(values[::-1], 0)), vectors.T[::-1]
