"""Queries of cameras that nobody measured: the focal length, and from many pairs the distortion, come with the pose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lbr.geometry.camera import MODELS, Camera, guess_camera
from lbr.geometry.pose import pose_error
from lbr.localization import pnp
from lbr.localization.intrinsics import LENS_PAIRS, free_intrinsics, is_plausible
from lbr.localization.pnp import PnpSettings, estimate_pose
from tests.geometry.test_camera import example
from tests.localization.test_pnp import POSE, seen

GUESS = guess_camera(640, 480)
LENS = Camera("SIMPLE_RADIAL", 640, 480, (560.0, 320.0, 240.0, -0.12))  # 24 px in the corners


def test_what_nobody_gave_is_free_and_the_lens_needs_many_pairs():
    assert free_intrinsics(GUESS, LENS_PAIRS - 1) == (0,) and free_intrinsics(GUESS, LENS_PAIRS) == (0, 3)
    assert free_intrinsics(replace(example("OPENCV"), source="exif"), 4) == (0, 1)
    assert free_intrinsics(replace(example("OPENCV"), source="exif"), 1000) == (0, 1, 4, 5, 6, 7)
    assert free_intrinsics(replace(example("PINHOLE"), source="guess"), 1000) == (0, 1)
    assert all(free_intrinsics(replace(LENS, source=source), 1000) == () for source in ("given", "map"))


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
def test_many_pairs_tell_the_lens(start: Camera, outliers: float):
    pairs, _ = seen(600, noise_px=0.5, outliers=outliers, camera=LENS)
    found = estimate_pose(pairs, start, PnpSettings(), seed=0)
    focal, _, _, k = found.camera.params
    assert focal == pytest.approx(560, rel=0.01) and k == pytest.approx(-0.12, abs=0.02)
    assert found.camera.source == start.source and found.camera.params[1:3] == start.params[1:3]
    metres, radians = pose_error(found.pose, POSE)
    assert metres < 0.05 and np.degrees(radians) < 0.2


def test_few_pairs_tell_the_focal_length_alone():
    pairs, _ = seen(LENS_PAIRS - 1, noise_px=0.5)
    assert estimate_pose(pairs, GUESS, PnpSettings(), seed=0).camera.params[3] == 0.0


def test_where_no_such_lens_comes_out_the_focal_length_is_estimated_alone(monkeypatch: pytest.MonkeyPatch):
    pairs, _ = seen(300, noise_px=0.5)
    monkeypatch.setattr(pnp, "is_plausible", lambda camera: camera.params[3] == 0)
    found = estimate_pose(pairs, GUESS, PnpSettings(), seed=0)
    assert found.camera.focal[0] == pytest.approx(600, rel=0.02) and found.camera.params[3] == 0
    monkeypatch.setattr(pnp, "is_plausible", lambda camera: False)
    assert estimate_pose(pairs, GUESS, PnpSettings(), seed=0) is None
