"""Scores of recognition from the prediction file and the queries' true label images. Recomputes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lbr.errors import DataError
from lbr.io.files import write_text
from lbr.io.labels import mask_path, read_mask
from lbr.io.predictions_file import PredictionFile
from lbr.pipeline.stage import Context, Report
from lbr.pipeline.vocabulary import load_vocabulary
from lbr.recognition.metrics import FIRST, ImageScore, RecognitionScores, score_image, summarise
from lbr.recognition.ranking import PublishedRanking


def score_recognition(context: Context) -> Report:
    """recognition.json and .md in the workspace: scores by condition, and what the published ranking would give."""
    rows = recognition_scores(context)
    output, ranking = context.workspace.recognition_scores, context.config.recognition.ranking.name
    content = {name: {c: vars(s) for c, s in table.items()} for name, table in rows.items()}
    write_text(output, json.dumps({"first": FIRST, "scores": content}, indent=1))
    write_text(output.with_suffix(".md"), recognition_table(rows))
    told = ", ".join(f"{c} {s.first[0]:.1f} %" for c, s in rows[ranking].items())
    return Report(output, f"a right instance first: {told}")


def recognition_scores(context: Context) -> dict[str, dict[str, RecognitionScores]]:
    """Scores by ranking (the configured one, then the published) and condition. Raises DataError without truth."""
    truth, settings = context.labels.truth, context.config.recognition.ranking
    if truth is None:
        raise DataError("there are no true label images to score with: set dataset.ground_truth_labels")
    vocabulary = load_vocabulary(context)
    rankings = {settings.name: settings, "published": PublishedRanking()}
    scores: dict[str, dict[str, list[ImageScore]]] = {name: {} for name in rankings}
    with PredictionFile(context.workspace.query_predictions) as file:
        for query in context.dataset.queries:
            path = mask_path(truth, query.name)
            if query.name not in file or not path.is_file():
                continue
            prediction, mask = file.read(query.name), read_mask(path, vocabulary)
            for name, ranking in rankings.items():
                scores[name].setdefault(query.condition, []).append(score_image(prediction, mask, ranking))
    if not any(scores[settings.name].values()):
        raise DataError(f"{truth}: has the true label image of no query")
    return {name: _by_condition(table) for name, table in scores.items()}


def _by_condition(scores: Mapping[str, list[ImageScore]]) -> dict[str, RecognitionScores]:
    found = {condition: summarise(of) for condition, of in sorted(scores.items())}
    return found if len(found) == 1 else {**found, "all": summarise([s for of in scores.values() for s in of])}


def recognition_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: one line for each ranking and condition."""
    first = " / ".join(str(n) for n in FIRST)
    lines = [
        f"| ranking | queries | num | right among the first {first}, % | pixels % | IoU % | presence mAP % | ECE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for ranking, table in rows.items():
        for condition, s in table.items():
            among = " / ".join(f"{value:.1f}" for value in s.first)
            lines.append(
                f"| {ranking} | {condition} | {s.num} | {among} | {s.pixel_accuracy:.1f} | {s.mean_iou:.1f} "
                f"| {s.presence_map:.1f} | {s.calibration_error:.3f} |"
            )
    return "\n".join(lines) + "\n"
