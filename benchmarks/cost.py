"""What a query costs on the demo town after extraction and recognition: the default, and all db images, plain matching.

Both have the same keypoints and take turns, query by query, so that their ratio holds on a busy machine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.ablations import BY_INLIERS, EXHAUSTIVE, UNREFINED, Variant, prepared
from benchmarks.machine import table
from lbr.io.features_file import FeatureFile
from lbr.parallel import limit_threads

RUNS = 3  # with other random samples


def run() -> str:
    limit_threads(1)
    context = prepared(())
    conditions = [query.condition for query in context.dataset.queries]
    ours, usual = np.zeros((RUNS, len(conditions))), np.zeros((RUNS, len(conditions)))
    with FeatureFile(context.workspace.query_features) as file:
        for number in range(RUNS):
            default = Variant(context, (), number)
            exhaustive = Variant(context, (*EXHAUSTIVE, *BY_INLIERS, *UNREFINED), number)
            for k, query in enumerate(context.dataset.queries):
                features = file.read(query.name)
                ours[number, k] = default.localize(query, features)[1]
                usual[number, k] = exhaustive.localize(query, features)[1]
    rows = [
        _row(name, ours[:, of], usual[:, of])
        for name in (*sorted(set(conditions)), "all")
        for of in [[name in (condition, "all") for condition in conditions]]
    ]
    return table(
        ["queries", "default, CPU s, mean", "median", "all db images, plain", "median", "ratio of means"], rows
    )


def _row(name: str, ours: np.ndarray, usual: np.ndarray) -> list[str]:
    figures: list[Callable[[np.ndarray], float]] = [np.mean, np.median]
    return [
        name,
        *(f"{f(seconds):.3f}" for seconds in (ours, usual) for f in figures),
        f"{ours.mean() / usual.mean():.3f}",
    ]
