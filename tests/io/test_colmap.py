import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from lbr.errors import DataError
from lbr.geometry.camera import MODELS
from lbr.geometry.pose import Pose, wxyz_to_xyzw
from lbr.io.colmap import (
    build_model,
    cam_from_img,
    from_pycolmap_camera,
    from_rigid3d,
    img_from_cam,
    posed_cameras,
    project,
    read_model,
    to_pycolmap_camera,
    to_rigid3d,
    write_model,
)
from lbr.io.colmap_arrays import model_arrays
from lbr.io.colmap_binary import PARAMETERS
from tests.geometry.test_camera import example
from tests.synthetic import CAMERA, arc_poses, box_points, colmap_model, random_rotation


@pytest.mark.parametrize("model", MODELS)
def test_projection_round_trip_of_every_camera_model(model: str):
    camera = example(model)
    rays = np.random.default_rng(0).uniform([-0.5, -0.4], [0.5, 0.4], (100, 2))
    for depth in (0.5, 7.0):
        points = np.hstack([rays, np.ones((100, 1))]) * depth
        np.testing.assert_allclose(cam_from_img(camera, img_from_cam(camera, points)), rays, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_behind_the_camera_is_nan(model: str):
    points = np.array([[0.1, 0.2, -1.0], [0.1, 0.2, 1.0]])
    behind, before = img_from_cam(example(model), points)
    assert np.isnan(behind).all() and np.isfinite(before).all()


def test_projection_of_a_pinhole_is_the_textbooks():
    pose = arc_poses(3)[0]
    points, camera = box_points(20), example("PINHOLE")
    homogeneous = pose.apply(points) @ camera.matrix.T
    np.testing.assert_allclose(project(camera, pose, points), homogeneous[:, :2] / homogeneous[:, 2:], atol=1e-9)


def test_no_points_project_to_no_pixels():
    assert img_from_cam(CAMERA, np.zeros((0, 3))).shape == (0, 2)
    assert cam_from_img(CAMERA, np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("model", MODELS)
def test_camera_round_trip(model: str):
    assert from_pycolmap_camera(to_pycolmap_camera(example(model))) == example(model)


def test_pose_round_trip_through_pycolmap():
    rng = np.random.default_rng(1)
    for _ in range(10):
        pose, point = Pose(random_rotation(rng), rng.normal(size=3)), rng.normal(size=(1, 3))
        np.testing.assert_allclose(from_rigid3d(to_rigid3d(pose)).matrix, pose.matrix, atol=1e-12)
        np.testing.assert_allclose(to_rigid3d(pose) * point, pose.apply(point), atol=1e-12)


def test_model_round_trip_through_files(tmp_path: Path, small_model: pycolmap.Reconstruction):
    write_model(tmp_path / "model", small_model)
    before, after = model_arrays(small_model), model_arrays(read_model(tmp_path / "model"))
    assert before.names == after.names and before.cameras == after.cameras
    for name in ("offsets", "keypoints", "point_index", "points"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


def test_equal_cameras_are_one_and_different_ones_are_kept():
    poses = dict(zip("abc", arc_poses(3), strict=True))
    cameras = {"a": CAMERA, "b": example("PINHOLE"), "c": CAMERA}
    model = build_model(cameras, poses)
    assert model.num_cameras() == 2
    found_cameras, found_poses = posed_cameras(model)
    assert found_cameras == cameras
    for name, pose in poses.items():
        np.testing.assert_allclose(found_poses[name].matrix, pose.matrix, atol=1e-12)


def test_writing_replaces_the_model_that_was_there(tmp_path: Path):
    poses = dict(zip("abc", arc_poses(3), strict=True))
    for names in ("abc", "ab"):
        write_model(tmp_path / "m", build_model(dict.fromkeys(names, CAMERA), {n: poses[n] for n in names}))
    assert sorted(posed_cameras(read_model(tmp_path / "m"))[0]) == ["a", "b"]


def test_text_models_are_read_too(tmp_path: Path):
    """COLMAP's text form cannot hold names with spaces."""
    model = colmap_model(CAMERA, dict(zip(("db/1.jpg", "db/2.jpg"), arc_poses(2), strict=True)), box_points(30))
    model.write_text(tmp_path)
    found, expected = model_arrays(read_model(tmp_path)), model_arrays(model)
    assert found.names == expected.names
    np.testing.assert_allclose(found.points, expected.points, rtol=1e-6)
    np.testing.assert_array_equal(found.point_index, expected.point_index)


def test_no_model_and_an_empty_one_are_said(tmp_path: Path):
    with pytest.raises(DataError, match="no usable COLMAP model"):
        read_model(tmp_path)
    pycolmap.Reconstruction().write_binary(tmp_path)
    with pytest.raises(DataError, match="no image with a pose"):
        read_model(tmp_path)


@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.95, 0.99])
@pytest.mark.parametrize("file", ["images.bin", "cameras.bin", "points3D.bin"])
def test_a_truncated_model_is_one_clear_line(
    tmp_path: Path, small_model: pycolmap.Reconstruction, file: str, share: float
):
    """Of cameras and points cut short pycolmap reads what is not there, and takes all memory for it."""
    write_model(tmp_path / "m", small_model)
    path = tmp_path / "m" / file
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=None if file == "images.bin" else file) as error:
        model_arrays(read_model(tmp_path / "m"))
    assert "\n" not in str(error.value)


ALL_MODELS = [kind for name, kind in pycolmap.CameraModelId.__members__.items() if name != "INVALID"]


def test_the_length_of_every_camera_is_known():
    known = {int(kind): pycolmap.Camera.create_from_model_id(0, kind, 1, 1, 1) for kind in ALL_MODELS}
    assert {number: len(camera.params) for number, camera in known.items()} == PARAMETERS


@pytest.mark.parametrize("model", MODELS)
def test_cameras_of_every_model_are_whole(tmp_path: Path, model: str):
    write_model(tmp_path, build_model({"a.jpg": example(model)}, {"a.jpg": Pose.identity()}))
    assert posed_cameras(read_model(tmp_path))[0] == {"a.jpg": example(model)}


def with_quaternions_of_norm(norm: float) -> pycolmap.Reconstruction:
    poses = {f"{i}.jpg": pose for i, pose in enumerate(arc_poses(3, step_deg=25))}
    model = build_model(dict.fromkeys(poses, CAMERA), poses)
    for image in model.images.values():
        pose = poses[image.name]
        quaternion = norm * wxyz_to_xyzw(pose.quaternion)
        image.frame.rig_from_world = pycolmap.Rigid3d(pycolmap.Rotation3d(quaternion), pose.t)
    return model


def test_quaternions_that_are_not_quite_of_unit_norm_are_read(tmp_path: Path):
    """Of surveyed rotation matrices of six digits, say."""
    write_model(tmp_path / "m", with_quaternions_of_norm(1 + 1e-5))
    _, found = posed_cameras(read_model(tmp_path / "m"))
    for pose, true in zip(found.values(), arc_poses(3, step_deg=25), strict=True):
        np.testing.assert_allclose(pose.matrix, true.matrix, atol=1e-9)


def test_what_is_no_pose_is_said_with_its_image():
    with pytest.raises(DataError, match=r"image '0\.jpg' of the model has no valid pose: not a quaternion"):
        posed_cameras(with_quaternions_of_norm(0))


def test_a_camera_that_is_none_of_ours_is_said_with_its_number():
    model = build_model({"a.jpg": CAMERA}, {"a.jpg": Pose.identity()})
    model.cameras[1].model = pycolmap.CameraModelId.DIVISION
    model.cameras[1].params = [500.0, 500.0, 320.0, 240.0, 0.1]
    with pytest.raises(DataError, match="camera 1 of the model: unknown camera model 'DIVISION'; known: "):
        posed_cameras(model)


def test_a_process_that_is_ended_prints_nothing():
    """Though the log library of pycolmap would print a stack."""
    code = "import lbr.io.colmap, time; print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM and said == b""
