import numpy as np
import pytest
from scipy import sparse

from lbr.localization.correspondences import lift, seeded_clusters
from lbr.mapping.map import Map
from lbr.types import LocalFeatures, Matches
from tests.synthetic import CAMERA, ExactWorld, arc_poses


@pytest.fixture(scope="module")
def scene(world: ExactWorld) -> Map:
    return world.map()


@pytest.fixture(scope="module")
def query(world: ExactWorld) -> LocalFeatures:
    return world.features(arc_poses(7)[2])


def random_matches(query: LocalFeatures, scene: Map, image: int, seed: int) -> Matches:
    rng = np.random.default_rng(seed)
    size = len(scene.features(image))
    indices = np.stack([rng.integers(0, len(query), 80), rng.integers(0, size, 80)], 1).astype(np.int32)
    return Matches(indices, np.ones(80, np.float32))


def test_lifting_is_that_of_a_plain_loop(scene: Map, query: LocalFeatures):
    images = [3, 0, 4]
    matches = [random_matches(query, scene, image, image) for image in images]
    expected: dict[tuple[int, int], list[int]] = {}
    for image, found in zip(images, matches, strict=True):
        for keypoint, row in found.indices:
            point = int(scene.point_index[scene.offsets[image] + row])
            expected.setdefault((int(keypoint), point), []).append(image)
    pairs = lift(scene, query, images, matches)
    assert list(zip(pairs.keypoint_index.tolist(), pairs.point_index.tolist(), strict=True)) == sorted(expected)
    np.testing.assert_array_equal(pairs.points2d, query.keypoints[pairs.keypoint_index])
    np.testing.assert_array_equal(pairs.points3d, scene.points[pairs.point_index])
    for k, pair in enumerate(sorted(expected)):
        assert sorted(pairs.vote_image[pairs.vote_pair == k].tolist()) == sorted(expected[pair])


def test_a_pair_seen_through_several_images_is_once_and_credited_to_each(scene: Map, query: LocalFeatures):
    """The published code credits only the first image of a cluster."""
    shared = set.intersection(*(set(scene.point_index[scene.observations(i)].tolist()) for i in range(3)))
    point = min(shared)
    rows = [int(np.flatnonzero(scene.point_index[scene.observations(i)] == point)[0]) for i in range(3)]
    matches = [Matches(np.array([[5, row]], np.int32), np.ones(1, np.float32)) for row in rows]
    pairs = lift(scene, query, [0, 1, 2], matches)
    assert len(pairs) == 1 and (pairs.keypoint_index[0], pairs.point_index[0]) == (5, point)
    assert pairs.votes_by_image(np.ones(1, bool), 5).tolist() == [1, 1, 1, 0, 0]


def test_a_keypoint_may_go_with_several_points(scene: Map, query: LocalFeatures):
    found = Matches(np.array([[5, 0], [5, 1]], np.int32), np.ones(2, np.float32))
    assert len(lift(scene, query, [0], [found])) == 2


@pytest.mark.parametrize("images", [[], [1], [0, 2]])
def test_no_matches_lift_to_no_pairs(scene: Map, query: LocalFeatures, images: list[int]):
    pairs = lift(scene, query, images, [Matches.empty() for _ in images])
    assert len(pairs) == 0 and pairs.points3d.shape == (0, 3)
    assert pairs.votes_by_image(np.zeros(0, bool), 5).tolist() == [0] * 5


def mapped(shared: list[list[int]]) -> Map:
    """A map that has nothing but covisibility."""
    size = len(shared)
    empty = np.zeros(0)
    return Map(
        tuple(map(str, range(size))), (CAMERA,), np.zeros(size, int), np.zeros((size, 3, 4)), np.zeros(size + 1, int),
        empty, empty, empty, empty, empty, empty, sparse.csr_matrix(np.array(shared, np.int32)),
    )  # fmt: skip


TWO_PLACES = mapped(
    [[0, 9, 3, 0, 0, 0], [9, 0, 5, 0, 0, 0], [3, 5, 0, 0, 0, 0], [0, 0, 0, 0, 4, 0], [0, 0, 0, 4, 0, 0], [0] * 6]
)


def test_the_best_image_seeds_a_cluster_of_those_that_share_points_with_it():
    found = seeded_clusters(TWO_PLACES, range(6), np.array([10, 20, 5, 50, 30, 15]), 5)
    assert list(found) == [[3, 4], [1, 0, 2], [5]]


def test_a_cluster_has_a_size_and_the_rest_comes_later():
    found = seeded_clusters(TWO_PLACES, range(6), np.array([10, 20, 5, 0, 0, 0]), 2)
    assert list(found) == [[1, 0], [2]]


def test_images_without_matches_or_that_are_no_candidates_are_in_no_cluster():
    assert list(seeded_clusters(TWO_PLACES, [2, 0], np.array([7, 8]), 5)) == [[0, 2]]
    assert list(seeded_clusters(TWO_PLACES, range(6), np.zeros(6, int), 5)) == []
    assert list(seeded_clusters(TWO_PLACES, [], np.zeros(0, int), 5)) == []


def test_equal_images_are_taken_in_their_order():
    found = seeded_clusters(TWO_PLACES, range(6), np.full(6, 3), 5)
    assert list(found) == [[0, 1, 2], [3, 4], [5]]
