"""Queries of cameras that nobody measured: the focal length, and from many pairs the distortion, come with the pose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lbr.geometry.camera import MODELS, Camera, guess_camera
from lbr.geometry.pose import pose_error
from lbr.localization import pnp
from lbr.localization.covariance import intrinsics_covariance
from lbr.localization.intrinsics import change_with_intrinsics, is_cut, is_plausible, likely
from lbr.localization.pnp import LENS_PAIRS, PnpSettings, covariance_of_intrinsics, estimate_pose, refine_pose
from tests.geometry.test_camera import example
from tests.localization.test_pnp import POSE, seen

GUESS = guess_camera(640, 480)
LENS = Camera("SIMPLE_RADIAL", 640, 480, (560.0, 326.0, 235.0, -0.12))  # 24 px in the corners


def test_what_is_likely_of_a_camera():
    means, spreads = likely(replace(example("OPENCV"), source="exif"))
    width, height = example("OPENCV").size
    assert means.tolist() == [*example("OPENCV").params[:2], width / 2, height / 2, 0, 0, 0, 0]
    assert np.isinf(spreads[:2]).all() and spreads[2] == spreads[3] == 0.01 * max(width, height)
    assert (spreads[4:] == 0.1).all()


def test_changes_with_intrinsics_are_what_the_projection_does():
    """Of SIMPLE_RADIAL: u (1 + k r^2), 1, f u r^2."""
    local = np.array([[0.5, -0.2, 2.0], [-1.0, 0.7, 3.0]])
    u, k, f = local[:, :2] / local[:, 2:], LENS.params[3], LENS.params[0]
    r2 = (u**2).sum(axis=1, keepdims=True)
    expected = np.stack([u * (1 + k * r2), np.tile([1.0, 0], (2, 1)), np.tile([0.0, 1], (2, 1)), f * u * r2], axis=2)
    np.testing.assert_allclose(change_with_intrinsics(LENS, local), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_cameras_that_there_are_are_plausible(model: str):
    assert is_plausible(example(model))


@pytest.mark.parametrize("wrong", [{"params": (60.0, 320, 240, 0)}, {"params": (7000.0, 320, 240, 0)}], ids=str)
def test_focal_lengths_that_no_lens_has_are_not(wrong: dict):
    assert not is_plausible(replace(GUESS, **wrong))


def test_a_lens_that_folds_the_photograph_is_not():
    """Out to the corner, 0.71 focal lengths off the axis, r (1 + k r^2) must grow: 1 + 3 k r^2 > 0, so k > -0.65."""
    assert is_plausible(replace(LENS, params=(*LENS.params[:3], -0.45)))
    assert not is_plausible(replace(LENS, params=(*LENS.params[:3], -0.7)))


@pytest.mark.parametrize("start", [GUESS, guess_camera(640, 480, 590.0)], ids=["guess", "exif"])
@pytest.mark.parametrize("outliers", [0.0, 0.4])
def test_many_pairs_tell_the_lens_and_its_axis(start: Camera, outliers: float):
    pairs, _ = seen(600, noise_px=0.3, outliers=outliers, camera=LENS)
    first = estimate_pose(pairs, start, PnpSettings(), seed=0)
    found = refine_pose(pairs, first.inliers, first.pose, first.camera, loss_scale_px=0.3)
    focal, cx, cy, k = found.camera.params
    assert focal == pytest.approx(560, rel=0.01) and k == pytest.approx(-0.12, abs=0.02)
    assert (cx, cy) == pytest.approx(LENS.params[1:3], abs=2) and found.camera.source == start.source
    metres, radians = pose_error(found.pose, POSE)
    assert metres < 0.05 and np.degrees(radians) < 0.3


@pytest.mark.parametrize("outliers", [0.0, 0.4])
def test_a_photograph_that_was_cut_out_of_a_larger_one(outliers: float):
    """Its principal point is 120 and 70 pixels from the middle: left there, the camera would be off by decimetres."""
    lens = replace(LENS, params=(560.0, 200.0, 170.0, 0.0))
    pairs, _ = seen(600, noise_px=0.5, outliers=outliers, camera=lens)
    first = estimate_pose(pairs, GUESS, PnpSettings(), seed=0)
    found = refine_pose(pairs, first.inliers, first.pose, first.camera, loss_scale_px=0.5)
    assert is_cut(found.camera) and not is_cut(GUESS) and not is_cut(LENS)
    assert found.camera.focal[0] == pytest.approx(560, rel=0.02)
    assert found.camera.principal_point == pytest.approx((200, 170), abs=8)
    assert pose_error(found.pose, POSE)[0] < 0.1
    assert likely(found.camera)[1][1] == 0.2 * 640, "and so it is in the covariance"


def test_the_covariance_of_a_lens_is_that_which_the_pose_was_estimated_with():
    """At the scale of the loss that was minimised; at another it says something else."""
    pairs, _ = seen(600, noise_px=0.3, camera=LENS)
    first = estimate_pose(pairs, GUESS, PnpSettings(), seed=0)
    found = refine_pose(pairs, first.inliers, first.pose, first.camera, loss_scale_px=0.3)
    xy, xyz = pairs.points2d[found.inliers], pairs.points3d[found.inliers]
    at, wide = (intrinsics_covariance(found.camera, found.pose, xy, xyz, scale) for scale in (0.3, 1.0))
    stated = covariance_of_intrinsics(found, pairs)
    np.testing.assert_array_equal(stated, at)
    assert not np.allclose(stated, wide, rtol=0.05)


def test_few_pairs_leave_the_lens_where_lenses_are():
    pairs, _ = seen(20, noise_px=1.0, camera=LENS)
    _, cx, cy, k = estimate_pose(pairs, GUESS, PnpSettings(), seed=0).camera.params
    assert abs(cx - 320) < 2 and abs(cy - 240) < 2 and abs(k) < 0.1


def test_on_the_way_few_pairs_tell_the_focal_length_alone():
    pairs, _ = seen(LENS_PAIRS - 1, noise_px=0.5)
    found = estimate_pose(pairs, GUESS, PnpSettings(), seed=0, with_covariance=False)
    assert found.camera.params[1:] == GUESS.params[1:] and found.camera.focal != GUESS.focal
    more, _ = seen(LENS_PAIRS, noise_px=0.5)
    assert estimate_pose(more, GUESS, PnpSettings(), seed=0, with_covariance=False).camera.params[3] != 0


def test_where_no_such_lens_comes_out_the_focal_length_is_estimated_alone(monkeypatch: pytest.MonkeyPatch):
    pairs, _ = seen(300, noise_px=0.5)
    monkeypatch.setattr(pnp, "is_plausible", lambda camera: camera.params[3] == 0)
    found = estimate_pose(pairs, GUESS, PnpSettings(), seed=0, with_covariance=False)
    assert found.camera.focal[0] == pytest.approx(600, rel=0.02) and found.camera.params[3] == 0
    monkeypatch.setattr(pnp, "is_plausible", lambda camera: False)
    assert estimate_pose(pairs, GUESS, PnpSettings(), seed=0) is None
