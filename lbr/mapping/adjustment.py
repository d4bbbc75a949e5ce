"""Poses of some images adjusted together with points, against others that stay (bundle adjustment by Ceres)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pycolmap

from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import posed_cameras
from lbr.mapping.database import Pair
from lbr.mapping.triangulation import TriangulationSettings, triangulate

ROUNDS = 2  # of triangulation and adjustment: poses that moved make points of matches that did not fit before
LOSS_SCALE_PX = 1.0  # of the Cauchy loss


def adjusted_poses(
    posed: Mapping[str, tuple[Camera, Pose]], keypoints: Mapping[str, np.ndarray], verified: Mapping[Pair, np.ndarray],
    free: Collection[str], settings: TriangulationSettings, seed: int = 0,
) -> dict[str, Pose]:  # fmt: skip
    """cam_from_world of the images of `free`; the other poses, and all intrinsics, stay as they are.

    posed: of all images, cameras and cam_from_world. keypoints: float32 [N, 2] of each; verified: matches int32 [M, 2].
    The poses as they were where no match makes a point. Points are made for this alone.
    """
    cameras, poses = {n: camera for n, (camera, _) in posed.items()}, {n: pose for n, (_, pose) in posed.items()}
    for _ in range(ROUNDS):
        try:
            model = triangulate(cameras, poses, keypoints, verified, settings, seed)
        except DataError:  # no match, or no point of one: nothing tells of them
            break
        _adjust(model, free)
        moved = posed_cameras(model)[1]
        poses |= {name: moved[name] for name in free if model.find_image_with_name(name).num_points3D}
    return {name: poses[name] for name in free}


def robust_options(loss_scale_px: float) -> pycolmap.BundleAdjustmentOptions:
    """Bundle adjustment on a Cauchy loss, in one thread: the same sums on every machine."""
    options = pycolmap.BundleAdjustmentOptions()
    options.print_summary = False
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = loss_scale_px
    options.ceres.solver_options.num_threads = 1
    return options


def _adjust(model: pycolmap.Reconstruction, free: Collection[str]) -> None:
    options, config = robust_options(LOSS_SCALE_PX), pycolmap.BundleAdjustmentConfig()
    for image_id in model.reg_image_ids():
        config.add_image(image_id)
        if model.image(image_id).name not in free:
            config.set_constant_rig_from_world_pose(model.image(image_id).frame_id)
    for camera_id in model.cameras:
        config.set_constant_cam_intrinsics(camera_id)
    pycolmap.create_default_bundle_adjuster(options, config, model).solve()
