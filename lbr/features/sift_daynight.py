"""SIFT and DayNight side by side: the precise keypoints of the one, and those that the other finds by night as well."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from lbr.features.daynight import SHIPPED, DayNight, DayNightSettings
from lbr.features.extractor import NeuralSettings
from lbr.features.sift import Sift, SiftSettings
from lbr.types import LocalFeatures

# What a cosine of DayNight means in those of SIFT: 0.7 + 0.3 of it. Of wrong matches 0.72 and 0.91 are the medians, of
# right ones 0.91 and 0.98 by day, 0.81 and 0.94 against a copy by night (strecha's fountain).
IN_COMMON = 0.7


class SiftDayNightSettings(NeuralSettings):
    """max_keypoints: of both together, half of each. spread_px: SIFT's. weights: DayNight's; null takes those that are
    shipped."""

    name: Literal["sift+daynight"] = "sift+daynight"
    max_keypoints: int = Field(default=4096, ge=2)
    spread_px: int | None = Field(default=24, ge=1)

    @property
    def shipped(self) -> Path:
        return SHIPPED


class SiftDayNight:
    """Two local features as one, of 128 numbers: a matcher need not know that there are two.

    A descriptor of the one has less in common with any of the other than with any of its own kind (`beside_sift`), so
    that neighbours, and the second of a ratio, are of one kind.
    """

    def __init__(self, settings: SiftDayNightSettings) -> None:
        half, size = settings.max_keypoints // 2, settings.max_size
        self.sift = Sift(
            SiftSettings(max_keypoints=settings.max_keypoints - half, max_size=size, spread_px=settings.spread_px)
        )
        self.daynight = DayNight(
            DayNightSettings(max_keypoints=half, max_size=size, weights=settings.weights, device=settings.device)
        )

    def extract(self, image: np.ndarray) -> LocalFeatures:
        """RGB uint8 [H, W, 3] -> features of both, by turns; scores: one over the rank among its kind, as contrast
        and heat are not of one scale."""
        a, b = self.sift.extract(image), self.daynight.extract(image)
        scores = np.concatenate([1 / np.arange(1, len(one) + 1, dtype=np.float32) for one in (a, b)])
        keypoints = np.concatenate([a.keypoints, b.keypoints])
        descriptors = np.concatenate([a.descriptors, beside_sift(b.descriptors)])
        return LocalFeatures(keypoints, scores, descriptors, a.image_size).top(None)


def beside_sift(descriptors: np.ndarray) -> np.ndarray:
    """Unit descriptors float32 [N, 64] -> [N, 128], whose cosines are `IN_COMMON` and the rest of what they were.

    What all have in common points away from SIFT's numbers, none of which is negative: across kinds cosines are below
    0. What they differ in lies across it, each number as a pair of opposites.
    """
    across = np.repeat(descriptors * np.float32(np.sqrt((1 - IN_COMMON) / 2)), 2, axis=1)
    across[:, 1::2] *= -1
    return across - np.float32(np.sqrt(IN_COMMON / across.shape[1]))


def of_sift(descriptors: np.ndarray) -> np.ndarray:
    """bool [N]: which of these descriptors [N, 128] are SIFT's. All others point away from where those lie."""
    return descriptors.astype(np.float32).sum(axis=1) >= 0
