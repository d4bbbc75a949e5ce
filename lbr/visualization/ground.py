"""The ground plane of a map: where things lie when seen from above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lbr.geometry.gravity import Ground, ground_of
from lbr.mapping.map import Map


@dataclass(frozen=True, eq=False)
class MapPlan:
    """A map seen from above, in metres: points [P, 2], db cameras [I, 2] and their viewing directions [I, 2].

    Of very many points it holds an even choice.
    """

    ground: Ground
    points: np.ndarray
    cameras: np.ndarray
    directions: np.ndarray

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corner [2] of the cameras and of nearly all points."""
        around = [self.cameras, np.percentile(self.points, [2, 98], axis=0)] if len(self.points) else [self.cameras]
        together = np.concatenate(around)
        return together.min(axis=0), together.max(axis=0)


def plan_of(scene: Map, max_points: int = 400_000) -> MapPlan:
    """A map seen from above."""
    poses = np.asarray(scene.poses, np.float64)
    rotations = poses[:, :, :3]
    ground = ground_of(rotations)
    step = max(1, -(-len(scene.points) // max_points))
    centres = -np.einsum("iba,ib->ia", rotations, poses[:, :, 3])
    return MapPlan(ground, ground.flat(scene.points[::step]), ground.flat(centres), ground.flat(rotations[:, 2]))


def ellipse(covariance: np.ndarray, sigmas: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """The ellipse of so many standard deviations of a covariance [2, 2].

    Returns half-axes float64 [2], longer first, and their directions, rows of [2, 2].
    """
    values, vectors = np.linalg.eigh(covariance)
    return sigmas * np.sqrt(np.maximum(values[::-1], 0)), vectors.T[::-1]
