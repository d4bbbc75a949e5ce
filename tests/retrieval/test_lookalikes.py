from __future__ import annotations

import numpy as np
import pytest

from lbr.matching.nearest import Nearest, NearestSettings
from lbr.retrieval.lookalikes import LookAlikeSettings, look_alikes
from lbr.types import LocalFeatures
from tests.synthetic import unit_rows

RNG = np.random.default_rng(3)
SIZE = (640, 480)
MATCH = Nearest(NearestSettings(ratio=0.92)).match


def wall(num: int = 200) -> LocalFeatures:
    """Keypoints of a facade that is like no other."""
    keypoints = RNG.uniform([100, 100], [500, 400], (num, 2)).astype(np.float32)
    return LocalFeatures(keypoints, np.ones(num, np.float32), unit_rows(num, 64, RNG), SIZE)


def seen_elsewhere(view: LocalFeatures, alike: float) -> LocalFeatures:
    """The same design from another side: a share of the keypoints under a homography, with noise; the rest others."""
    h = np.array([[0.8, 0.1, 20], [-0.05, 0.9, 30], [1e-4, 5e-5, 1]])
    moved = np.c_[view.keypoints, np.ones(len(view))] @ h.T
    keypoints = (moved[:, :2] / moved[:, 2:] + RNG.normal(0, 1, (len(view), 2))).astype(np.float32)
    descriptors = view.descriptors + 0.05 * unit_rows(len(view), 64, RNG)
    other = RNG.random(len(view)) > alike
    descriptors[other] = unit_rows(int(other.sum()), 64, RNG)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return LocalFeatures(keypoints, view.scores, descriptors.astype(np.float32), SIZE)


def shuffled(view: LocalFeatures) -> LocalFeatures:
    """The same things in another order: another facade, of the same windows."""
    return LocalFeatures(RNG.permutation(view.keypoints), view.scores, view.descriptors, SIZE)


@pytest.mark.parametrize("neighbours", [3, 50])
def test_twins_are_found_the_most_alike_first(neighbours: int):
    walls = {number: wall() for number in range(1, 20)}
    walls |= {31: seen_elsewhere(walls[4], 0.5), 30: seen_elsewhere(walls[9], 0.9)}
    assert look_alikes(walls, MATCH, LookAlikeSettings(neighbours=neighbours)).tolist() == [[9, 30], [4, 31]]


def test_the_same_things_in_another_order_are_no_twin():
    one = wall()
    assert look_alikes({1: one, 2: shuffled(one)}, MATCH, LookAlikeSettings()).shape == (0, 2)


@pytest.mark.parametrize("least", [50, 300])
def test_few_matches_are_no_twin(least: int):
    one = wall()
    found = look_alikes({1: one, 2: seen_elsewhere(one, 0.1), 3: wall(3)}, MATCH, LookAlikeSettings(min_inliers=least))
    assert found.shape == (0, 2) and found.dtype == np.int32


@pytest.mark.parametrize("views", [{}, {1: wall()}, {1: wall(0), 2: wall(0)}])
def test_next_to_nothing_looks_like_nothing(views: dict[int, LocalFeatures]):
    assert look_alikes(views, MATCH, LookAlikeSettings()).shape == (0, 2)
