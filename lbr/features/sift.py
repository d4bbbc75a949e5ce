"""SIFT with RootSIFT descriptors, by OpenCV."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from lbr.features.extractor import ExtractorSettings, best_keypoints, extract_resized
from lbr.geometry.pixels import from_centre_origin
from lbr.io.images import to_grey
from lbr.types import LocalFeatures


class SiftSettings(ExtractorSettings):
    name: Literal["sift"] = "sift"
    spread_px: int | None = Field(default=24, ge=1)  # a pose wants keypoints all over the image
    contrast_threshold: float = Field(default=0.01, ge=0, description="OpenCV's; low, as spread_px chooses")
    edge_threshold: float = Field(default=10.0, gt=0)
    octave_layers: int = Field(default=3, ge=1)
    sigma: float = Field(default=1.6, gt=0)
    size_power: float = Field(default=0.0, ge=0, description="of the size in the score; 0: by contrast alone")


class Sift:
    """SIFT (Lowe 2004) with the Hellinger kernel (RootSIFT: Arandjelovic and Zisserman, CVPR 2012).

    Where there are more keypoints than wanted, contrast alone chooses small ones in sharp texture. They are the precise
    ones, which maps made of photographs alone want; large ones are found again at night (COLMAP goes by size alone).
    """

    def __init__(self, settings: SiftSettings) -> None:
        self.settings = settings

    def extract(self, image: np.ndarray) -> LocalFeatures:
        """RGB uint8 [H, W, 3] -> features, descriptors float32 [N, 128]; scores: contrast times size_px**size_power."""
        return extract_resized(image, self._detect, self.settings)

    def _detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        s = self.settings
        # Made for each image: cv2.SIFT objects are not safe to share between threads.
        # Precise upscaling, or keypoints of the first octave sit a quarter of a pixel off.
        sift = cv2.SIFT_create(  # type: ignore[attr-defined]  # missing in OpenCV 5's stubs
            0, s.octave_layers, s.contrast_threshold, s.edge_threshold, s.sigma, cv2.CV_32F, enable_precise_upscale=True
        )
        grey = to_grey(image)
        found = sift.detect(grey, None)
        if not found:
            return np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, 128), np.float32)
        # Chosen before they are described: of 18,000 keypoints of a large photograph 4,000 stay.
        contrast, size, angle = (
            np.fromiter((getattr(k, name) for k in found), np.float32, len(found))
            for name in ("response", "size", "angle")
        )
        scores = contrast * size ** np.float32(s.size_power)
        keypoints = np.asarray(cv2.KeyPoint.convert(found), np.float32)
        chosen = best_keypoints(from_centre_origin(keypoints), scores, [angle, size], s)
        _, descriptors = sift.compute(grey, [found[i] for i in chosen])
        return keypoints[chosen], scores[chosen], root_sift(descriptors)


def root_sift(descriptors: np.ndarray) -> np.ndarray:
    """SIFT histograms [N, 128] -> float32 [N, 128], the square roots of their L1-normalised values (unit L2 norm)."""
    descriptors = np.maximum(descriptors.astype(np.float32), 0)
    return np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-12))
