"""The covariance of a pose, against the scatter of 200 poses from pairs with known noise."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from lbr.geometry.camera import guess_camera
from lbr.localization.covariance import CELLS, COMMON, pose_covariance
from lbr.localization.intrinsics import likely
from lbr.localization.pnp import PnpSettings, estimate_pose, refine_pose
from lbr.localization.refine import RefinementSettings
from lbr.types import Correspondences, PoseEstimate
from tests.localization.test_pnp import POSE, seen
from tests.synthetic import CAMERA

DRAWS, PAIRS = 200, 300
TRUE, _ = seen(PAIRS)
UNKNOWN = guess_camera(*CAMERA.size, 1.05 * CAMERA.focal[0])


def noisy(noise_px: float, seed: int) -> Correspondences:
    xy = TRUE.points2d + np.random.default_rng(seed).normal(size=TRUE.points2d.shape) * noise_px
    return Correspondences(
        TRUE.keypoint_index, TRUE.point_index, xy, TRUE.points3d, TRUE.vote_pair, TRUE.vote_image
    )  # fmt: skip


def stated(found: PoseEstimate, pairs: Correspondences, loss_scale_px: float, common: float) -> PoseEstimate:
    """The same pose, with the covariance that so much in common gives; 0: every pair errs for itself."""
    xy, xyz = pairs.points2d[found.inliers], pairs.points3d[found.inliers]
    return replace(found, covariance=pose_covariance(found.camera, found.pose, xy, xyz, loss_scale_px, common))


def by_ransac(pairs: Correspondences, seed: int) -> PoseEstimate:
    return stated(estimate_pose(pairs, CAMERA, PnpSettings(engine="pycolmap"), seed), pairs, 1.0, 0)


def by_poselib(pairs: Correspondences, seed: int) -> PoseEstimate:
    return stated(estimate_pose(pairs, CAMERA, PnpSettings(engine="poselib"), seed), pairs, 1.0, 0)


def as_the_localizer_refines(pairs: Correspondences, seed: int) -> PoseEstimate:
    scale = RefinementSettings().loss_scale_px
    return stated(refine_pose(pairs, np.ones(PAIRS, bool), POSE, CAMERA, scale), pairs, scale, 0)


def error(estimate: PoseEstimate) -> np.ndarray:
    """(w, v) with R' = exp([w]x) R, t' = t + v."""
    return np.r_[Rotation.from_matrix(estimate.pose.R @ POSE.R.T).as_rotvec(), estimate.pose.t - POSE.t]


@cache
def draws(estimate: Callable, noise_px: float) -> list[PoseEstimate]:
    return [estimate(noisy(noise_px, seed), seed) for seed in range(DRAWS)]


@pytest.mark.parametrize(
    "estimate, noise_px",
    [
        (by_ransac, 0.2),
        (by_ransac, 1.0),
        (by_poselib, 1.0),
        (as_the_localizer_refines, 0.2),
        (as_the_localizer_refines, 0.7),
    ],
)
def test_normalised_errors_are_chi_squared(estimate: Callable, noise_px: float):
    """Mean of e' C^-1 e within the 99.98 % bounds of its distribution (6 numbers of the pose, 3 of the position)."""
    found = draws(estimate, noise_px)
    pose = [error(e) @ np.linalg.solve(e.covariance, error(e)) for e in found]
    moved = [e.pose.centre - POSE.centre for e in found]
    place = [m @ np.linalg.solve(e.position_covariance, m) for e, m in zip(found, moved, strict=True)]
    for squares, freedom in ((pose, 6), (place, 3)):
        low, high = chi2.ppf([1e-4, 1 - 1e-4], DRAWS * freedom) / (DRAWS * freedom)
        assert low < np.mean(squares) / freedom < high


def test_what_unknown_intrinsics_leave_open_is_in_the_covariance():
    """Cameras drawn as they are likely to be. Errors in common are not in these pairs, but weighed as if they were:
    normalised squared errors of 1 or a little less; with the intrinsics as if known they would be many times that."""
    squares, as_known = [], []
    middle, spreads = likely(UNKNOWN)
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        drawn = np.where(np.isfinite(spreads), middle + spreads * rng.normal(size=4), CAMERA.focal[0])
        pairs, _ = seen(PAIRS, 0.7, camera=replace(CAMERA, params=tuple(drawn)), seed=seed)
        e = refine_pose(pairs, np.ones(PAIRS, bool), POSE, UNKNOWN)
        known = replace(e, camera=replace(e.camera, source="given"))
        for covariance, found in ((e.covariance, squares), (stated(known, pairs, 1.0, COMMON).covariance, as_known)):
            found.append(error(e) @ np.linalg.solve(covariance, error(e)) / 6)
    assert 0.6 < np.mean(squares) < 1.15 and np.mean(as_known) > 5


def test_a_focal_length_that_nobody_gave_makes_the_place_less_certain():
    pairs = noisy(0.5, 0)
    known, unknown = (refine_pose(pairs, np.ones(PAIRS, bool), POSE, camera) for camera in (CAMERA, UNKNOWN))
    assert unknown.position_std > 2 * known.position_std


@pytest.mark.parametrize("noise_px", [0.2, 1.0])
def test_deviations_are_those_of_the_scatter(noise_px: float):
    found = draws(by_ransac, noise_px)
    scatter = np.sqrt(np.mean([np.sum((e.pose.centre - POSE.centre) ** 2) for e in found]))
    assert np.median([e.position_std for e in found]) == pytest.approx(scatter, rel=0.15)
    turned = np.sqrt(np.mean([np.sum(error(e)[:3] ** 2) for e in found]))
    assert np.median([e.rotation_std for e in found]) == pytest.approx(turned, rel=0.15)


def test_twice_the_noise_is_twice_the_deviation():
    small, large = (by_ransac(noisy(noise, 0), 0).position_std for noise in (0.05, 0.1))
    assert large / small == pytest.approx(2, rel=0.05)


def with_common_errors(noise_px: float, seed: int) -> Correspondences:
    """Every keypoint errs for itself, and those of a cell together, by COMMON of the usual error more."""
    pairs, rng = noisy(noise_px, seed), np.random.default_rng([seed, 1])
    usual = noise_px * np.sqrt(chi2.ppf(0.5, 2))
    shift = rng.normal(size=(CELLS, CELLS, 2)) * COMMON * usual
    column, row = (TRUE.points2d * CELLS // max(CAMERA.size)).astype(int).T
    return replace(pairs, points2d=pairs.points2d + shift[row, column])


def test_errors_in_common_are_in_the_covariance():
    """Normalised squared errors of 1, or a little less, as what is in common is in the pairs' own errors as well; a
    covariance of pairs that err for themselves would tell three times too little."""
    squares = {COMMON: [], 0: []}
    for seed in range(DRAWS):
        pairs = with_common_errors(0.7, seed)
        pose = refine_pose(pairs, np.ones(PAIRS, bool), POSE, CAMERA, 2.0)
        for common, found in squares.items():
            e = stated(pose, pairs, 2.0, common)
            found.append(error(e) @ np.linalg.solve(e.covariance, error(e)) / 6)
    high = chi2.ppf(1 - 1e-4, DRAWS * 6) / (DRAWS * 6)
    assert 0.65 < np.mean(squares[COMMON]) < high
    assert np.mean(squares[0]) > 3


def test_a_refined_pose_states_errors_in_common():
    pairs = noisy(0.7, 0)
    pose = refine_pose(pairs, np.ones(PAIRS, bool), POSE, CAMERA, 2.0)
    np.testing.assert_allclose(pose.covariance, stated(pose, pairs, 2.0, COMMON).covariance)


def test_pairs_said_four_times_are_four_times_as_sure_but_for_the_six_numbers_of_the_pose():
    few = noisy(0.5, 0).select(np.arange(PAIRS) < 10)
    xy, xyz = few.points2d, few.points3d
    once, four = (pose_covariance(CAMERA, POSE, np.tile(xy, (k, 1)), np.tile(xyz, (k, 1)), 1.0, 0) for k in (1, 4))
    np.testing.assert_allclose(once * (20 - 6) / 20, 4 * four * (80 - 6) / 80, rtol=1e-6)


def test_errors_in_common_only_add():
    pairs = noisy(0.7, 0)
    pose = refine_pose(pairs, np.ones(PAIRS, bool), POSE, CAMERA)
    with_them, without = (stated(pose, pairs, 1.0, common).covariance for common in (0.3, 0))
    assert np.linalg.eigvalsh(with_them - without).min() > -1e-12


def test_the_covariance_is_symmetric_and_positive():
    C = by_ransac(noisy(0.5, 0), 0).covariance
    np.testing.assert_allclose(C, C.T, rtol=1e-6, atol=1e-15)
    assert np.linalg.eigvalsh(C).min() > 0
