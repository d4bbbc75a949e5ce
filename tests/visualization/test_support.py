from dataclasses import replace

import numpy as np
import pytest

from lbr.geometry.pose import Pose
from lbr.mapping.map import Map, build_map
from lbr.types import LocalFeatures
from lbr.visualization.support import find_support, observations_around
from tests.synthetic import ExactWorld, look_at, unit_rows

TRUTH = look_at(np.array([0.4, 0.2, -5.5]), np.zeros(3))


@pytest.fixture(scope="module")
def scene(world: ExactWorld) -> Map:
    return world.map()


def all_of(scene: Map, image: int) -> np.ndarray:
    span = scene.observations(image)
    return np.arange(span.start, span.stop)


def test_at_the_true_pose_every_visible_point_is_paired_with_its_own_keypoint(world: ExactWorld, scene: Map):
    features = world.features(TRUTH, noise_px=0.5)
    found = find_support(scene, all_of(scene, 2), world.camera, TRUTH, features)
    assert len(found) > 0.95 * len(found.visible) > 100
    np.testing.assert_allclose(found.projected, features.keypoints[found.keypoint_index], atol=2.5)
    alike = (scene.descriptors[found.observation_index] * features.descriptors[found.keypoint_index]).sum(axis=1)
    assert (alike > 0.99).all()
    np.testing.assert_allclose(found.depth, TRUTH.apply(scene.points[scene.point_index[found.observation_index]])[:, 2])
    assert len(np.unique(found.keypoint_index)) == len(np.unique(found.observation_index)) == len(found)


def test_keypoints_that_lie_there_by_chance_support_nothing(world: ExactWorld, scene: Map):
    rng = np.random.default_rng(0)
    crowd = rng.uniform([0, 0], world.camera.size, (3000, 2)).astype(np.float32)  # one within 4 px of most places
    features = LocalFeatures(crowd, np.ones(3000, np.float32), unit_rows(3000, 32, rng), world.camera.size)
    found = find_support(scene, all_of(scene, 2), world.camera, TRUTH, features)
    assert len(found.visible) > 100 and len(found) <= 3


def test_a_wrong_pose_is_not_supported(world: ExactWorld, scene: Map):
    wrong = Pose(TRUTH.R, TRUTH.t + [0.5, 0, 0])
    found = find_support(scene, all_of(scene, 2), world.camera, wrong, world.features(TRUTH))
    assert len(found) <= 2


def test_the_reach_is_the_limit_asked_for(world: ExactWorld, scene: Map):
    features = world.features(TRUTH)
    moved = LocalFeatures(
        features.keypoints + np.float32(3), features.scores, features.descriptors, features.image_size
    )
    assert len(find_support(scene, all_of(scene, 2), world.camera, TRUTH, moved, max_error_px=4.0)) <= 2
    assert len(find_support(scene, all_of(scene, 2), world.camera, TRUTH, moved, max_error_px=5.0)) > 100


def test_observations_around_hold_all_of_the_image_and_each_point_once(world: ExactWorld):
    model = world.model()
    index = np.where(np.random.default_rng(0).random(len(model.point_index)) < 0.5, model.point_index, -1)
    rows = [world.descriptors[model.point_index[slice(*model.offsets[i : i + 2])]] for i in range(5)]
    scene = build_map(replace(model, point_index=index), rows, {})
    around, own = observations_around(scene, 1, num_covisible=3), observations_around(scene, 1)
    np.testing.assert_array_equal(np.sort(own), all_of(scene, 1))
    assert np.isin(own, around).all() and len(around) > len(own)
    assert len(np.unique(scene.point_index[around])) == len(around)


def test_the_part_of_one_image_is_what_it_would_be_alone(world: ExactWorld, scene: Map):
    features = world.features(TRUTH)
    around = find_support(scene, observations_around(scene, 2, 4), world.camera, TRUTH, features)
    part = around.within(scene.observations(2))
    alone = find_support(scene, all_of(scene, 2), world.camera, TRUTH, features)
    np.testing.assert_array_equal(np.sort(part.observation_index), np.sort(alone.observation_index))
    np.testing.assert_array_equal(np.sort(part.visible), np.sort(alone.visible))


def test_nothing_in_nothing_out(world: ExactWorld, scene: Map):
    away = look_at(np.array([0.0, 0, -5]), np.array([0.0, 0, -50]))
    assert len(find_support(scene, all_of(scene, 2), world.camera, away, world.features(TRUTH))) == 0
    other = LocalFeatures(
        np.ones((3, 2), np.float32), np.ones(3), unit_rows(3, 7, np.random.default_rng(0)), (640, 480)
    )
    assert len(find_support(scene, all_of(scene, 2), world.camera, TRUTH, other)) == 0
    empty = world.features(TRUTH).select(np.zeros(0, int))
    assert len(find_support(scene, all_of(scene, 2), world.camera, TRUTH, empty)) == 0
