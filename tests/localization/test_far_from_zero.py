"""Maps in coordinates of a survey, millions of metres from their zero: poses as exact as near it."""

from dataclasses import replace

import numpy as np
import pytest

from lbr.geometry.pose import Pose, pose_error, round_origin
from lbr.localization.pnp import (
    PnpSettings,
    RigPairs,
    estimate_pose,
    estimate_rig_pose,
    refine_pose,
    refine_rig_pose,
)
from lbr.types import PoseEstimate
from tests.localization.test_pnp import ENGINES, POSE, seen
from tests.localization.test_rig import RIG_POSE, rig_pairs
from tests.synthetic import CAMERA

UTM = np.array([512_345.6, 5_412_345.7, 431.2])
FAR_POSE = POSE.about(-UTM)
EXACT_M = 3e-4  # solvers stop at a share of the coordinates, here hundreds of metres from the round origin


def position_covariance(pose: Pose, covariance: np.ndarray) -> np.ndarray:
    return PoseEstimate(pose, np.zeros(0, bool), covariance, CAMERA).position_covariance


@pytest.mark.parametrize("engine", ENGINES)
def test_estimates_are_those_near_zero(engine: str):
    pairs, _ = seen(200, noise_px=0.5, outliers=0.4)
    far = replace(pairs, points3d=pairs.points3d + UTM)
    near, found = (estimate_pose(p, CAMERA, PnpSettings(engine=engine), 0) for p in (pairs, far))
    assert (found.inliers == near.inliers).all()
    np.testing.assert_allclose(found.pose.centre - UTM, near.pose.centre, atol=EXACT_M)
    np.testing.assert_allclose(found.position_covariance, near.position_covariance, rtol=1e-2, atol=1e-7)
    assert found.rotation_std == pytest.approx(near.rotation_std, rel=1e-2)


def test_refinement_ends_where_it_does_near_zero():
    pairs, right = seen(200, noise_px=0.5)
    start = Pose(POSE.R, POSE.t + 0.02)
    near = refine_pose(pairs, right, start, CAMERA)
    found = refine_pose(replace(pairs, points3d=pairs.points3d + UTM), right, start.about(-UTM), CAMERA)
    np.testing.assert_allclose(found.pose.centre - UTM, near.pose.centre, atol=EXACT_M)


def test_rigs_too():
    pairs, right = rig_pairs(0.5, 0.3)
    far = RigPairs(pairs.points2d, pairs.points3d + UTM, pairs.view, pairs.cameras, pairs.cams_from_rig)
    refined = []
    for given, true in ((pairs, RIG_POSE), (far, RIG_POSE.about(-UTM))):
        pose, inliers = estimate_rig_pose(given, PnpSettings(max_error_px=6), 0)
        assert inliers[right].mean() > 0.98 and pose_error(pose, true)[0] < 0.05
        refined.append(refine_rig_pose(given, inliers, pose))
    (near, near_covariance), (found, covariance) = refined
    np.testing.assert_allclose(found.centre - UTM, near.centre, atol=EXACT_M)
    np.testing.assert_allclose(
        position_covariance(found, covariance), position_covariance(near, near_covariance), rtol=1e-2, atol=1e-7
    )


def test_near_zero_nothing_is_moved():
    assert not round_origin(np.array([[400.0, -499.0, 3.0], [480.0, -300.0, 7.0]])).any()
    assert POSE.about(np.zeros(3)) is POSE
    np.testing.assert_allclose(FAR_POSE.apply(np.zeros((1, 3)) + UTM), POSE.apply(np.zeros((1, 3))), atol=1e-8)
