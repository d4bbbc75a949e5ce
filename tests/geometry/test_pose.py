import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lbr.geometry.pose import Pose, pose_error, rotation_angle, wxyz_to_xyzw, xyzw_to_wxyz
from tests.synthetic import random_rotation

numbers = st.floats(-100, 100, allow_nan=False)
quaternions = st.tuples(numbers, numbers, numbers, numbers).filter(lambda q: np.linalg.norm(q) > 1e-3)
shifts = st.tuples(numbers, numbers, numbers)
poses = st.builds(Pose.from_quaternion, quaternions, shifts)


def axis_angle(axis: np.ndarray, angle: float) -> np.ndarray:
    return Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()


@given(poses, poses, st.lists(shifts, min_size=1, max_size=5))
def test_composition_applies_the_right_pose_first(c_from_b: Pose, b_from_a: Pose, points: list):
    np.testing.assert_allclose((c_from_b @ b_from_a).apply(points), c_from_b.apply(b_from_a.apply(points)), atol=1e-9)


@given(poses)
def test_inverse_undoes(pose: Pose):
    np.testing.assert_allclose((pose @ pose.inverse()).matrix, Pose.identity().matrix, atol=1e-9)
    np.testing.assert_allclose((pose.inverse() @ pose).matrix, Pose.identity().matrix, atol=1e-9)


@given(poses)
def test_centre_is_the_point_that_maps_to_the_origin(pose: Pose):
    np.testing.assert_allclose(pose.apply(pose.centre[None]), np.zeros((1, 3)), atol=1e-9)


@given(quaternions, shifts)
def test_quaternion_round_trip(wxyz: tuple, t: tuple):
    unit = np.array(wxyz) / np.linalg.norm(wxyz)
    found = Pose.from_quaternion(wxyz, t).quaternion
    assert found[0] >= 0
    assert min(np.abs(found - unit).max(), np.abs(found + unit).max()) < 1e-9


def test_quaternion_is_w_first_and_rotates_the_right_way():
    half = np.sqrt(0.5)
    quarter_turn_about_z = Pose.from_quaternion([half, 0, 0, half], np.zeros(3))
    np.testing.assert_allclose(quarter_turn_about_z.apply([[1, 0, 0]]), [[0, 1, 0]], atol=1e-12)


def test_quaternion_orders_are_each_others_inverse():
    q = np.arange(8.0).reshape(2, 4)
    np.testing.assert_array_equal(wxyz_to_xyzw(q)[0], [1, 2, 3, 0])
    np.testing.assert_array_equal(xyzw_to_wxyz(wxyz_to_xyzw(q)), q)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-8, 1e-4, 0.1, 1.0, 3.0, np.pi - 1e-4, np.pi - 1e-8, np.pi])
def test_rotation_angle_is_exact_from_0_to_pi(angle: float):
    for axis in (np.array([1.0, 0, 0]), np.array([1.0, -2, 0.5])):
        assert rotation_angle(axis_angle(axis, angle)) == pytest.approx(
            angle, rel=1e-6, abs=1e-15 if angle < 1 else 1e-8
        )


def test_rotation_angle_of_many_at_once():
    rng = np.random.default_rng(0)
    rotations = np.stack([random_rotation(rng) for _ in range(20)])
    expected = [np.linalg.norm(Rotation.from_matrix(R).as_rotvec()) for R in rotations]
    np.testing.assert_allclose(rotation_angle(rotations), expected, rtol=1e-9)


@given(poses, shifts, st.floats(0, 3.1))
def test_pose_error_is_the_distance_of_centres_and_the_angle_between_rotations(truth: Pose, moved: tuple, angle: float):
    R = axis_angle(np.array([0.3, -0.2, 0.9]), angle) @ truth.R
    estimate = Pose(R, -R @ (truth.centre + moved))
    distance, found = pose_error(estimate, truth)
    assert distance == pytest.approx(np.linalg.norm(moved), abs=1e-8)
    assert found == pytest.approx(angle, abs=1e-8)


@pytest.mark.parametrize(
    "R, t",
    [
        (np.eye(3) * 1.1, np.zeros(3)),
        (np.diag([1.0, 1, -1]), np.zeros(3)),
        (np.eye(4), np.zeros(3)),
        (np.eye(3), np.zeros(2)),
        (np.full((3, 3), np.nan), np.zeros(3)),
        (np.eye(3), np.array([0, np.nan, 0])),
        (np.eye(3), np.array([np.inf, 0, 0])),
    ],
)
def test_what_is_no_pose_is_refused(R: np.ndarray, t: np.ndarray):
    with pytest.raises(ValueError):
        Pose(R, t)


@pytest.mark.parametrize("q", [(0, 0, 0, 0), (np.nan, 0, 0, 1), (1, 0, 0), (np.inf, 0, 0, 0)])
def test_what_is_no_quaternion_is_refused(q: tuple):
    with pytest.raises(ValueError):
        Pose.from_quaternion(q, np.zeros(3))
