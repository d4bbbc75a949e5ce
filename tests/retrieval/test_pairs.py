from itertools import combinations

import numpy as np
import pytest
from scipy import sparse

from lbr.geometry.pose import Pose
from lbr.retrieval.pairs import (
    CovisibilityPairs,
    PosePairs,
    SimilarPairs,
    pairs_exhaustive,
    pairs_from_covisibility,
    pairs_from_likeness,
    pairs_from_poses,
)
from tests.synthetic import between_views_deg, look_at


def street(num: int, spacing: float = 1.0, start: float = 0.0, back: bool = False) -> dict[str, Pose]:
    """Cameras along x that look along it, or back."""
    return {
        f"{'b' if back else 'f'}{int(start)}-{i:02d}.jpg": look_at(
            np.array([start + i * spacing, 0, 0]), np.array([start + i * spacing + (-1 if back else 1), 0.0, 0])
        )
        for i in range(num)
    }


def brute_force(poses: dict[str, Pose], num: int, max_angle_deg: float) -> set[tuple[str, str]]:
    pairs = set()
    for a in poses:
        facing = [b for b in poses if b != a and between_views_deg(poses[a], poses[b]) <= max_angle_deg]
        facing.sort(key=lambda b: np.linalg.norm(poses[a].centre - poses[b].centre))
        pairs |= {tuple(sorted((a, b))) for b in facing[:num]}
    return pairs


def test_every_pair_of_images_once():
    assert pairs_exhaustive(["b", "a", "c"]) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert pairs_exhaustive(["a"]) == []


@pytest.mark.parametrize("num", [1, 3, 10])
def test_pairs_of_poses_are_the_nearest_that_look_the_same_way(num: int):
    rng = np.random.default_rng(num)
    poses = {
        f"{i:02d}": look_at(c, c + rng.normal(size=3) * [1, 0.2, 1]) for i, c in enumerate(rng.normal(size=(30, 3)))
    }
    found = pairs_from_poses(poses, PosePairs(num_neighbours=num, max_angle_deg=90, max_spacing=None))
    assert set(found) == brute_force(poses, num, 90)
    assert found == sorted(set(found)) and all(a < b for a, b in found)


def test_cameras_that_look_the_other_way_are_no_pair():
    poses = {**street(6), **street(6, back=True)}
    found = pairs_from_poses(poses, PosePairs(num_neighbours=4))
    assert found and all(a[0] == b[0] for a, b in found)


def test_places_far_apart_are_no_pair():
    poses = {**street(4), **street(4, start=1000.0)}
    found = pairs_from_poses(poses, PosePairs(num_neighbours=20))
    within = {p for at in (0, 1000) for p in combinations(sorted(street(4, start=at)), 2)}
    assert set(found) == within
    assert len(pairs_from_poses(poses, PosePairs(num_neighbours=20, max_spacing=None))) == 28


def test_cameras_at_one_place_are_paired():
    poses = {f"{i}": look_at(np.zeros(3), np.array([np.sin(i / 10), 0, np.cos(i / 10)])) for i in range(5)}
    assert len(pairs_from_poses(poses, PosePairs())) == 10


@pytest.mark.parametrize("num", [0, 1])
def test_too_few_images_give_no_pair(num: int):
    assert pairs_from_poses(street(num), PosePairs()) == []


def test_pairs_of_covisibility_are_those_that_share_most():
    rng = np.random.default_rng(0)
    dense = np.triu(rng.integers(0, 6, (12, 12)), 1)
    dense = dense + dense.T
    names = [f"{i:02d}" for i in range(12)]
    found = pairs_from_covisibility(names, sparse.csr_matrix(dense), CovisibilityPairs(num_neighbours=3, min_shared=2))
    expected = set()
    for i in range(12):
        others = sorted((j for j in range(12) if dense[i, j] >= 2), key=lambda j: (-dense[i, j], j))[:3]
        expected |= {(names[min(i, j)], names[max(i, j)]) for j in others}
    assert set(found) == expected and found == sorted(expected)


def test_as_many_shared_points_as_are_wanted_are_enough():
    shared = sparse.csr_matrix(np.array([[0, 5, 4], [5, 0, 0], [4, 0, 0]], np.int32))
    assert pairs_from_covisibility(["a", "b", "c"], shared, CovisibilityPairs(min_shared=5)) == [("a", "b")]


def test_no_shared_points_give_no_pair():
    assert pairs_from_covisibility(["a", "b"], sparse.csr_matrix((2, 2), dtype=np.int32), CovisibilityPairs()) == []


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("num_images", [40, 1100])  # fewer and more than are compared at once
def test_pairs_of_likeness_are_the_largest_cosines(num_images: int):
    vectors = unit(np.random.default_rng(5).normal(size=(num_images, 16)))
    names = [f"{i:04d}" for i in range(num_images)]
    shuffled = np.random.default_rng(6).permutation(num_images)
    settings = SimilarPairs(num_neighbours=3, num_following=0)
    found = pairs_from_likeness([names[i] for i in shuffled], vectors[shuffled], settings)
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -np.inf)
    nearest = np.argsort(-cosine, axis=1)[:, :3]
    expected = {tuple(sorted((names[i], names[int(j)]))) for i in range(num_images) for j in nearest[i]}
    assert set(found) == expected and found == sorted(expected)


def test_names_that_follow_each_other_are_pairs_and_an_image_without_features_is_in_none():
    vectors = unit(np.eye(6))
    vectors[2] = 0
    settings = SimilarPairs(num_neighbours=1, num_following=1)
    found = pairs_from_likeness([*"abcdef"], vectors, settings)
    assert {("a", "b"), ("b", "d"), ("d", "e"), ("e", "f")} <= set(found)
    assert not any("c" in pair for pair in found)
