import numpy as np
import pytest

from lbr.geometry.consensus import Tolerance, find_groups
from lbr.geometry.pose import Pose, rotation_angle
from lbr.geometry.similarity import Similarity
from tests.synthetic import random_rotation

TOLERANCE = Tolerance(0.2, np.radians(2))
TURN = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # by 90 degrees about z


def similarity(seed: int, scale: float) -> Similarity:
    rng = np.random.default_rng(seed)
    return Similarity(scale, random_rotation(rng), rng.normal(size=3) * 100)


def noisy_poses(num: int, seed: int, line: bool = False) -> dict[str, Pose]:
    """Cameras over a few metres of a frame; `line`: on a straight line."""
    rng = np.random.default_rng(seed)
    spread = np.array([3, 0, 0]) if line else np.array([3, 3, 1])
    found = {}
    for i in range(num):
        R = random_rotation(rng)
        found[f"{seed}/{i:02d}"] = Pose(R, -R @ (rng.normal(size=3) * spread))
    return found


def seen_in(b_from_a: Similarity, poses: dict[str, Pose], metres: float = 0.02, degrees: float = 0.2) -> dict:
    """The same cameras in b, with noise."""
    rng = np.random.default_rng(len(poses))
    moved = {}
    for name, pose in poses.items():
        exact = b_from_a.move(pose)
        R = Pose.from_quaternion([1, *rng.normal(size=3) * np.radians(degrees) / 2], [0, 0, 0]).R @ exact.R
        moved[name] = Pose(R, -R @ (exact.centre + rng.normal(size=3) * metres))
    return moved


@pytest.mark.parametrize("line", [False, True])
def test_one_group_with_outliers(line: bool):
    """30 cameras, of which 10 have a wrong pose; also where all stand on one line."""
    truth, poses = similarity(1, 4.0), noisy_poses(30, 1, line)
    reference = seen_in(truth, poses)
    wrong = sorted(poses)[::3]
    for i, name in enumerate(wrong):
        reference[name] = noisy_poses(30, 50 + i)[f"{50 + i}/{i:02d}"]
    (group,), outside = find_groups(poses, reference, TOLERANCE)
    assert outside == wrong and set(group.names) == poses.keys() - set(wrong)
    assert group.similarity.scale == pytest.approx(4.0, rel=0.005)
    assert np.degrees(rotation_angle(group.similarity.R @ truth.R.T)) < 0.2
    assert group.position_errors.max() < 0.1 and group.rotation_errors.max() < np.radians(1)
    np.testing.assert_allclose(group.similarity.apply(np.zeros(3)), truth.apply(np.zeros(3)), atol=0.1)


def test_two_groups_of_one_frame_with_their_own_scales():
    """One courtyard in a, two places 1 km apart in b."""
    near, far = similarity(1, 4.0), similarity(2, 3.0)
    first, second = noisy_poses(9, 1), noisy_poses(6, 2)
    reference = {**seen_in(near, first), **seen_in(far, second)}
    groups, outside = find_groups({**second, **first}, reference, TOLERANCE)
    assert outside == [] and [set(g.names) for g in groups] == [set(first), set(second)]
    assert [g.similarity.scale for g in groups] == pytest.approx([4, 3], rel=0.02)


def test_a_wrong_rotation_is_an_outlier_though_the_place_is_right():
    truth, poses = similarity(1, 4.0), noisy_poses(8, 1)
    reference = seen_in(truth, poses)
    turned = reference["1/03"]
    R = np.diag([1.0, -1, -1]) @ turned.R
    reference["1/03"] = Pose(R, -R @ turned.centre)
    (group,), outside = find_groups(poses, reference, TOLERANCE)
    assert outside == ["1/03"] and len(group.names) == 7


@pytest.mark.parametrize("num", [0, 1, 2])
def test_too_few_cameras_are_no_group(num: int):
    poses = noisy_poses(num, 1)
    groups, outside = find_groups(poses, seen_in(similarity(1, 4.0), poses), TOLERANCE)
    assert groups == [] and outside == sorted(poses)


def test_cameras_at_one_point_are_no_group():
    poses = {name: Pose(pose.R, np.zeros(3)) for name, pose in noisy_poses(5, 1).items()}
    groups, outside = find_groups(poses, seen_in(similarity(1, 4.0), poses, 0.0, 0.0), TOLERANCE)
    assert groups == [] and len(outside) == 5


def test_cameras_that_no_two_of_which_fit_are_no_group():
    """Turned alike, but shifted in b across the line on which they stand in a: a pair does not even fit itself."""
    shifts = [np.array([x, 0.0, 0.0]) for x in (0, 10, 25, 60)]
    along, across = ({str(i): Pose(np.eye(3), -turn @ x) for i, x in enumerate(shifts)} for turn in (np.eye(3), TURN))
    assert find_groups(along, across, TOLERANCE) == ([], ["0", "1", "2", "3"])


def test_only_cameras_of_both_frames_count():
    poses = noisy_poses(8, 1)
    reference = seen_in(similarity(1, 4.0), poses)
    del reference["1/00"]
    (group,), outside = find_groups(poses, {**reference, "another": Pose.identity()}, TOLERANCE)
    assert set(group.names) == poses.keys() - {"1/00"} and outside == []


def test_many_cameras_are_drawn_the_same_way_each_time():
    truth, poses = similarity(1, 4.0), noisy_poses(120, 1)
    reference = seen_in(truth, poses)
    first, second = (find_groups(poses, reference, TOLERANCE, seed=7)[0][0] for _ in range(2))
    assert len(first.names) > 110
    assert first.similarity.t.tobytes() == second.similarity.t.tobytes() and first.names == second.names
