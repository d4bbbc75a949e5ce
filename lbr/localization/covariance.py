"""The covariance of a pose estimated with a robust loss."""

from __future__ import annotations

import numpy as np

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import img_from_cam

STEP = 1e-6  # of the depth, for central differences of the projection


def pose_covariance(
    camera: Camera, pose: Pose, points2d: np.ndarray, points3d: np.ndarray, loss_scale_px: float
) -> np.ndarray | None:
    """float64 [6, 6] of (w, v), docs/conventions.md; None where the points do not determine the pose.

    The sandwich A^-1 B A^-1 of an M-estimator (Huber 1967): A the Hessian of the loss, B the sum of the squared
    gradients, here of the Cauchy loss c log(1 + |r|^2 / c), c = loss_scale_px^2. It needs no noise level, as the
    residuals tell it. A solver's own covariance assumes one pixel of noise and no outliers.
    """
    local = pose.apply(points3d)
    residual = img_from_cam(camera, local) - points2d
    seen = np.isfinite(residual).all(axis=1)
    residual, jacobian = residual[seen], _jacobian(camera, pose, local[seen])
    count = 2 * len(residual)
    if count <= 6:
        return None
    scale = loss_scale_px**2
    weight = 1 / (1 + np.square(residual).sum(axis=1) / scale)
    gradient = np.einsum("nki,nk->ni", jacobian, residual)
    hessian = np.einsum("nki,nkj,n->ij", jacobian, jacobian, weight)
    hessian -= 2 / scale * np.einsum("ni,nj,n->ij", gradient, gradient, weight**2)
    spread = np.einsum("ni,nj,n->ij", gradient, gradient, weight**2)
    if np.linalg.eigvalsh(hessian).min() <= 0:
        return None
    inverse = np.linalg.inv(hessian)
    covariance = inverse @ spread @ inverse * (count / (count - 6))
    return (covariance + covariance.T) / 2 if np.isfinite(covariance).all() else None


def _jacobian(camera: Camera, pose: Pose, local: np.ndarray) -> np.ndarray:
    """float64 [N, 2, 6]: change of the projections of `local` [N, 3] (camera frame) with (w, v).

    A point moves by w x (R X) + v; the projection's own derivative is taken by central differences, for any camera.
    """
    step = STEP * np.abs(local[:, 2:])
    moved = [(img_from_cam(camera, local + step * e) - img_from_cam(camera, local - step * e)) for e in np.eye(3)]
    of_point = np.stack(moved, axis=2) / (2 * step[:, :, None])
    x, y, z = (local - pose.t).T
    zero = np.zeros_like(x)
    turned = np.stack([zero, z, -y, -z, zero, x, y, -x, zero], axis=1).reshape(-1, 3, 3)
    return np.concatenate([of_point @ turned, of_point], axis=2)
