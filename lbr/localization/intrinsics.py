"""Which intrinsics of a query are estimated with its pose, where nobody gave them."""

from __future__ import annotations

import numpy as np

from lbr.geometry.camera import MODELS, Camera
from lbr.io.colmap import img_from_cam

LENS_PAIRS = 100  # tell of distortion as well; fewer would bend it to their noise
FOCAL, PRINCIPAL_POINT = ("f", "fx", "fy"), ("cx", "cy")
FOCAL_RATIOS = (0.1, 10.0)  # of the longer side: COLMAP's
BEYOND = 1.1  # of the corner's distance from the axis: so far out distortion must let go outwards
STEPS = 32


def free_intrinsics(camera: Camera, num_pairs: int) -> tuple[int, ...]:
    """Indices of `camera.params` that are estimated from so many pairs: none where the focal length is known; the
    focal length; from LENS_PAIRS on the coefficients of distortion too. The principal point stays: a turn of the camera
    does the same.
    """
    if camera.is_known:
        return ()
    left = PRINCIPAL_POINT if num_pairs >= LENS_PAIRS else {*MODELS[camera.model]} - {*FOCAL}
    return tuple(i for i, name in enumerate(MODELS[camera.model]) if name not in left)


def frees_lens(camera: Camera, free: tuple[int, ...]) -> bool:
    """Whether there is distortion among the free intrinsics."""
    return any(MODELS[camera.model][i] not in FOCAL for i in free)


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
