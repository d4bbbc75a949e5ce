"""COLMAP models through pycolmap: conversions of cameras and poses, projection, reading and writing.

With mapping and localization/pnp this is the only place that knows pycolmap; its traps are in ENVIRONMENT.md.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pycolmap

from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose, xyzw_to_wxyz
from lbr.io.colmap_binary import check_binary
from lbr.io.files import atomic_path


def _give_back_sigterm() -> None:
    """The log library of pycolmap takes the signal as it loads, to print a stack, which nobody has a use for."""
    if threading.current_thread() is threading.main_thread():  # signals are set from there alone
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)


_give_back_sigterm()
pycolmap.logging.minloglevel = 2  # errors only; our own messages say what a user needs

Reconstruction = pycolmap.Reconstruction  # for signatures elsewhere


def to_pycolmap_camera(camera: Camera, camera_id: int | None = None) -> pycolmap.Camera:
    options = {} if camera_id is None else {"camera_id": camera_id}
    return pycolmap.Camera(
        model=camera.model, width=camera.width, height=camera.height, params=list(camera.params),
        has_prior_focal_length=camera.source != "guess", **options,
    )  # fmt: skip


def from_pycolmap_camera(camera: pycolmap.Camera) -> Camera:
    return Camera(camera.model.name, camera.width, camera.height, tuple(camera.params))


def to_rigid3d(pose: Pose) -> pycolmap.Rigid3d:
    return pycolmap.Rigid3d(pycolmap.Rotation3d(pose.R), pose.t)


def from_rigid3d(transform: pycolmap.Rigid3d) -> Pose:
    return Pose(transform.rotation.matrix(), transform.translation)


@lru_cache(maxsize=64)
def _projector(camera: Camera) -> pycolmap.Camera:
    """The camera to project with, never changed: making one takes as long as projecting a thousand points."""
    return to_pycolmap_camera(camera)


def img_from_cam(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Points [N, 3] in the camera frame -> pixels float64 [N, 2], corner-origin; nan behind the camera."""
    points = np.asarray(points, np.float64).reshape(-1, 3)
    return np.asarray(_projector(camera).img_from_cam(points)).reshape(-1, 2)


def cam_from_img(camera: Camera, xy: np.ndarray) -> np.ndarray:
    """Pixels [N, 2], corner-origin -> normalised undistorted image coordinates float64 [N, 2] (x/z, y/z)."""
    xy = np.asarray(xy, np.float64).reshape(-1, 2)
    return np.asarray(_projector(camera).cam_from_img(xy)).reshape(-1, 2)


def project(camera: Camera, cam_from_world: Pose, points: np.ndarray) -> np.ndarray:
    """World points [N, 3] -> pixels float64 [N, 2], corner-origin; nan behind the camera."""
    return img_from_cam(camera, cam_from_world.apply(points))


def read_model(folder: Path) -> pycolmap.Reconstruction:
    """Read a COLMAP model, binary or text, with or without rigs. Raises DataError when it is missing or broken."""
    check_binary(folder)
    try:
        model = pycolmap.Reconstruction(folder)
    except (ValueError, RuntimeError, IndexError, MemoryError) as error:
        reason = str(error).split("] ")[-1]
        raise DataError(
            f"{folder}: no usable COLMAP model (cameras, images, points3D .bin or .txt): {reason}"
        ) from None
    if model.num_reg_images() == 0:
        raise DataError(f"{folder}: the COLMAP model has no image with a pose")
    return model


def posed_cameras(model: pycolmap.Reconstruction) -> tuple[dict[str, Camera], dict[str, Pose]]:
    """Cameras and cam_from_world poses of the registered images, by name, names sorted.

    Raises DataError, with the camera's number or the image's name, for what is no camera of ours or no pose.
    """
    images = sorted((image for image in model.images.values() if image.has_pose), key=lambda image: image.name)
    cameras = {key: _camera_of(camera) for key, camera in model.cameras.items()}
    return (
        {image.name: cameras[image.camera_id] for image in images},
        {image.name: _pose_of(image) for image in images},
    )


def _camera_of(camera: pycolmap.Camera) -> Camera:
    try:
        return from_pycolmap_camera(camera)
    except ValueError as error:
        raise DataError(f"camera {camera.camera_id} of the model: {error}") from None


def _pose_of(image: pycolmap.Image) -> Pose:
    """cam_from_world. A model's quaternions are as somebody wrote them, from surveyed matrices of six digits, say."""
    transform = image.cam_from_world()
    try:
        return Pose.from_quaternion(xyzw_to_wxyz(transform.rotation.quat), transform.translation)
    except ValueError as error:
        raise DataError(f"image '{image.name}' of the model has no valid pose: {error}") from None


def build_model(cameras: Mapping[str, Camera], poses: Mapping[str, Pose]) -> pycolmap.Reconstruction:
    """A model of posed images without points; every image its own frame, equal cameras shared.

    Image ids follow the order of `cameras`, from 1, so that equal inputs give equal files.
    """
    model = pycolmap.Reconstruction()
    ids: dict[Camera, int] = {}
    for image_id, (name, camera) in enumerate(cameras.items(), 1):
        if camera not in ids:
            ids[camera] = len(ids) + 1
            model.add_camera_with_trivial_rig(to_pycolmap_camera(camera, ids[camera]))
        image = pycolmap.Image(name=name, keypoints=np.zeros((0, 2)), camera_id=ids[camera], image_id=image_id)
        model.add_image_with_trivial_frame(image, to_rigid3d(poses[name]))
    return model


def write_model(folder: Path, model: pycolmap.Reconstruction) -> None:
    """Write a model in COLMAP's binary form, whole or not at all."""
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        model.write_binary(temporary)


def write_models(folder: Path, models: Sequence[pycolmap.Reconstruction]) -> None:
    """Write models of disjoint places: the first in `folder` itself, where one alone would be, the others in
    folder/1, folder/2, ...; whole or not at all."""
    with atomic_path(folder) as temporary:
        for number, model in enumerate(models):
            place = temporary / str(number) if number else temporary
            place.mkdir(parents=True)
            model.write_binary(place)


def read_models(folder: Path) -> list[pycolmap.Reconstruction]:
    """The models that `write_models` wrote, in their order. Raises DataError as `read_model`."""
    models = [read_model(folder)]
    while (folder / str(len(models))).is_dir():
        models.append(read_model(folder / str(len(models))))
    return models
