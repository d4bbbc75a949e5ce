"""One camera from several photographs: against the joint posterior, in closed form, and from poses of noisy pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lbr.geometry.camera import Camera, guess_camera
from lbr.localization.calibration import FEWEST, Estimated, calibrate
from lbr.localization.intrinsics import likely
from lbr.localization.pnp import PnpSettings, covariance_of_intrinsics, estimate_pose, refine_pose
from lbr.types import Correspondences
from tests.synthetic import arc_poses, box_points, visible

GUESS = guess_camera(640, 480)
TRUE = Camera("SIMPLE_RADIAL", 640, 480, (560.0, 326.0, 235.0, -0.12))
PRIOR = np.diag([0.0, *(1 / likely(GUESS)[1][1:] ** 2)])
MEAN = np.array([0.0, *likely(GUESS)[0][1:]])


def told(num: int, true: Camera = TRUE, seed: int = 0, noise: float = 1.0) -> tuple[list[Estimated], np.ndarray]:
    """What photographs tell, each beside what is likely before; and the joint estimate of them all, [4]."""
    rng, found = np.random.default_rng(seed), []
    joint, right = PRIOR.copy(), PRIOR @ MEAN
    for _ in range(num):
        shape = rng.normal(size=(4, 4)) / np.array([8.0, 3.0, 3.0, 0.02])  # as sure as a photograph of a wall
        information = shape.T @ shape
        own = np.array(true.params) + noise * np.linalg.cholesky(np.linalg.inv(information)) @ rng.normal(size=4)
        covariance = np.linalg.inv(information + PRIOR)
        params = covariance @ (information @ own + PRIOR @ MEAN)
        found.append(Estimated(replace(GUESS, params=tuple(params)), covariance))
        joint, right = joint + information, right + information @ own
    return found, np.linalg.solve(joint, right)


def test_it_is_the_joint_estimate_with_what_is_likely_counted_once():
    found, joint = told(12, noise=0.3)
    camera, agreeing = calibrate(found)
    np.testing.assert_allclose(camera.params, joint, rtol=1e-6)
    assert agreeing == 12 and camera.source == "queries" and camera.is_known and camera.size == GUESS.size


def test_it_is_surer_than_any_of_them():
    camera, _ = calibrate(told(20)[0])
    alone = np.array([one.camera.params for one in told(20)[0]])
    error, errors = np.abs(np.array(camera.params) - TRUE.params), np.abs(alone - TRUE.params)
    assert (error < 0.5 * np.median(errors, axis=0)).all()
    assert error[0] < 2 and error[1] < 1 and error[2] < 1 and error[3] < 0.01


def test_photographs_of_another_camera_and_wrong_poses_tell_less():
    others = told(3, replace(TRUE, params=(900.0, 320.0, 240.0, 0.1)), seed=5)[0]
    camera, agreeing = calibrate([*told(12)[0], *others])
    assert agreeing <= 12
    assert camera.focal[0] == pytest.approx(560, rel=0.01)


def test_cut_photographs_are_not_taken_with_whole_ones():
    away = [replace(one.camera, params=(560.0, 200.0 + i, 170.0, -0.1)) for i, one in enumerate(told(3)[0])]
    cut = [Estimated(camera, np.diag([4.0, 4.0, 4.0, 1e-3])) for camera in away]
    whole, _ = calibrate(told(12)[0])
    both, agreeing = calibrate([*cut, *told(12)[0]])
    assert both.params == whole.params and agreeing <= 12
    few, agreeing = calibrate([*cut, *told(2)[0]])
    assert few.principal_point[0] == pytest.approx(201, abs=1) and agreeing == 3


def test_too_few_tell_nothing():
    assert calibrate([]) is None
    assert calibrate(told(FEWEST - 1)[0]) is None


def test_where_all_are_unsure_of_the_focal_length_there_is_no_camera():
    spread = np.diag([100.0, 1, 1, 1])
    vague = [Estimated(one.camera, spread @ one.covariance @ spread) for one in told(5)[0]]
    assert calibrate(vague) is None


def test_a_camera_that_there_is_not_is_none():
    folded = replace(TRUE, params=(560.0, 326.0, 235.0, -0.7))
    sure = np.diag([1.0, 1.0, 1.0, 1e-4])
    assert calibrate([Estimated(replace(folded, source="guess"), sure)] * 4) is None


def photographs(num: int) -> list[Estimated]:
    """Poses and intrinsics estimated from half a pixel of noise, each of a slice of the scene, so that it is unsure."""
    found = []
    for k, pose in enumerate(arc_poses(num, 7.0, seed=3)):
        rng = np.random.default_rng(k)
        points = box_points(500, seed=k) * [1.0, 1.0, 0.15]
        xy, index = visible(TRUE, pose, points)
        order = np.arange(len(index))
        noisy = xy + rng.normal(size=xy.shape) * 0.5
        pairs = Correspondences(order, order, noisy, points[index], order, np.zeros(len(order), np.int64))
        first = estimate_pose(pairs, GUESS, PnpSettings(), seed=0)
        estimate = refine_pose(pairs, first.inliers, first.pose, first.camera, loss_scale_px=0.5)
        found.append(Estimated(estimate.camera, covariance_of_intrinsics(estimate, pairs)))
    return found


def test_photographs_tell_their_camera_together():
    found = photographs(9)
    camera, agreeing = calibrate(found)
    alone = np.array([one.camera.focal[0] for one in found])
    assert agreeing >= 7
    assert abs(camera.focal[0] - 560) < 0.5 * np.sqrt(np.mean((alone - 560) ** 2))
    assert camera.params[1:3] == pytest.approx(TRUE.params[1:3], abs=2)
    assert camera.params[3] == pytest.approx(-0.12, abs=0.02)


def test_what_a_photograph_is_unsure_of_is_what_it_is_off_by():
    errors = [(np.array(one.camera.params) - TRUE.params) / np.sqrt(np.diag(one.covariance)) for one in photographs(9)]
    assert 0.3 < np.sqrt(np.mean(np.square(errors))) < 1.7


def test_what_is_left_open_of_a_camera_is_in_the_covariance_of_its_poses():
    """A focal length that is 1 % unsure moves a pose of a flat scene by about 1 % of its distance."""
    points = box_points(500) * [1.0, 1.0, 0.01]
    pose = arc_poses(1)[0]
    xy, index = visible(TRUE, pose, points)
    order = np.arange(len(index))
    pairs = Correspondences(order, order, xy, points[index], order, np.zeros(len(order), np.int64))
    stds = []
    for spreads in ((), (5.6, 1e-3, 1e-3, 1e-5)):
        found = estimate_pose(pairs, replace(TRUE, source="queries", spreads=spreads), PnpSettings(), seed=0)
        assert found.camera.spreads == spreads
        stds.append(found.position_std)
    distance = np.linalg.norm(pose.centre)
    assert stds[0] < 1e-4 * distance and stds[1] == pytest.approx(0.01 * distance, rel=0.2)
