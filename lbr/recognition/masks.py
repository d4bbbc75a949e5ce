"""Masks at the size of the photograph, from the coarse grid of a prediction."""

from __future__ import annotations

import cv2
import numpy as np

from lbr.types import InstancePrediction

MAX_PLANES = 16


def full_mask(prediction: InstancePrediction, size: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Classes uint16 [H, W] and confidences float32 [H, W] at (width, height) `size`, by default the photograph's.

    The probabilities of the classes that lead somewhere (the MAX_PLANES largest) are each interpolated, and the largest
    wins, so that borders run between cells and not along them.
    """
    size = size or prediction.image_size
    classes, counts = np.unique(prediction.mask, return_counts=True)
    classes = classes[np.argsort(-counts, kind="stable")[:MAX_PLANES]]
    best, confidence = np.zeros((size[1], size[0]), np.uint16), np.full((size[1], size[0]), -1.0, np.float32)
    for label in classes:
        held = (prediction.ids == label) & (prediction.confidences > 0)
        plane = (prediction.confidences * held).sum(-1)
        plane = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
        wins = plane > confidence
        best[wins], confidence[wins] = label, plane[wins]
    return best, confidence


def confident_mask(prediction: InstancePrediction, min_confidence: float) -> np.ndarray:
    """Classes uint16 [H, W] at the photograph's size, background where the network is less sure than that."""
    ids, confidence = full_mask(prediction)
    return np.where(confidence >= min_confidence, ids, 0).astype(np.uint16)
