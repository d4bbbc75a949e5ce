"""Instances that look alike, known from the map before any query comes: the near twin that a facade may be taken for.

Facades are flat, so that two which look alike match by a homography. What a network was taught to tell apart in the
map's photographs it may still take for one another elsewhere; their keypoints tell that they can be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from pydantic import Field

from lbr.retrieval.vlad import global_descriptors, visual_words
from lbr.settings import Settings
from lbr.types import LocalFeatures, Matches

Match = Callable[[LocalFeatures, LocalFeatures], Matches]
MAX_ERROR = 0.0125  # of the image's width
WORDS = 32  # of the descriptor that chooses whom to compare
TRIALS = 300


class LookAlikeSettings(Settings):
    """max_keypoints: of an instance, in the db image that shows most of it; with 0 none look alike. neighbours:
    instances that each is compared with, the likest by VLAD. min_inliers: of a homography, from which on two look
    alike.
    """

    max_keypoints: int = Field(default=600, ge=0)
    neighbours: int = Field(default=20, ge=1)
    min_inliers: int = Field(default=50, ge=8)


def look_alikes(views: Mapping[int, LocalFeatures], match: Match, settings: LookAlikeSettings) -> np.ndarray:
    """Pairs int32 [K, 2] of instances that look alike, the most alike first.

    views: the keypoints of each instance in one photograph of it; match: a matcher of two of them.
    """
    strength = {(a, b): _inliers(views[a], views[b], match, settings) for a, b in _to_compare(views, settings)}
    found = [pair for pair, inliers in strength.items() if inliers >= settings.min_inliers]
    found.sort(key=lambda pair: (-strength[pair], pair))
    return np.array(found, np.int32).reshape(-1, 2)


def _to_compare(views: Mapping[int, LocalFeatures], settings: LookAlikeSettings) -> list[tuple[int, int]]:
    """Pairs of instances, the smaller number first: each with its nearest by VLAD."""
    instances = sorted(i for i, view in views.items() if len(view) >= settings.min_inliers)
    if len(instances) < 2:
        return []
    descriptors = [views[i].descriptors for i in instances]
    whole = global_descriptors(descriptors, visual_words(descriptors, WORDS, seed=0))
    cosines = whole @ whole.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : min(settings.neighbours, len(instances) - 1)]
    pairs = {tuple(sorted((k, int(n)))) for k, row in enumerate(nearest) for n in row}
    return [(instances[a], instances[b]) for a, b in sorted(pairs)]


def _inliers(a: LocalFeatures, b: LocalFeatures, match: Match, settings: LookAlikeSettings) -> int:
    """Matches that one homography explains."""
    matches = match(a, b).indices
    if len(matches) < settings.min_inliers:
        return 0
    limit = MAX_ERROR * b.image_size[0]
    _, right = cv2.findHomography(
        a.keypoints[matches[:, 0]], b.keypoints[matches[:, 1]], cv2.RANSAC, limit, maxIters=TRIALS, confidence=0.99
    )
    return 0 if right is None else int(np.count_nonzero(right))
