"""Poses adjusted against others that stay, on a world with known truth."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lbr.geometry.pose import Pose, pose_error
from lbr.mapping.adjustment import adjusted_poses
from lbr.mapping.triangulation import TriangulationSettings
from tests.mapping.test_growth import MATCHER, Case

SETTINGS = TriangulationSettings()


def moved(pose: Pose, metres: float, degrees: float) -> Pose:
    turn = Rotation.from_rotvec(np.radians(degrees) * np.array([0.6, 0.8, 0.0])).as_matrix()
    return Pose(turn @ pose.R, turn @ pose.t + np.array([metres, 0.0, 0.0]))


def adjusted(noise_px: float, metres: float = 0.02, degrees: float = 0.2) -> tuple[Case, dict[str, Pose]]:
    """The last two of six images, whose poses are a little off."""
    case = Case(noise_px=noise_px)
    names = list(case.world.poses)
    posed = {name: (case.world.camera, pose) for name, pose in case.world.poses.items()}
    posed |= {
        name: (camera, moved(pose, metres, degrees)) for name, (camera, pose) in posed.items() if name in case.new
    }
    matches = {(a, b): MATCHER.match(case.features[a], case.features[b]).indices for a, b in combinations(names, 2)}
    keypoints = {name: found.keypoints for name, found in case.features.items()}
    return case, adjusted_poses(posed, keypoints, matches, case.new, SETTINGS)


@pytest.mark.parametrize("noise_px, metres, degrees", [(0.0, 1e-4, 1e-3), (0.5, 0.006, 0.05)])
def test_poses_that_are_off_find_back(noise_px: float, metres: float, degrees: float):
    case, poses = adjusted(noise_px)
    assert set(poses) == set(case.new)
    for name, pose in poses.items():
        off = pose_error(pose, case.world.poses[name])
        assert off[0] < metres and off[1] < degrees, (name, off)


def test_images_without_matches_stay_where_they_are():
    case = Case()
    name = case.new[0]
    posed = {name: (case.world.camera, case.world.poses[name])}
    found = adjusted_poses(posed, {name: case.features[name].keypoints}, {}, [name], SETTINGS)
    np.testing.assert_array_equal(found[name].matrix, case.world.poses[name].matrix)


def test_what_is_free_alone_moves():
    """Of two poses that are off, one is given: it stays, and the other one is adjusted against all."""
    case = Case()
    names = list(case.world.poses)
    posed = {name: (case.world.camera, moved(pose, 0.01, 0.1) if name in case.new else pose)
             for name, pose in case.world.poses.items()}  # fmt: skip
    matches = {(a, b): MATCHER.match(case.features[a], case.features[b]).indices for a, b in combinations(names, 2)}
    keypoints = {name: found.keypoints for name, found in case.features.items()}
    found = adjusted_poses(posed, keypoints, matches, case.new[:1], SETTINGS)
    assert set(found) == {case.new[0]}
    assert pose_error(found[case.new[0]], case.world.poses[case.new[0]])[0] < 0.005
