"""Camera pose from 2D-3D correspondences: RANSAC and refinement by pycolmap or poselib, and its covariance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import poselib
import pycolmap
from pydantic import Field

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose, round_origin
from lbr.io.colmap import from_pycolmap_camera, from_rigid3d, project, to_pycolmap_camera, to_rigid3d
from lbr.localization.covariance import intrinsics_covariance, pose_covariance, rig_covariance
from lbr.localization.intrinsics import is_plausible, refine_with_intrinsics
from lbr.settings import Settings
from lbr.types import Correspondences, PoseEstimate

LENS_PAIRS = 100  # tell a solver without priors of distortion; fewer would bend it to their noise
MIN_PAIRS = 4  # three give up to four poses; the fourth chooses
# Of the others of COLMAP's, poselib says nothing and ignores the lens.
POSELIB_MODELS = frozenset({
    "SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV",
})  # fmt: skip


class PnpSettings(Settings):
    """RANSAC: inliers reproject within max_error_px.

    engine: poselib draws the pairs of best quality first (PROSAC: Chum and Matas, CVPR 2005), so that few trials do;
    pycolmap draws all alike; whatever is set here, it takes the cameras whose focal length nobody gave, to estimate it,
    and those whose model poselib does not know (POSELIB_MODELS).
    """

    engine: Literal["pycolmap", "poselib"] = "poselib"
    max_error_px: float = Field(default=12.0, gt=0)
    confidence: float = Field(default=0.9999, gt=0, lt=1)
    min_iterations: int = Field(default=100, ge=1)
    max_iterations: int = Field(default=10000, ge=1)
    max_ordered_iterations: int | None = Field(
        default=None, ge=1, description="where the best pairs are drawn first; null: max_iterations"
    )


def reprojection_errors(camera: Camera, pose: Pose, points2d: np.ndarray, points3d: np.ndarray) -> np.ndarray:
    """Pixels float64 [N] between points2d [N, 2] and the projections of points3d [N, 3]; inf behind the camera."""
    errors = np.linalg.norm(project(camera, pose, points3d) - points2d, axis=1)
    return np.where(np.isfinite(errors), errors, np.inf)


def pair_errors(pairs: Correspondences, estimate: PoseEstimate) -> np.ndarray:
    """`reprojection_errors` of pairs under an estimate: pixels float64 [M]."""
    return reprojection_errors(estimate.camera, estimate.pose, pairs.points2d, pairs.points3d)


def estimate_pose(
    pairs: Correspondences, camera: Camera, settings: PnpSettings, seed: int, with_covariance: bool = True
) -> PoseEstimate | None:
    """Pose by RANSAC and refinement over its inliers; None when there is none.

    A camera whose focal length nobody gave (`is_known` is false) has it estimated as well; the estimate's
    camera tells the result. The same seed gives the same pose, bit for bit. with_covariance: as `refine_pose` takes it.
    """
    if len(pairs) < MIN_PAIRS:
        return None
    if settings.engine == "poselib" and camera.is_known and camera.model in POSELIB_MODELS:
        return _estimate_poselib(pairs, camera, settings, seed, with_covariance)
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.estimate_focal_length = not camera.is_known
    options.ransac.max_error = settings.max_error_px
    options.ransac.confidence = settings.confidence
    options.ransac.min_num_trials = settings.min_iterations
    options.ransac.max_num_trials = settings.max_iterations
    options.ransac.random_seed = seed
    working = to_pycolmap_camera(camera)
    origin = round_origin(pairs.points3d)
    found = pycolmap.estimate_absolute_pose(pairs.points2d, pairs.points3d - origin, working, options)
    if found is None or not np.any(found["inlier_mask"]):
        return None
    pose, mask = from_rigid3d(found["cam_from_world"]).about(-origin), np.asarray(found["inlier_mask"], bool)
    estimated = Camera(*_fields(from_pycolmap_camera(working)), source=camera.source)
    return refine_pose(pairs, mask, pose, estimated, with_covariance=with_covariance)


def refine_pose(
    pairs: Correspondences, mask: np.ndarray, pose: Pose, camera: Camera, loss_scale_px: float = 1.0,
    with_covariance: bool = True,
) -> PoseEstimate | None:  # fmt: skip
    """Minimise the Cauchy-robust reprojection error of the pairs of a boolean mask [M], from `pose`.

    Of a camera whose focal length nobody gave all intrinsics are estimated as well (`refine_with_intrinsics`; on the
    way to another pose fewer). with_covariance: False for a pose on the way to another, as the covariance takes as
    long as the pose.
    None when fewer than MIN_PAIRS are in the mask or the solver fails.
    """
    if np.count_nonzero(mask) < MIN_PAIRS:
        return None
    xy, xyz, origin = pairs.points2d[mask], pairs.points3d[mask], round_origin(pairs.points3d)
    if not camera.is_known or camera.model not in POSELIB_MODELS:
        found = _refined_pycolmap(xy, xyz - origin, pose.about(origin), camera, loss_scale_px)
    else:
        found = _refined_poselib(xy, xyz - origin, pose.about(origin), camera, loss_scale_px)
    if found is not None and not camera.is_known and with_covariance:
        found = refine_with_intrinsics(xy, xyz - origin, *found, loss_scale_px)
    if found is None:
        return None
    refined, estimated = found[0].about(-origin), found[1]
    estimate = PoseEstimate(refined, mask, None, estimated, loss_scale_px)
    return with_its_covariance(estimate, pairs) if with_covariance else estimate


def with_its_covariance(estimate: PoseEstimate, pairs: Correspondences) -> PoseEstimate:
    """`refine_pose`'s estimate of these pairs, with its covariance where it had none."""
    if estimate.covariance is not None:
        return estimate
    xy, xyz = pairs.points2d[estimate.inliers], pairs.points3d[estimate.inliers]
    covariance = pose_covariance(estimate.camera, estimate.pose, xy, xyz, estimate.loss_scale_px)
    return replace(estimate, covariance=covariance)


def covariance_of_intrinsics(estimate: PoseEstimate, pairs: Correspondences) -> np.ndarray | None:
    """float64 [P, P] of the camera of an estimate of these pairs; None where it was known before."""
    if estimate.camera.is_known:
        return None
    xy, xyz = pairs.points2d[estimate.inliers], pairs.points3d[estimate.inliers]
    return intrinsics_covariance(estimate.camera, estimate.pose, xy, xyz, estimate.loss_scale_px)


def _refined_poselib(
    xy: np.ndarray, xyz: np.ndarray, pose: Pose, camera: Camera, loss_scale_px: float
) -> tuple[Pose, Camera] | None:
    """The same minimum as pycolmap's, in a sixth of the time; the camera stays."""
    start = poselib.CameraPose()
    start.R, start.t = pose.R, pose.t
    options = {"loss_type": "CAUCHY", "loss_scale": loss_scale_px}
    found, _ = poselib.refine_absolute_pose(xy, xyz, start, _as_poselib(camera), options)
    if not (np.isfinite(found.q).all() and np.isfinite(found.t).all()):
        return None
    return Pose(found.R, found.t), camera


def _refined_pycolmap(
    xy: np.ndarray, xyz: np.ndarray, pose: Pose, camera: Camera, loss_scale_px: float
) -> tuple[Pose, Camera] | None:
    """Where the focal length is not known, with it and, from LENS_PAIRS on, distortion; without that where no camera
    that there is comes of it."""
    options = pycolmap.AbsolutePoseRefinementOptions()
    options.loss_function_scale = loss_scale_px
    options.refine_focal_length = not camera.is_known
    for with_lens in (True, False) if not camera.is_known and len(xy) >= LENS_PAIRS else (False,):
        options.refine_extra_params = with_lens
        working = to_pycolmap_camera(camera)
        found = pycolmap.refine_absolute_pose(to_rigid3d(pose), xy, xyz, np.ones(len(xy), bool), working, options)
        if found is None or not np.isfinite(found["cam_from_world"].translation).all():
            return None
        estimated = camera if camera.is_known else _plausible(working, camera.source)
        if estimated is not None:
            return from_rigid3d(found["cam_from_world"]), estimated
    return None


def _plausible(estimated: pycolmap.Camera, source: str) -> Camera | None:
    """A camera that a solver made; None where there is no such camera."""
    if estimated.mean_focal_length() <= 0:
        return None
    camera = Camera(*_fields(from_pycolmap_camera(estimated)), source=source)
    return camera if is_plausible(camera) else None


@dataclass(frozen=True, eq=False)
class RigPairs:
    """2D-3D pairs of several cameras. points2d: float64 [M, 2] pixels of camera view[m], int [M]; points3d: [M, 3].

    cameras, cams_from_rig: [V], the rig's.
    """

    points2d: np.ndarray
    points3d: np.ndarray
    view: np.ndarray
    cameras: tuple[Camera, ...]
    cams_from_rig: tuple[Pose, ...]

    def errors(self, rig_from_world: Pose) -> np.ndarray:
        """Pixels float64 [M]; inf behind a camera."""
        found = np.full(len(self.view), np.inf)
        for v, (camera, cam_from_rig) in enumerate(zip(self.cameras, self.cams_from_rig, strict=True)):
            of = self.view == v
            pose = cam_from_rig @ rig_from_world
            found[of] = reprojection_errors(camera, pose, self.points2d[of], self.points3d[of])
        return found

    def arguments(self) -> tuple[list[int], list[pycolmap.Rigid3d], list[pycolmap.Camera]]:
        """As pycolmap takes them."""
        rigid, cameras = [to_rigid3d(p) for p in self.cams_from_rig], [to_pycolmap_camera(c) for c in self.cameras]
        return self.view.tolist(), rigid, cameras


def estimate_rig_pose(pairs: RigPairs, settings: PnpSettings, seed: int) -> tuple[Pose, np.ndarray] | None:
    """rig_from_world by RANSAC over the generalised three-point solver, and its inliers, bool [M]; None without one."""
    if len(pairs.view) < MIN_PAIRS:
        return None
    options = pycolmap.RANSACOptions(
        max_error=settings.max_error_px, confidence=settings.confidence, min_num_trials=settings.min_iterations,
        max_num_trials=settings.max_iterations, random_seed=seed,
    )  # fmt: skip
    origin = round_origin(pairs.points3d)
    found = pycolmap.estimate_generalized_absolute_pose(
        pairs.points2d, pairs.points3d - origin, *pairs.arguments(), options
    )
    if found is None or not np.any(found["inlier_mask"]):
        return None
    return from_rigid3d(found["rig_from_world"]).about(-origin), np.asarray(found["inlier_mask"], bool)


def refine_rig_pose(
    pairs: RigPairs, mask: np.ndarray, pose: Pose, loss_scale_px: float = 1.0
) -> tuple[Pose, np.ndarray | None] | None:
    """As `refine_pose`, for rig_from_world: the pose and its covariance [6, 6]; None where the solver fails."""
    if np.count_nonzero(mask) < MIN_PAIRS:
        return None
    options = pycolmap.AbsolutePoseRefinementOptions()
    options.loss_function_scale = loss_scale_px
    origin = round_origin(pairs.points3d)
    found = pycolmap.refine_generalized_absolute_pose(
        to_rigid3d(pose.about(origin)), pairs.points2d, pairs.points3d - origin, mask, *pairs.arguments(), options
    )
    if found is None or not np.isfinite(found["rig_from_world"].translation).all():
        return None
    refined = from_rigid3d(found["rig_from_world"]).about(-origin)
    covariance = rig_covariance(
        pairs.cameras, pairs.cams_from_rig, refined, pairs.view[mask], pairs.points2d[mask], pairs.points3d[mask],
        loss_scale_px,
    )  # fmt: skip
    return refined, covariance


def _estimate_poselib(
    pairs: Correspondences, camera: Camera, settings: PnpSettings, seed: int, with_covariance: bool
) -> PoseEstimate | None:
    is_ordered = pairs.quality is not None
    most = settings.max_ordered_iterations if is_ordered else None
    ransac = {
        "max_reproj_error": settings.max_error_px, "success_prob": settings.confidence, "seed": seed,
        "min_iterations": settings.min_iterations, "max_iterations": most or settings.max_iterations,
        "progressive_sampling": is_ordered,
    }  # fmt: skip
    order = np.arange(len(pairs)) if pairs.quality is None else np.argsort(-pairs.quality, kind="stable")
    origin = round_origin(pairs.points3d)
    xy, xyz = pairs.points2d[order], pairs.points3d[order] - origin
    unpolished = {"max_iterations": 0}  # `refine_pose` takes it from here
    found, info = poselib.estimate_absolute_pose(xy, xyz, _as_poselib(camera), ransac, unpolished)
    inliers = np.asarray(info["inliers"], bool)
    if inliers.shape != (len(pairs),) or not inliers.any():
        return None
    mask = np.zeros(len(pairs), bool)
    mask[order] = inliers
    pose = Pose(found.R, found.t).about(-origin)
    return refine_pose(pairs, mask, pose, camera, with_covariance=with_covariance)


def _as_poselib(camera: Camera) -> dict[str, Any]:
    return {"model": camera.model, "width": camera.width, "height": camera.height, "params": list(camera.params)}


def _fields(camera: Camera) -> tuple[str, int, int, tuple[float, ...]]:
    return camera.model, camera.width, camera.height, camera.params
