import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lbr.evaluation import EvaluationSettings, PoseErrors, compare, pose_errors, score, score_by_condition
from lbr.geometry.pose import Pose
from tests.synthetic import arc_poses

THRESHOLDS = EvaluationSettings().thresholds
TRUTH = {f"q{i}": pose for i, pose in enumerate(arc_poses(4))}


def moved(pose: Pose, metres: float, degrees: float) -> Pose:
    R = Rotation.from_rotvec(np.radians(degrees) * np.array([0.6, 0, 0.8])).as_matrix() @ pose.R
    return Pose(R, -R @ (pose.centre + np.array([0, metres, 0])))


def test_known_errors_give_known_recall_and_medians():
    known = {"q0": (0.1, 1.0), "q1": (0.3, 1.0), "q2": (0.1, 7.0)}
    errors = pose_errors({n: moved(TRUTH[n], *known[n]) for n in known}, TRUTH)
    np.testing.assert_allclose(errors.position_m, [0.1, 0.3, 0.1, np.inf], atol=1e-9)
    np.testing.assert_allclose(errors.rotation_deg, [1, 1, 7, np.inf], atol=1e-6)
    found = score(errors, THRESHOLDS)
    assert found.recall == (25.0, 50.0, 75.0) and (found.num, found.localized) == (4, 3)
    assert found.median_m == pytest.approx(0.2) and found.median_deg == pytest.approx(4.0)


def test_missing_estimates_count_as_missed():
    found = score(pose_errors({}, TRUTH), THRESHOLDS)
    assert found.recall == (0, 0, 0) and found.localized == 0 and found.median_m == np.inf


def test_estimates_without_a_truth_do_not_count():
    assert pose_errors({"other": Pose.identity()}, {"q0": TRUTH["q0"]}).names == ("q0",)


def test_the_threshold_itself_is_within():
    assert score(PoseErrors(("a",), np.array([0.25]), np.array([2.0])), THRESHOLDS).recall[0] == 100


def test_both_errors_must_be_within():
    errors = PoseErrors(("a", "b"), np.array([0.1, 9.0]), np.array([9.0, 0.1]))
    assert score(errors, THRESHOLDS).recall == (0, 0, 50)


def test_no_query_cannot_be_scored():
    with pytest.raises(ValueError, match="nothing to score"):
        score(pose_errors({}, {}), THRESHOLDS)


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 180)), min_size=1, max_size=20))
def test_recall_rises_with_the_threshold_and_is_a_share(pairs: list):
    errors = PoseErrors(tuple(map(str, range(len(pairs)))), *(np.array(e, float) for e in zip(*pairs, strict=True)))
    recall = score(errors, THRESHOLDS).recall
    assert all(0 <= r <= 100 for r in recall) and list(recall) == sorted(recall)


def test_conditions_are_scored_apart_and_together():
    errors = PoseErrors(("a", "b", "c"), np.array([0.1, 0.1, 9.0]), np.array([0.1, 0.1, 0.1]))
    found = score_by_condition(errors, {"a": "day", "b": "night", "c": "night"}, THRESHOLDS)
    assert {c: s.recall[0] for c, s in found.items()} == {"day": 100, "night": 50, "all": pytest.approx(200 / 3)}
    assert list(score_by_condition(errors, {}, THRESHOLDS)) == ["all"]


def test_runs_are_compared_by_name_whatever_their_order():
    a = PoseErrors(("x", "y", "z", "only a"), np.array([1.0, 2.0, 3.0, 0.1]), np.array([1.0, 1.0, 1.0, 1.0]))
    b = PoseErrors(("z", "only b", "x", "y"), np.array([0.2, 0.1, 1.5, np.inf]), np.array([1.0, 1.0, 1.0, 1.0]))
    found = compare(a, b, THRESHOLDS)
    assert (found.num, found.better, found.worse) == (3, 1, 2)
    assert found.median_difference_m == pytest.approx((0.5 - 2.8) / 2)
    assert found.recall_difference == (pytest.approx(100 / 3), pytest.approx(100 / 3), pytest.approx(-100 / 3))


def test_equal_runs_do_not_differ():
    errors = pose_errors({n: moved(p, 0.1, 1) for n, p in TRUTH.items()}, TRUTH)
    found = compare(errors, errors, THRESHOLDS)
    assert (found.better, found.worse, found.p_value, found.median_difference_m) == (0, 0, 1.0, 0.0)


def test_the_sign_test_is_the_binomials():
    names = tuple(map(str, range(10)))
    a = PoseErrors(names, np.ones(10), np.ones(10))
    b = PoseErrors(names, np.where(np.arange(10) < 9, 0.5, 2.0), np.ones(10))
    assert compare(a, b, THRESHOLDS).p_value == pytest.approx(2 * 11 / 1024)


def test_runs_without_a_common_query_cannot_be_compared():
    a, b = (PoseErrors((name,), np.ones(1), np.ones(1)) for name in "ab")
    with pytest.raises(ValueError):
        compare(a, b, THRESHOLDS)
