"""How the time of a query grows with the map: the demo town beside the large one, ten times its images, in one run.

True labels stand for recognition in both, as a network for hundreds of facades takes an hour to train; there is then no
global feature, so that images of an instance are chosen by the instances that they share with the query.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import psutil

from benchmarks.ablations import outcome, true_prediction
from benchmarks.machine import table
from lbr.config import load_config
from lbr.features.labelling import labels_at
from lbr.io.features_file import FeatureFile
from lbr.io.labels import mask_path, read_mask
from lbr.localization.localizer import Localizer
from lbr.mapping.map import Map, open_map
from lbr.pipeline.scenes import make_town
from lbr.pipeline.searching import SearchedScene
from lbr.pipeline.stage import Context
from lbr.pipeline.stages import STAGES
from lbr.pipeline.vocabulary import load_vocabulary
from lbr.retrieval.index import InstanceIndex, build_index, shares_of_mask
from lbr.types import InstancePrediction, Localization

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
TOWNS = {"demo": CONFIGS / "town.yaml", "large": CONFIGS / "town-large.yaml"}


@dataclass
class TrulyLabelled(SearchedScene):
    """A map whose images and queries have their true labels, and no predictions."""

    context: Context

    @cached_property
    def _labelled(self) -> tuple[Map, InstanceIndex]:
        context = self.context
        vocabulary, masks, scene = load_vocabulary(context), context.dataset.labels.masks, open_map(self.map_folder)
        labels, shares = np.zeros(len(scene.point_index), np.int32), {}
        for image, name in enumerate(scene.names):
            mask = read_mask(mask_path(masks, name), vocabulary)
            shares[name] = shares_of_mask(mask)
            span = scene.observations(image)
            labels[span] = labels_at(scene.keypoints[span], scene.camera(image).size, mask)
        index = build_index(shares, {}, vocabulary.num_classes, context.config.index.min_share)
        return scene.labelled(labels), index

    @property
    def map(self) -> Map:  # type: ignore[override]  # made another way
        return self._labelled[0]

    @property
    def _index(self) -> InstanceIndex:  # type: ignore[override]
        return self._labelled[1]

    def _prediction(self, name: str) -> tuple[InstancePrediction | None, tuple[str, ...]]:
        context, nothing = self.context, np.zeros(0, np.float32)
        size = next(query.camera.size for query in context.dataset.queries if query.name == name and query.camera)
        return true_prediction(context, load_vocabulary(context), name, nothing, size), ()


def run(overrides: Sequence[str] = ()) -> str:
    """A row for each town and condition; `overrides` are of the large town alone (where it is, say)."""
    rows, seconds = [], {}
    for town, path in TOWNS.items():
        given = overrides if town == "large" else ()
        context = mapped(Context(load_config(path, given)))
        seconds[town], found = _localized(context)
        rows += [[town, *row] for row in found]
    ratio = {c: np.mean(seconds["large"][c]) / np.mean(seconds["demo"][c]) for c in seconds["demo"]}
    told = ", ".join(f"{c} {value:.2f}" for c, value in ratio.items())
    head = ["town", "db images", "queries", "recall %", "db images compared", "CPU s, mean", "median", "memory"]
    return f"{table(head, rows)}\n\ntime per query, large town over demo town (means): {told}"


def mapped(context: Context) -> Context:
    make_town(context)
    for verb in ("extract", "pairs", "match", "reconstruct"):
        STAGES[verb](context)
    return context


def _localized(context: Context) -> tuple[dict[str, list[float]], list[list[str]]]:
    """Seconds of the processor of each query, by condition; rows of the table."""
    results, each = localized(context)
    conditions = {query.name: query.condition for query in context.dataset.queries}
    seconds: dict[str, list[float]] = {c: [] for c in sorted(set(conditions.values()))}
    for result, second in zip(results, each, strict=True):
        seconds[conditions[result.query]].append(second)
    recall, compared, _ = outcome(context, results)
    memory = f"{psutil.Process().memory_info().rss / 1e6:.0f} MB"
    return seconds, [
        [
            str(len(context.dataset.db_names)), f"{len(spent)} {condition}", recall[row], compared[row],
            f"{np.mean(spent):.3f}", f"{np.median(spent):.3f}", memory,
        ]
        for row, (condition, spent) in enumerate(seconds.items())
    ]  # fmt: skip


def localized(context: Context) -> tuple[list[Localization], list[float]]:
    """The queries with their true labels, and the seconds of the processor of each, in one thread after extraction."""
    workspace, config = context.workspace, context.config
    scene = TrulyLabelled(
        workspace.map, None, None, config.candidates, config.labelling, config.recognition.ranking,
        config.extractor.max_keypoints, context,
    )  # fmt: skip
    localizer = Localizer(scene.map, config.localization, seed=config.seed, threads=1)
    results, seconds = [], []
    with FeatureFile(workspace.query_features) as file:
        for query in context.dataset.queries:
            asked, start = scene.ask(query.name, file.read(query.name)), time.process_time()
            results.append(localizer.localize_features(asked.features, query.camera, query.name, asked.candidates))
            seconds.append(time.process_time() - start)
    return results, seconds
