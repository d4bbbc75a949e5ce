"""What is new in images that were added: on a street with known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from lbr.mapping.map import Map
from lbr.mapping.novelty import MIN_POINTS, REACH, confirmed, known_points, new_groups, spread_groups
from tests.street import row


@pytest.fixture(scope="module")
def street() -> tuple[Map, np.ndarray]:
    """The map of three houses, and the true house of each point."""
    made = row()
    scene, (points, labels) = made.map(), made.points()
    return scene, labels[cKDTree(points).query(scene.points)[1]]


def observed(scene: Map, labels: np.ndarray, name: str) -> np.ndarray:
    return labels[scene.point_index[scene.observations(scene.index_of(name))]]


def test_an_instance_is_believed_where_it_stands_and_nowhere_else(street: tuple[Map, np.ndarray]):
    """House 3 is not known: a network that calls it 1 is not believed, and house 1 called 1 is."""
    scene, true = street
    known = np.where(true == 3, 0, true)
    left, right = scene.names[0], scene.names[-1]
    named = {left: observed(scene, true, left), right: np.where(observed(scene, true, right) == 3, 1, 0)}
    assert {1} <= set(np.unique(named[left])) and 1 in named[right]
    found = confirmed(scene, known, named)
    assert set(found[left]) == set(np.unique(named[left])) - {0, 3}
    assert found[right] == []
    assert confirmed(scene, np.zeros_like(known), named) == {left: [], right: []}


def test_a_point_is_of_the_instance_that_most_say(street: tuple[Map, np.ndarray]):
    scene, true = street
    rng = np.random.default_rng(0)
    labels = true[scene.point_index].astype(np.int32)
    labels[rng.random(len(labels)) < 0.2] = 2
    assert (known_points(scene, labels) == true).mean() > 0.8
    np.testing.assert_array_equal(known_points(scene, true[scene.point_index].astype(np.int32)), true)


def test_the_house_that_is_not_known_becomes_one_new_instance(street: tuple[Map, np.ndarray]):
    scene, true = street
    groups = new_groups(scene, true == 3, seed=0)
    assert groups.max() >= 1 and (groups[true != 3] == 0).all()
    sizes = np.bincount(groups)[1:]
    assert sizes.min() >= MIN_POINTS and sizes.sum() > 0.7 * (true == 3).sum()
    two = new_groups(scene, true != 2, seed=0)
    homes = [set(true[two == k].tolist()) - {0} for k in range(1, two.max() + 1)]
    assert all(len(home) == 1 for home in homes), "a gap of 9 m lies between"
    assert set().union(*homes) == {1, 3}
    assert new_groups(scene, np.zeros(len(true), bool), 0).max() == 0


def test_new_instances_spread_around_their_keypoints_and_leave_the_known_alone(street: tuple[Map, np.ndarray]):
    scene, true = street
    name = scene.names[-1]
    classes = np.where(true == 3, 7, 0).astype(np.int32)
    mask = np.zeros((120, 160), np.int32)
    mask[:, :20] = 2
    spread = spread_groups(scene, name, classes, mask)
    assert (spread[:, :20] == 2).all() and set(np.unique(spread)) == {0, 2, 7}
    span = scene.observations(scene.index_of(name))
    xy = scene.keypoints[span] / 2
    column, row_ = np.floor(xy).astype(int).T
    inside = column >= 20
    wanted = classes[scene.point_index[span]][inside]
    assert (spread[row_, column][inside] == wanted).mean() > 0.97, "two keypoints may share a pixel"
    far = cKDTree(xy).query(np.argwhere(spread == 7)[:, ::-1] + 0.5)[0]
    assert far.max() <= REACH * 160 + 1.5
    np.testing.assert_array_equal(spread_groups(scene, name, np.zeros_like(classes), mask), mask)
