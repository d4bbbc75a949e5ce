"""Accuracy on photographs whose poses were surveyed (../shared/data), beside figures of hloc on the same images."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import SHARED, table
from lbr.config import load_config
from lbr.pipeline.scoring import evaluate
from lbr.pipeline.stage import Context
from lbr.pipeline.stages import run_flow

FOLDER = Path(__file__).resolve().parents[1] / "configs" / "folder-sift.yaml"
ALIKED = ["extractor.name=aliked", f"extractor.weights={SHARED}/weights/aliked-n16.pth"]
EXHAUSTIVE = [  # as hloc was measured: all db images, plain matching, no network
    "candidates.name=exhaustive", "localization.matcher.name=nearest", "localization.matcher.ratio=0.8",
    "localization.max_clusters=10",
]  # fmt: skip
# name, data, overrides, hloc's median (cm, deg) and recall, thresholds (m, deg)
CASES = [
    ("strecha-dev, SIFT 4096", "strecha-dev", [], "0.35 cm, 0.018 deg; 7/7", (0.02, 0.2)),
    ("strecha-dev, ALIKED 2048", "strecha-dev", ALIKED, "0.42 cm, 0.030 deg; 7/7", (0.02, 0.2)),
    ("street-dev, SIFT 2048", "street-dev", ["extractor.max_keypoints=2048"], "3.06 cm, 0.092 deg; 25/25", (0.25, 2)),
]  # fmt: skip


def run() -> str:
    if not (SHARED / "data").is_dir():
        return f"skipped: {SHARED / 'data'} is not here"
    rows = [_measure(*case) for case in CASES]
    return table(["data", "median", "within", "largest error", "median std said", "hloc"], rows)


def _measure(title: str, data: str, overrides: list[str], hloc: str, limit: tuple[float, float]) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        thresholds = f"evaluation.thresholds=[[{limit[0]},{limit[1]}]]"
        config = load_config(
            FOLDER, [f"dataset.root={SHARED}/data/{data}", f"workspace={folder}", thresholds, *EXHAUSTIVE, *overrides]
        )
        context = Context(config)
        run_flow(context)
        evaluate(context.workspace, context.dataset.truth, config.evaluation)
        report = json.loads(context.workspace.report.read_text())
        lines = context.workspace.localizations.read_text().splitlines()
    said = np.median([json.loads(line)["position_std_m"] for line in lines])
    return [title, *accuracy(report, limit), f"{100 * said:.2f} cm", hloc]


def accuracy(report: dict[str, Any], limit: tuple[float, float]) -> list[str]:
    """Median error, how many are within `limit` (m, deg; the first threshold of the report), and largest error."""
    scores = report["scores"]["all"]
    errors = np.array([[q["position_m"], q["rotation_deg"]] for q in report["queries"].values()])
    within = round(scores["recall"][0] / 100 * scores["num"])
    return [
        f"{100 * scores['median_m']:.2f} cm, {scores['median_deg']:.3f} deg",
        f"{within}/{scores['num']} within {100 * limit[0]:g} cm, {limit[1]:g} deg",
        f"{100 * errors[:, 0].max():.2f} cm, {errors[:, 1].max():.3f} deg",
    ]
