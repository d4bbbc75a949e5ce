import numpy as np
import pycolmap
import pytest

from lbr.errors import DataError
from lbr.features.sift import Sift, SiftSettings
from lbr.geometry.camera import guess_camera
from lbr.geometry.pose import Pose, rotation_angle
from lbr.io.colmap import build_model, posed_cameras
from lbr.io.images import read_image
from lbr.mapping.sfm import SfmSettings, _disjoint, structure_from_motion
from lbr.matching.nearest import NearestSettings, match_descriptors
from lbr.parallel import ParallelSettings
from tests.synthetic import CAMERA, RenderedScene, similarity


@pytest.fixture(scope="module")
def matched(scene: RenderedScene) -> tuple[dict, dict]:
    """SIFT keypoints and matches of all db images; one name has spaces."""
    extractor = Sift(SiftSettings())
    found = {name: extractor.extract(read_image(scene.root / "images" / name)) for name in scene.db}
    pairs = [(a, b) for i, a in enumerate(scene.db) for b in scene.db[i + 1 :]]
    settings = NearestSettings(ratio=0.85)
    matches = {
        (a, b): match_descriptors(found[a].descriptors, found[b].descriptors, settings).indices for a, b in pairs
    }
    return {name: features.keypoints for name, features in found.items()}, {
        p: m for p, m in matches.items() if len(m) > 15
    }


def check_against_truth(scene: RenderedScene, poses: dict, metres: float, degrees: float) -> None:
    names = list(poses)
    centres = np.stack([poses[n].centre for n in names])
    truth = np.stack([scene.poses[n].centre for n in names])
    scale, R, t = similarity(centres, truth)
    assert np.linalg.norm(scale * centres @ R.T + t - truth, axis=1).max() < metres
    turned = np.stack([poses[n].R @ R.T @ scene.poses[n].R.T for n in names])
    assert np.degrees(rotation_angle(turned)).max() < degrees


@pytest.mark.parametrize("method", ["incremental", "global"])
def test_all_images_are_placed_within_tolerance(scene: RenderedScene, matched: tuple, method: str):
    cameras = dict.fromkeys(scene.db, scene.camera)
    (model, *rest) = structure_from_motion(cameras, *matched, SfmSettings(method=method)).models
    found, poses = posed_cameras(model)
    assert set(poses) == set(scene.db) and not rest
    check_against_truth(scene, poses, metres=0.05, degrees=0.5)
    assert model.num_points3D() > 150
    np.testing.assert_allclose([c.params for c in found.values()], [scene.camera.params] * 7, rtol=1e-9)


def test_an_unknown_focal_length_is_refined(scene: RenderedScene, matched: tuple):
    """From COLMAP's guess, 28 % too long."""
    cameras = dict.fromkeys(scene.db, guess_camera(*scene.camera.size))
    (model, *_) = structure_from_motion(cameras, *matched, SfmSettings()).models
    found, poses = posed_cameras(model)
    assert set(poses) == set(scene.db)
    for camera in found.values():
        assert camera.focal[0] == pytest.approx(scene.camera.focal[0], rel=0.05)
    check_against_truth(scene, poses, metres=0.2, degrees=2.0)


@pytest.mark.parametrize("method", ["incremental", "global"])
def test_the_same_seed_gives_the_same_bits_whatever_the_workers(scene: RenderedScene, matched: tuple, method: str):
    cameras, settings = dict.fromkeys(scene.db, scene.camera), SfmSettings(method=method)
    found = [
        structure_from_motion(cameras, *matched, settings, 3, ParallelSettings(workers=workers)).models[0]
        for workers in (1, 2)
    ]
    a, b = ([pose.matrix.tobytes() for pose in posed_cameras(model)[1].values()] for model in found)
    assert a == b


def test_no_model_is_said(scene: RenderedScene, matched: tuple):
    keypoints, matches = matched
    pair, indices = next(iter(matches.items()))
    shuffled = {pair: np.random.default_rng(0).permuted(indices, axis=0)}
    with pytest.raises(DataError, match="found no model in 7 images, with 0 of 1 matched pairs more than chance"):
        structure_from_motion(dict.fromkeys(scene.db, scene.camera), keypoints, shuffled, SfmSettings())


def test_no_matches_at_all_are_said(scene: RenderedScene, matched: tuple):
    with pytest.raises(DataError, match="found no model"):
        structure_from_motion(dict.fromkeys(scene.db, scene.camera), matched[0], {}, SfmSettings())


def test_an_image_of_two_models_stays_in_the_larger_alone():
    """COLMAP's mapper places up to 20 images again in a later model; what is left of one may be too little, or without
    points."""

    def model(*names: str, points: int = 1) -> pycolmap.Reconstruction:
        made = build_model(dict.fromkeys(names, CAMERA), dict.fromkeys(names, Pose.identity()))
        for _ in range(points):
            made.add_point3D(np.zeros(3), pycolmap.Track(), np.zeros(3, np.uint8))
        return made

    given = [model("a", "b", "f"), model("a", "b", "c", "d"), model("c", "f", "g"), model("x", "y", points=0)]
    models = [{made.image(i).name for i in made.reg_image_ids()} for made in _disjoint(given, 2)]
    assert models == [{"a", "b", "c", "d"}, {"f", "g"}]
