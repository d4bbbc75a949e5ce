"""Nearest neighbours of descriptors: mutual, by ratio, by distance.

The engine is numpy's matrix product in blocks of rows, with the maxima of rows and columns taken while a block is
in the cache. Measured beside faiss, torch and OpenCV in benchmarks/engines.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from lbr.matching.descriptors import as_float32, by_kind
from lbr.settings import Settings
from lbr.types import LocalFeatures, Matches

BLOCK_ROWS = 256  # 256 x 4096 float32 similarities are 4 MB: they stay in the cache between the passes
NONE = np.float32(-2)  # below any cosine
TOLERANCE = np.float32(1e-4)  # of cosines in float16 descriptors


class GuidedSettings(Settings):
    """max_error_px: Sampson distance to the epipolar geometry within which keypoints are compared. caution: what a pair
    by chance costs, where a right one gains 1; triangulation and the search find out many of them."""

    max_error_px: float = Field(default=4.0, gt=0)
    caution: float = Field(default=0.0, ge=0)


class NearestSettings(Settings):
    """mutual: both are each other's nearest. ratio: largest distance ratio of first to second neighbour (Lowe 2004).
    max_distance: largest L2 distance of unit descriptors, 0..2. guided: db images whose poses are given are matched
    along their epipolar lines, where the first three do not count; null: they are not."""

    name: Literal["nearest"] = "nearest"
    mutual: bool = True
    ratio: float | None = Field(default=None, gt=0, le=1)
    max_distance: float | None = Field(default=None, gt=0, le=2)
    guided: GuidedSettings | None = None


@dataclass(frozen=True, eq=False)
class Neighbours:
    """For each row of a: its nearest row of b, and the cosines of the first and second; for b: its best cosine."""

    index: np.ndarray  # int64 [N]
    first: np.ndarray  # float32 [N]
    second: np.ndarray  # float32 [N], -2 when b has one row
    best_of_b: np.ndarray  # float32 [M]


class Nearest:
    """Matcher by nearest neighbours. Needs no labels and no images."""

    def __init__(self, settings: NearestSettings) -> None:
        self.settings = settings

    def match(self, a: LocalFeatures, b: LocalFeatures) -> Matches:
        """Matches of a with b; scores are cosines."""
        return match_descriptors(a.descriptors, b.descriptors, self.settings)


def match_descriptors(a: np.ndarray, b: np.ndarray, settings: NearestSettings, offset: float = 0.0) -> Matches:
    """Match unit descriptors a [N, D] with b [M, D]: at most one match for each row of a, ordered by it.

    With `mutual`, also at most one for each row of b but for exact ties. offset: what the products of rows that may
    match have above their cosine; rows that may not must have less than offset - 1. Raises ValueError when D differs.
    """
    if a.ndim != 2 or b.ndim != 2 or (a.shape[1] != b.shape[1] and len(a) and len(b)):
        raise ValueError(f"descriptors of {a.shape} and {b.shape} cannot be compared")
    if not len(a) or not len(b):
        return Matches.empty()
    near = nearest_neighbours(as_float32(a), as_float32(b))
    first, second = near.first - np.float32(offset), near.second - np.float32(offset)
    keep = first >= -1 - TOLERANCE if offset else np.ones(len(a), bool)
    if settings.mutual:
        keep &= near.first >= near.best_of_b[near.index]
    if settings.ratio is not None:
        # L2 distances of unit vectors: d^2 = 2 - 2 cos. The only neighbour there is passes.
        keep &= ((1 - first) < settings.ratio**2 * (1 - second)) | (second <= NONE)
    if settings.max_distance is not None:
        keep &= first >= 1 - settings.max_distance**2 / 2
    rows = np.flatnonzero(keep)
    return Matches(np.stack([rows, near.index[rows]], 1).astype(np.int32), first[rows])


def nearest_neighbours(a: np.ndarray, b: np.ndarray) -> Neighbours:
    """First and second nearest rows of b [M, D] for each row of a [N, D], and b's best cosines; float32, M >= 1.

    Of two kinds of rows (`by_kind`) those of its own are a row's neighbours.
    """
    parts = by_kind(a, b)
    if parts is None:
        return _nearest(a, b)
    index, best_of_b = np.empty(len(a), np.int64), np.empty(len(b), np.float32)
    first, second = np.empty(len(a), np.float32), np.empty(len(a), np.float32)
    for rows, columns in parts:
        found = _nearest(a[rows], b[columns])
        index[rows], best_of_b[columns] = columns[found.index], found.best_of_b
        first[rows], second[rows] = found.first, found.second
    return Neighbours(index, first, second, best_of_b)


def _nearest(a: np.ndarray, b: np.ndarray) -> Neighbours:
    index = np.empty(len(a), np.int64)
    first, second = np.empty(len(a), np.float32), np.empty(len(a), np.float32)
    best_of_b = np.full(len(b), NONE)
    block = np.empty((min(BLOCK_ROWS, len(a)), len(b)), np.float32)
    columns = np.ascontiguousarray(b.T)
    for start in range(0, len(a), BLOCK_ROWS):
        rows = slice(start, min(start + BLOCK_ROWS, len(a)))
        cosines = np.matmul(a[rows], columns, out=block[: rows.stop - start])
        np.maximum(best_of_b, cosines.max(axis=0), out=best_of_b)
        index[rows] = cosines.argmax(axis=1)
        each = np.arange(len(cosines))
        first[rows] = cosines[each, index[rows]]
        cosines[each, index[rows]] = NONE
        second[rows] = cosines.max(axis=1)
    return Neighbours(index, first, second, best_of_b)
