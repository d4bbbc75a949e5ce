"""Three cameras of one moment as one query."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lbr.datasets.robotcar import read_rig
from lbr.geometry.pose import Pose, pose_error
from lbr.io.text_lists import Problem
from lbr.localization import guided
from lbr.localization.covariance import CELLS, COMMON, covariance_in_camera
from lbr.localization.localizer import Localizer
from lbr.localization.pnp import PnpSettings, RigPairs, estimate_rig_pose, refine_rig_pose
from lbr.localization.rig import View, localize_rig, nearest_frames
from lbr.pipeline.workers import group_moments
from lbr.types import Candidates, LocalFeatures, Localization, Query, RigPlace, Status
from tests.localization.test_localizer import settings
from tests.synthetic import CAMERA, ExactWorld, box_points, look_at, visible

RIG_POSE = look_at(np.array([0.4, 0.1, -6.2]), np.array([0.0, 0.1, 0.0]))  # rig_from_world
SIDES = {
    "left": Pose.from_quaternion([0.995, 0, 0.1, 0], [0.5, 0.0, 0.1]),
    "rear": Pose.from_quaternion([1, 0, 0.0, 0.02], [0.0, 0.2, -0.1]),
    "right": Pose.from_quaternion([0.995, 0, -0.1, 0], [-0.5, 0.1, 0.0]),
}
CAMERA_POSES = {side: cam_from_rig @ RIG_POSE for side, cam_from_rig in SIDES.items()}


def views(world: ExactWorld, noise_px: float = 0.0, seed: int = 0, parts: dict[str, slice] | None = None) -> list[View]:
    made = []
    for number, (side, cam_from_rig) in enumerate(SIDES.items()):
        features = world.features(CAMERA_POSES[side], noise_px, 10 * seed + number)
        if parts is not None:
            features = features.select(np.arange(len(features))[parts[side]])
        made.append(View(side, features, CAMERA, cam_from_rig))
    return made


def errors(found: dict[str, Localization]) -> list[float]:
    return [max(pose_error(found[side].estimate.pose, CAMERA_POSES[side])) for side in found]


def rig_pairs(noise_px: float, outliers: float, seed: int = 0) -> tuple[RigPairs, np.ndarray]:
    rng, points = np.random.default_rng(seed), box_points(150, seed)
    parts = [visible(CAMERA, pose, points) for pose in CAMERA_POSES.values()]
    xy = np.concatenate([p for p, _ in parts])
    right = rng.random(len(xy)) >= outliers
    xy = xy + rng.normal(size=xy.shape) * noise_px
    xy[~right] = rng.uniform(0, CAMERA.size, (int((~right).sum()), 2))
    view = np.repeat(np.arange(3), [len(i) for _, i in parts])
    pairs = RigPairs(xy, points[np.concatenate([i for _, i in parts])], view, (CAMERA,) * 3, tuple(SIDES.values()))
    return pairs, right


def test_exact_pairs_give_the_exact_pose_of_the_rig():
    pairs, _ = rig_pairs(0.0, 0.0)
    pose, inliers = estimate_rig_pose(pairs, PnpSettings(), 0)
    pose, _ = refine_rig_pose(pairs, inliers, pose)
    assert max(pose_error(pose, RIG_POSE)) < 1e-6 and inliers.all()
    assert pairs.errors(RIG_POSE).max() < 1e-6


def test_noise_and_outliers_in_every_camera():
    pairs, right = rig_pairs(1.0, 0.6)
    pose, inliers = estimate_rig_pose(pairs, PnpSettings(max_error_px=6), 0)
    pose, _ = refine_rig_pose(pairs, inliers, pose)
    assert pose_error(pose, RIG_POSE)[0] < 0.02 and np.degrees(pose_error(pose, RIG_POSE)[1]) < 0.2
    assert inliers[right].mean() > 0.98 and inliers[~right].mean() < 0.05


def test_the_covariance_is_that_of_many_draws():
    """Of the rig, and, turned, of its cameras; wide loss, so that it is that of least squares. Of every cell of every
    camera the errors have COMMON of the usual one, sqrt(2 log 2) standard deviations, in common."""
    drawn, said = [], []
    for seed in range(60):
        pairs, right = rig_pairs(0.5, 0.0)
        rng, (clean, _) = np.random.default_rng(seed), rig_pairs(0.0, 0.0)
        column, row = (clean.points2d * CELLS // max(CAMERA.size)).astype(int).T
        shift = rng.normal(size=(len(SIDES), CELLS, CELLS, 2))[clean.view, row, column]
        noise = 0.5 * (rng.normal(size=clean.points2d.shape) + COMMON * np.sqrt(2 * np.log(2)) * shift)
        noisy = RigPairs(clean.points2d + noise, clean.points3d, clean.view, clean.cameras, clean.cams_from_rig)
        pose, covariance = refine_rig_pose(noisy, right, RIG_POSE, 20.0)
        drawn.append((SIDES["left"] @ pose).t - CAMERA_POSES["left"].t)
        said.append(covariance_in_camera(covariance, SIDES["left"])[3:, 3:])
    ratio = np.std(drawn, axis=0) / np.sqrt(np.diag(np.mean(said, axis=0)))
    assert (ratio > 0.7).all() and (ratio < 1.4).all()


def test_all_three_cameras_are_exact(world: ExactWorld):
    found = localize_rig(Localizer(world.map()), views(world))
    assert list(found) == ["left", "rear", "right"] and max(errors(found)) < 1e-5
    assert all(one.status is Status.REFINED for one in found.values())
    assert "of 3 cameras" in found["left"].reason and found["rear"].counts["cameras"] == 3
    assert found["left"].counts["inliers"] == sum(one.counts["inliers_here"] for one in found.values())
    names = world.map().names
    assert all(one.place == 0 and one.reference in names for one in found.values()), "also of one placed by another"


def test_each_camera_has_the_covariance_of_the_rig_turned_to_it(world: ExactWorld):
    found = localize_rig(Localizer(world.map()), views(world, 1.0))
    turn = np.kron(np.eye(2), (SIDES["right"] @ SIDES["left"].inverse()).R)
    left, right = (found[side].estimate.covariance for side in ("left", "right"))
    np.testing.assert_allclose(right, turn @ left @ turn.T, rtol=1e-6)


def test_once_a_camera_is_verified_the_others_are_not_searched_for(world: ExactWorld):
    found = localize_rig(Localizer(world.map()), views(world))
    assert len(found["left"].tried) == 5 and found["rear"].tried == found["right"].tried == ()


def test_cameras_that_are_weak_alone_are_refined_together(world: ExactWorld):
    """18 keypoints in each, where a single camera needs 40."""
    parts = {"left": slice(0, 18), "rear": slice(40, 58), "right": slice(80, 98)}
    localizer = Localizer(world.map())
    alone = [localizer.localize_features(v.features, CAMERA, v.name) for v in views(world, parts=parts)]
    assert all(one.status is Status.WEAK for one in alone)
    found = localize_rig(localizer, views(world, parts=parts))
    assert all(one.status is Status.REFINED for one in found.values()) and max(errors(found)) < 1e-5


def test_the_support_of_all_cameras_together_verifies_a_rig(world: ExactWorld):
    """13 keypoints in each, where 16 are wanted."""
    parts = {"left": slice(0, 13), "rear": slice(40, 53), "right": slice(80, 93)}
    localizer = Localizer(world.map(), settings(verification={"min_support": 16}))
    found = localize_rig(localizer, views(world, parts=parts))
    assert all(one.status is Status.REFINED for one in found.values())


def test_a_rig_is_more_accurate_than_its_cameras(world: ExactWorld):
    localizer, alone, together = Localizer(world.map()), [], []
    for seed in range(8):
        noisy = views(world, 1.0, seed)
        alone += [
            pose_error(localizer.localize_features(v.features, CAMERA, v.name).estimate.pose, CAMERA_POSES[v.name])[0]
            for v in noisy
        ]
        found = localize_rig(localizer, noisy)
        together += [pose_error(found[s].estimate.pose, CAMERA_POSES[s])[0] for s in found]
    assert np.mean(together) < 0.8 * np.mean(alone) and max(together) < 0.02


def test_a_camera_that_is_missing_is_said_and_the_others_do_without(world: ExactWorld):
    found = localize_rig(Localizer(world.map()), views(world)[:2], ["no photograph of the camera 'right'"])
    assert set(found) == {"left", "rear"} and max(errors(found)) < 1e-5
    assert all("no photograph of the camera 'right'" in one.notes for one in found.values())


def test_a_camera_that_cannot_be_used_fails_alone(world: ExactWorld):
    given = views(world)
    given[1] = View("rear", given[1].features.select(np.zeros(0, int)), CAMERA, SIDES["rear"])
    found = localize_rig(Localizer(world.map()), given)
    assert found["rear"].status is Status.FAILED and found["rear"].reason == "no keypoints in the image"
    assert found["left"].status is Status.REFINED and any("rear could not be used" in n for n in found["left"].notes)


@pytest.mark.parametrize("doubted, status", [(("left",), Status.REFINED), (tuple(SIDES), Status.WEAK)])
def test_a_camera_in_doubt_does_not_place_the_others(world: ExactWorld, doubted: tuple[str, ...], status: Status):
    """Found without instances, at db images that show nothing of what was recognised: the next camera is asked."""
    scene, given = world.map(), []
    for view in views(world):
        shown = (0.02 if view.name in doubted else 0.8,) * len(scene)
        given.append(replace(view, candidates=Candidates(scene.names, (0.0,) * len(scene), "global", shown=shown)))
    found = localize_rig(Localizer(scene), given)
    assert len(found["rear"].tried) == 5 and max(errors(found)) < 1e-5
    for one in found.values():
        assert one.status is status
        assert ("where 2 % of what was recognised is shown" in one.reason) == (status is Status.WEAK)


@pytest.mark.parametrize("scales, status", [(guided.SCALES, Status.REFINED), (1.0, Status.WEAK)])
def test_points_at_another_scale_support_no_rig(
    world: ExactWorld, scales: float, status: Status, monkeypatch: pytest.MonkeyPatch
):
    """Of none of the points was the distance just the same; they are found, and say nothing."""
    monkeypatch.setattr(guided, "SCALES", scales)
    given = [replace(view, candidates=None) for view in views(world)]
    found = localize_rig(Localizer(world.map(), settings(verification={"min_support": 16})), given)
    for one in found.values():
        assert one.status is status and one.counts["inliers"] > 100
        assert (one.counts["support"] > 100) == (status is Status.REFINED) and one.counts["support"] >= -30


def test_nothing_to_see_fails_in_all_cameras(world: ExactWorld):
    rng, given = np.random.default_rng(0), []
    for view in views(world):
        f = view.features
        away = LocalFeatures(f.keypoints, f.scores, rng.permutation(f.descriptors, axis=1), f.image_size)
        given.append(View(view.name, away, CAMERA, view.cam_from_rig))
    found = localize_rig(Localizer(world.map(), settings(verification={"min_support": 16})), given)
    assert all(one.status in (Status.FAILED, Status.WEAK) for one in found.values())


# ---- the dataset's side


def test_extrinsics_are_read_as_camera_to_vehicle(tmp_path: Path):
    (tmp_path / "extrinsics").mkdir()
    matrix = np.vstack([SIDES["left"].inverse().matrix, [0, 0, 0, 1]])
    np.savetxt(tmp_path / "extrinsics/left_extrinsics.txt", matrix, fmt="%.17g")
    (tmp_path / "extrinsics/rear_extrinsics.txt").write_text("1 2 3")
    problems: list[Problem] = []
    rig = read_rig(tmp_path, ("left", "rear", "right"), problems)
    assert set(rig) == {"left"} and max(pose_error(rig["left"], SIDES["left"])) < 1e-9
    assert len(problems) == 2 and all("stands in no rig" in p.why and "\n" not in p.why for p in problems)


def test_queries_are_grouped_by_moment_and_missing_sides_named():
    def query(moment: str, side: str, **place: Any) -> Query:
        return Query(f"{side}/{moment}", None, "all", RigPlace(moment, side, SIDES[side]))

    queries = (query("1", "left"), query("1", "rear"), query("2", "rear"), Query("lonely.jpg"))
    moments = group_moments(queries)
    assert [len(m.queries) for m in moments.values()] == [2, 1, 1]
    assert moments["2"].missing == ("left",) and moments["1"].missing == () and moments["lonely.jpg"].missing == ()


@pytest.mark.parametrize("side", SIDES)
def test_one_camera_is_a_rig_too(world: ExactWorld, side: str):
    only = [view for view in views(world) if view.name == side]
    found = localize_rig(Localizer(world.map()), only)
    assert found[side].status is Status.REFINED and max(errors(found)) < 1e-5


def test_frames_near_a_pose_are_of_its_place_alone(world: ExactWorld):
    """Those of another place may stand at the same spot of another frame."""
    scene, limits = world.map(), settings().refinement
    apart = replace(scene, place=(np.arange(len(scene)) % 2).astype(np.int32))
    for place in (0, 1):
        near = nearest_frames(apart, place, scene.pose(0), limits)
        assert len(near) and set(apart.place[near].tolist()) == {place}
    assert nearest_frames(scene, 0, scene.pose(0), limits)[0] == 0
