"""A place of a map and positions of its photographs on earth -> where it lies: robust, and kept level by gravity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field
from scipy.spatial.transform import Rotation

from lbr.errors import DataError
from lbr.geometry.geodetic import ecef_from_geodetic, enu_from_geodetic, geodetic_from_ecef
from lbr.geometry.gravity import estimate_up
from lbr.geometry.similarity import Similarity, fit_similarity, nearest_rotation
from lbr.io.exif import GpsPosition
from lbr.mapping.georeference import Georeference
from lbr.mapping.map import Map
from lbr.settings import ConfigPath, Settings

NUM_HYPOTHESES = 100  # of each kind: with half of the positions wrong, one in eight triples is right
GRAVITY_STD = np.radians(2.0)  # of the upright of photographs that people took, all of a place together
GRAVITY_WRONG = np.radians(20.0)  # positions that fix the tilt and differ by more are believed instead
STEPS = 10  # of least squares: of streets the fourth was at most 2e-4 (metres, radians), the tenth 3e-10
TILT_FIXED = np.radians(5.0)  # standard deviation of the tilt below which positions are said to fix it
UP = np.array([0.0, 0.0, 1.0])


class GeoreferenceSettings(Settings):
    """enabled: auto georeferences every place of which enough photographs have a position. positions: a text file
    `name latitude longitude [height]` of db images that takes the place of their EXIF."""

    enabled: Literal["auto", "never"] = "auto"
    positions: ConfigPath | None = None
    max_error_m: float = Field(default=10.0, gt=0, description="horizontal; twice as much in height")
    min_images: int = Field(default=3, ge=3)
    max_scale_std: float = Field(default=0.2, gt=0, description="a place whose scale is less sure is left out")


@dataclass(frozen=True, eq=False)
class _Evidence:
    """Camera centres in the map [N, 3] and on earth (enu metres) [N, 3], which heights are known bool [N], and the
    direction against gravity in the map, unit [3]; None where it is not believed."""

    source: np.ndarray
    target: np.ndarray
    has_height: np.ndarray
    up: np.ndarray | None

    def inside(self, similarity: Similarity, max_error: float) -> np.ndarray:
        """bool [N]: positions within `max_error` metres, and twice as much in height where that is known."""
        return self.costs(similarity, max_error) < 1

    def costs(self, similarity: Similarity, max_error: float) -> np.ndarray:
        """The larger of the squared errors over their limits, float64 [N]."""
        error = (similarity.apply(self.source) - self.target) / max_error
        return np.maximum((error[:, :2] ** 2).sum(1), np.where(self.has_height, (error[:, 2] / 2) ** 2, 0))


def georeference(
    scene: Map, place: int, positions: Mapping[str, GpsPosition], settings: GeoreferenceSettings, seed: int = 0
) -> Georeference:
    """Where a place lies, from positions of its db images by name.

    RANSAC over pairs of photographs (level by gravity) and over triples, then least squares over the inliers, in which
    gravity weighs as much as it is sure: it decides what positions leave open, as the roll about a straight track.
    Raises DataError when there are too few positions, they do not agree, or cannot tell the scale.
    """
    images = scene.images_of(place)
    known = [i for i in images if scene.names[i] in positions]
    if len(known) < settings.min_images:
        raise DataError(f"{len(known)} of its {len(images)} db images have a position, {settings.min_images} wanted")
    gps = [positions[scene.names[i]] for i in known]
    origin, target, has_height = _on_earth(gps)
    poses = np.asarray(scene.poses, np.float64)
    evidence = _Evidence(scene.centres[known], target, has_height, estimate_up(poses[images, :, :3]))
    inside = _consensus(evidence, settings, np.random.default_rng([seed, place]))
    if np.count_nonzero(inside) < max(settings.min_images, (len(known) + 1) // 2):
        raise DataError(
            f"only {np.count_nonzero(inside)} of {len(known)} positions agree with the map within "
            f"{settings.max_error_m:g} m (georeference.max_error_m)"
        )
    similarity, covariance, uses_gravity = _refined(evidence, inside)
    if not covariance[6, 6] < settings.max_scale_std**2:
        raise DataError(
            f"{np.count_nonzero(inside)} positions that agree lie too close together for their scatter: the scale is "
            f"unsure by {100 * float(covariance[6, 6]) ** 0.5:.0f} % (georeference.max_scale_std)"
        )
    names = [scene.names[i] for i in known]
    moved = similarity.apply(evidence.source[inside])
    residuals = moved - target[inside]
    residuals[~has_height[inside], 2] = np.nan
    return Georeference(
        place, origin, similarity, covariance, moved.mean(0),
        tuple(n for n, kept in zip(names, inside, strict=True) if kept),
        tuple(n for n, kept in zip(names, inside, strict=True) if not kept),
        residuals, bool(has_height[inside].any()), uses_gravity,
        _compass(similarity, poses[known, 2, :3], [p.direction for p in gps]),
    )  # fmt: skip


def _on_earth(gps: list[GpsPosition]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Origin (geodetic [3]), positions in enu metres [N, 3], and whose heights are known; others have the median."""
    heights = np.array([np.nan if p.height is None else p.height for p in gps])
    has_height = ~np.isnan(heights)
    heights[~has_height] = np.median(heights[has_height]) if has_height.any() else 0.0
    geodetic = np.stack([[p.latitude for p in gps], [p.longitude for p in gps], heights], axis=1)
    origin = geodetic_from_ecef(np.median(ecef_from_geodetic(geodetic), axis=0))
    origin[2] = np.median(heights)
    return origin, enu_from_geodetic(geodetic, origin), has_height


def _consensus(evidence: _Evidence, settings: GeoreferenceSettings, rng: np.random.Generator) -> np.ndarray:
    """bool [N]: the inliers of the hypothesis with the least truncated cost, and of fits to them in turn."""
    limit = settings.max_error_m
    best, inside = np.inf, np.zeros(len(evidence.source), bool)
    for similarity in _hypotheses(evidence, rng):
        costs = evidence.costs(similarity, limit)
        if (cost := float(np.minimum(costs, 1).sum())) < best:
            best, inside = cost, costs < 1
    for _ in range(5):
        if np.count_nonzero(inside) < 3:
            break
        again = evidence.inside(_refined(evidence, inside)[0], limit)
        if np.array_equal(again, inside) or np.count_nonzero(again) < np.count_nonzero(inside):
            break
        inside = again
    return inside


def _hypotheses(evidence: _Evidence, rng: np.random.Generator) -> Iterator[Similarity]:
    source, target, up = evidence.source, evidence.target, evidence.up
    num = len(source)
    for _ in range(NUM_HYPOTHESES):
        chosen = rng.choice(num, 3, replace=False)
        yield fit_similarity(source[chosen], target[chosen])
        if up is not None:
            yield _level_similarity(source[chosen[:2]], target[chosen[:2]], up)


def _level_similarity(source: np.ndarray, target: np.ndarray, up: np.ndarray) -> Similarity:
    """Of two cameras each [2, 3] and the direction against gravity in the map: turned about the vertical alone."""
    level = nearest_rotation(np.outer(UP, up))
    a, b = (level @ (source[1] - source[0]))[:2], (target[1] - target[0])[:2]
    turn = np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b)
    cos, sin = np.cos(turn), np.sin(turn)
    R = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ level
    scale = max(float(np.linalg.norm(b)), 1e-12) / max(float(np.linalg.norm(a)), 1e-12)
    return Similarity(scale, R, target.mean(0) - scale * R @ source.mean(0))


def _refined(evidence: _Evidence, inside: np.ndarray) -> tuple[Similarity, np.ndarray, bool]:
    """Least squares over the inliers and gravity; the covariance [7, 7] of `Georeference`; whether gravity was used."""
    source, target, known = evidence.source[inside], evidence.target[inside], evidence.has_height[inside]
    flat = fit_similarity(source, target)
    measured = known if known.any() else ~known  # without gravity, heights that nobody knows can but be the same
    alone, covariance = _least_squares(flat, source, target, measured, None)
    if evidence.up is None:
        return alone, covariance, False
    tilt = np.arccos(np.clip((alone.R @ evidence.up) @ UP, -1, 1))
    if known.any() and tilt > GRAVITY_WRONG and covariance[0, 0] + covariance[1, 1] < TILT_FIXED**2:
        return alone, covariance, False
    spread = float(((target - target.mean(0)) ** 2).mean())
    level = fit_similarity(source, target, len(source) * spread / GRAVITY_STD**2 * np.outer(UP, evidence.up))
    return *_least_squares(level, source, target, known, evidence.up), True


def _least_squares(
    found: Similarity, source: np.ndarray, target: np.ndarray, known: np.ndarray, up: np.ndarray | None
) -> tuple[Similarity, np.ndarray]:
    """Gauss-Newton from a similarity that is near, and the covariance [7, 7] of what it ends with.

    known: bool [N], whose heights in `target` were measured. up: the direction against gravity in the map. Two of the
    seven parameters are gravity's where that is used. What nothing tells, as the height of a place whose positions have
    none, stays as it is.
    """
    rows = np.stack([np.ones_like(known), np.ones_like(known), known], axis=1).ravel()
    unknowns = 7 if up is None else 5
    for _ in range(STEPS):
        moved = found.apply(source)
        jacobian = _jacobian(moved)[rows]
        residuals = (target - moved).ravel()[rows]
        variance = max(float(residuals @ residuals) / max(len(residuals) - unknowns, 1), 1e-12)
        information, gradient = jacobian.T @ jacobian / variance, jacobian.T @ residuals / variance
        if up is not None:
            east, north, _ = found.R @ up
            information[[0, 1], [0, 1]] += 1 / GRAVITY_STD**2
            gradient[:2] += np.array([north, -east]) / GRAVITY_STD**2
        covariance = np.linalg.inv(information + 1e-9 * np.eye(7))
        found = _moved_by(found, covariance @ gradient, moved.mean(0))
    return found, covariance


def _jacobian(moved: np.ndarray) -> np.ndarray:
    """Of positions [N, 3] by the turn, the shift and the logarithm of the scale about their mean, float64 [3 N, 7]."""
    offsets = (moved - moved.mean(0))[:, None]
    by_turn = np.swapaxes(np.cross(np.eye(3), offsets), 1, 2)
    by_shift = np.broadcast_to(np.eye(3), by_turn.shape)
    return np.concatenate([by_turn, by_shift, np.swapaxes(offsets, 1, 2)], axis=2).reshape(-1, 7)


def _moved_by(found: Similarity, step: np.ndarray, centre: np.ndarray) -> Similarity:
    """The similarity after a turn, a shift and a change of the logarithm of the scale [7] about a point on earth."""
    turn, growth = Rotation.from_rotvec(step[:3]).as_matrix(), float(np.exp(step[6]))
    return Similarity(
        growth * found.scale, turn @ found.R, growth * turn @ (found.t - centre) + centre + step[3:6]
    )  # fmt: skip


def _compass(similarity: Similarity, axes: np.ndarray, directions: list[float | None]) -> float | None:
    """Median of the headings of optical axes (map directions [N, 3]) minus the compass's, degrees in -180..180."""
    ahead = axes @ similarity.R.T
    told = np.array([np.nan if d is None else d for d in directions])
    difference = np.degrees(np.arctan2(ahead[:, 0], ahead[:, 1])) - told
    known = difference[np.isfinite(difference)]
    return float(np.median((known + 180) % 360 - 180)) if len(known) else None
