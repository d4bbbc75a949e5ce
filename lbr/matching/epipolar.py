"""Matching along epipolar lines: of two photographs whose poses are known, only what lies near each other's lines is
compared (COLMAP calls it guided matching), and kept as far as chance does not explain it.

Few keypoints are near a line, so that the best of them needs not stand out from all the others of the photograph, as
the ratio test wants. What it needs is to be as alike as hardly any other keypoint is: how often wrong ones would be is
known from those off the line (a contrario: Moisan and Stival, IJCV 2004; Rabin, Delon and Gousseau, IPOL 2009).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lbr.matching.descriptors import as_float32, by_kind
from lbr.matching.nearest import BLOCK_ROWS, NONE, GuidedSettings
from lbr.types import LocalFeatures, Matches

SURE = 3.0  # standard deviations of a count that must be gained, or two photographs show nothing in common


@dataclass(frozen=True, eq=False)
class TwoViews:
    """Keypoints of two photographs as rays, float [N, 3] and [M, 3] (x/z, y/z, 1), and what their poses say of them.

    essential: float64 [3, 3], ray_b' E ray_a = 0 where both see one point. focal: pixels of one unit of the rays.
    """

    rays_a: np.ndarray
    rays_b: np.ndarray
    essential: np.ndarray
    focal: float


@dataclass(frozen=True, eq=False)
class _Nearest:
    """For each row of a: the most alike row of b near its line, their cosine (-2 where none is near), the probability
    that one of those near it is so alike by chance; for b: the best cosine."""

    index: np.ndarray  # int64 [N]
    cosine: np.ndarray  # float32 [N]
    by_chance: np.ndarray  # float64 [N]
    best_of_b: np.ndarray  # float32 [M]


def match_along_lines(a: LocalFeatures, b: LocalFeatures, views: TwoViews, settings: GuidedSettings) -> Matches:
    """Matches of a with b that agree with their poses, ordered by rows of a; scores are cosines.

    Each is the other's most alike near its line. They are taken from the one that chance explains least, as far as most
    is gained: of N rows N times the probability of the last are to be expected by chance. There are none where
    hardly more are found than that.
    """
    if not len(a) or not len(b):
        return Matches.empty()
    near = _nearest_along(as_float32(a.descriptors), as_float32(b.descriptors), views, settings.max_error_px)
    rows = np.flatnonzero((near.cosine > NONE) & (near.cosine >= near.best_of_b[near.index]))
    chance = np.sort(near.by_chance[rows])
    count = np.arange(1, len(rows) + 1)
    gain = count - (1 + settings.caution) * len(a) * chance
    if not (gain > SURE * np.sqrt(count)).any():
        return Matches.empty()
    rows = rows[near.by_chance[rows] <= chance[gain.argmax()]]
    return Matches(np.stack([rows, near.index[rows]], 1).astype(np.int32), near.cosine[rows])


def _nearest_along(a: np.ndarray, b: np.ndarray, views: TwoViews, max_error_px: float) -> _Nearest:
    """Of two kinds of rows (`by_kind`) those of its own are what a row is compared with, and chance as well."""
    parts = by_kind(a, b)
    if parts is None:
        return _nearest_of_a_kind(a, b, views, max_error_px)
    index, cosine, by_chance = np.empty(len(a), np.int64), np.empty(len(a), np.float32), np.empty(len(a))
    best_of_b = np.empty(len(b), np.float32)
    for rows, columns in parts:
        own = replace(views, rays_a=views.rays_a[rows], rays_b=views.rays_b[columns])
        found = _nearest_of_a_kind(a[rows], b[columns], own, max_error_px)
        index[rows], best_of_b[columns] = columns[found.index], found.best_of_b
        cosine[rows], by_chance[rows] = found.cosine, found.by_chance
    return _Nearest(index, cosine, by_chance, best_of_b)


def _nearest_of_a_kind(a: np.ndarray, b: np.ndarray, views: TwoViews, max_error_px: float) -> _Nearest:
    lines_b = (views.rays_a @ views.essential.T).astype(np.float32)
    lines_a = views.rays_b @ views.essential
    steep = np.float32((max_error_px / views.focal) ** 2)
    limit_a = steep * np.square(lines_b[:, :2]).sum(1)
    limit_b = steep * np.square(lines_a[:, :2]).sum(1).astype(np.float32)
    index, cosine, by_chance = np.empty(len(a), np.int64), np.empty(len(a), np.float32), np.empty(len(a))
    best_of_b = np.full(len(b), NONE)
    columns, rays = np.ascontiguousarray(b.T), np.ascontiguousarray(views.rays_b.T.astype(np.float32))
    shape = min(BLOCK_ROWS, len(a)), len(b)  # of what is written over in every block: fresh memory takes longer
    blocks, flags = [np.empty(shape, np.float32) for _ in range(3)], np.empty(shape, bool)
    for start in range(0, len(a), BLOCK_ROWS):
        rows = slice(start, min(start + BLOCK_ROWS, len(a)))
        cosines, distance, limit, near = (block[: rows.stop - start] for block in (*blocks, flags))
        np.matmul(a[rows], columns, out=cosines)
        np.matmul(lines_b[rows], rays, out=distance)
        np.add(limit_a[rows, None], limit_b, out=limit)
        np.less_equal(np.square(distance, out=distance), limit, out=near)  # Sampson's, times its denominator
        masked = distance
        masked.fill(NONE)
        np.copyto(masked, cosines, where=near)
        np.maximum(best_of_b, masked.max(axis=0), out=best_of_b)
        index[rows] = masked.argmax(axis=1)
        cosine[rows] = masked[np.arange(len(masked)), index[rows]]
        by_chance[rows] = _count(near) / len(b)
        by_chance[rows] *= _count(np.greater_equal(cosines, cosine[rows, None], out=near)) - 0.5  # as alike as it
    return _Nearest(index, cosine, by_chance, best_of_b)


def _count(flags: np.ndarray) -> np.ndarray:
    """int32 [N]: how many of each row of bool [N, M] are set; numpy's own count takes five times as long."""
    return np.add.reduce(flags, axis=1, dtype=np.int32)
