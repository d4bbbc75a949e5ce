import numpy as np
import pytest

from lbr.geometry.pose import Pose, pose_error, rotation_angle
from lbr.geometry.similarity import Similarity, fit_poses, fit_similarity, nearest_rotation
from tests.synthetic import random_rotation

RNG = np.random.default_rng(0)
TRUTH = Similarity(2.5, random_rotation(RNG), np.array([4.0, -3.0, 1000.0]))


def turned_a_little(rotations: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    noise = [Pose.from_quaternion([1, *v], [0, 0, 0]).R for v in rng.normal(size=(len(rotations), 3))
             * np.radians(degrees) / 2]  # fmt: skip
    return np.stack(noise) @ rotations


def cameras(num: int, rng: np.random.Generator, line: bool = False) -> tuple[np.ndarray, np.ndarray]:
    centres = rng.normal(size=(num, 3)) * ([5, 0, 0] if line else [5, 5, 2])
    return centres, np.stack([random_rotation(rng) for _ in range(num)])


def in_b(rotations: np.ndarray) -> np.ndarray:
    return rotations @ TRUTH.R.T


def check(found: Similarity, scale: float, degrees: float, metres: float, around: np.ndarray) -> None:
    assert found.scale == pytest.approx(TRUTH.scale, rel=scale)
    assert np.degrees(rotation_angle(found.R @ TRUTH.R.T)) < degrees
    np.testing.assert_allclose(found.apply(around), TRUTH.apply(around), atol=metres)


def test_exact_points_give_the_similarity_back():
    points = RNG.normal(size=(10, 3))
    check(fit_similarity(points, TRUTH.apply(points)), 1e-9, 1e-6, 1e-9, points)


def test_points_of_a_mirrored_world_still_give_a_rotation():
    found = fit_similarity(np.eye(3) * [1, 1, -1] + 0.1, np.eye(3))
    assert np.linalg.det(found.R) == pytest.approx(1) and found.scale > 0
    assert np.linalg.det(nearest_rotation(-np.eye(3))) == pytest.approx(1)


def test_there_and_back(  # a camera's place, its view, and the points it sees keep their relation
):
    pose, points = Pose(random_rotation(RNG), np.array([1.0, 2, 3])), RNG.normal(size=(5, 3))
    moved = TRUTH.move(pose)
    np.testing.assert_allclose(moved.centre, TRUTH.apply(pose.centre), atol=1e-9)
    np.testing.assert_allclose(moved.apply(TRUTH.apply(points)), TRUTH.scale * pose.apply(points), atol=1e-9)
    metres, radians = pose_error(TRUTH.inverse().move(moved), pose)
    assert metres < 1e-9 and radians < 1e-9


@pytest.mark.parametrize("line", [False, True])
@pytest.mark.parametrize("num", [2, 3, 20])
def test_exact_poses_give_it_back_also_of_two_or_collinear_cameras(num: int, line: bool):
    centres, rotations = cameras(num, np.random.default_rng(num), line)
    found = fit_poses((centres, TRUTH.apply(centres)), (rotations, in_b(rotations)))
    check(found, 1e-6, 1e-4, 1e-4, RNG.normal(size=(5, 3)) * 5)


def test_noisy_poses_weigh_positions_and_rotations_by_their_noise():
    """1 cm over 12 m and 2 degrees: positions alone are 30 times better, so rotations must not spoil them."""
    rng = np.random.default_rng(3)
    centres, rotations = cameras(20, rng)
    noisy = TRUTH.apply(centres) + rng.normal(size=centres.shape) * 0.01
    found = fit_poses((centres, noisy), (turned_a_little(rotations, 2, rng), in_b(rotations)))
    check(found, 1e-3, 0.05, 0.02, centres)


def test_noisy_collinear_cameras_are_held_by_their_rotations():
    rng = np.random.default_rng(4)
    centres, rotations = cameras(12, rng, line=True)
    noisy = TRUTH.apply(centres) + rng.normal(size=centres.shape) * 0.01
    found = fit_poses((centres, noisy), (turned_a_little(rotations, 0.2, rng), in_b(rotations)))
    check(found, 2e-3, 0.3, 0.2, RNG.normal(size=(5, 3)) * 5)


def test_a_turn_that_all_cameras_share_does_not_turn_the_world():
    """Cameras of one direction whose principal point is off: by 0.3 deg all together, each by 0.02 deg more."""
    rng = np.random.default_rng(5)
    centres, _ = cameras(20, rng)
    ahead = np.stack([random_rotation(np.random.default_rng(6))] * 20)
    bias = Pose.from_quaternion([1, 0, np.radians(0.3) / 2, 0], [0, 0, 0]).R
    seen = turned_a_little(bias @ in_b(ahead), 0.02, rng)
    found = fit_poses((centres, TRUTH.apply(centres) + rng.normal(size=(20, 3)) * 0.02), (ahead, seen))
    assert np.degrees(rotation_angle(found.R @ TRUTH.R.T)) < 0.06
