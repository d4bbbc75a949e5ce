"""What every local feature does the same way: shrink the photograph, extract, bring keypoints back, keep the best."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from pydantic import Field

from lbr.geometry.pixels import fit_within, from_centre_origin, rescale
from lbr.io.images import resize
from lbr.settings import ConfigPath, Settings
from lbr.types import LocalFeatures


class ExtractorSettings(Settings):
    """Common to all local features."""

    max_keypoints: int = Field(default=4096, ge=1, description="the best by score are kept")
    max_size: int | None = Field(default=1600, ge=32, description="longer side in pixels; images are only ever shrunk")
    spread_px: int | None = Field(
        default=None, ge=1, description="cells of this side give their best keypoint first, then their second, ..."
    )


class NeuralSettings(ExtractorSettings):
    """Settings of a learned local feature; `weights` is a checkpoint, or null for kornia's own download."""

    weights: ConfigPath | None = None
    device: str = "auto"


class Extractor(Protocol):
    """A local feature: `extract(image)` takes RGB uint8 [H, W, 3]; descriptors are L2-normalised."""

    def extract(self, image: np.ndarray) -> LocalFeatures: ...


# A raw detector: RGB uint8 [H, W, 3] -> keypoints [N, 2] from the first pixel's centre, scores [N], descriptors [N, D]
Detect = Callable[[np.ndarray], tuple[np.ndarray, ...]]


def extract_resized(image: np.ndarray, detect: Detect, settings: ExtractorSettings, multiple: int = 1) -> LocalFeatures:
    """Run a raw detector on the shrunk image and give features of the full one.

    `multiple`: the detector's input sides are made multiples of it (by resizing, so no pixel is lost).
    Keypoints outside the image are dropped; order is by score, then by position, so it never depends on threads.
    """
    height, width = image.shape[:2]
    size = fit_within((width, height), settings.max_size)
    if multiple > 1:
        size = (max(1, round(size[0] / multiple)) * multiple, max(1, round(size[1] / multiple)) * multiple)
    keypoints, scores, descriptors = detect(resize(image, size))
    keypoints = from_centre_origin(keypoints.reshape(-1, 2))
    inside = np.flatnonzero(np.all((keypoints >= 0) & (keypoints < np.array(size)), axis=1))
    # Equal scores and positions (SIFT's second orientations) are told apart by the descriptor's first bins.
    order = inside[best_keypoints(keypoints[inside], scores[inside], list(descriptors[inside, :4].T), settings)]
    full = rescale(keypoints[order], size, (width, height)).astype(np.float32)
    # rounding must not carry a keypoint out of the image
    full = np.minimum(full, np.nextafter(np.array([width, height], np.float32), np.float32(0)))
    return LocalFeatures(full, scores[order].astype(np.float32), normalised(descriptors[order]), (width, height))


def best_keypoints(
    keypoints: np.ndarray, scores: np.ndarray, ties: list[np.ndarray], settings: ExtractorSettings
) -> np.ndarray:
    """Indices of the at most `max_keypoints` to keep, best first, spread over cells of `spread_px` where it is set.

    keypoints: float [N, 2]; scores: [N]; ties: arrays [N] that order what is equal, so that nothing is left to chance.
    """
    order = np.lexsort((*reversed(ties), keypoints[:, 0], keypoints[:, 1], -scores))
    if settings.spread_px is not None:
        order = order[np.argsort(_place_in_cell(keypoints[order], settings.spread_px), kind="stable")]
    return order[: settings.max_keypoints]


def _place_in_cell(keypoints: np.ndarray, side: int) -> np.ndarray:
    """int [N]: how many keypoints before this one lie in the same cell of side x side pixels."""
    column, row = np.floor(keypoints / side).astype(np.int64).T
    cell = row * (column.max(initial=0) + 1) + column
    by_cell = np.argsort(cell, kind="stable")
    ordered = cell[by_cell]
    place = np.empty(len(cell), np.int64)
    place[by_cell] = np.arange(len(cell)) - np.searchsorted(ordered, ordered)
    return place


def normalised(descriptors: np.ndarray) -> np.ndarray:
    """Descriptors [N, D] as float32 of unit L2 norm; a zero row stays zero."""
    descriptors = descriptors.astype(np.float32)
    return descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-12)
