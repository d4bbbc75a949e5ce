"""Which instance to try first: the instances of a prediction, in the order of their scores."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lbr.settings import Settings
from lbr.types import InstancePrediction, RecognisedInstances


class PublishedRanking(Settings):
    """At each rank the mean confidence over the instance's pixels, plus 10 - rank; the best rank counts.

    One stray pixel at the first rank outranks everything at the second (METHOD.md 6).
    """

    name: Literal["published"] = "published"
    min_confidence: float = Field(default=1e-4, ge=0)


class EvidenceRanking(Settings):
    """How surely an instance is there: (1 - presence) * sum p^power / (sum p^(power - 1) + stray) + presence * P.

    The sums are over all cells and ranks, as shares of the image; p is the instance's probability there. With power 2
    the quotient is the mean probability over the area that the instance is expected to fill, and `stray` an area of
    doubt beside it: a stray cell is worth next to nothing, however sure. P is the classification head's probability.
    """

    name: Literal["evidence"] = "evidence"
    power: float = Field(default=2.0, ge=1)
    stray: float = Field(default=0.015, gt=0, description="share of the image")
    presence: float = Field(default=0.1, ge=0, le=1)
    min_evidence: float = Field(
        default=1e-5, ge=0, description="instances whose sum of p^power is less, as a share of the image, are not named"
    )


RankingConfig = Annotated[PublishedRanking | EvidenceRanking, Field(discriminator="name")]


def rank_instances(prediction: InstancePrediction, settings: RankingConfig) -> tuple[np.ndarray, np.ndarray]:
    """Instances int32 [M], best first, without the background, and their scores float64 [M]."""
    score = (
        _published(prediction, settings) if isinstance(settings, PublishedRanking) else _evidence(prediction, settings)
    )
    score[0] = -np.inf
    order = np.argsort(-score, kind="stable")
    order = order[np.isfinite(score[order])]
    return order.astype(np.int32), score[order]


def recognised(prediction: InstancePrediction, settings: RankingConfig) -> RecognisedInstances:
    """What a prediction tells the search: instances in their order, how much of the image each fills, the feature."""
    instances, scores = rank_instances(prediction, settings)
    return RecognisedInstances(instances, scores, expected_areas(prediction)[instances], prediction.feature)


def _published(prediction: InstancePrediction, settings: PublishedRanking) -> np.ndarray:
    """float64 [C], -inf for what is nowhere."""
    ranks = prediction.ids.shape[-1]
    best = np.full(_num_classes(prediction), -np.inf)
    for rank in range(ranks):
        ids, confidences = prediction.ids[..., rank].ravel(), prediction.confidences[..., rank].ravel()
        kept = confidences >= max(settings.min_confidence, np.finfo(np.float32).tiny)
        counts = np.bincount(ids[kept], minlength=len(best))
        sums = np.bincount(ids[kept], confidences[kept], minlength=len(best))
        mean = sums / np.maximum(counts, 1) + (10 - rank)
        best = np.where(counts > 0, np.maximum(best, mean), best)
    return best


def _evidence(prediction: InstancePrediction, settings: EvidenceRanking) -> np.ndarray:
    """float64 [C], -inf for what is nowhere."""
    p, classes = prediction.confidences.ravel().astype(np.float64), _num_classes(prediction)
    ids, cells = prediction.ids.ravel()[p > 0], prediction.mask.size
    p = p[p > 0]
    evidence = np.bincount(ids, p**settings.power, classes) / cells
    area = np.bincount(ids, p ** (settings.power - 1), classes) / cells
    present = np.zeros(classes)
    present[: len(prediction.presence)] = prediction.presence
    score = (1 - settings.presence) * evidence / (area + settings.stray) + settings.presence * present
    return np.where(evidence >= max(settings.min_evidence, 1e-12), score, -np.inf)


def expected_areas(prediction: InstancePrediction) -> np.ndarray:
    """float64 [C]: share of the image that each class is expected to fill."""
    sums = np.bincount(prediction.ids.ravel(), prediction.confidences.ravel(), minlength=_num_classes(prediction))
    return sums / prediction.mask.size


def _num_classes(prediction: InstancePrediction) -> int:
    return max(len(prediction.presence), int(prediction.ids.max()) + 1)
