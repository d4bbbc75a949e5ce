from dataclasses import replace

import numpy as np
import pytest

from lbr.localization.refine import Refined
from lbr.localization.rivals import CLOSE, MOSTLY, between_look_alikes, is_of_look_alikes, is_same_place, told_apart
from lbr.localization.verification import Attempt
from lbr.types import Candidates, Correspondences, PoseEstimate
from tests.localization.test_localizer import POSE
from tests.synthetic import CAMERA, ExactWorld, arc_poses, visible

NOTHING = Correspondences(*(np.zeros(shape) for shape in (0, 0, (0, 2), (0, 3), 0, 0)))


def of_significance(value: float) -> Attempt:
    estimate = PoseEstimate(POSE, np.zeros(0, bool), None, CAMERA)
    return Attempt(estimate, NOTHING, 0, 0, refined=Refined(estimate, NOTHING, 0.0, 0, value))


BETTER = [  # significance of the instance, of its look-alike, what speaks for the look-alike -> who counts, doubtful
    pytest.param(10, 20, 1, "look-alike", False, id="what stands beside it, and support"),
    pytest.param(20, 10, 1, "look-alike", True, id="what stands beside it, against support"),
    pytest.param(10, 20, 0, "look-alike", False, id="nothing beside it, but clearly more support"),
    pytest.param(20, 10, 0, "instance", False, id="so it is of the instance"),
    pytest.param(10, 11, 0, "look-alike", True, id="little more"),
    pytest.param(11, 10, 0, "instance", True, id="little more of the instance"),
    pytest.param(20, 10, -1, "instance", False, id="the instance, as what is beside it"),
    pytest.param(11, 10, -1, "instance", True, id="the instance, by little"),
    pytest.param(10, 11, -1, "instance", True, id="little more is nothing against what is beside it"),
    pytest.param(10, 20, -1, "look-alike", True, id="clearly more is, but it is doubtful"),
]


@pytest.mark.parametrize("instance, look_alike, told, winner, doubtful", BETTER)
def test_which_of_two_look_alikes_counts(instance: float, look_alike: float, told: int, winner: str, doubtful: bool):
    earlier, attempt = of_significance(instance), of_significance(look_alike)
    better = attempt if look_alike > instance else earlier
    found, doubted = between_look_alikes(earlier, attempt, better, told)
    assert (found is attempt, doubted) == (winner == "look-alike", doubtful)


def test_as_good_as_another_is_a_share_of_its_significance():
    earlier = of_significance(10)
    for part, doubtful in ((CLOSE - 0.01, False), (CLOSE + 0.01, True)):
        assert between_look_alikes(earlier, of_significance(10 * part), earlier, 0) == (earlier, doubtful)


def test_what_is_beside_look_alikes_tells_when_it_is_more_than_the_least():
    def of(advantage: float) -> Candidates:
        return Candidates((), (), "", advantage=advantage)

    assert [told_apart(of(x), 0.1) for x in (-0.3, -0.05, 0.0, 0.05, 0.3)] == [-1, 0, 0, 0, 1]


def attempt_at(world: ExactWorld, number: int) -> Attempt:
    """The pose number `number` of an arc, from all that it sees."""
    pose = arc_poses(9)[number]
    xy, seen = visible(CAMERA, pose, world.points)
    votes = np.arange(len(seen))
    pairs = Correspondences(votes, seen, xy, world.points[seen], votes, np.zeros(len(seen), int))
    return Attempt(PoseEstimate(pose, np.ones(len(seen), bool), None, CAMERA), pairs, 0, len(seen))


def test_a_pose_found_again_is_one_place(world: ExactWorld):
    one, other = attempt_at(world, 2), attempt_at(world, 6)
    assert is_same_place(one, one, 4.0) and not is_same_place(one, other, 4.0)


def test_a_pose_is_of_look_alikes_where_most_of_its_inliers_are(world: ExactWorld):
    scene, attempt = world.map(), attempt_at(world, 2)
    seen = attempt.pairs.point_index
    for share, expected in ((MOSTLY + 0.1, True), (MOSTLY - 0.1, False)):
        own = seen[: int(share * len(seen))]
        labels = np.where(np.isin(scene.point_index, own), 3 + scene.point_index % 2, 5).astype(np.int32)
        assert is_of_look_alikes(attempt, {3, 4}, scene.labelled(labels)) is expected, "two parts of one facade"
        assert not is_of_look_alikes(attempt, {7}, scene.labelled(labels))
    assert not is_of_look_alikes(attempt, {3, 4}, scene), "nothing was labelled"


def test_points_that_are_no_inliers_do_not_make_a_pose_of_look_alikes(world: ExactWorld):
    """Two thirds of what it sees are of the facade, of its inliers a third."""
    scene, attempt = world.map(), attempt_at(world, 2)
    seen = attempt.pairs.point_index
    own, inliers = np.isin(scene.point_index, seen[: 2 * len(seen) // 3]), np.arange(len(seen)) >= len(seen) // 2
    labelled = scene.labelled(np.where(own, 3, 5).astype(np.int32))
    beside = replace(attempt, estimate=replace(attempt.estimate, inliers=inliers))
    assert [is_of_look_alikes(one, {3}, labelled) for one in (attempt, beside)] == [True, False]
