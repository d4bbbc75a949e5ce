"""Rigid transforms and the errors between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

ORIGIN_STEP = 1000.0  # metres
TOLERANCE = 1e-6 + 1e-5 * np.eye(3)  # of R R': what files of six digits keep


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid transform `b_from_a`: x_b = R x_a + t. A camera's pose is cam_from_world.

    R: float64 [3, 3], a rotation. t: float64 [3], metres.
    Camera frame: x right, y down, z forward.
    Raises ValueError when R is no rotation (to TOLERANCE) or a shape is wrong.
    """

    R: np.ndarray
    t: np.ndarray

    def __post_init__(self) -> None:
        R, t = np.asarray(self.R, np.float64), np.asarray(self.t, np.float64).reshape(-1)
        if R.shape != (3, 3) or t.shape != (3,):
            raise ValueError(f"a pose takes R [3, 3] and t [3], not {R.shape} and {t.shape}")
        if not ((np.abs(R @ R.T - np.eye(3)) <= TOLERANCE).all() and np.linalg.det(R) > 0):  # np.allclose takes 0.1 ms
            raise ValueError("R is not a rotation matrix")
        if not np.isfinite(t).all():
            raise ValueError(f"t is not finite: {t}")
        object.__setattr__(self, "R", R)
        object.__setattr__(self, "t", t)

    @staticmethod
    def identity() -> Pose:
        return Pose(np.eye(3), np.zeros(3))

    @staticmethod
    def from_quaternion(wxyz: Sequence[float] | np.ndarray, t: Sequence[float] | np.ndarray) -> Pose:
        """From a quaternion w, x, y, z (normalised here). Raises ValueError when its norm is 0 or not finite."""
        q = np.asarray(wxyz, np.float64)
        if q.shape != (4,) or not np.isfinite(q).all() or np.linalg.norm(q) < 1e-9:
            raise ValueError(f"not a quaternion: {wxyz}")
        return Pose(Rotation.from_quat(wxyz_to_xyzw(q)).as_matrix(), np.asarray(t))

    @property
    def quaternion(self) -> np.ndarray:
        """float64 [4], w x y z, w >= 0."""
        return xyzw_to_wxyz(Rotation.from_matrix(self.R).as_quat(canonical=True))

    @property
    def centre(self) -> np.ndarray:
        """float64 [3]: the origin of b in a; for cam_from_world the camera's position in the world."""
        return -self.R.T @ self.t

    @property
    def matrix(self) -> np.ndarray:
        """float64 [3, 4]: [R | t]."""
        return np.hstack([self.R, self.t[:, None]])

    def inverse(self) -> Pose:
        return Pose(self.R.T, self.centre)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points [N, 3] in a -> [N, 3] in b."""
        return np.asarray(points, np.float64) @ self.R.T + self.t

    def about(self, origin: np.ndarray) -> Pose:
        """The same `b_from_a` where a has its zero at `origin` [3] of what it was."""
        return Pose(self.R, self.R @ origin + self.t) if origin.any() else self

    def __matmul__(self, other: Pose) -> Pose:
        """`c_from_b @ b_from_a` is c_from_a."""
        return Pose(self.R @ other.R, self.R @ other.t + self.t)


def round_origin(positions: np.ndarray) -> np.ndarray:
    """float64 [3]: the multiple of ORIGIN_STEP nearest to the mean of positions [N, 3].

    Coordinates of a survey are millions of metres, and a solver that turns poses about their zero is left with half of
    its digits. About a round point near by it has them all, and what is near zero anyway stays as it is, to the bit.
    """
    return ORIGIN_STEP * np.round(np.mean(positions, axis=0) / ORIGIN_STEP)


def wxyz_to_xyzw(q: np.ndarray) -> np.ndarray:
    """Quaternion [..., 4] of our files and API -> as scipy and pycolmap take it."""
    return np.roll(q, -1, axis=-1)


def xyzw_to_wxyz(q: np.ndarray) -> np.ndarray:
    """Quaternion [..., 4] of scipy and pycolmap -> as our files and API take it."""
    return np.roll(q, 1, axis=-1)


def rotation_angle(R: np.ndarray) -> np.ndarray:
    """Angle in radians of the rotations [..., 3, 3].

    By atan2 of the skew part and the trace: exact near 0, where acos of the trace loses half the digits.
    """
    skew = np.stack([R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], -1)
    trace = np.trace(R, axis1=-2, axis2=-1)
    return np.arctan2(np.linalg.norm(skew, axis=-1), trace - 1.0)


def pose_error(estimate: Pose, truth: Pose) -> tuple[float, float]:
    """(distance of the camera centres in metres, angle between the rotations in radians)."""
    distance = float(np.linalg.norm(estimate.centre - truth.centre))
    return distance, float(rotation_angle(estimate.R @ truth.R.T))
