"""Which instances recognition names in the queries, whether they are there, and how that is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lbr.recognition.metrics import MIN_AREA, score_image
from lbr.recognition.ranking import rank_instances
from lbr.types import InstancePrediction
from lbr.visualization import colours as palette
from lbr.visualization.entries import ReportInputs
from lbr.visualization.markup import key, text
from lbr.visualization.material import prediction_of, true_mask_of

NUM_NAMED = 3


@dataclass(frozen=True)
class Named:
    """What recognition names in one query.

    first: the NUM_NAMED instances that rank first. right: which of them the query shows, None without a truth.
    rank: of the first that it shows, as of `lbr.recognition.metrics.ImageScore`, None without a truth.
    confidence: mean over the image, 0..1.
    """

    first: tuple[int, ...]
    right: tuple[bool, ...] | None
    rank: int | None
    confidence: float


def name_queries(inputs: ReportInputs) -> dict[str, Named | str]:
    """For each query what recognition names in it, or the reason why nothing is known."""
    found: dict[str, Named | str] = {}
    for name in dict.fromkeys(str(record["query"]) for record in inputs.records):
        prediction = prediction_of(inputs, name)
        found[name] = prediction if isinstance(prediction, str) else _named(inputs, name, prediction)
    return found


def keys_of(named: Named, colours: Mapping[int, palette.Colour] | None) -> str:
    """The first instances as markup, each with the dot of its colour."""
    shades = palette.by_instance(np.array(named.first, np.int64), colours).tolist()
    words = zip(_words(named), shades, strict=True)
    return "".join(key(word, palette.css(shade)) for word, shade in words) or text("no instance")


def names_of(named: Named) -> str:
    """The first instances as plain text."""
    return ", ".join(map(str, named.first)) or "none"


def rank_words(named: Named) -> str:
    """Where the first right instance ranks, where that is known; else nothing."""
    if named.rank is None:
        return ""
    if named.rank < 0:
        return "shows no instance"
    return f"first right one at rank {named.rank}" if named.rank else "none is right"


def _words(named: Named) -> list[str]:
    if named.right is None:
        return [str(instance) for instance in named.first]
    told = zip(named.first, named.right, strict=True)
    return [f"{instance} ({'right' if right else 'not in sight'})" for instance, right in told]


def _named(inputs: ReportInputs, name: str, prediction: InstancePrediction) -> Named:
    first = tuple(rank_instances(prediction, inputs.ranking)[0][:NUM_NAMED].tolist())
    confidence, mask = float(prediction.confidence.mean()), true_mask_of(inputs, name)
    if mask is None:
        return Named(first, None, None, confidence)
    scored = score_image(prediction, mask, inputs.ranking)
    seen = np.flatnonzero(scored.confusion.sum(1) >= MIN_AREA * prediction.mask.size)
    return Named(first, tuple(np.isin(first, seen).tolist()), scored.rank, confidence)
