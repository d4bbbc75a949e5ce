"""What a query costs on the demo town after extraction and recognition: the default, and all db images, plain matching.

Both have the same keypoints and take turns, query by query, so that their ratio holds on a busy machine.
"""

from __future__ import annotations

import numpy as np

from benchmarks.ablations import BY_INLIERS, EXHAUSTIVE, UNREFINED, Variant, prepared
from benchmarks.machine import table
from lbr.io.features_file import FeatureFile
from lbr.parallel import limit_threads

RUNS = 3  # with other random samples


def run() -> str:
    limit_threads(1)
    context = prepared(())
    conditions = np.array([query.condition for query in context.dataset.queries])
    ours, usual = np.zeros((RUNS, len(conditions))), np.zeros((RUNS, len(conditions)))
    with FeatureFile(context.workspace.query_features) as file:
        for number in range(RUNS):
            default = Variant(context, (), number)
            exhaustive = Variant(context, (*EXHAUSTIVE, *BY_INLIERS, *UNREFINED), number)
            for k, query in enumerate(context.dataset.queries):
                features = file.read(query.name)
                ours[number, k] = default.localize(query, features)[1]
                usual[number, k] = exhaustive.localize(query, features)[1]
    rows = [_row(name, ours[:, conditions == name], usual[:, conditions == name]) for name in np.unique(conditions)]
    columns = ["queries", "default, CPU s, mean", "median", "all db images, plain", "median", "ratio of means"]
    return table(columns, [*rows, _row("all", ours, usual)])


def _row(name: str, ours: np.ndarray, usual: np.ndarray) -> list[str]:
    figures = ours.mean(), np.median(ours), usual.mean(), np.median(usual), ours.mean() / usual.mean()
    return [name, *(f"{figure:.3f}" for figure in figures)]
