"""The intrinsics of a query that nobody gave: estimated with its pose, under what cameras are like.

The solvers of poses take in the focal length, and one of them distortion. The principal point of many a photograph is a
hundredth of its width from the middle, which moves a pose by decimetres; where there are pairs enough they tell it, and
where there are not, it stays where it mostly is.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from lbr.geometry.camera import MODELS, Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import img_from_cam

FOCAL, PRINCIPAL_POINT = ("f", "fx", "fy"), ("cx", "cy")
SPREAD_POINT, SPREAD_LENS = 0.01, 0.1  # standard deviations: of the longer side; of a coefficient of distortion
SPREAD_CUT = 0.2  # of the longer side: of the principal point of a photograph that was cut out of a larger one
CUT = 0.05  # of the longer side: so far from the middle is the principal point of these alone
CUT_COSTS = 9.0  # squared standard deviations, by which the loss must be less: hardly a photograph is cut
CAUTION = 4.0  # what a standard deviation costs, in errors of the loss' scale: pairs err together, so many tell little
FOCAL_RATIOS = (0.1, 10.0)  # of the longer side: COLMAP's
BEYOND = 1.1  # of the corner's distance from the axis: so far out distortion must let go outwards
STEPS = 32
STEP = 1e-6  # of an intrinsic, for central differences of the projection
UNSEEN_PX = 1e4  # error of a point behind the camera
TINY = 1e-12


def likely(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """float64 [P], [P]: means and standard deviations of a camera's parameters before a photograph was looked at; of
    focal lengths nothing is known, so they have the present ones and infinity. Where other photographs of the camera
    tell them, what these tell. The principal point is near the middle, or anywhere, once it is_cut."""
    if camera.spreads:
        return np.array(camera.params), np.array(camera.spreads)
    return _likely(camera, SPREAD_CUT if is_cut(camera) else SPREAD_POINT)


def is_cut(camera: Camera) -> bool:
    """Whether the principal point is so far from the middle that the photograph was cut out of a larger one."""
    off = (np.array(camera.principal_point) - np.array(camera.size) / 2) / max(camera.size)
    return bool(np.abs(off).max() > CUT)


def _likely(camera: Camera, spread_point: float) -> tuple[np.ndarray, np.ndarray]:
    names, (width, height) = MODELS[camera.model], camera.size
    middle = {"cx": width / 2, "cy": height / 2}
    spread = {name: spread_point * max(camera.size) for name in PRINCIPAL_POINT} | dict.fromkeys(FOCAL, np.inf)
    means = [
        value if name in FOCAL else middle.get(name, 0.0) for name, value in zip(names, camera.params, strict=True)
    ]
    return np.array(means), np.array([spread.get(name, SPREAD_LENS) for name in names])


def is_plausible(camera: Camera) -> bool:
    """Whether there are such cameras: of a focal length in FOCAL_RATIOS, and what lies further from the axis is seen
    further from it, all over the photograph, where what a solver makes of pairs in a corner of it may fold."""
    shortest, longest = (ratio * max(camera.size) for ratio in FOCAL_RATIOS)
    if not shortest <= min(camera.focal) <= max(camera.focal) <= longest:
        return False
    away = np.linspace(0, BEYOND, STEPS)[:, None] * np.array(camera.size) / (2 * np.array(camera.focal))
    seen = img_from_cam(camera, np.hstack([away, np.ones((STEPS, 1))]))
    distance = np.linalg.norm(seen - seen[0], axis=1)
    return bool(np.isfinite(seen).all() and (np.diff(distance) > 0).all())


def change_with_intrinsics(camera: Camera, local: np.ndarray) -> np.ndarray:
    """float64 [N, 2, P]: change of the projections of `local` [N, 3] (camera frame) with the camera's parameters."""
    params, changes = np.array(camera.params), []
    for step in np.diag(STEP * np.maximum(1.0, np.abs(params))):
        there, back = (replace(camera, params=tuple(params + s * step)) for s in (1, -1))
        changes.append((img_from_cam(there, local) - img_from_cam(back, local)) / (2 * step.sum()))
    return np.stack(changes, axis=2)


def refine_with_intrinsics(
    points2d: np.ndarray, points3d: np.ndarray, pose: Pose, camera: Camera, loss_scale_px: float
) -> tuple[Pose, Camera] | None:
    """The most likely pose and intrinsics: the least Cauchy loss of pairs [N, 2], [N, 3], from `pose` and `camera`, and
    of what is `likely` of cameras, CAUTION times loss_scale_px for a standard deviation. Where a principal point far
    from the middle explains so much more that the photograph was cut out of a larger one, with that. None where no
    camera that there is comes of it.
    """
    fit = partial(_fit, points2d, points3d, pose, camera, loss_scale_px)
    found = fit(*likely(camera))
    if camera.spreads or is_cut(camera):
        return found and found[1:]
    cut = fit(*_likely(camera, SPREAD_CUT))
    less = CUT_COSTS * (CAUTION * loss_scale_px) ** 2
    if cut is not None and is_cut(cut[2]) and (found is None or cut[0] + less < found[0]):
        return cut[1:]
    return found and found[1:]


def _fit(
    points2d: np.ndarray, points3d: np.ndarray, pose: Pose, camera: Camera, loss_scale_px: float,
    means: np.ndarray, spreads: np.ndarray,
) -> tuple[float, Pose, Camera] | None:  # fmt: skip
    """The least loss, squared pixels, and the pose and intrinsics that have it; None where there is no such camera."""
    unit = np.where(np.isfinite(spreads), spreads, camera.params)
    scale = loss_scale_px**2

    def at(x: np.ndarray) -> tuple[Pose, Camera]:
        """x: a turn about the camera's centre, a shift, parameters in their units."""
        turn = Rotation.from_rotvec(x[:3]).as_matrix()
        moved = Pose(turn @ pose.R, turn @ pose.t + x[3:6])
        return moved, replace(camera, params=tuple(np.array(camera.params) + x[6:] * unit))

    def residuals(x: np.ndarray) -> np.ndarray:
        """Their squares are the loss, which in scipy is of each number alone: here of both coordinates of an error."""
        moved, lens = at(x)
        error = np.nan_to_num(img_from_cam(lens, moved.apply(points3d)) - points2d, nan=UNSEEN_PX)
        squared = np.maximum((error**2).sum(axis=1, keepdims=True), TINY)
        robust = error * np.sqrt(scale * np.log1p(squared / scale) / squared)
        return np.append(robust.ravel(), CAUTION * loss_scale_px * (np.array(lens.params) - means) / spreads)

    try:
        solved = least_squares(residuals, np.zeros(6 + len(unit)), x_scale="jac", method="lm")
        found = at(solved.x)
    except ValueError:  # a focal length below 0 on the way
        return None
    return (2 * solved.cost, *found) if is_plausible(found[1]) else None
