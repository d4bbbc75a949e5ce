"""The covariance of a pose estimated with a robust loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose, round_origin
from lbr.io.colmap import img_from_cam
from lbr.localization.intrinsics import CAUTION, change_with_intrinsics, likely

STEP = 1e-6  # of the depth, for central differences of the projection
CELLS = 4  # along the longer side of a photograph: the keypoints of one have an error in common
COMMON = 0.4  # of the usual error: measured on real photographs, a drive, and a town at night (docs/figures.md)


def pose_covariance(
    camera: Camera, pose: Pose, points2d: np.ndarray, points3d: np.ndarray, loss_scale_px: float,
    common: float = COMMON,
) -> np.ndarray | None:  # fmt: skip
    """float64 [6, 6] of (w, v), docs/conventions.md; None where the points do not determine the pose.

    The sandwich A^-1 B A^-1 of an M-estimator (Huber 1967): A the Hessian of the loss, B the sum of the squared
    gradients, here of the Cauchy loss c log(1 + |r|^2 / c), c = loss_scale_px^2. It needs no noise level, as the
    residuals tell it. A solver's own covariance assumes one pixel of noise and no outliers.

    Errors of the map's poses, of intrinsics and of light move what is near to one another together; a pose follows
    them, and the residuals do not tell. So B has another part: in each cell of a photograph, CELLS along its longer
    side, all keypoints have an error in common, `common` times the usual one. 0: each errs for itself.

    Intrinsics that nobody gave, or other photographs alone, are parameters as well, likely as `intrinsics.likely` has
    it, and what they leave open is in the pose's covariance.
    """
    covariance, origin = _of_unknowns(camera, pose, points2d, points3d, loss_scale_px, common)
    return _about_zero(covariance, pose.R @ origin)


def intrinsics_covariance(
    camera: Camera, pose: Pose, points2d: np.ndarray, points3d: np.ndarray, loss_scale_px: float
) -> np.ndarray | None:
    """float64 [P, P] of a camera's parameters that were estimated with the pose; None as of `pose_covariance`."""
    covariance, _ = _of_unknowns(camera, pose, points2d, points3d, loss_scale_px, COMMON)
    return None if covariance is None else covariance[6:, 6:]


def _of_unknowns(
    camera: Camera, pose: Pose, points2d: np.ndarray, points3d: np.ndarray, loss_scale_px: float, common: float
) -> tuple[np.ndarray | None, np.ndarray]:
    """The covariance of the pose and of intrinsics that are not sure, and the zero [3] of the world that it is of."""
    origin, unsure = round_origin(points3d), not camera.is_known or bool(camera.spreads)
    pairs = _linearised(camera, Pose.identity(), pose.about(origin), points2d, points3d - origin, unsure)
    return _sandwich(pairs, loss_scale_px, common), origin


def rig_covariance(
    cameras: Sequence[Camera], cams_from_rig: Sequence[Pose], pose: Pose, view: np.ndarray, points2d: np.ndarray,
    points3d: np.ndarray, loss_scale_px: float,
) -> np.ndarray | None:  # fmt: skip
    """As `pose_covariance`, of rig_from_world `pose`, from what all its cameras see; view: int [N], which of them."""
    origin = round_origin(points3d)
    parts = [
        _linearised(camera, cam_from_rig, pose.about(origin), points2d[view == v], points3d[view == v] - origin)
        for v, (camera, cam_from_rig) in enumerate(zip(cameras, cams_from_rig, strict=True))
    ]
    joined = _Linearised(
        np.concatenate([p.residual for p in parts]), np.concatenate([p.jacobian for p in parts]),
        np.concatenate([p.cell + v * CELLS**2 for v, p in enumerate(parts)]),
    )  # fmt: skip
    return _about_zero(_sandwich(joined, loss_scale_px, COMMON), pose.R @ origin)


def _about_zero(covariance: np.ndarray | None, origin: np.ndarray) -> np.ndarray | None:
    """The covariance of (w, v) of the world's own zero, [6, 6], from that of all unknowns in a world whose zero is at
    `origin` [3], turned as the camera is: a turn about the one moves the other by w x origin."""
    covariance = None if covariance is None else covariance[:6, :6]
    if covariance is None or not origin.any():
        return covariance
    x, y, z = origin
    change = np.eye(6)
    change[3:, :3] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
    return change @ covariance @ change.T


def covariance_in_camera(covariance: np.ndarray | None, cam_from_rig: Pose) -> np.ndarray | None:
    """The covariance of a rig's pose as that of one of its cameras: (w, v) are turned with the camera."""
    if covariance is None:
        return None
    turned = np.kron(np.eye(2), cam_from_rig.R)
    return turned @ covariance @ turned.T


@dataclass(frozen=True, eq=False)
class _Linearised:
    """Of K pairs: residuals float64 [K, 2] pixels, their jacobians [K, 2, 6 + P] with (w, v) and P free intrinsics,
    cells int64 [K]; the standard deviations [P] of those before."""

    residual: np.ndarray
    jacobian: np.ndarray
    cell: np.ndarray
    spreads: np.ndarray = field(default_factory=lambda: np.zeros(0))


def _sandwich(pairs: _Linearised, loss_scale_px: float, common: float) -> np.ndarray | None:
    """Of (w, v) and the free intrinsics, float64 [6 + P, 6 + P]."""
    residual, jacobian, count = pairs.residual, pairs.jacobian, 2 * len(pairs.residual)
    unknowns = jacobian.shape[2]
    if count <= unknowns:
        return None
    scale = loss_scale_px**2
    weight = 1 / (1 + np.square(residual).sum(axis=1) / scale)
    gradient = np.einsum("nki,nk->ni", jacobian, residual)
    hessian = np.einsum("nki,nkj,n->ij", jacobian, jacobian, weight)
    hessian -= 2 / scale * np.einsum("ni,nj,n->ij", gradient, gradient, weight**2)
    cost = (CAUTION * loss_scale_px) ** 2  # of a standard deviation
    known = np.append(np.zeros(6), cost / pairs.spreads**2)
    hessian += np.diag(known)
    if np.linalg.eigvalsh(hessian).min() <= 0:
        return None
    spread = np.einsum("ni,nj,n->ij", gradient, gradient, weight**2) * (count / (count - unknowns))
    spread += np.diag(known * cost)
    of_cell = np.zeros((pairs.cell.max() + 1, 2, unknowns))  # how the gradient goes with a shift of all pairs of a cell
    np.add.at(of_cell, pairs.cell, jacobian * weight[:, None, None])
    usual = float(np.median(np.linalg.norm(residual, axis=1)))
    spread += (common * usual) ** 2 * np.einsum("cki,ckj->ij", of_cell, of_cell)
    inverse = np.linalg.inv(hessian)
    covariance = inverse @ spread @ inverse
    return (covariance + covariance.T) / 2 if np.isfinite(covariance).all() else None


def _linearised(
    camera: Camera, cam_from_rig: Pose, pose: Pose, points2d: np.ndarray, points3d: np.ndarray,
    with_intrinsics: bool = False,
) -> _Linearised:  # fmt: skip
    """The pairs whose point is in view, as they change with (w, v) of `pose`, and with the camera's parameters."""
    local = (cam_from_rig @ pose).apply(points3d)
    residual = img_from_cam(camera, local) - points2d
    seen = np.isfinite(residual).all(axis=1)
    column, row = np.clip(points2d[seen] * CELLS // max(camera.size), 0, CELLS - 1).astype(np.int64).T
    jacobian = _jacobian(camera, cam_from_rig, pose, local[seen], points3d[seen])
    pairs = _Linearised(residual[seen], jacobian, row * CELLS + column)
    if not with_intrinsics:
        return pairs
    both = np.concatenate([jacobian, change_with_intrinsics(camera, local[seen])], axis=2)
    return replace(pairs, jacobian=both, spreads=likely(camera)[1])


def _jacobian(camera: Camera, cam_from_rig: Pose, pose: Pose, local: np.ndarray, points3d: np.ndarray) -> np.ndarray:
    """float64 [N, 2, 6]: change of the projections of `local` [N, 3] (camera frame) with (w, v).

    In the rig's frame a point moves by w x (R X) + v; the projection's own derivative is taken by central differences,
    for any camera.
    """
    step = STEP * np.abs(local[:, 2:])
    moved = [(img_from_cam(camera, local + step * e) - img_from_cam(camera, local - step * e)) for e in np.eye(3)]
    of_point = np.stack(moved, axis=2) / (2 * step[:, :, None]) @ cam_from_rig.R
    x, y, z = (np.asarray(points3d, np.float64) @ pose.R.T).T
    zero = np.zeros_like(x)
    turned = np.stack([zero, z, -y, -z, zero, x, y, -x, zero], axis=1).reshape(-1, 3, 3)
    return np.concatenate([of_point @ turned, of_point], axis=2)
