"""Perfect matches give a photograph's pose: the corners of the mesh that it sees, through its own camera."""

import numpy as np
import pytest

from lbr.io.colmap import project
from lbr.localization.pnp import PnpSettings, estimate_pose
from lbr.town.viewpoints import query_shots, walk_shots
from lbr.types import Correspondences


def points_in_view(town, shot):
    """Corners of the mesh that nothing hides, float64 [N, 3], and where the camera has them [N, 2]."""
    corners = np.unique(town.static.mesh.triangles.reshape(-1, 3).astype(np.float64), axis=0)
    ahead = corners[(shot.pose.apply(corners)[:, 2] > 1) & (np.linalg.norm(corners - shot.pose.centre, axis=1) < 40)]
    pixels = project(shot.camera, shot.pose, ahead)
    inside = ((pixels > 0) & (pixels < shot.camera.size)).all(1)
    gap = ahead[inside] - shot.pose.centre
    distance = np.linalg.norm(gap, axis=1)
    free = ~town.static.scene.blocked(
        np.tile(shot.pose.centre, (len(gap), 1)), gap / distance[:, None], distance - 0.02
    )
    return ahead[inside][free], pixels[inside][free]


def pairs_of(pixels, points):
    index, votes = np.arange(len(points)), np.zeros(0, int)
    return Correspondences(index, index, pixels, points, votes, votes)


@pytest.mark.parametrize("kind", ["db", "milestone", "nexus5x"])  # no distortion, one term, four
def test_perfect_matches_give_the_pose(town, kind):
    rng = np.random.default_rng(5)
    shots = walk_shots(town, 4, "db", rng) if kind == "db" else query_shots(town, 4, "query/day", kind, rng)
    for shot in shots[:2]:
        points, pixels = points_in_view(town, shot)
        assert len(points) > 50
        found = estimate_pose(pairs_of(pixels, points), shot.camera, PnpSettings(), seed=0)
        assert np.linalg.norm(found.pose.centre - shot.pose.centre) < 1e-6
        assert np.linalg.norm(found.pose.R - shot.pose.R) < 1e-6  # the angle in radians, times 1.4
