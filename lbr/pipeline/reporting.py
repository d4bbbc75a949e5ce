"""The report stage: one HTML file about a run, from what the other stages left. Recomputes nothing."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from lbr.datasets import Dataset
from lbr.evaluation import EvaluationSettings, pose_errors, score_by_condition
from lbr.io.features_file import FeatureFile
from lbr.mapping.map import open_map
from lbr.parallel import num_cores
from lbr.pipeline.results import poses_of, read_localizations
from lbr.pipeline.scoring import truth_of
from lbr.pipeline.workspace import Workspace, problems_of, read_manifest, versions
from lbr.visualization.report import ReportInputs, write_report


def make_report(workspace: Workspace, dataset: Dataset, settings: EvaluationSettings) -> tuple[Path, str]:
    """Write runs/<run>/report.html; its path and a line about it. Raises DataError when nothing was localized yet."""
    records = read_localizations(workspace.localizations)
    truth = truth_of(records, dataset.truth) if dataset.truth and dataset.poses else None
    errors = pose_errors(poses_of(records), truth) if truth else None
    conditions = {r["query"]: r["condition"] for r in records}
    made = {output: read_manifest(output) for output in workspace.outputs}
    scene = open_map(workspace.map)
    with FeatureFile(workspace.query_features) as file:
        inputs = ReportInputs(
            title=f"{workspace.root.resolve().name}, run {workspace.run}",
            records=records, scene=scene, image_root=dataset.image_root,
            features=lambda name: file.read(name) if name in file else None,
            truth=truth, errors=errors, thresholds=settings.thresholds,
            scores=score_by_condition(errors, conditions, settings.thresholds) if errors else None,
            stage_seconds={output.stem: manifest["seconds"] for output, manifest in made.items() if manifest},
            problems=list(dict.fromkeys(p for output in workspace.outputs for p in problems_of(output))),
            facts=_facts(scene.extractor.get("name", "unknown")),
        )  # fmt: skip
        path = write_report(workspace.run_folder / "report.html", inputs)
    return path, f"{len(records)} queries, {path.stat().st_size / 1e6:.1f} MB; open it in a browser"


def _facts(feature: str) -> dict[str, str]:
    system = f"{platform.machine()}, {num_cores()} cores, {os.uname().sysname}"
    return {"machine": system, "Python": platform.python_version(), **versions(), "local feature": feature}
