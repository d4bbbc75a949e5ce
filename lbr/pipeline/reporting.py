"""The report stage: one HTML file about a run, from what the other stages left. Recomputes nothing."""

from __future__ import annotations

import os
import platform

from lbr.io.features_file import FeatureFile
from lbr.mapping.map import open_map
from lbr.parallel import num_cores
from lbr.pipeline.results import read_localizations
from lbr.pipeline.scoring import score
from lbr.pipeline.stage import Context, Report
from lbr.pipeline.workspace import problems_of, read_manifest, versions
from lbr.visualization.report import ReportInputs, write_report


def make_report(context: Context) -> list[Report]:
    """runs/<run>/report.html. Raises DataError when nothing was localized yet."""
    workspace, dataset, settings = context.workspace, context.dataset, context.config.evaluation
    records = read_localizations(workspace.localizations)
    scored = score(records, dataset.truth, settings) if dataset.truth and dataset.poses else None
    made = {output: read_manifest(output) for output in workspace.outputs}
    scene = open_map(workspace.map)
    with FeatureFile(workspace.query_features) as file:
        inputs = ReportInputs(
            title=f"{workspace.root.resolve().name}, run {workspace.run}",
            records=records, scene=scene, image_root=dataset.image_root,
            features=lambda name: file.read(name) if name in file else None,
            thresholds=settings.thresholds,
            truth=scored and scored.truth, errors=scored and scored.errors, scores=scored and scored.scores,
            stage_seconds={output.stem: manifest["seconds"] for output, manifest in made.items() if manifest},
            problems=list(dict.fromkeys(p for output in workspace.outputs for p in problems_of(output))),
            facts=_facts(scene.extractor.get("name", "unknown")),
        )  # fmt: skip
        path = write_report(workspace.run_folder / "report.html", inputs)
    return [Report(path, f"{len(records)} queries, {path.stat().st_size / 1e6:.1f} MB; open it in a browser")]


def _facts(feature: str) -> dict[str, str]:
    system = f"{platform.machine()}, {num_cores()} cores, {os.uname().sysname}"
    return {"machine": system, "Python": platform.python_version(), **versions(), "local feature": feature}
