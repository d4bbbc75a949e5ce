"""The report stage: one HTML file about a run, from what the other stages left. Recomputes nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from lbr.errors import DataError
from lbr.features.labelling import labelled
from lbr.geometry.pose import Pose
from lbr.io.features_file import FeatureFile
from lbr.io.labels import mask_path, read_mask
from lbr.io.predictions_file import PredictionFile
from lbr.io.text_lists import Problem
from lbr.mapping.georeference import Georeference, read_georeferences
from lbr.mapping.map import Map, open_map
from lbr.parallel import num_cores
from lbr.pipeline.aligning import Alignment, alignment_of, needs_alignment, reference_poses
from lbr.pipeline.georeference import describe
from lbr.pipeline.recognition_scoring import kept_scores
from lbr.pipeline.results import read_localizations
from lbr.pipeline.scoring import Scored, score, search_effort
from lbr.pipeline.searching import chosen
from lbr.pipeline.stage import Context, Report
from lbr.pipeline.vocabulary import load_vocabulary
from lbr.pipeline.workspace import problems_of, read_manifest, versions
from lbr.recognition.masks import full_mask
from lbr.types import LocalFeatures
from lbr.visualization.report import ReportInputs, write_report


def make_report(context: Context) -> list[Report]:
    """runs/<run>/report.html. Raises DataError when nothing was localized yet."""
    workspace, settings = context.workspace, context.config.evaluation
    records = read_localizations(workspace.localizations)
    scored, alignment, unscored = _scored(context, records)
    made = {output: read_manifest(output) for output in workspace.outputs}
    scene, places = open_map(workspace.map), read_georeferences(workspace.map)
    with ExitStack() as files:
        file = files.enter_context(FeatureFile(workspace.query_features))
        inputs = ReportInputs(
            title=f"{workspace.root.resolve().name}, run {workspace.run}",
            records=records, search=search_effort(records), scene=scene, images=context.images,
            features=lambda name: file.read(name) if name in file else None,
            thresholds=settings.thresholds,
            errors=scored and scored.errors, scores=scored and scored.scores,
            stage_seconds={output.stem: manifest["seconds"] for output, manifest in made.items() if manifest},
            problems=[*dict.fromkeys((*unscored, *(p for output in workspace.outputs for p in problems_of(output))))],
            facts=_facts(scene.extractor.get("name", "unknown")),
            metres_per_unit={p: _metres_per_unit(scene, p, alignment, places) for p in range(scene.num_places)},
            georeference=[describe(found) for found in places.values()],
            alignment=alignment.describe() if alignment else (),
        )  # fmt: skip
        if scored:
            inputs = replace(inputs, problems=[*inputs.problems, *scored.problems])
            inputs = with_truth(inputs, scored.truth, alignment, reference_poses(context))
        if workspace.query_predictions.is_file():
            predictions = files.enter_context(PredictionFile(workspace.query_predictions))
            inputs = with_recognition(inputs, predictions, context)
        inputs = with_keypoints(inputs, context)
        path = write_report(workspace.run_folder / "report.html", inputs)
    return [Report(path, f"{len(records)} queries, {path.stat().st_size / 1e6:.1f} MB; open it in a browser")]


def _scored(
    context: Context, records: Sequence[Mapping[str, Any]]
) -> tuple[Scored | None, Alignment | None, Sequence[Problem]]:
    """The scores of a run, and the alignment they are by; None where the true poses are not known or not comparable,
    and why, where they should be."""
    truth = context.dataset.truth
    if truth is None or (needs_alignment(context) and not reference_poses(context)):
        return None, None, ()
    alignment = alignment_of(context)
    try:
        return score(records, truth, context.config.evaluation, alignment), alignment, ()
    except DataError as error:
        return None, alignment, [Problem("true poses", str(error))]


def _metres_per_unit(
    scene: Map, place: int, alignment: Alignment | None, places: Mapping[int, Georeference]
) -> float | None:
    if scene.units == "metres":
        return 1.0
    if place in places:
        return places[place].similarity.scale
    return alignment.metres_per_unit(place) if alignment else None


def with_truth(
    inputs: ReportInputs, truth: Mapping[str, Pose], alignment: Alignment | None, reference: Mapping[str, Pose]
) -> ReportInputs:
    """With the true poses of the queries in the map's own frames, to be drawn in it."""
    if alignment is None:
        return replace(inputs, truth=truth)
    found = alignment.in_map(inputs.records, truth, reference)
    return replace(
        inputs, truth={name: pose for name, (_, pose) in found.items()},
        truth_places={name: place for name, (place, _) in found.items()},
    )  # fmt: skip


def with_keypoints(inputs: ReportInputs, context: Context) -> ReportInputs:
    """With the keypoints that queries were localized with, of all that are stored, labelled by what was recognised."""
    config = context.config

    def used(name: str) -> LocalFeatures | None:
        features, prediction = inputs.features(name), inputs.predictions(name)
        if features is None:
            return None
        asked = prediction if context.uses_instances else None
        features = chosen(features, asked, config.labelling, config.extractor.max_keypoints)
        return labelled(features, full_mask(prediction)[0]) if prediction else features

    return replace(inputs, features=used)


def with_recognition(inputs: ReportInputs, file: PredictionFile, context: Context) -> ReportInputs:
    """With what the network says of the queries, and with scores where their true label images are known."""
    inputs = replace(
        inputs, predictions=lambda name: file.read(name) if name in file else None,
        ranking=context.config.recognition.ranking,
    )  # fmt: skip
    truth = context.labels.truth
    if truth is None:
        return inputs
    try:
        vocabulary, (scores, unscored) = load_vocabulary(context), kept_scores(context)
    except DataError as error:
        return replace(inputs, problems=[*inputs.problems, Problem("scores of recognition", str(error))])

    left_out = {problem.what for problem in unscored}

    def true_mask(name: str) -> np.ndarray | None:
        path = mask_path(truth, name)
        return read_mask(path, vocabulary) if path.is_file() and name not in left_out else None

    return replace(
        inputs, true_masks=true_mask, recognition=scores, problems=[*dict.fromkeys((*inputs.problems, *unscored))]
    )


def _facts(feature: str) -> dict[str, str]:
    system = f"{platform.machine()}, {num_cores()} cores, {os.uname().sysname}"
    return {"machine": system, "Python": platform.python_version(), **versions(), "local feature": feature}
