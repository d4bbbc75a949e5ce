"""Other towns than the one the limits were chosen on: recall, and poses that are called refined and are wrong.

True labels stand for recognition, as a network for each town takes twenty minutes to train. A town takes two minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.ablations import by_score
from benchmarks.growth import TOWNS, TrulyLabelled, mapped
from benchmarks.machine import table
from lbr.config import load_config
from lbr.evaluation import pose_errors, score_by_condition
from lbr.io.features_file import FeatureFile
from lbr.io.text_lists import read_poses
from lbr.localization.localizer import Localizer
from lbr.pipeline.stage import Context
from lbr.types import Localization

SEEDS = (7, 8, 9, 10)
FOLDER = Path(__file__).resolve().parents[1] / "outputs" / "towns"


def run(overrides: Sequence[str] = (), folder: Path = FOLDER) -> str:
    """A row for each town, which is made in a folder of its seed. overrides: of the localization, say."""
    rows = [_row(seed, folder / str(seed), overrides) for seed in SEEDS]
    return table(["seed", "day", "night", "compared, day", "night", "refined but > 5 m or 10 deg"], rows)


def _row(seed: int, root: Path, overrides: Sequence[str]) -> list[str]:
    given = (
        f"town.seed={seed}", f"dataset.root={root}/aachen_v1.1", f"dataset.ground_truth={root}/ground_truth/poses.txt",
        f"dataset.ground_truth_labels={root}/ground_truth/masks", f"workspace={root}/workspace", *overrides,
    )  # fmt: skip
    config = load_config(TOWNS["demo"], given)
    context = mapped(Context(load_config(TOWNS["demo"], (*given, *by_score(config, config.extractor.max_keypoints)))))
    results = _localize(context)
    conditions = {query.name: query.condition for query in context.dataset.queries}
    truth = {n: p for n, p in read_poses(context.dataset.truth).items() if n in conditions}
    errors = pose_errors({r.query: r.estimate.pose for r in results if r.estimate}, truth)
    scores = score_by_condition(errors, conditions, config.evaluation.thresholds)
    refined = {r.query for r in results if r.status == "refined"}
    far = (errors.position_m > 5) | (errors.rotation_deg > 10)
    wrong = sum(name in refined for name, is_far in zip(errors.names, far, strict=True) if is_far)
    recall = [" / ".join(f"{v:.1f}" for v in scores[c].recall) for c in ("day", "night")]
    num_images = len(context.dataset.db_names)
    shares = [np.mean([len(r.tried) for r in results if conditions[r.query] == c]) for c in ("day", "night")]
    compared = [f"{100 * share / num_images:.1f} %" for share in shares]
    return [str(seed), *recall, *compared, f"{wrong} of {len(refined)}"]


def _localize(context: Context) -> list[Localization]:
    workspace, config = context.workspace, context.config
    scene = TrulyLabelled(
        workspace.map, None, None, config.candidates, config.labelling, config.recognition.ranking,
        config.extractor.max_keypoints, context,
    )  # fmt: skip
    localizer = Localizer(scene.map, config.localization, seed=config.seed, threads=1)
    results = []
    with FeatureFile(workspace.query_features) as file:
        for query in context.dataset.queries:
            asked = scene.ask(query.name, file.read(query.name))
            results.append(localizer.localize_features(asked.features, query.camera, query.name, asked.candidates))
    return results
