"""What every local feature does the same way: shrink the photograph, extract, bring keypoints back, keep the best."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from pydantic import Field

from lbr.geometry.pixels import fit_within, from_centre_origin, rescale
from lbr.io.images import resize
from lbr.settings import Settings
from lbr.types import LocalFeatures


class ExtractorSettings(Settings):
    """Common to all local features."""

    max_keypoints: int = Field(default=4096, ge=1, description="the best by score are kept")
    max_size: int | None = Field(default=1600, ge=32, description="longer side in pixels; images are only ever shrunk")


class Extractor(Protocol):
    """A local feature: `extract(image)` takes RGB uint8 [H, W, 3]; descriptors are L2-normalised."""

    def extract(self, image: np.ndarray) -> LocalFeatures: ...


class Detections(Protocol):
    """A raw detector: RGB uint8 [H, W, 3] -> keypoints [N, 2] from the first pixel's centre, scores [N], descriptors [N, D]."""

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...


def extract_resized(image: np.ndarray, detect: Detections, settings: ExtractorSettings, multiple: int = 1) -> LocalFeatures:
    """Run a raw detector on the shrunk image and give features of the full one.

    `multiple`: the detector's input sides are made multiples of it (by resizing, so no pixel is lost).
    Keypoints outside the image are dropped; order is by score, then by position, so it never depends on threads.
    """
    height, width = image.shape[:2]
    size = fit_within((width, height), settings.max_size)
    if multiple > 1:
        size = (max(1, round(size[0] / multiple)) * multiple, max(1, round(size[1] / multiple)) * multiple)
    keypoints, scores, descriptors = detect(resize(image, size))
    keypoints = rescale(from_centre_origin(keypoints.reshape(-1, 2)), size, (width, height)).astype(np.float32)
    inside = ((keypoints >= 0) & (keypoints < (width, height))).all(axis=1)
    # Equal scores and positions (SIFT's second orientations) are told apart by the descriptor's first bins.
    ties = descriptors[:, :4].T[::-1] if descriptors.size else ()
    order = np.lexsort((*ties, keypoints[:, 0], keypoints[:, 1], -scores))
    order = order[inside[order]][: settings.max_keypoints]
    return LocalFeatures(
        keypoints[order], scores[order].astype(np.float32), normalised(descriptors[order]), (width, height)
    )  # fmt: skip


def normalised(descriptors: np.ndarray) -> np.ndarray:
    """Descriptors [N, D] as float32 of unit L2 norm; a zero row stays zero."""
    descriptors = descriptors.astype(np.float32)
    return descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-12)
