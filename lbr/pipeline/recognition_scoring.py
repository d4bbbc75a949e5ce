"""Scores of recognition from the prediction file and the queries' true label images, kept for who asks again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from lbr.errors import DataError
from lbr.io.files import read_text, write_text
from lbr.io.labels import mask_path, read_mask
from lbr.io.predictions_file import PredictionFile
from lbr.io.text_lists import Problem
from lbr.pipeline.stage import Context, Report, identities
from lbr.pipeline.vocabulary import load_vocabulary
from lbr.pipeline.workspace import digest_masks, digest_text
from lbr.recognition.metrics import FIRST, ImageScore, RecognitionScores, score_image, summarise
from lbr.recognition.ranking import PublishedRanking


class Scored(NamedTuple):
    """scores: by ranking (the configured one, then the published) and condition; problems: queries left out."""

    scores: dict[str, dict[str, RecognitionScores]]
    problems: tuple[Problem, ...]


def score_recognition(context: Context) -> Report:
    """recognition.json and .md in the workspace: scores by condition, and what the published ranking would give."""
    rows, problems = recognition_scores(context)
    output, ranking = context.workspace.recognition_scores, context.config.recognition.ranking.name
    content = {name: {c: vars(s) for c, s in table.items()} for name, table in rows.items()}
    kept = {
        "first": FIRST,
        "of": _scored_of(context),
        "scores": content,
        "problems": [[p.what, p.why] for p in problems],
    }
    write_text(output, json.dumps(kept, indent=1))
    write_text(output.with_suffix(".md"), recognition_table(rows))
    told = ", ".join(f"{c} {s.first[0]:.1f} %" for c, s in rows[ranking].items())
    return Report(output, f"a right instance first: {told}", problems=problems)


def kept_scores(context: Context) -> Scored:
    """The scores in recognition.json where it is of these predictions, truth and ranking, else computed and kept.

    Raises DataError as `recognition_scores`.
    """
    output = context.workspace.recognition_scores
    kept = json.loads(read_text(output)) if output.is_file() else {}
    if kept.get("of") != _scored_of(context):
        score_recognition(context)
        kept = json.loads(read_text(output))
    rows = {
        ranking: {c: RecognitionScores(**{**s, "first": tuple(s["first"])}) for c, s in table.items()}
        for ranking, table in kept["scores"].items()
    }
    return Scored(rows, tuple(Problem(*p) for p in kept["problems"]))


def _scored_of(context: Context) -> dict[str, Any]:
    """What the scores depend on, as JSON keeps it."""
    truth = context.labels.truth
    names = [query.name for query in context.dataset.queries]
    return {
        **identities(context.workspace.query_predictions),
        "truth": digest_masks(truth, names) if truth else None,
        "conditions": digest_text(" ".join(f"{q.name} {q.condition}" for q in context.dataset.queries)),
        "ranking": context.config.recognition.ranking.model_dump(mode="json"),
    }


def recognition_scores(context: Context) -> Scored:
    """Score the predictions of all queries that have a true label image; what cannot be read becomes a problem.

    Raises DataError without truth, or when not one query could be scored.
    """
    truth, settings = context.labels.truth, context.config.recognition.ranking
    if truth is None:
        raise DataError("there are no true label images to score with: set dataset.ground_truth_labels")
    vocabulary, problems = load_vocabulary(context), []
    rankings = {settings.name: settings, "published": PublishedRanking()}
    scores: dict[str, dict[str, list[ImageScore]]] = {name: {} for name in rankings}
    with PredictionFile(context.workspace.query_predictions) as file:
        for query in context.dataset.queries:
            path = mask_path(truth, query.name)
            if query.name not in file or not path.is_file():
                continue
            try:
                prediction, mask = file.read(query.name), read_mask(path, vocabulary)
            except DataError as error:
                problems.append(Problem(query.name, f"not scored: {error}"))
                continue
            for name, ranking in rankings.items():
                scores[name].setdefault(query.condition, []).append(score_image(prediction, mask, ranking))
    if not any(scores[settings.name].values()):
        raise DataError(problems[0].why if problems else f"{truth}: has the true label image of no query")
    return Scored({name: _by_condition(table) for name, table in scores.items()}, tuple(problems))


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
