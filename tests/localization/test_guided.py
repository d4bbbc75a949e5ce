"""What is found around a pose, beside what chance finds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lbr.geometry.pose import pose_error
from lbr.io.colmap import project
from lbr.localization import refine
from lbr.localization.correspondences import quality_of, union
from lbr.localization.guided import (
    ASIDE,
    BLOCK,
    LEAST_PAIRS,
    PRIOR,
    _frames,
    _products,
    make_guide,
    match_beyond_chance,
)  # fmt: skip
from lbr.localization.localizer import Localizer
from lbr.localization.refine import RefinementSettings, refine_with_frames, search_radii
from lbr.localization.verification import VerificationSettings
from lbr.mapping.map import Map
from lbr.types import Candidates, Correspondences, LocalFeatures, PoseEstimate, Status
from tests.localization.test_localizer import settings
from tests.synthetic import CAMERA, ExactWorld, arc_poses, look_at, unit_rows

POSE = arc_poses(7)[2]
ALL = np.arange(5)


@pytest.fixture(scope="module")
def scene(world: ExactWorld) -> Map:
    return world.map()


def crowded(world: ExactWorld, num_right: int, num_wrong: int, likeness: float, seed: int = 0) -> LocalFeatures:
    """Keypoints of POSE of which some are points, as alike as said, and others anything, anywhere."""
    rng = np.random.default_rng(seed)
    right = world.features(POSE).select(np.arange(num_right))
    noise = unit_rows(num_right, 32, rng)
    looks = likeness * right.descriptors + np.sqrt(1 - likeness**2) * noise
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    xy = rng.uniform(0, CAMERA.size, (num_wrong, 2)).astype(np.float32)
    return LocalFeatures(
        np.concatenate([right.keypoints, xy]), np.ones(num_right + num_wrong, np.float32),
        np.concatenate([looks, unit_rows(num_wrong, 32, rng)]).astype(np.float32), CAMERA.size,
    )  # fmt: skip


def at(pose: object) -> PoseEstimate:
    return PoseEstimate(pose, np.ones(4, bool), None, CAMERA)


def test_right_pairs_stand_out_and_chance_is_counted(world: ExactWorld, scene: Map):
    query = crowded(world, 60, 1500, 0.8)
    found = match_beyond_chance(make_guide(scene, query, ALL), at(POSE), 15.0, 1.0)
    right = found.pairs.keypoint_index < 60
    assert right.sum() > 50 and (~right).sum() <= 12
    assert abs(len(found.by_chance) / len(ASIDE) - (~right).sum()) <= 8


def test_where_nothing_is_right_nothing_stands_out(world: ExactWorld, scene: Map):
    for seed in range(5):
        query = crowded(world, 0, 1500, 0.8, seed)
        assert match_beyond_chance(make_guide(scene, query, ALL), at(POSE), 15.0, 1.0) is None


@pytest.mark.parametrize("num", [0, 1, BLOCK // 32, 2 * BLOCK // 32 + 3])
def test_products_in_blocks_are_those_of_all_at_once(num: int):
    rng = np.random.default_rng(num)
    a, b = unit_rows(70, 32, rng).astype(np.float32), unit_rows(90, 32, rng).astype(np.float32)
    row, column = rng.integers(70, size=num), rng.integers(90, size=num)
    expected = np.einsum("nd,nd->n", a[row], b[column])
    np.testing.assert_allclose(_products(a, row, b, column), expected, atol=1e-6)


def test_caution_takes_fewer_pairs(world: ExactWorld, scene: Map):
    guide = make_guide(scene, crowded(world, 100, 4000, 0.6), ALL)
    bold, cautious = (match_beyond_chance(guide, at(POSE), 15.0, caution) for caution in (0.3, 4.0))
    assert len(cautious.pairs) < len(bold.pairs) and len(cautious.by_chance) <= len(bold.by_chance)
    assert set(cautious.pairs.keypoint_index) <= set(bold.pairs.keypoint_index)


def test_most_points_are_those_seen_most(world: ExactWorld, scene: Map):
    """Every other point is said to be seen once, where all are seen twice."""
    guide = make_guide(scene, world.features(POSE), np.array([0, 1]))
    assert set(guide.count.tolist()) == {2}
    guide = replace(guide, count=np.where(np.arange(len(guide.points)) % 2, 2, 1))
    found = match_beyond_chance(guide, at(POSE), 2.0, 1.0, most_points=30)
    assert 0 < len(found.pairs) <= 30 and set(guide.count[found.point].tolist()) == {2}


def test_points_seen_from_much_nearer_or_farther_are_not_expected(world: ExactWorld, scene: Map):
    """A third of them at the scale at which they were seen, a third nearer and a third farther than by twice."""
    guide = make_guide(scene, world.features(POSE), np.arange(len(scene)))
    estimate = PoseEstimate(POSE, np.ones(0, bool), None, CAMERA)
    found = match_beyond_chance(guide, estimate, 4.0, 1.0)
    times = np.repeat(np.array([1.0, 0.3, 4.0])[np.arange(len(guide.points)) % 3], guide.count)
    changed = match_beyond_chance(replace(guide, distance=guide.distance * times), estimate, 4.0, 1.0)
    assert changed.in_view == pytest.approx(found.in_view / 3, rel=0.1)
    assert len(changed.pairs) == len(found.pairs), "they are looked for all the same"
    assert found.expected[found.point].all()
    assert (changed.expected[changed.point] > 0).sum() == pytest.approx(len(found.pairs) / 3, rel=0.1)


def test_frames_have_in_view_what_projects_into_them_at_that_distance(scene: Map):
    """Distortion aside: the cameras here have none."""
    plain = replace(CAMERA, model="SIMPLE_PINHOLE", params=CAMERA.params[:3])
    frames = _frames(replace(scene, cameras=(plain,)), ALL)
    points = np.random.default_rng(0).uniform(-12, 12, (500, 3))
    seen = np.zeros((2, 500), int)
    for frame in ALL:
        xy = project(plain, scene.pose(frame), points)
        with np.errstate(invalid="ignore"):  # nan behind the camera
            inside = ((xy >= 0) & (xy < plain.size)).all(axis=1)
        away = np.linalg.norm(points - scene.centres[frame], axis=1)
        seen += [inside, inside & (away >= 3) & (away <= 9)]
    wide, near, far = np.zeros(500), np.full(500, 3.0), np.full(500, 9.0)
    assert 0 < seen[1].sum() < seen[0].sum() and seen[0].max() == 5
    np.testing.assert_array_equal(frames.with_in_view(points, wide, wide + np.inf), seen[0])
    np.testing.assert_array_equal(frames.with_in_view(points, near, far), seen[1])


def test_a_frame_nearer_than_a_point_was_seen_from_does_not_have_it_in_view(scene: Map):
    frames, points = _frames(scene, ALL), scene.points[:20]
    nearest, anywhere = np.linalg.norm(points[:, None] - scene.centres, axis=2).min(axis=1), np.full(20, np.inf)
    in_view = frames.with_in_view(points, np.zeros(20), anywhere)
    np.testing.assert_array_equal(frames.with_in_view(points, nearest + 1e-6, anywhere), in_view - 1)


def test_what_few_of_the_frames_saw_is_hardly_expected(world: ExactWorld, scene: Map):
    """All points are seen by all frames that have them in view; then one frame's, where five have them in view."""
    query, estimate = world.features(POSE), at(POSE)
    all_saw, one_saw = (make_guide(scene, query, frames) for frames in (ALL, ALL[:1]))
    sure = match_beyond_chance(all_saw, estimate, 4.0, 1.0)
    unsure = match_beyond_chance(replace(one_saw, frames=all_saw.frames), estimate, 4.0, 1.0)
    assert np.median(sure.expected[sure.point]) == pytest.approx((5 + PRIOR[0]) / (5 + PRIOR[1]))
    assert np.median(unsure.expected[unsure.point]) == pytest.approx((1 + PRIOR[0]) / (5 + PRIOR[1]))
    assert (sure.expected > 0).sum() == sure.in_view <= len(all_saw.points)


def test_what_is_surely_found_tells_more(world: ExactWorld, scene: Map):
    """Half of the points are expected four times as surely; equal numbers of the one and the other half are found."""
    found = match_beyond_chance(make_guide(scene, world.features(POSE), ALL), at(POSE), 4.0, 1.0)
    row = np.arange(len(found.point))
    alike = replace(found, by_chance=np.zeros(0, np.int64))
    vars(alike)["expected"] = np.full(len(found.expected), 0.3)
    support = len(row) / 2
    assert alike.support(row < support) == pytest.approx(support, abs=1)
    assert alike.significance(row < support) == pytest.approx(alike.support(row < support) / alike.in_view**0.5)
    uneven = replace(alike)
    expected = np.full(len(found.expected), 0.2)
    expected[found.point[row < support]] = 0.8
    vars(uneven)["expected"] = expected
    assert uneven.support(row < support) == alike.support(row < support)
    assert uneven.significance(row < support) > alike.significance(row < support)
    assert uneven.significance(row >= support) < alike.significance(row >= support)


def test_what_is_found_by_chance_is_taken_off(world: ExactWorld, scene: Map):
    """Every point is found at one of the wrong places as well: half of what is found is chance, whatever its weight."""
    found = match_beyond_chance(make_guide(scene, world.features(POSE), ALL), at(POSE), 4.0, 1.0)
    every, clear = np.ones(len(found.point), bool), replace(found, by_chance=np.zeros(0, np.int64))
    halved = replace(found, by_chance=found.point)
    assert halved.support(every) == clear.support(every) / 2
    assert halved.significance(every) == pytest.approx(clear.significance(every) / 2)


def test_points_at_another_scale_support_no_pose(world: ExactWorld, scene: Map):
    """They may be found, and refine a pose; that it is right they do not tell."""
    query, estimate = world.features(POSE), PoseEstimate(POSE, np.ones(0, bool), None, CAMERA)
    guide = make_guide(scene, query, np.arange(len(scene)))
    settings, none = RefinementSettings(), no_pairs()
    near = refine._settled(guide, estimate, none, settings)
    far = refine._settled(replace(guide, distance=guide.distance * 4), estimate, none, settings)
    assert near.support > 100 and near.in_view > 100
    assert far.support <= 0 and far.in_view == 0 and far.estimate.num_inliers == near.estimate.num_inliers


def no_pairs() -> Correspondences:
    none, nothing = np.zeros(0, np.int64), np.zeros((0, 2))
    return Correspondences(none, none, nothing, np.zeros((0, 3)), none, none)


def test_too_few_say_nothing(world: ExactWorld, scene: Map):
    for number, expected in ((LEAST_PAIRS - 1, True), (LEAST_PAIRS, False)):
        guide = make_guide(scene, world.features(POSE).select(np.arange(number)), ALL)
        assert (match_beyond_chance(guide, at(POSE), 4.0, 1.0) is None) is expected


def test_radii_end_at_the_error_and_a_sure_pose_starts_closer():
    refinement = RefinementSettings(radius_px=24, max_error_px=4, sure_inliers=50)
    assert search_radii(10, refinement) == pytest.approx([24, 9.6, 4]) and search_radii(50, refinement) == [8, 4]
    assert search_radii(50, RefinementSettings(radius_px=3, max_error_px=4)) == [4]


def test_a_union_has_every_pair_once_with_the_votes_of_its_first():
    def pairs(keys: list[tuple[int, int]], image: int) -> Correspondences:
        k, p = np.array(keys).T
        n = np.arange(len(keys))
        quality = np.full(len(keys), float(image))
        return Correspondences(k, p, np.zeros((len(keys), 2)), np.zeros((len(keys), 3)), n, 0 * n + image, quality)

    both = union(pairs([(0, 5), (1, 2)], 1), pairs([(1, 2), (1, 5), (0, 5), (2, 0)], 2))
    assert list(zip(both.keypoint_index, both.point_index, strict=True)) == [(0, 5), (1, 2), (1, 5), (2, 0)]
    assert both.votes_by_image(np.array([True, True, False, True]), 3).tolist() == [0, 2, 1]
    assert both.votes_by_image(np.ones(4, bool), 3).tolist() == [0, 2, 2] and both.quality.tolist() == [1, 1, 2, 2]


def test_quality_grows_with_the_score_and_is_finite():
    quality = quality_of(np.array([0.5, 0.9, 1.0, 1.1], np.float32))
    assert (np.diff(quality)[:2] > 0).all() and np.isfinite(quality).all()


# ---- what the search makes of it


def test_a_pose_of_few_inliers_grows_to_that_of_all(world: ExactWorld, scene: Map):
    """A pose that is 20 px off with 8 inliers, among 1000 wrong keypoints."""
    query = crowded(world, 150, 1000, 0.9)
    moved = look_at(POSE.centre + [0.15, -0.05, 0.1], POSE.centre + [0.15, -0.1, 0.0] + 6 * POSE.R[2])
    n = np.arange(8)
    points = scene.points[world_points(world)[:8]]
    start = Correspondences(n, world_points(world)[:8], query.keypoints[:8].astype(float), points, n, 0 * n)
    estimate = PoseEstimate(moved, np.ones(8, bool), None, CAMERA)
    found = refine_with_frames(scene, query, estimate, start, RefinementSettings())
    assert pose_error(moved, POSE)[0] > 0.1
    assert pose_error(found.estimate.pose, POSE)[0] < 0.01 and 100 < found.support <= 175
    assert abs(found.in_view - len(world_points(world))) <= 3, "those that project into the image"
    assert found.significance == pytest.approx(found.support / found.in_view**0.5, rel=0.1), "all are seen by all"


def world_points(world: ExactWorld) -> np.ndarray:
    """The points of the keypoints of `world.features(POSE)`, in their order."""
    from tests.synthetic import visible

    return visible(CAMERA, POSE, world.points)[1]


def test_support_verifies_what_inliers_alone_do_not(world: ExactWorld):
    query = crowded(world, 30, 800, 0.9)
    by_inliers = Localizer(world.map()).localize_features(query, CAMERA)
    by_support = Localizer(world.map(), settings(verification={"min_support": 16})).localize_features(query, CAMERA)
    assert by_inliers.status is Status.WEAK and by_support.status is Status.REFINED
    assert pose_error(by_support.estimate.pose, POSE)[0] < 0.02 and by_support.counts["support"] >= 16
    assert by_support.counts["points_in_view"] > by_support.counts["support"]


def test_without_a_right_place_support_verifies_nothing(world: ExactWorld):
    localizer = Localizer(world.map(), settings(verification={"min_support": 16, "sure_significance": 4}))
    for seed in range(5):
        found = localizer.localize_features(crowded(world, 0, 1500, 0.9, seed), CAMERA)
        assert found.status in (Status.WEAK, Status.FAILED)


def test_limits_of_the_fallback_are_its_own():
    limits = VerificationSettings(min_inliers=100, min_pairs=100, fallback_inliers=50)
    ours, anyone = Candidates(("a",), (1.0,), "instance 3", instance=3), Candidates(("a",), (1.0,), "global")
    assert limits.of_step(ours) == limits
    assert (limits.of_step(anyone).min_inliers, limits.of_step(anyone).min_pairs) == (50, 50)
    assert VerificationSettings().of_step(anyone) == VerificationSettings()
