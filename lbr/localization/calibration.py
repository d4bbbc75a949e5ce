"""The intrinsics of a camera that took several queries, from what each of them tells.

One photograph of one wall hardly tells a focal length from a distance, nor the principal point from a turn. Each tells
something else of them, so that several tell both: what each is sure of is joined as the information filter does
(Thrun, Burgard and Fox, Probabilistic Robotics, 2005, section 3.5), less what was thought likely before, which all have
in common and which counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from lbr.geometry.camera import Camera
from lbr.localization.intrinsics import is_cut, is_plausible, likely

FEWEST = 3  # photographs
MAX_FOCAL_STD = 0.005  # of the focal length: less sure ones are no better than a photograph's own
ROUNDS = 20
FAR = 9.0  # squared distance, in standard deviations, from which on a photograph tells less: its pose may be wrong
HALF = 0.5  # a photograph whose weight is less does not count


@dataclass(frozen=True, eq=False)
class Estimated:
    """What one photograph tells of its camera: the intrinsics that came with its pose, float64 [P, P] their
    covariance."""

    camera: Camera
    covariance: np.ndarray


def calibrate(found: Sequence[Estimated]) -> tuple[Camera, int] | None:
    """The camera that took these photographs, of one size and model, source 'queries', and how many of them agree.

    Cut photographs and whole ones are not taken together: the more numerous count. None where fewer than FEWEST agree,
    or where together they are not sure of the focal length.
    """
    cut = 2 * sum(is_cut(one.camera) for one in found) > len(found)
    found = [one for one in found if is_cut(one.camera) == cut]  # the others had other likely intrinsics
    if len(found) < FEWEST:
        return None
    means, unit, before = _before([one.camera for one in found])
    own = np.array([(np.array(one.camera.params) - means) / unit for one in found])
    inverse = np.linalg.inv(np.array([one.covariance / np.outer(unit, unit) for one in found]))
    told, right = (np.stack(part) for part in zip(*map(partial(_beyond, before), inverse, own), strict=True))
    weight = np.ones(len(found))
    for _ in range(ROUNDS):
        information = before + np.einsum("n,nij->ij", weight, told)
        joined = np.linalg.solve(information, weight @ right)
        distance = np.einsum("ni,nij,nj->n", own - joined, inverse, own - joined)
        weight = FAR / np.maximum(distance, FAR)
    agreeing = int(np.count_nonzero(weight >= HALF))
    params = means + joined * unit
    spread = np.sqrt(np.diag(np.linalg.inv(information))) * unit
    camera = replace(found[0].camera, params=tuple(params), source="queries", spreads=tuple(spread))
    of_focal = np.diag(before) == 0
    sure = bool((spread[of_focal] <= MAX_FOCAL_STD * params[of_focal]).all())
    return (camera, agreeing) if agreeing >= FEWEST and sure and is_plausible(camera) else None


def _before(cameras: Sequence[Camera]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is likely of a camera: means [P], units [P] (standard deviations, or the median focal length), and the
    information [P, P] in those units, of focal lengths none."""
    means, spreads = likely(cameras[0])
    of_focal = np.isinf(spreads)
    unit = np.where(of_focal, np.median([camera.focal[0] for camera in cameras]), spreads)
    return np.where(of_focal, 0.0, means), unit, np.diag(np.where(of_focal, 0.0, 1.0))


def _beyond(before: np.ndarray, information: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a photograph tells beyond what was likely before: information [P, P], and that times its estimate [P], in
    the directions in which it tells more."""
    values, vectors = np.linalg.eigh(information - before)
    vectors, values = vectors[:, values > 0], values[values > 0]
    return (vectors * values) @ vectors.T, vectors @ (vectors.T @ (information @ own))
