"""Structure from motion from exact projections and false matches: what its last steps make better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pycolmap
import pytest

from lbr.errors import DataError
from lbr.geometry.camera import Camera, guess_camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import posed_cameras
from lbr.mapping import refinement
from lbr.mapping.sfm import SfmSettings, structure_from_motion
from tests.synthetic import arc_poses, box_points, similarity, visible

TRUE = Camera("OPENCV", 640, 480, (600.0, 606.0, 328.0, 234.0, -0.03, 0.01, 0.0, 0.0))
SQUARE = Camera("SIMPLE_RADIAL", 640, 480, (600.0, 328.0, 234.0, -0.03))
NAMES = [f"{i:02d}.png" for i in range(10)]


def turned(poses: list[Pose]) -> list[Pose]:
    """The same views held at different angles: upright ones alone cannot tell a principal point."""
    angles = np.radians(np.random.default_rng(2).uniform(-60, 60, len(poses)))
    rolls = [np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) for a in angles]
    return [Pose(roll @ pose.R, roll @ pose.t) for roll, pose in zip(rolls, poses, strict=True)]


def photographed(camera: Camera) -> tuple[list[Pose], dict, dict]:
    """Poses, keypoints (0.2 px of noise) and matches, one in twenty of them false, of 250 points in 10 views."""
    rng, poses, points = np.random.default_rng(0), turned(arc_poses(10, 9.0)), box_points(250)
    seen = dict(zip(NAMES, (visible(camera, pose, points) for pose in poses), strict=True))
    keypoints = {n: (xy + rng.normal(size=xy.shape) * 0.2).astype(np.float32) for n, (xy, _) in seen.items()}
    matches = {}
    for i, a in enumerate(NAMES):
        for b in NAMES[i + 1 :]:
            _, in_a, in_b = np.intersect1d(seen[a][1], seen[b][1], return_indices=True)
            wrong = rng.random(len(in_b)) < 0.05
            in_b[wrong] = rng.permutation(in_b[wrong])
            matches[a, b] = np.stack([in_a, in_b], axis=1)
    return poses, keypoints, matches


@pytest.fixture(scope="module")
def world() -> tuple[list[Pose], dict, dict]:
    return photographed(TRUE)


def run(world: tuple, camera: Camera, **refinement: float) -> tuple[Camera, float]:
    """The camera found, and the greatest distance of a camera centre from its truth, metres."""
    poses, keypoints, matches = world
    settings = SfmSettings.model_validate({"refinement": refinement})
    (model,) = structure_from_motion(dict.fromkeys(NAMES, camera), keypoints, matches, settings).models
    cameras, found = posed_cameras(model)
    assert set(found) == set(NAMES) and len(set(cameras.values())) == 1
    centres, truth = (np.stack([pose.centre for pose in some]) for some in (found.values(), poses))
    scale, R, t = similarity(centres, truth)
    return cameras[NAMES[0]], float(np.linalg.norm(scale * centres @ R.T + t - truth, axis=1).max())


def test_intrinsics_come_from_the_photographs_and_poses_are_better_for_it(world: tuple):
    guess = guess_camera(640, 480)
    plain, before = run(world, guess, rounds=0)
    camera, after = run(world, guess)
    assert plain.model == "SIMPLE_RADIAL" and plain.params[1:3] == (320, 240)
    assert camera.model == "OPENCV"
    np.testing.assert_allclose(camera.params[:2], TRUE.params[:2], rtol=0.01)
    np.testing.assert_allclose(camera.params[2:4], TRUE.params[2:4], atol=4)
    assert after < 0.02 and after < before / 2


def test_few_photographs_keep_their_camera_model_and_some_more_tell_its_axis():
    world, few = photographed(SQUARE), {"min_camera_images": 11}
    middle, before = run(world, guess_camera(640, 480), **few, min_axis_images=11)
    camera, after = run(world, guess_camera(640, 480), **few)
    assert middle.model == camera.model == "SIMPLE_RADIAL" and middle.params[1:3] == (320, 240)
    np.testing.assert_allclose(camera.params[:3], SQUARE.params[:3], atol=3)
    assert after < 0.02 and after < before / 2


def test_given_intrinsics_stay_beside_others_that_are_refined(world: tuple):
    _, keypoints, matches = world
    cameras = {name: TRUE if i % 2 else guess_camera(640, 480) for i, name in enumerate(NAMES)}
    (model,) = structure_from_motion(cameras, keypoints, matches, SfmSettings()).models
    found, _ = posed_cameras(model)
    assert all(found[name].params == TRUE.params for name in NAMES[1::2])
    assert found[NAMES[0]].focal[0] == pytest.approx(600, rel=0.02)


def test_given_intrinsics_stay(world: tuple):
    camera, error = run(world, TRUE)
    assert camera.params == pytest.approx(TRUE.params, abs=1e-12) and camera.model == "OPENCV"
    assert error < 0.01


def running_off(when: Callable[[set[int], set[int]], bool]) -> Callable:
    """The bundle adjustment, after which principal points lie beside the photograph, when of (given, free) cameras."""
    adjust = refinement._adjust

    def beside(model: pycolmap.Reconstruction, given: set[int], free: set[int], loss_scale_px: float) -> None:
        adjust(model, given, free, loss_scale_px)
        for camera in model.cameras.values():
            if when(given, free):
                params = camera.params.copy()
                params[camera.principal_point_idxs()] = [-5, 100]
                camera.params = params

    return beside


@pytest.mark.parametrize(
    "when", [lambda _, free: bool(free), lambda given, _: not given], ids=["principal points", "all intrinsics"]
)
def test_intrinsics_that_run_off_stay_where_they_were(world: tuple, monkeypatch: pytest.MonkeyPatch, when: Callable):
    _, keypoints, matches = world
    monkeypatch.setattr(refinement, "_adjust", running_off(when))
    guess = guess_camera(640, 480)
    motion = structure_from_motion(dict.fromkeys(NAMES, guess), keypoints, matches, SfmSettings())
    (model,) = motion.models
    (camera,) = set(posed_cameras(model)[0].values())
    assert camera.model == "SIMPLE_RADIAL" and camera.params[1:3] == (320, 240)
    assert (camera.params[0] == guess.params[0]) == when(set(), set())
    assert model.num_points3D() > 200 and motion.held == 1 and not motion.unsettled


def test_a_model_without_points_by_any_intrinsics_is_left_out_and_said(world: tuple, monkeypatch: pytest.MonkeyPatch):
    _, keypoints, matches = world
    monkeypatch.setattr(refinement, "_adjust", running_off(lambda *_: True))
    with pytest.raises(DataError, match="intrinsics found for 10 images are no camera's"):
        structure_from_motion(dict.fromkeys(NAMES, guess_camera(640, 480)), keypoints, matches, SfmSettings())
