"""Geometric verification of matches against poses that are known: vectorised epipolar distances."""

from __future__ import annotations

import numpy as np

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import cam_from_img


def normalised_rays(camera: Camera, keypoints: np.ndarray) -> np.ndarray:
    """Keypoints [N, 2] in pixels -> undistorted homogeneous image coordinates float64 [N, 3] (x/z, y/z, 1)."""
    xy = cam_from_img(camera, keypoints)
    return np.hstack([xy, np.ones((len(xy), 1))])


def essential_matrix(b_from_a: Pose) -> np.ndarray:
    """E [3, 3] with x_b' E x_a = 0 (Hartley and Zisserman, eq. 9.12): [t]x R."""
    x, y, z = b_from_a.t
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ b_from_a.R


def sampson_distance(rays_a: np.ndarray, rays_b: np.ndarray, b_from_a: Pose) -> np.ndarray:
    """First-order geometric distance to the epipolar constraint (Hartley and Zisserman, eq. 11.9), float64 [N].

    rays [N, 3] as of `normalised_rays`; the distance is in their units: times the focal length it is pixels.
    A pair of views without baseline has no epipolar geometry: all its distances are 0.
    """
    E = essential_matrix(b_from_a)
    line_b, line_a = rays_a @ E.T, rays_b @ E
    numerator = np.einsum("ni,ni->n", rays_b, line_b)
    gradient = (line_b[:, :2] ** 2).sum(1) + (line_a[:, :2] ** 2).sum(1)
    return np.abs(numerator) / np.sqrt(np.maximum(gradient, 1e-24))
