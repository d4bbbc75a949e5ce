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
    """The logarithm of the area that an instance is expected to fill, plus the log-odds of both heads for it.

    Expected area: the sum of its probabilities over the cells, as a share of the image, so a stray cell is worth a
    cell. presence: how much the classification head's log-odds count; peak: those of the instance's surest cells.
    """

    name: Literal["evidence"] = "evidence"
    presence: float = Field(default=0.5, ge=0)
    peak: float = Field(default=0.5, ge=0)
    peak_area: float = Field(default=0.002, gt=0, lt=1, description="share of the image that its surest cells are")
    min_area: float = Field(default=2e-4, ge=0, lt=1, description="expected areas below this share are not instances")


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
    area = expected_areas(prediction)
    score = np.log(np.maximum(area, 1e-12)) + settings.peak * _log_odds(_peaks(prediction, settings.peak_area))
    if len(prediction.presence):
        score += settings.presence * _log_odds(prediction.presence.astype(np.float64))
    return np.where(area >= max(settings.min_area, 1e-12), score, -np.inf)


def expected_areas(prediction: InstancePrediction) -> np.ndarray:
    """float64 [C]: share of the image that each class is expected to fill."""
    sums = np.bincount(prediction.ids.ravel(), prediction.confidences.ravel(), minlength=_num_classes(prediction))
    return sums / prediction.mask.size


def _peaks(prediction: InstancePrediction, share: float) -> np.ndarray:
    """float64 [C]: the confidence that at least `share` of the cells reach for the class; 0 where fewer name it."""
    ids, confidences = prediction.ids.ravel(), prediction.confidences.ravel()
    order = np.lexsort((-confidences, ids))
    counts = np.bincount(ids, minlength=_num_classes(prediction))
    place = np.cumsum(counts) - counts + max(1, round(share * prediction.mask.size)) - 1
    reached = counts > place - (np.cumsum(counts) - counts)
    return np.where(reached, confidences[order][np.minimum(place, len(order) - 1)], 0.0)


def _log_odds(probability: np.ndarray) -> np.ndarray:
    p = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.log(p / (1 - p))


def _num_classes(prediction: InstancePrediction) -> int:
    return max(len(prediction.presence), int(prediction.ids.max()) + 1)
