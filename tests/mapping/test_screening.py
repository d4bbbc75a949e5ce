"""Pairs whose matches are chance, beside pairs of which a share is right."""

import numpy as np
import pytest

from lbr.io.colmap import project
from lbr.mapping.screening import FEWEST, without_chance_pairs
from lbr.parallel import ParallelSettings
from tests.synthetic import CAMERA, arc_poses, box_points

ONE, TWO = ParallelSettings(workers=1), ParallelSettings(workers=2)


def views(num: int, share_right: float, plane: bool = False) -> tuple[dict, dict]:
    """Keypoints of three photographs of the same points, half a pixel off, and matches of them, of which so many are
    right and the others of random points."""
    rng = np.random.default_rng(0)
    points = box_points(num)
    if plane:
        points[:, 2] = 0
    keypoints = {
        name: project(CAMERA, pose, points) + rng.normal(size=(num, 2)) * 0.5
        for name, pose in zip("abc", arc_poses(3, step_deg=15), strict=True)
    }
    wrong = np.arange(num) >= share_right * num
    matches = {}
    for pair in (("a", "b"), ("a", "c"), ("b", "c")):
        other = np.arange(num)
        other[wrong] = rng.permutation(other[wrong])
        matches[pair] = np.stack([np.arange(num), other], axis=1)
    return keypoints, matches


@pytest.mark.parametrize("plane", [False, True], ids=["box", "plane"])
@pytest.mark.parametrize("share_right, kept", [(1.0, 3), (0.5, 3), (0.0, 0)])
def test_pairs_are_kept_by_the_share_that_fits(share_right: float, kept: int, plane: bool):
    keypoints, matches = views(150, share_right, plane)
    found = without_chance_pairs(keypoints, matches, 0.3, 0, ONE)
    assert len(found) == kept
    assert all(found[pair] is matches[pair] for pair in found)


def test_the_same_whatever_the_workers():
    keypoints, matches = views(120, 0.3)
    alone, both = (without_chance_pairs(keypoints, matches, 0.3, 5, workers) for workers in (ONE, TWO))
    assert list(alone) == list(both)


def test_too_few_matches_tell_nothing_and_are_kept():
    keypoints, matches = views(FEWEST - 1, 0.0)
    assert list(without_chance_pairs(keypoints, matches, 0.3, 0, ONE)) == list(matches)


def test_nothing_of_nothing():
    assert without_chance_pairs({}, {}, 0.3, 0, TWO) == {}
