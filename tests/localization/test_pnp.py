from dataclasses import replace

import numpy as np
import pytest

from lbr.geometry.camera import MODELS, Camera, guess_camera
from lbr.geometry.pose import Pose, pose_error
from lbr.localization.pnp import PnpSettings, estimate_pose, refine_pose, reprojection_errors
from lbr.types import Correspondences
from tests.geometry.test_camera import example
from tests.synthetic import CAMERA, arc_poses, box_points, visible

POSE = arc_poses(5)[1]
ENGINES = ["pycolmap", "poselib"]


def seen(
    num: int, noise_px: float = 0.0, outliers: float = 0.0, camera: Camera = CAMERA, seed: int = 0
) -> tuple[Correspondences, np.ndarray]:
    """Pairs of a query at POSE, a share of them wrong; and which are right."""
    rng = np.random.default_rng(seed)
    points = box_points(3 * num, seed)
    xy, index = visible(camera, POSE, points)
    xy, points = xy[:num] + rng.normal(size=(num, 2)) * noise_px, points[index[:num]]
    right = rng.random(num) >= outliers
    xy[~right] = rng.uniform(0, camera.size, (int((~right).sum()), 2))
    order = np.arange(num)
    return Correspondences(order, order, xy, points, order, np.zeros(num, np.int64)), right


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("num", [6, 100])
def test_exact_pairs_give_the_exact_pose(engine: str, model: str, num: int):
    camera = example(model)
    pairs, _ = seen(num, camera=camera)
    found = estimate_pose(pairs, camera, PnpSettings(engine=engine), seed=0)
    metres, radians = pose_error(found.pose, POSE)
    assert metres < 1e-6 and radians < 1e-6
    assert found.num_inliers == num and found.camera == camera


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("outliers", [0.0, 0.5, 0.8])
def test_noise_and_outliers(engine: str, outliers: float):
    pairs, right = seen(400, noise_px=1.0, outliers=outliers)
    found = estimate_pose(pairs, CAMERA, PnpSettings(engine=engine), seed=0)
    metres, radians = pose_error(found.pose, POSE)
    # About sigma z / (f sqrt(n)) = 6 / 600 / sqrt(80) = 1.1 mm across and some mm along, at 80 inliers
    assert metres < 0.02 and np.degrees(radians) < 0.2
    assert found.inliers[right].mean() > 0.99
    assert found.inliers[~right].sum() <= 0.05 * (~right).sum()


@pytest.mark.parametrize("order, limit, is_found", [
    pytest.param("best first", 20, True, id="the best pairs are right"),
    pytest.param("worst first", 20, False, id="the best pairs are wrong"),
    pytest.param("best first", None, True, id="no other limit than that of all alike"),
    pytest.param(None, 20, True, id="pairs without quality are drawn all alike"),
])  # fmt: skip
def test_few_samples_where_the_best_pairs_are_drawn_first(order: str | None, limit: int | None, is_found: bool):
    """A fifth of the pairs is right: in ten samples of 1,250 all three are."""
    pairs, right = seen(200, outliers=0.8)
    quality = {"best first": right + 1.0, "worst first": 2.0 - right, None: None}[order]
    few = PnpSettings(min_iterations=1, max_ordered_iterations=limit, max_error_px=4)
    found = estimate_pose(replace(pairs, quality=quality), CAMERA, few, seed=0)
    assert (found is not None and pose_error(found.pose, POSE)[0] < 1e-3) is is_found


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_seed_gives_the_same_bits(engine: str):
    pairs, _ = seen(200, noise_px=1.0, outliers=0.5)
    a, b = (estimate_pose(pairs, CAMERA, PnpSettings(engine=engine), seed=11) for _ in range(2))
    assert a.pose.matrix.tobytes() == b.pose.matrix.tobytes()
    assert a.covariance.tobytes() == b.covariance.tobytes() and (a.inliers == b.inliers).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("num", [0, 1, 3])
def test_too_few_pairs_give_no_pose(engine: str, num: int):
    pairs = seen(10)[0].select(np.arange(10) < num)
    assert estimate_pose(pairs, CAMERA, PnpSettings(engine=engine), seed=0) is None


@pytest.mark.parametrize("engine", ENGINES)
def test_nonsense_gives_no_pose_or_next_to_no_inliers(engine: str):
    pairs, _ = seen(100, outliers=1.0)
    found = estimate_pose(pairs, CAMERA, PnpSettings(engine=engine, max_error_px=4), seed=0)
    assert found is None or found.num_inliers < 12


@pytest.mark.parametrize("engine", ENGINES)
def test_points_on_one_spot_raise_nothing(engine: str):
    pairs, _ = seen(20)
    spot = Correspondences(
        pairs.keypoint_index, pairs.point_index, pairs.points2d, np.zeros((20, 3)), pairs.vote_pair, pairs.vote_image
    )
    found = estimate_pose(spot, CAMERA, PnpSettings(engine=engine), seed=0)
    assert found is None or np.isfinite(found.pose.matrix).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("camera", [guess_camera(640, 480), guess_camera(640, 480, 560.0)], ids=["guess", "exif"])
def test_an_unknown_focal_length_is_estimated(engine: str, camera: Camera):
    pairs, _ = seen(300, noise_px=0.5, outliers=0.3)
    found = estimate_pose(pairs, camera, PnpSettings(engine=engine), seed=0)
    assert found.camera.focal[0] == pytest.approx(CAMERA.focal[0], rel=0.02)
    assert found.camera.source == camera.source
    metres, radians = pose_error(found.pose, POSE)
    assert metres < 0.15 and np.degrees(radians) < 0.5


def test_a_given_focal_length_stays():
    pairs, _ = seen(100, noise_px=0.5)
    assert estimate_pose(pairs, CAMERA, PnpSettings(), seed=0).camera == CAMERA


def test_refinement_reaches_the_minimum_from_nearby():
    pairs, _ = seen(100)
    R = POSE.R @ arc_poses(2, step_deg=1.0)[0].R @ arc_poses(2, step_deg=1.0)[1].R.T
    start = Pose(R, POSE.t + 0.05)
    found = refine_pose(pairs, np.ones(100, bool), start, CAMERA)
    assert pose_error(start, POSE)[0] > 0.04
    assert max(pose_error(found.pose, POSE)) < 1e-6


def test_refinement_uses_only_the_masked_pairs():
    pairs, right = seen(200, outliers=0.5)
    found = refine_pose(pairs, right, POSE, CAMERA)
    assert max(pose_error(found.pose, POSE)) < 1e-6
    assert refine_pose(pairs, np.arange(200) < 3, POSE, CAMERA) is None


def test_reprojection_errors_are_in_pixels_and_infinite_behind():
    pairs, _ = seen(50)
    shifted = pairs.points2d + [3.0, 4.0]
    np.testing.assert_allclose(reprojection_errors(CAMERA, POSE, shifted, pairs.points3d), 5, atol=1e-6)
    behind = Pose(np.diag([-1.0, 1, -1]) @ POSE.R, np.diag([-1.0, 1, -1]) @ POSE.t)
    assert np.isinf(reprojection_errors(CAMERA, behind, pairs.points2d, pairs.points3d)).all()
