"""Keypoints carry the instance of their pixel; the selection can favour those that have one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from lbr.settings import Settings
from lbr.types import LocalFeatures

POOL = 3


class LabellingSettings(Settings):
    """Whether keypoints carry the instance of their pixel. A query's pixel has one from this confidence on.

    favour_instances: of POOL times as many keypoints, those of instances are kept first, as published (METHOD.md 8): of
    db images when they are extracted, where label images are given (those made from the map come too late, as it is
    made of keypoints); of queries when they are localized, by what is recognised in them.
    """

    enabled: bool = True
    min_confidence: float = Field(default=0.3, ge=0, le=1)
    favour_instances: bool = False


def labels_at(keypoints: np.ndarray, image_size: tuple[int, int], mask: np.ndarray) -> np.ndarray:
    """int32 [N]: the class of `mask`, int [H, W] at any size over the same image, under each keypoint [N, 2]."""
    height, width = mask.shape
    scale = np.array([width / image_size[0], height / image_size[1]])
    column, row = np.clip(np.floor(keypoints * scale).astype(np.int64), 0, [width - 1, height - 1]).T
    return mask[row, column].astype(np.int32)


def labelled(features: LocalFeatures, mask: np.ndarray) -> LocalFeatures:
    """The features, each with the class of its pixel."""
    return replace(features, labels=labels_at(features.keypoints, features.image_size, mask))


def favour_instances(features: LocalFeatures, max_keypoints: int) -> LocalFeatures:
    """The best `max_keypoints` of labelled features: those of instances first, by score, then the background's.

    As published (METHOD.md 8). Raises ValueError for features without labels.
    """
    if features.labels is None:
        raise ValueError("features without labels: nothing to favour")
    order = np.lexsort((-features.scores, features.labels == 0))
    return features.select(order[:max_keypoints])
