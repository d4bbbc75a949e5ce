"""The embedded town from its photographs alone: `./run_own` without poses, labels or intrinsics.

Its queries by day and by night are of two cameras that took none of the db images. Scored after alignment, place by
place. What is made stays in outputs/own-benchmark; a second run reuses it, and its minutes are then no measure.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.ablations import CONFIG, CONFIGS
from benchmarks.machine import table
from benchmarks.own import OUT, run_own
from lbr.config import load_config
from lbr.mapping.map import open_map
from lbr.pipeline.results import read_localizations
from lbr.pipeline.scenes import make_town
from lbr.pipeline.stage import Context
from lbr.pipeline.workspace import Workspace

VARIANTS = (
    ("sift+daynight (default)", "folder.yaml", ()),
    ("... both make poses", "folder.yaml", ("reconstruction.poses_by=all",)),
    ("sift", "folder-sift.yaml", ()),
)
LIMITS = ((0.25, 2.0), (0.5, 5.0), (5.0, 10.0))
COLUMNS = [
    "keypoints", "places (images)", "day: median, recall", "night: median, recall", "refined but > 5 m or 10 deg",
    "error / stated std", "minutes",
]  # fmt: skip


def run() -> str:
    context = Context(load_config(CONFIG, ()))
    make_town(context)
    dataset = context.dataset
    given = (
        f"{dataset.image_root}/db", f"{dataset.image_root}/query", f"dataset.reference={dataset.model}",
        f"dataset.ground_truth={dataset.truth}", f"evaluation.thresholds={json.dumps(LIMITS)}",
    )  # fmt: skip
    rows = []
    for number, (title, base, overrides) in enumerate(VARIANTS):
        workspace = OUT / f"town-from-nothing-{number}"
        minutes = run_own(workspace, *given, "--config", str(CONFIGS / base), *overrides)
        rows.append([title, *_row(workspace), minutes])
    return table(COLUMNS, rows)


def _row(folder: Path) -> list[str]:
    workspace = Workspace(folder, "default")
    report, scene = json.loads(workspace.report.read_text()), open_map(workspace.map)
    statuses = {r["query"]: r["status"] for r in read_localizations(workspace.localizations)}
    refined = [error for name, error in report["queries"].items() if statuses[name] == "refined"]
    far = sum(error["position_m"] > LIMITS[-1][0] or error["rotation_deg"] > LIMITS[-1][1] for error in refined)
    places = ", ".join(str((scene.place == place).sum()) for place in range(scene.num_places))
    scores = [report["scores"][condition] for condition in ("day", "night")]
    return [
        f"{scene.num_places} ({places})",
        *(f"{100 * s['median_m']:.1f} cm, {' / '.join(f'{r:.1f}' for r in s['recall'])}" for s in scores),
        f"{far} of {len(refined)}", f"{report['error_over_stated_std']['median']:.2f}",
    ]  # fmt: skip
