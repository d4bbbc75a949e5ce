"""Scores of recognition against true masks: pixels, classes, calibration, and the rank of the first right instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lbr.recognition.masks import full_mask
from lbr.recognition.ranking import RankingConfig, rank_instances
from lbr.types import InstancePrediction

MIN_AREA = 0.001  # an instance that fills less of the image does not count as seen
FIRST = (1, 5, 10, 20, 30)
BINS = 15


@dataclass(frozen=True, eq=False)
class ImageScore:
    """One image against its true mask, at the mask's size.

    confusion: int64 [C, C], pixels of (true class, predicted class). pixels, confidence, right:
    [BINS], pixels by confidence, with the sums of their confidences and of those that are right.
    presence: float32 [C], predicted; present: bool [C]. rank: place of the first instance that is in the image, from 1;
    0 when none was named; -1 when the image shows none, so that none could be.
    """

    confusion: np.ndarray
    pixels: np.ndarray
    confidence: np.ndarray
    right: np.ndarray
    presence: np.ndarray
    present: np.ndarray
    rank: int


@dataclass(frozen=True)
class RecognitionScores:
    """Percent, but for num (images), shown (of them, with an instance in sight) and the calibration error (0..1).

    first: for each n of FIRST, images of `shown` with a right instance among the first n.
    """

    num: int
    shown: int
    pixel_accuracy: float
    mean_iou: float
    presence_map: float
    calibration_error: float
    first: tuple[float, ...]


def score_image(prediction: InstancePrediction, true_mask: np.ndarray, ranking: RankingConfig) -> ImageScore:
    """Score one prediction, pixel by pixel of its true mask, int [H, W] classes."""
    mask, confidence = full_mask(prediction, (true_mask.shape[1], true_mask.shape[0]))
    truth, mask, confidence = true_mask.ravel(), mask.ravel(), confidence.ravel()
    classes = max(len(prediction.presence), int(truth.max()) + 1, int(mask.max()) + 1)
    confusion = np.bincount(truth.astype(np.int64) * classes + mask, minlength=classes**2).reshape(classes, classes)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    present = confusion.sum(1) >= MIN_AREA * truth.size
    present[0] = False
    return ImageScore(
        confusion, np.bincount(bins, minlength=BINS), np.bincount(bins, confidence, BINS),
        np.bincount(bins, mask == truth, BINS), prediction.presence, present[: len(prediction.presence)],
        first_right(rank_instances(prediction, ranking)[0], np.flatnonzero(present)),
    )  # fmt: skip


def first_right(ranked: np.ndarray, seen: np.ndarray) -> int:
    """Place, from 1, of the first of `ranked` that is in `seen`; 0 when none is, -1 when nothing is seen."""
    if not len(seen):
        return -1
    right = np.flatnonzero(np.isin(ranked, seen))
    return int(right[0]) + 1 if len(right) else 0


def summarise(scores: Sequence[ImageScore]) -> RecognitionScores:
    """Scores over all images. mean_iou: over the classes that occur in the truth. Raises ValueError without images."""
    if not scores:
        raise ValueError("no image has a true mask: nothing to score")
    confusion = np.sum([s.confusion for s in scores], axis=0)
    right, true, named = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    iou = right[true > 0] / (true + named - right)[true > 0]
    ranks = np.array([s.rank for s in scores])
    ranks = ranks[ranks >= 0]
    return RecognitionScores(
        len(scores), len(ranks), 100 * float(right.sum() / confusion.sum()), 100 * float(iou.mean()),
        100 * mean_average_precision(np.stack([s.presence for s in scores]), np.stack([s.present for s in scores])),
        _calibration_error(scores),
        tuple(100 * float(np.mean((ranks > 0) & (ranks <= n))) if len(ranks) else 0.0 for n in FIRST),
    )  # fmt: skip


def mean_average_precision(scores: np.ndarray, present: np.ndarray) -> float:
    """Mean over the classes that occur of the average precision over images. scores, present: [N, C]; 0 without any.

    Average precision: mean, over the images that show the class, of the precision at their place in the order.
    """
    order = np.argsort(-scores, axis=0, kind="stable")
    hits = np.take_along_axis(present, order, axis=0)
    precision = np.cumsum(hits, axis=0) / np.arange(1, len(hits) + 1)[:, None]
    counts = hits.sum(0)
    average = (precision * hits).sum(0)[counts > 0] / counts[counts > 0]
    return float(average.mean()) if len(average) else 0.0


def _calibration_error(scores: Sequence[ImageScore]) -> float:
    """Expected calibration error (Guo et al., ICML 2017): |confidence - accuracy|, averaged over the pixels."""
    cells = np.sum([s.pixels for s in scores], axis=0)
    confidence = np.sum([s.confidence for s in scores], axis=0)
    right = np.sum([s.right for s in scores], axis=0)
    return float(np.abs(confidence - right).sum() / cells.sum())
