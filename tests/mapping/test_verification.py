import numpy as np
import pytest

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.mapping.triangulation import TriangulationSettings, verify_pairs
from lbr.mapping.verification import essential_matrix, normalised_rays, sampson_distance
from lbr.types import Matches
from tests.geometry.test_camera import example
from tests.synthetic import CAMERA, ExactWorld, arc_poses, box_points, visible


def seen_twice(camera: Camera, poses: tuple[Pose, Pose]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the points that both cameras see."""
    points = box_points(300)
    (xy_a, a), (xy_b, b) = (visible(camera, pose, points) for pose in poses)
    _, in_a, in_b = np.intersect1d(a, b, return_indices=True)
    return xy_a[in_a], xy_b[in_b]


@pytest.mark.parametrize("model", ["PINHOLE", "SIMPLE_RADIAL", "OPENCV", "OPENCV_FISHEYE"])
def test_true_matches_have_no_distance(model: str):
    camera, (a, b) = example(model), arc_poses(2, step_deg=12)
    rays = [normalised_rays(camera, xy) for xy in seen_twice(camera, (a, b))]
    assert len(rays[0]) > 50
    assert sampson_distance(*rays, b @ a.inverse()).max() < 1e-9


def test_the_essential_matrix_is_zero_on_truth_and_has_two_equal_singular_values():
    a, b = arc_poses(2, step_deg=12)
    E = essential_matrix(b @ a.inverse())
    rays = [normalised_rays(CAMERA, xy) for xy in seen_twice(CAMERA, (a, b))]
    assert np.abs(np.einsum("ni,ij,nj->n", rays[1], E, rays[0])).max() < 1e-9
    values = np.linalg.svd(E)[1]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-9)
    assert values[2] < 1e-12


@pytest.mark.parametrize("noise_px", [0.5, 2.0, 8.0])
def test_the_distance_grows_with_the_noise(noise_px: float):
    """With noise of one sigma in both images, the Sampson distance in pixels has about one sigma too."""
    a, b = arc_poses(2, step_deg=12)
    rng = np.random.default_rng(0)
    noisy = [xy + rng.normal(size=xy.shape) * noise_px for xy in seen_twice(CAMERA, (a, b))]
    rays = [normalised_rays(CAMERA, xy) for xy in noisy]
    pixels = CAMERA.focal[0] * sampson_distance(*rays, b @ a.inverse())
    assert np.sqrt(np.mean(pixels**2)) == pytest.approx(noise_px, rel=0.15)


def test_views_without_a_baseline_have_no_distance():
    rays = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3)) + [0, 0, 1]
    assert (sampson_distance(rays, rays[::-1], Pose.identity()) == 0).all()


def matches_of(world: ExactWorld) -> tuple[dict, dict, list]:
    names = list(world.poses)
    seen = {n: visible(world.camera, p, world.points) for n, p in world.poses.items()}
    keypoints = {n: xy.astype(np.float32) for n, (xy, _) in seen.items()}
    pairs = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            _, in_a, in_b = np.intersect1d(seen[a][1], seen[b][1], return_indices=True)
            indices = np.stack([in_a, in_b], 1).astype(np.int32)
            pairs.append(((a, b), Matches(indices, np.ones(len(indices), np.float32))))
    return dict.fromkeys(names, world.camera), keypoints, pairs


def test_true_matches_are_kept_and_false_ones_dropped(world: ExactWorld):
    cameras, keypoints, pairs = matches_of(world)
    rng = np.random.default_rng(0)
    mixed = []
    for pair, found in pairs:
        false = rng.permutation(found.indices[:, 1])[:60].astype(np.int32)
        indices = np.concatenate([found.indices, np.stack([found.indices[:60, 0], false], 1)])
        mixed.append((pair, Matches(indices, np.ones(len(indices), np.float32))))
    verified = verify_pairs(cameras, world.poses, keypoints, iter(mixed), TriangulationSettings())
    assert list(verified) == [pair for pair, _ in pairs]
    for pair, found in pairs:
        true = {tuple(p) for p in found.indices.tolist()}
        kept = {tuple(p) for p in verified[pair].tolist()}
        assert true <= kept and len(kept - true) < 15, "a false match near the epipolar line passes"


def test_pairs_with_too_few_matches_are_left_out(world: ExactWorld):
    cameras, keypoints, pairs = matches_of(world)
    few = [(pair, Matches(m.indices[:10], m.scores[:10])) for pair, m in pairs]
    assert verify_pairs(cameras, world.poses, keypoints, iter(few), TriangulationSettings(min_matches=11)) == {}
    assert len(verify_pairs(cameras, world.poses, keypoints, iter(few), TriangulationSettings(min_matches=10))) == 10


def test_a_pair_without_matches_is_left_out(world: ExactWorld):
    cameras, keypoints, pairs = matches_of(world)
    assert (
        verify_pairs(cameras, world.poses, keypoints, iter([(pairs[0][0], Matches.empty())]), TriangulationSettings())
        == {}
    )
