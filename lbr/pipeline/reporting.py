"""The report stage: one HTML file about a run, from what the other stages left. Recomputes nothing."""

from __future__ import annotations

import os
import platform
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from lbr.errors import DataError
from lbr.features.labelling import labelled
from lbr.io.features_file import FeatureFile
from lbr.io.labels import mask_path, read_mask
from lbr.io.predictions_file import PredictionFile
from lbr.io.text_lists import Problem
from lbr.mapping.map import open_map
from lbr.parallel import num_cores
from lbr.pipeline.recognition_scoring import recognition_scores
from lbr.pipeline.results import read_localizations
from lbr.pipeline.scoring import score
from lbr.pipeline.stage import Context, Report
from lbr.pipeline.vocabulary import load_vocabulary
from lbr.pipeline.workspace import problems_of, read_manifest, versions
from lbr.recognition.masks import full_mask
from lbr.types import LocalFeatures
from lbr.visualization.report import ReportInputs, write_report


def make_report(context: Context) -> list[Report]:
    """runs/<run>/report.html. Raises DataError when nothing was localized yet."""
    workspace, dataset, settings = context.workspace, context.dataset, context.config.evaluation
    records = read_localizations(workspace.localizations)
    scored = score(records, dataset.truth, settings) if dataset.truth and dataset.poses else None
    made = {output: read_manifest(output) for output in workspace.outputs}
    scene = open_map(workspace.map)
    with ExitStack() as files:
        file = files.enter_context(FeatureFile(workspace.query_features))
        inputs = ReportInputs(
            title=f"{workspace.root.resolve().name}, run {workspace.run}",
            records=records, scene=scene, image_root=dataset.image_root, added=context.added,
            features=lambda name: file.read(name) if name in file else None,
            thresholds=settings.thresholds,
            truth=scored and scored.truth, errors=scored and scored.errors, scores=scored and scored.scores,
            stage_seconds={output.stem: manifest["seconds"] for output, manifest in made.items() if manifest},
            problems=list(dict.fromkeys(p for output in workspace.outputs for p in problems_of(output))),
            facts=_facts(scene.extractor.get("name", "unknown")),
        )  # fmt: skip
        if workspace.query_predictions.is_file():
            predictions = files.enter_context(PredictionFile(workspace.query_predictions))
            inputs = with_recognition(inputs, predictions, context)
        path = write_report(workspace.run_folder / "report.html", inputs)
    return [Report(path, f"{len(records)} queries, {path.stat().st_size / 1e6:.1f} MB; open it in a browser")]


def with_recognition(inputs: ReportInputs, file: PredictionFile, context: Context) -> ReportInputs:
    """With what the network says of the queries, and with scores where their true label images are known."""
    plain = inputs.features

    def labelled_features(name: str) -> LocalFeatures | None:
        features = plain(name)
        return labelled(features, full_mask(file.read(name))[0]) if features and name in file else features

    inputs = replace(
        inputs, predictions=lambda name: file.read(name) if name in file else None,
        ranking=context.config.recognition.ranking, features=labelled_features,
    )  # fmt: skip
    truth = context.labels.truth
    if truth is None:
        return inputs
    try:
        vocabulary, scores = load_vocabulary(context), recognition_scores(context)
    except DataError as error:
        return replace(inputs, problems=[*inputs.problems, Problem("scores of recognition", str(error))])

    def true_mask(name: str) -> np.ndarray | None:
        path = mask_path(truth, name)
        return read_mask(path, vocabulary) if path.is_file() else None

    return replace(inputs, true_masks=true_mask, recognition=scores)


def _facts(feature: str) -> dict[str, str]:
    system = f"{platform.machine()}, {num_cores()} cores, {os.uname().sysname}"
    return {"machine": system, "Python": platform.python_version(), **versions(), "local feature": feature}
