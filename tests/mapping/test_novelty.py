"""What is new in images that were added: on a street with known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from lbr.geometry.pose import Pose
from lbr.mapping.instances.find import Found, Scene, prepare
from lbr.mapping.map import Map
from lbr.mapping.novelty import confirmed, known_points, new_pieces, surroundings
from tests.street import elsewhere, map_of, row


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


def test_an_instance_is_not_believed_where_most_of_what_is_called_it_stands_elsewhere(street: tuple[Map, np.ndarray]):
    scene, true = street
    known, right = np.where(true == 3, 0, true), scene.names[-1]
    own = observed(scene, true, right)
    assert 0 < np.mean(own[own >= 2] == 2) < 0.5
    assert confirmed(scene, known, {right: np.where(own >= 2, 2, 0)}) == {right: []}


def test_an_instance_of_another_place_is_not_believed(street: tuple[Map, np.ndarray]):
    """The same street twice, in frames that happen to agree; the instances are of the first."""
    scene, true = street
    model = row().model()
    both = map_of([model, elsewhere(model, "other", Pose.identity())])
    first = np.append(true, np.zeros_like(true))
    named = {name: np.append(true, true)[both.point_index[both.observations(both.index_of(name))]] for name in
             (scene.names[0], scene.names[0].replace("db/", "other/"))}  # fmt: skip
    assert [bool(found) for found in confirmed(both, first, named).values()] == [True, False]


def test_a_point_is_of_the_instance_that_most_say(street: tuple[Map, np.ndarray]):
    scene, true = street
    rng = np.random.default_rng(0)
    labels = true[scene.point_index].astype(np.int32)
    labels[rng.random(len(labels)) < 0.2] = 2
    assert (known_points(scene, labels) == true).mean() > 0.8
    np.testing.assert_array_equal(known_points(scene, true[scene.point_index].astype(np.int32)), true)


@pytest.fixture(scope="module")
def found(street: tuple[Map, np.ndarray]) -> tuple[Scene, Found]:
    """The houses as instances, in the order of their numbers."""
    scene, true = street
    ready = prepare(scene, 0)
    return ready, Found(np.where(np.isin(np.arange(len(true)), ready.cloud.index), true, 0).astype(np.int32), 3)


def test_the_house_that_is_not_known_is_new(street: tuple[Map, np.ndarray], found: tuple[Scene, Found]):
    (_, true), (ready, instances) = street, found
    assert new_pieces(instances, ready.cloud, true != 3) == [3]
    assert new_pieces(instances, ready.cloud, true == 2) == [1, 3]
    assert new_pieces(instances, ready.cloud, np.zeros(len(true), bool)) == [1, 2, 3]
    assert new_pieces(instances, ready.cloud, np.ones(len(true), bool)) == []


def test_more_points_where_there_were_some_are_not_new(street: tuple[Map, np.ndarray], found: tuple[Scene, Found]):
    """Of house 3 the map had a third of the points, all over it, whatever they were called: what comes beside them is
    of what was there. Had it seen but a strip of it, the house is new."""
    (scene, true), (ready, instances) = street, found
    known = (true != 3) | (np.random.default_rng(0).random(len(true)) < 0.35)
    assert new_pieces(instances, ready.cloud, known) == []
    strip = (true != 3) | (scene.points[:, 0] < 25)
    assert new_pieces(instances, ready.cloud, strip) == [3]


def test_what_is_around_an_image_shares_points_with_it(street: tuple[Map, np.ndarray]):
    scene, _ = street
    first = surroundings(scene, [0])
    assert first.tolist() == sorted({0, *scene.covisible(0)[0].tolist()})
    assert surroundings(scene, [0, len(scene) - 1]).tolist() == sorted(
        {0, len(scene) - 1, *scene.covisible(0)[0].tolist(), *scene.covisible(len(scene) - 1)[0].tolist()}
    )
