import numpy as np
import pytest

from lbr.errors import DataError
from lbr.geometry.pose import Pose
from lbr.io.colmap import posed_cameras
from lbr.io.colmap_arrays import model_arrays
from lbr.mapping.triangulation import TriangulationSettings, triangulate, verify_pairs, with_points_of_all
from tests.mapping.test_verification import matches_of
from tests.synthetic import ExactWorld

SETTINGS = TriangulationSettings()


def verified_of(world: ExactWorld) -> tuple[dict, dict, dict]:
    cameras, keypoints, pairs = matches_of(world)
    return cameras, keypoints, {pair: m.indices for pair, m in pairs}


def seen_by_two(world: ExactWorld) -> np.ndarray:
    counts = np.bincount(world.model().point_index, minlength=len(world.points))
    return np.flatnonzero(counts >= 2)


def true_point_of(world: ExactWorld, arrays) -> np.ndarray:
    """The true point of each triangulated one, by its keypoints, all of which must agree."""
    truth = world.model().point_index
    assert len(arrays.point_index) == len(truth), "all keypoints are in the model, with or without a point"
    of = np.full(len(arrays.points), -1)
    for point, true in zip(arrays.point_index, truth, strict=True):
        if point >= 0:
            assert of[point] in (-1, true), "a point joins keypoints of different true points"
            of[point] = true
    return of


def test_exact_matches_give_every_point_where_it_is(world: ExactWorld):
    """Also the two-view configuration trap: without it pycolmap makes 0 points and says nothing."""
    model = triangulate(*_with_poses(world, *verified_of(world)), SETTINGS)
    assert model.num_points3D() == len(seen_by_two(world)) > 150
    arrays = model_arrays(model)
    errors = np.linalg.norm(arrays.points - world.points[true_point_of(world, arrays)], axis=1)
    assert errors.max() < 1e-4, "metres; keypoints are float32"
    assert (arrays.point_index >= 0).sum() == np.isin(world.model().point_index, seen_by_two(world)).sum()


@pytest.mark.parametrize("noise_px", [0.5, 1.0])
def test_noisy_matches_give_points_within_tolerance(world: ExactWorld, noise_px: float):
    cameras, keypoints, verified = verified_of(world)
    rng = np.random.default_rng(0)
    noisy = {n: (xy + rng.normal(size=xy.shape) * noise_px).astype(np.float32) for n, xy in keypoints.items()}
    model = triangulate(cameras, world.poses, noisy, verified, SETTINGS)
    arrays = model_arrays(model)
    assert model.num_points3D() > 0.95 * len(seen_by_two(world))
    errors = np.linalg.norm(arrays.points - world.points[true_point_of(world, arrays)], axis=1)
    # At 6 m, f = 600 px, 20 degrees between the outer views: about 1 cm across and 5 cm in depth for a pixel.
    assert np.median(errors) < 0.04 * noise_px


def test_poses_and_intrinsics_stay_as_they_were(world: ExactWorld):
    cameras, keypoints, verified = verified_of(world)
    rng = np.random.default_rng(0)
    noisy = {n: (xy + rng.normal(size=xy.shape)).astype(np.float32) for n, xy in keypoints.items()}
    arrays = model_arrays(triangulate(cameras, world.poses, noisy, verified, SETTINGS))
    for name, camera, pose in zip(arrays.names, arrays.cameras, arrays.poses, strict=True):
        assert camera == world.camera
        np.testing.assert_allclose(pose.matrix, world.poses[name].matrix, atol=1e-12)


def test_the_same_seed_gives_the_same_bits(world: ExactWorld):
    cameras, keypoints, verified = verified_of(world)
    a, b = (model_arrays(triangulate(cameras, world.poses, keypoints, verified, SETTINGS, 7)) for _ in range(2))
    assert a.points.tobytes() == b.points.tobytes() and a.point_index.tobytes() == b.point_index.tobytes()


def test_no_verified_pair_is_said(world: ExactWorld):
    cameras, keypoints, _ = verified_of(world)
    with pytest.raises(DataError, match="no image pair has matches that agree with the given poses"):
        triangulate(cameras, world.poses, keypoints, {}, SETTINGS)


@pytest.mark.parametrize("wrong", ["all at one place", "turned away"])
def test_no_point_from_wrong_poses_is_said(world: ExactWorld, wrong: str):
    cameras, keypoints, verified = verified_of(world)
    if wrong == "turned away":
        turn = np.diag([-1.0, 1, -1])
        poses = {name: Pose(turn @ pose.R, turn @ pose.t) for name, pose in world.poses.items()}
    else:
        place = np.array([0, 0, -6.0])
        poses = {name: Pose(pose.R, -pose.R @ place) for name, pose in world.poses.items()}
    with pytest.raises(DataError, match=f"made no point out of {sum(map(len, verified.values()))} matches of 10 pairs"):
        triangulate(cameras, poses, keypoints, verified, SETTINGS)


def test_wrong_poses_verify_nothing(world: ExactWorld):
    cameras, keypoints, pairs = matches_of(world)
    poses = dict(zip(world.poses, reversed(list(world.poses.values())), strict=True))
    kept = verify_pairs(cameras, poses, keypoints, iter(pairs), SETTINGS)
    assert sum(map(len, kept.values())) < 0.3 * sum(len(m) for _, m in pairs)


@pytest.mark.parametrize("limit", [{"max_reprojection_error_px": 0.5}, {"max_angle_error_deg": 0.01}])
def test_thresholds_of_errors_take_noisy_observations_away(world: ExactWorld, limit: dict):
    cameras, keypoints, verified = verified_of(world)
    rng = np.random.default_rng(0)
    noisy = {n: (xy + rng.normal(size=xy.shape)).astype(np.float32) for n, xy in keypoints.items()}
    loose, strict = (
        model_arrays(triangulate(cameras, world.poses, noisy, verified, settings))
        for settings in (SETTINGS, TriangulationSettings(**limit))
    )
    assert 0 < (strict.point_index >= 0).sum() < 0.9 * (loose.point_index >= 0).sum()


def test_the_least_angle_counts(world: ExactWorld):
    """The outer views of a point are 20 to 22 degrees apart, seen from it."""
    cameras, keypoints, verified = verified_of(world)
    wide = triangulate(cameras, world.poses, keypoints, verified, TriangulationSettings(min_triangulation_angle_deg=12))
    assert wide.num_points3D() == len(seen_by_two(world))
    with pytest.raises(DataError, match="made no point"):
        triangulate(cameras, world.poses, keypoints, verified, TriangulationSettings(min_triangulation_angle_deg=30))


def test_tracks_are_as_long_as_the_views_are_many(world: ExactWorld):
    model = triangulate(*_with_poses(world, *verified_of(world)), SETTINGS)
    expected = np.bincount(world.model().point_index, minlength=len(world.points))
    arrays = model_arrays(model)
    lengths = np.bincount(arrays.point_index[arrays.point_index >= 0])
    np.testing.assert_array_equal(lengths, expected[true_point_of(world, arrays)])


def _with_poses(world: ExactWorld, cameras: dict, keypoints: dict, verified: dict) -> tuple:
    return cameras, world.poses, keypoints, verified


def test_millions_of_metres_from_zero_points_are_where_they_are_near_it(world: ExactWorld):
    """Solvers that stop at a share of the coordinates would stop too early there."""
    cameras, keypoints, verified = verified_of(world)
    utm = np.array([512_345.6, 5_412_345.7, 431.2])
    noisy = {
        n: xy + np.random.default_rng(len(n)).normal(size=xy.shape).astype(np.float32) for n, xy in keypoints.items()
    }
    far_poses = {name: pose.about(-utm) for name, pose in world.poses.items()}
    near, far = (model_arrays(triangulate(cameras, p, noisy, verified, SETTINGS)) for p in (world.poses, far_poses))
    assert len(far.points) == len(near.points)
    np.testing.assert_allclose(far.points - utm, near.points, atol=1e-5)
    for found, pose in zip(far.poses, far_poses.values(), strict=True):
        np.testing.assert_allclose(found.centre, pose.centre, atol=1e-6)


def test_points_of_all_matches_come_under_poses_made_by_some(world: ExactWorld):
    """As structure from motion leaves it: without an image that found no place, about another zero, of another size."""
    cameras, keypoints, pairs = matches_of(world)
    fewer = {pair: found.indices[::3] for pair, found in pairs if "db/4.png" not in pair}
    inside = {name: pose for name, pose in world.poses.items() if name in {n for pair in fewer for n in pair}}
    of_some = triangulate({n: cameras[n] for n in inside}, inside, {n: keypoints[n] for n in inside}, fewer, SETTINGS)
    found = with_points_of_all(of_some, keypoints, dict(pairs))
    before, after = posed_cameras(of_some), posed_cameras(found)
    assert before[0] == after[0]
    for name, pose in before[1].items():
        np.testing.assert_allclose(after[1][name].matrix, pose.matrix, atol=1e-12)
    assert found.num_points3D() > 2 * of_some.num_points3D()
    same = with_points_of_all(of_some, keypoints, {})
    assert same.num_points3D() == of_some.num_points3D(), "what it has stays where there is nothing more"
