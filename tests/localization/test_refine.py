from dataclasses import replace

import numpy as np
import pytest

from lbr.geometry.pose import Pose, pose_error
from lbr.io.colmap import project
from lbr.io.colmap_arrays import ModelArrays
from lbr.localization.correspondences import lift
from lbr.localization.guided import guided_match, make_guide
from lbr.localization.pnp import PnpSettings, estimate_pose
from lbr.localization.refine import RefinementSettings, covisible_frames, looks_alike, near_frames, refine_with_frames
from lbr.mapping.map import Map, build_map
from lbr.matching.nearest import NearestSettings, match_descriptors
from lbr.types import Correspondences, LocalFeatures, PoseEstimate
from tests.synthetic import CAMERA, ExactWorld, arc_poses, between_views_deg, look_at, unit_rows, visible

QUERY_POSE = arc_poses(7)[2]


@pytest.fixture(scope="module")
def scene(world: ExactWorld) -> Map:
    return world.map()


def localized(
    scene: Map, query: LocalFeatures, images: list[int], seed: int = 0
) -> tuple[PoseEstimate, Correspondences]:
    settings = NearestSettings(ratio=0.8)
    matches = [match_descriptors(query.descriptors, scene.features(i).descriptors, settings) for i in images]
    pairs = lift(scene, query, images, matches)
    return estimate_pose(pairs, CAMERA, PnpSettings(), seed), pairs


def brute_force(
    scene: Map, query: LocalFeatures, frames: list[int], estimate: PoseEstimate, radius: float
) -> dict[tuple[int, int], float]:
    """(keypoint, point) -> cosine of the mutually most alike within the radius, point by point."""
    observations: dict[int, list[int]] = {}
    for frame in frames:
        for row in range(scene.offsets[frame], scene.offsets[frame + 1]):
            observations.setdefault(int(scene.point_index[row]), []).append(row)
    near: dict[tuple[int, int], float] = {}
    for point, rows in observations.items():
        xy = project(estimate.camera, estimate.pose, scene.points[point][None])[0]
        if np.isfinite(xy).all() and (xy >= 0).all() and (xy < estimate.camera.size).all():
            for keypoint in np.flatnonzero(np.linalg.norm(query.keypoints - xy, axis=1) <= radius):
                cosines = [float(query.descriptors[keypoint] @ scene.descriptors[r].astype(np.float32)) for r in rows]
                near[int(keypoint), point] = max(cosines)
    best_k: dict[int, float] = {}
    best_p: dict[int, float] = {}
    for (keypoint, point), cosine in near.items():
        best_k[keypoint] = max(best_k.get(keypoint, -1), cosine)
        best_p[point] = max(best_p.get(point, -1), cosine)
    return {(k, p): c for (k, p), c in near.items() if c >= best_k[k] - 1e-6 and c >= best_p[p] - 1e-6}


@pytest.mark.parametrize("radius", [0.5, 15.0, 60.0])
@pytest.mark.parametrize("frames", [[0], [4, 1, 2]])
def test_guided_matches_are_those_of_a_plain_loop(world: ExactWorld, scene: Map, radius: float, frames: list[int]):
    query = world.features(QUERY_POSE, noise_px=1.0)
    estimate, _ = localized(scene, query, [1, 2, 3])
    query = query.select(np.arange(0, len(query), 2))  # half of the points are left without their keypoint
    found, cosine = guided_match(make_guide(scene, query, np.array(frames)), estimate, radius)
    keys = list(zip(found.keypoint_index.tolist(), found.point_index.tolist(), strict=True))
    expected = brute_force(scene, query, frames, estimate, radius)
    assert set(keys) == set(expected) and len(keys) == len(expected) > 10
    np.testing.assert_allclose(cosine, [expected[key] for key in keys], atol=1e-5)
    np.testing.assert_array_equal(found.points2d, query.keypoints[found.keypoint_index])
    np.testing.assert_array_equal(found.points3d, scene.points[found.point_index])
    for k, (_, point) in enumerate(keys):
        seen_in = [f for f in frames if point in scene.point_index[scene.observations(f)]]
        assert sorted(found.vote_image[found.vote_pair == k].tolist()) == sorted(seen_in)


def test_nothing_in_view_gives_no_pairs(world: ExactWorld, scene: Map):
    query = world.features(QUERY_POSE)
    away = look_at(QUERY_POSE.centre, 2 * QUERY_POSE.centre)
    estimate = PoseEstimate(away, np.ones(4, bool), None, CAMERA)
    found, cosine = guided_match(make_guide(scene, query, np.array([0, 1])), estimate, 10.0)
    assert len(found) == 0 and len(cosine) == 0


def test_no_frames_give_no_pairs(world: ExactWorld, scene: Map):
    estimate = PoseEstimate(QUERY_POSE, np.ones(4, bool), None, CAMERA)
    found, _ = guided_match(make_guide(scene, world.features(QUERY_POSE), np.zeros(0, np.int64)), estimate, 10.0)
    assert len(found) == 0


def test_frames_are_the_supporting_and_those_that_share_most_with_them(scene: Map):
    estimate = PoseEstimate(QUERY_POSE, np.ones(4, bool), None, CAMERA)
    support = np.array([0, 30, 5, 0, 0])
    shared = scene.covisibility.toarray()
    score = support @ shared + support * np.diff(scene.offsets)
    expected = sorted(range(5), key=lambda i: (-score[i], i))
    settings = RefinementSettings(covisible_frames=3)
    assert covisible_frames(scene, support, estimate, settings).tolist() == expected[:3]
    assert covisible_frames(scene, np.zeros(5, int), estimate, settings).tolist() == []


def test_frames_that_look_elsewhere_are_left_out(scene: Map):
    estimate = PoseEstimate(scene.pose(0), np.ones(4, bool), None, CAMERA)
    angles = [between_views_deg(scene.pose(i), scene.pose(0)) for i in range(5)]
    limit = (angles[2] + angles[3]) / 2
    found = covisible_frames(scene, np.ones(5, int), estimate, RefinementSettings(max_angle_deg=limit))
    assert sorted(found.tolist()) == [i for i in range(5) if angles[i] <= limit] != [0, 1, 2, 3, 4]


def test_a_photograph_turned_about_its_axis_looks_the_same_way(scene: Map):
    rolled = Pose.from_quaternion([np.sqrt(0.5), 0, 0, np.sqrt(0.5)], [0, 0, 0]) @ scene.pose(0)
    assert looks_alike(scene, rolled, RefinementSettings(max_angle_deg=1.0)).tolist() == [True] + [False] * 4


def test_an_exact_pose_stays_exact(world: ExactWorld, scene: Map):
    query = world.features(QUERY_POSE)
    estimate, pairs = localized(scene, query, [1, 2])
    found = refine_with_frames(scene, query, estimate, pairs, RefinementSettings())
    assert max(pose_error(found.estimate.pose, QUERY_POSE)) < 1e-6
    assert found.estimate.num_inliers > 0.85 * len(query)


@pytest.fixture(scope="module")
def street() -> ExactWorld:
    """Cameras side by side along a long facade: the first shares only the left part of what the query sees."""
    rng = np.random.default_rng(0)
    poses = {
        f"db/{x}.png": look_at(np.array([x, 0.3 * (x % 4 - 2), -6.0]), np.array([x, 0, 0])) for x in range(-4, 6, 2)
    }
    points = rng.uniform([-8, -1.6, -1], [8, 1.6, 1], (500, 3))
    return ExactWorld(points, unit_rows(500, 32, rng), CAMERA, poses)


def errors_before_and_after(world: ExactWorld, pose: Pose, images: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Position errors of 30 noisy queries."""
    scene, errors = world.map(), []
    for seed in range(30):
        query = world.features(pose, noise_px=0.7, seed=seed)
        estimate, pairs = localized(scene, query, images, seed)
        found = refine_with_frames(scene, query, estimate, pairs, RefinementSettings())
        errors.append([pose_error(e.pose, pose)[0] for e in (estimate, found.estimate)])
    before, after = np.array(errors).T
    return before, after


def test_refinement_helps_when_other_frames_see_more(street: ExactWorld):
    before, after = errors_before_and_after(street, look_at(np.array([0.5, 0, -6.0]), np.array([0.5, 0, 0])), [0])
    assert np.mean(after) < 0.6 * np.mean(before) and np.mean(after < before) > 0.7


def test_refinement_does_not_worsen_what_was_complete(world: ExactWorld):
    """All points were matched before. Its narrower loss costs some efficiency on Gaussian noise, and no more."""
    before, after = errors_before_and_after(world, QUERY_POSE, [0, 1, 2, 3, 4])
    assert np.mean(after) < 1.3 * np.mean(before)


def test_a_pose_that_is_a_little_off_is_brought_back(world: ExactWorld, scene: Map):
    query = world.features(QUERY_POSE)
    _, pairs = localized(scene, query, [1, 2])
    moved = look_at(QUERY_POSE.centre + [0.02, -0.01, 0.02], QUERY_POSE.centre + 6 * QUERY_POSE.R[2])
    off = PoseEstimate(moved, np.ones(len(pairs), bool), None, CAMERA)
    assert pose_error(moved, QUERY_POSE)[0] > 0.02
    found = refine_with_frames(scene, query, off, pairs, RefinementSettings())
    assert max(pose_error(found.estimate.pose, QUERY_POSE)) < 1e-5


def test_too_few_pairs_leave_it_to_the_caller(world: ExactWorld, scene: Map):
    query = world.features(QUERY_POSE)
    estimate, pairs = localized(scene, query, [1, 2])
    assert refine_with_frames(scene, query.select(np.arange(3)), estimate, pairs, RefinementSettings()) is None


DRIFT = np.array([0.15, 0, 0])  # of what far frames saw, in metres


@pytest.fixture(scope="module")
def drifting() -> tuple[ExactWorld, Map]:
    return drifting_map(150, 14.0)[:2]


def drifting_map(num_far: int, away: float) -> tuple[ExactWorld, Map, np.ndarray]:
    """A map of poses that drift: frames from afar and the points that they alone see are off by DRIFT; those points."""
    rng = np.random.default_rng(0)
    ahead = np.array([0, 0, 6.0])
    poses = {f"db/far{i}.png": look_at(np.array([i - 1.0, 0, -away - i]), ahead) for i in range(3)}
    poses |= {f"db/near{i}.png": look_at(np.array([0.4 * i - 0.6, 0.1, 0]), ahead) for i in range(4)}
    points = rng.uniform([-1.5, -1, 5], [1.5, 1, 7], (480, 3))
    world = ExactWorld(points, unit_rows(480, 32, rng), CAMERA, poses)
    far, near, both = np.split(rng.permutation(480), [num_far, 450])
    seen = [np.r_[both, far if "far" in name else near] for name in poses]
    model = ModelArrays(
        tuple(poses), (CAMERA,) * 7, tuple(poses.values()), np.cumsum([0, *map(len, seen)]),
        np.concatenate([project(CAMERA, p, points[i]) for p, i in zip(poses.values(), seen, strict=True)]),
        np.concatenate(seen).astype(np.int32), points, np.zeros(480, np.float32),
    )  # fmt: skip
    exact = build_map(model, [world.descriptors[i] for i in seen], {})
    moved_points, moved_poses = exact.points.copy(), exact.poses.copy()
    moved_points[far] += DRIFT
    moved_poses[:3, :, 3] -= exact.poses[:3, :, :3] @ DRIFT
    return world, replace(exact, points=moved_points, poses=moved_poses), far


@pytest.mark.parametrize("images", [[0], [0, 1, 2]])
def test_a_pose_from_afar_is_refined_with_the_frames_near_it(drifting: tuple[ExactWorld, Map], images: list[int]):
    world, scene = drifting
    pose = look_at(np.array([0.2, 0, -0.2]), np.array([0.1, 0, 6.0]))
    query = world.features(pose, noise_px=0.3)
    estimate, pairs = localized(scene, query, images)
    off = [
        pose_error(refine_with_frames(scene, query, estimate, pairs, settings).estimate.pose, pose)[0]
        for settings in (RefinementSettings(near_frames=0), RefinementSettings())
    ]
    assert off[0] > 0.9 * np.linalg.norm(DRIFT) and off[1] < 0.01


def test_the_pose_near_frames_give_needs_not_have_more_support():
    """200 of 300 far points are found again, all 150 of the near ones; and 30 that both see."""
    world, scene, far = drifting_map(300, 4.0)
    pose = look_at(np.array([0.2, 0, -0.2]), np.array([0.1, 0, 6.0]))
    query, seen = world.features(pose, noise_px=0.3), visible(CAMERA, pose, world.points)[1]
    query = query.select(np.flatnonzero(~np.isin(seen, far[:100])))
    estimate, pairs = localized(scene, query, [0, 1, 2])
    alone = refine_with_frames(scene, query, estimate, pairs, RefinementSettings(near_frames=0))
    both = refine_with_frames(scene, query, estimate, pairs, RefinementSettings())
    assert both.support < alone.support and both.significance > alone.significance
    assert pose_error(alone.estimate.pose, pose)[0] > 0.9 * np.linalg.norm(DRIFT)
    assert pose_error(both.estimate.pose, pose)[0] < 0.01


def test_near_frames_are_asked_for_where_support_is_far(drifting: tuple[ExactWorld, Map]):
    _, scene = drifting
    estimate = PoseEstimate(look_at(np.array([0.2, 0, -0.2]), np.array([0.1, 0, 6.0])), np.ones(4, bool), None, CAMERA)
    settings = RefinementSettings(near_frames=2)
    distance = [np.linalg.norm(scene.pose(i).centre - estimate.pose.centre) for i in range(7)]
    far, near = np.eye(7, dtype=int)[0], np.eye(7, dtype=int)[5]
    assert near_frames(scene, far, estimate, settings).tolist() == np.argsort(distance)[:2].tolist()
    assert near_frames(scene, near, estimate, settings).tolist() == []
    assert near_frames(scene, 0 * far, estimate, settings).tolist() == []
