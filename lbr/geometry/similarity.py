"""Similarities (rotation, shift, scale) between two world frames, and their fit to positions and rotations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lbr.geometry.pose import Pose, rotation_angle


@dataclass(frozen=True, eq=False)
class Similarity:
    """`b_from_a`: x_b = scale R x_a + t. scale > 0, R: float64 [3, 3], a rotation, t: float64 [3] in units of b."""

    scale: float
    R: np.ndarray
    t: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points [..., 3] in a -> in b."""
        return self.scale * np.asarray(points, np.float64) @ self.R.T + self.t

    def move(self, cam_from_a: Pose) -> Pose:
        """The same camera in b: cam_from_b. It is rigid; what it sees of b is `scale` times as large as in a."""
        R = cam_from_a.R @ self.R.T
        return Pose(R, -R @ self.apply(cam_from_a.centre))

    def inverse(self) -> Similarity:
        return Similarity(1 / self.scale, self.R.T, -self.R.T @ self.t / self.scale)


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotations R [..., 3, 3] with the largest trace of R' M, for matrices M [..., 3, 3] (Umeyama 1991, lemma)."""
    U, _, Vt = np.linalg.svd(matrix)
    sign = np.ones((*matrix.shape[:-2], 3))
    sign[..., 2] = np.sign(np.linalg.det(U) * np.linalg.det(Vt))
    return (U * sign[..., None, :]) @ Vt


def fit_similarity(
    source: np.ndarray, target: np.ndarray, evidence: np.ndarray | None = None, num_rounds: int = 5
) -> Similarity:
    """The similarity that minimises the squared distances of points [N, 3] of a from those of b (Umeyama 1991).

    evidence: float64 [3, 3], a weighted sum of rotations b_from_a that are known otherwise (or of b v' for a direction
    v of a and b of b), weights in squared units of b: it decides what the points leave open, as the turn about the line
    of collinear ones. The rotation maximises tr(R' (s B'A + evidence)), the scale is the least squares one for it.
    """
    a, b = source - source.mean(0), target - target.mean(0)
    correlation = b.T @ a
    size = float((a**2).sum())
    scale = float(np.sqrt((b**2).sum() / size)) if size > 0 else 1.0
    R = np.eye(3)
    for _ in range(num_rounds if evidence is not None else 1):
        R = nearest_rotation(scale * correlation + (0 if evidence is None else evidence))
        least_squares = float(np.trace(R.T @ correlation)) / size if size > 0 else 1.0
        scale = least_squares if least_squares > 0 else scale
    return Similarity(scale, R, target.mean(0) - scale * R @ source.mean(0))


def fit_poses(
    centres: tuple[np.ndarray, np.ndarray], rotations: tuple[np.ndarray, np.ndarray], num_rounds: int = 4
) -> Similarity:
    """The similarity b_from_a of cameras known in both frames, from their positions and rotations together.

    centres: of a and of b, [N, 3]; rotations: cam_from_a and cam_from_b, [N, 3, 3]. Each kind of evidence weighs by the
    variance of its own residuals, so few or collinear cameras are held by their rotations. All rotations together count
    as one: a principal point that is off turns all cameras alike, which their residuals do not show.
    """
    source, target = centres
    turned = np.swapaxes(rotations[1], 1, 2) @ rotations[0]  # b_from_a, as each camera has it
    mean = turned.mean(0)
    radius = float(((target - target.mean(0)) ** 2).sum(1).mean())
    weight = radius
    found = fit_similarity(source, target, weight * mean)
    for _ in range(num_rounds - 1):
        position = float(((found.apply(source) - target) ** 2).sum(1).mean())
        rotation = float((rotation_angle(turned @ found.R.T) ** 2).mean())
        weight = float(np.clip(position / max(rotation, 1e-12), 1e-4 * radius, 1e2 * radius))
        found = fit_similarity(source, target, weight * mean)
    return found
