"""Which way is up in a map: from how people hold cameras, and from the walls that were found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_TILT_OF_WALLS_DEG = 12.0  # what leans more is a roof


@dataclass(frozen=True, eq=False)
class Ground:
    """Up, and two directions of the plane: float64 [3] and [2, 3], of unit length, right-handed (east x north = up)."""

    up: np.ndarray
    axes: np.ndarray

    def flat(self, positions: np.ndarray) -> np.ndarray:
        """World positions or directions [..., 3] -> [..., 2] metres, seen from above."""
        return np.asarray(positions, np.float64) @ self.axes.T

    @property
    def level_from_world(self) -> np.ndarray:
        """float64 [3, 3]: the rotation into the level frame (x east, y north, z up)."""
        return np.vstack([self.axes, self.up])


def estimate_up(rotations: np.ndarray, num_rounds: int = 3) -> np.ndarray:
    """The direction against gravity in the world, unit [3], from cam_from_world rotations [I, 3, 3] of photographs.

    People hold cameras upright and level: the mean of the up axes tells it roughly, that the x axes lie level
    corrects the mean where all cameras look up or down. Photographs held otherwise (turned by 90 degrees) are left out
    in the next round.
    """
    ups, rights = -rotations[:, 1], rotations[:, 0]
    weights = np.ones(len(ups))
    up = np.array([0.0, 0.0, 1.0])
    for _ in range(num_rounds):
        mean = weights @ ups
        if np.linalg.norm(mean) < 1e-9:
            return up
        level = (rights * weights[:, None]).T @ rights / weights.sum()
        up = np.linalg.solve(level + 0.02 * np.eye(3), mean)
        up /= np.linalg.norm(up)
        upright = ups @ up > 0.7
        weights = upright.astype(np.float64) if upright.any() else np.ones(len(ups))
    return up


def refine_up(up: np.ndarray, normals: np.ndarray, weights: np.ndarray, num_rounds: int = 4) -> np.ndarray:
    """`up` corrected so that the walls with these unit normals [N, 3] and weights [N] stand upright; unit [3].

    Only normals near level take part (within 12 degrees), less and less the more they lean. What the walls do not tell
    (all of them parallel: the tilt about their normal's axis) stays as the cameras said.
    """
    first = up
    for _ in range(num_rounds):
        lean = normals @ up
        sigma = max(1.5 * float(np.median(np.abs(lean))), np.sin(np.radians(0.5))) if len(lean) else 1.0
        kept = weights * (np.abs(lean) < np.sin(np.radians(MAX_TILT_OF_WALLS_DEG))) / (1 + (lean / sigma) ** 2)
        if kept.sum() <= 0:
            return first
        scatter = (normals * kept[:, None]).T @ normals / kept.sum()
        up = np.linalg.solve(scatter + 0.02 * np.eye(3), first)
        up /= np.linalg.norm(up)
    return up


def ground_of(rotations: np.ndarray) -> Ground:
    """The ground below cameras of cam_from_world rotations [I, 3, 3]; as `ground_across` their up."""
    return ground_across(estimate_up(rotations))


def ground_across(up: np.ndarray) -> Ground:
    """The ground across a direction up [3].

    The first axis is the world axis that is most level, so that a map with z up keeps x right and y up the page.
    """
    level = np.abs(up) <= np.abs(up).min() + 0.05
    first = np.eye(3)[int(np.argmax(level))]
    east = first - (first @ up) * up
    east /= np.linalg.norm(east)
    return Ground(up, np.stack([east, np.cross(up, east)]))
