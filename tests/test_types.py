import numpy as np
import pytest

from lbr.geometry.pose import Pose
from lbr.types import Candidates, Correspondences, LocalFeatures, Localization, Matches, PoseEstimate, Status
from tests.synthetic import CAMERA, unit_rows


def features(num: int = 6) -> LocalFeatures:
    rng = np.random.default_rng(0)
    return LocalFeatures(
        rng.uniform(0, 99, (num, 2)).astype(np.float32), np.array([0.1, 0.9, 0.5, 0.9, 0.2, 0.5], np.float32)[:num],
        unit_rows(num, 8, rng), (100, 100), np.arange(num, dtype=np.int32),
    )  # fmt: skip


def test_selecting_features_selects_all_of_each():
    found = features().select(np.array([True, False, False, True, False, False]))
    assert found.labels.tolist() == [0, 3]
    np.testing.assert_array_equal(found.descriptors, features().descriptors[[0, 3]])
    np.testing.assert_array_equal(features().select(np.array([3, 0])).keypoints, features().keypoints[[3, 0]])


def test_the_top_is_by_score_with_ties_in_their_order():
    assert features().top(4).labels.tolist() == [1, 3, 2, 5]
    assert features().top(None).labels.tolist() == [1, 3, 2, 5, 4, 0]
    assert len(features().top(0)) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"keypoints": np.zeros((6, 3))},
        {"scores": np.zeros(5)},
        {"descriptors": np.zeros((5, 8))},
        {"descriptors": np.zeros(6)},
        {"labels": np.zeros(7)},
    ],
)
def test_features_whose_shapes_disagree_are_refused(change: dict):
    parts = {name: getattr(features(), name) for name in ("keypoints", "scores", "descriptors", "image_size", "labels")}
    with pytest.raises(ValueError, match=f"{next(iter(change))} must be"):
        LocalFeatures(**{**parts, **change})


def test_other_records_check_themselves():
    with pytest.raises(ValueError):
        Matches(np.zeros((3, 2), np.int32), np.zeros(2))
    with pytest.raises(ValueError):
        Candidates(("a", "b"), (1.0,), "list")
    assert len(Matches.empty()) == 0


def correspondences() -> Correspondences:
    """Four pairs; the first is seen through images 0 and 2, the last through 2 alone."""
    return Correspondences(
        np.array([0, 1, 2, 3]), np.array([5, 6, 7, 8]), np.zeros((4, 2)), np.zeros((4, 3)),
        np.array([0, 1, 2, 0, 3]), np.array([0, 0, 1, 2, 2]),
    )  # fmt: skip


def test_votes_are_credited_to_every_image():
    assert correspondences().votes_by_image(np.ones(4, bool), 4).tolist() == [2, 1, 2, 0]
    assert correspondences().votes_by_image(np.array([True, False, False, False]), 4).tolist() == [1, 0, 1, 0]


def test_selected_pairs_keep_their_votes():
    kept = correspondences().select(np.array([True, False, True, False]))
    assert kept.point_index.tolist() == [5, 7]
    assert kept.vote_pair.tolist() == [0, 1, 0] and kept.vote_image.tolist() == [0, 1, 2]


def test_a_pose_goes_with_every_status_but_failed():
    estimate = PoseEstimate(Pose.identity(), np.ones(4, bool), None, CAMERA)
    with pytest.raises(ValueError, match="q.jpg"):
        Localization("q.jpg", Status.FAILED, "", estimate)
    with pytest.raises(ValueError, match="q.jpg"):
        Localization("q.jpg", Status.WEAK, "")


def test_no_covariance_gives_no_deviations():
    estimate = PoseEstimate(Pose.identity(), np.ones(4, bool), None, CAMERA)
    assert estimate.position_covariance is estimate.position_std is estimate.rotation_std is None
    assert estimate.num_inliers == 4


def test_position_covariance_is_the_derivative_of_the_centre():
    """R' = exp([w]x) R, t' = t + v: the centre's change by finite differences."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(1)
    pose = Pose.from_quaternion(rng.normal(size=4), rng.normal(size=3) * 5)
    root = rng.normal(size=(6, 6))
    estimate = PoseEstimate(pose, np.ones(4, bool), root @ root.T, CAMERA)
    step = 1e-6
    moved = [Pose(Rotation.from_rotvec(d[:3]).as_matrix() @ pose.R, pose.t + d[3:]).centre for d in step * np.eye(6)]
    jacobian = (np.array(moved) - pose.centre).T / step
    np.testing.assert_allclose(
        estimate.position_covariance, jacobian @ root @ root.T @ jacobian.T, rtol=1e-4, atol=1e-4
    )
    assert estimate.position_std == pytest.approx(np.sqrt(np.trace(estimate.position_covariance)))
