"""Which instance is tried first: the ranking beside the published one, on many queries of the demo town.

Two other walks through it, of 160 queries by day and by night each: the shipped network has seen neither these places
nor what stands in view from them as large. A walk takes a minute.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.ablations import placed
from benchmarks.machine import table
from lbr.config import load_config
from lbr.io.labels import mask_path, read_mask
from lbr.io.predictions_file import PredictionFile
from lbr.pipeline.recognition import recognise
from lbr.pipeline.scenes import make_town
from lbr.pipeline.stage import Context
from lbr.pipeline.vocabulary import load_vocabulary
from lbr.recognition.metrics import MIN_AREA, first_right
from lbr.recognition.ranking import EvidenceRanking, PublishedRanking, RankingConfig, rank_instances

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "town.yaml"
FOLDER = Path(__file__).resolve().parents[1] / "outputs" / "ranking"
WALKS = (1, 2)
QUERIES = ("town.num_db=4", "town.num_sequence=0", "town.num_day=160", "town.num_night=160")
FIRST = (1, 5, 10)
RANKINGS: dict[str, RankingConfig] = {
    "published": PublishedRanking(),
    "how surely, segmentation alone": EvidenceRanking(presence=0.0),
    "how surely, with the classification head (default)": EvidenceRanking(),
}


def run() -> str:
    ranks = [found for walk in WALKS for found in _ranks(FOLDER / str(walk), f"town.walk={walk}")]
    conditions = sorted({condition for condition, _ in ranks})
    rows = []
    for name in RANKINGS:
        of = {c: np.array([found[name] for condition, found in ranks if condition == c]) for c in conditions}
        of["all"] = np.concatenate(list(of.values()))
        rows.append([name, *(_within(ranked) for ranked in of.values())])
    first = " / ".join(map(str, FIRST))
    return table([f"right among the first {first}, %", *conditions, f"all {len(ranks)}"], rows)


def _ranks(root: Path, walk: str) -> list[tuple[str, dict[str, int]]]:
    """Of each query with an instance in sight its condition, and the rank of the first right one by each ranking."""
    context = Context(load_config(CONFIG, (walk, *QUERIES, "recognition.prediction.pictures=false", *placed(root))))
    make_town(context)
    recognise(context)
    found, vocabulary, truth = [], load_vocabulary(context), context.labels.truth
    assert truth is not None  # the town has it
    with PredictionFile(context.workspace.query_predictions) as file:
        for query in context.dataset.queries:
            mask, prediction = read_mask(mask_path(truth, query.name), vocabulary), file.read(query.name)
            areas = np.bincount(mask.ravel(), minlength=vocabulary.num_classes) / mask.size
            seen = np.flatnonzero(areas[1:] >= MIN_AREA) + 1
            if len(seen):
                ranked = {n: first_right(rank_instances(prediction, r)[0], seen) for n, r in RANKINGS.items()}
                found.append((query.condition, ranked))
    return found


def _within(ranks: np.ndarray) -> str:
    return " / ".join(f"{100 * np.mean((ranks > 0) & (ranks <= n)):.1f}" for n in FIRST)
