"""Which way is up, from how people hold cameras."""

from __future__ import annotations

import numpy as np


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
