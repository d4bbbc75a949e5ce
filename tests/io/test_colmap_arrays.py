from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from lbr.geometry.camera import Camera
from lbr.io.colmap import build_model, posed_cameras, read_model
from lbr.io.colmap_arrays import ModelArrays, model_arrays, write_arrays
from tests.synthetic import CAMERA, arc_poses


def test_arrays_are_pycolmaps_own_objects_point_by_point(small_model: pycolmap.Reconstruction):
    arrays = model_arrays(small_model)
    assert list(arrays.names) == sorted(image.name for image in small_model.images.values())
    points = sorted(small_model.points3D)
    assert len(arrays.points) == len(points) > 20
    for k, point_id in enumerate(points):
        np.testing.assert_array_equal(arrays.points[k], small_model.points3D[point_id].xyz)
        assert arrays.point_errors[k] == pytest.approx(small_model.points3D[point_id].error, rel=1e-6)
    without = 0
    for i, name in enumerate(arrays.names):
        image = small_model.find_image_with_name(name)
        assert arrays.offsets[i + 1] - arrays.offsets[i] == len(image.points2D)
        np.testing.assert_allclose(arrays.poses[i].matrix, image.cam_from_world().matrix(), atol=1e-12)
        assert arrays.cameras[i] == CAMERA
        for k, observation in enumerate(image.points2D):
            row = arrays.offsets[i] + k
            np.testing.assert_allclose(arrays.keypoints[row], observation.xy, rtol=1e-6)
            expected = points.index(observation.point3D_id) if observation.has_point3D() else -1
            assert arrays.point_index[row] == expected
            without += expected < 0
    assert without > 0, "the model was to have keypoints without a point"


def test_arrays_of_a_model_without_points():
    poses = {"a": arc_poses(2)[0], "b": arc_poses(2)[1]}
    arrays = model_arrays(build_model(dict.fromkeys(poses, CAMERA), poses))
    assert arrays.points.shape == (0, 3) and arrays.keypoints.shape == (0, 2) and len(arrays.names) == 2


def assert_equal(found: ModelArrays, expected: ModelArrays) -> None:
    assert found.names == expected.names and found.cameras == expected.cameras
    np.testing.assert_allclose([p.matrix for p in found.poses], [p.matrix for p in expected.poses], atol=1e-12)
    for array in ("offsets", "keypoints", "point_index", "points", "point_errors"):
        np.testing.assert_array_equal(getattr(found, array), getattr(expected, array), array)


def test_arrays_are_written_as_pycolmap_reads_them(tmp_path: Path, small_model: pycolmap.Reconstruction):
    """Poses, cameras, observations, points; their tracks and colours; keypoints without a point stay."""
    arrays = model_arrays(small_model)
    wide = Camera("OPENCV", 640, 480, (500, 501, 320, 240, 0.1, 0, 0, 0))
    arrays = replace(arrays, cameras=(wide, *arrays.cameras[1:]))
    colours = np.random.default_rng(0).integers(0, 256, (len(arrays.points), 3), np.uint8)
    write_arrays(tmp_path / "model", arrays, colours)
    model = read_model(tmp_path / "model")
    assert_equal(model_arrays(model), arrays)
    assert len(model.cameras) == 2 and posed_cameras(model)[0][arrays.names[0]] == wide
    tracks = {i: [] for i in range(len(arrays.points))}
    for i, name in enumerate(arrays.names):
        for k, point in enumerate(arrays.point_index[arrays.offsets[i] : arrays.offsets[i + 1]].tolist()):
            if point >= 0:
                tracks[point].append((name, k))
    for i, track in tracks.items():
        point = model.points3D[i + 1]
        assert [(model.images[e.image_id].name, e.point2D_idx) for e in point.track.elements] == track
        np.testing.assert_array_equal(point.color, colours[i])


def test_arrays_without_points_are_a_model_too(tmp_path: Path):
    poses = {"a": arc_poses(2)[0], "b": arc_poses(2)[1]}
    arrays = model_arrays(build_model(dict.fromkeys(poses, CAMERA), poses))
    write_arrays(tmp_path / "model", arrays)
    assert_equal(model_arrays(read_model(tmp_path / "model")), arrays)
