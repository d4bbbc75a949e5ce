"""Few photographs: a map of every fourth frame of the drive (../shared/data), matched along epipolar lines and not, and
with some of the other frames added to it. All db images are candidates; nothing is recognised."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.machine import SHARED, table
from benchmarks.splits import split
from lbr.config import load_config
from lbr.io.colmap import posed_cameras, read_model
from lbr.io.text_lists import read_query_list, write_query_list
from lbr.mapping.map import open_map
from lbr.pipeline.extending import extend
from lbr.pipeline.localization import localize
from lbr.pipeline.results import read_localizations
from lbr.pipeline.scoring import score
from lbr.pipeline.stage import Context
from lbr.pipeline.stages import run_flow

OUT = Path(__file__).resolve().parents[1] / "outputs" / "sparse-benchmark"
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "folder.yaml"
EVERY, ADDED = 4, 5  # frame of the map's; of the others those that are added, then
LIMITS = "within 25 cm, 2 deg / 50 cm, 5 deg"
COLUMNS = ["map", "images", "points", "queries", "median error", LIMITS, "refined", "farthest of them"]
UNRECOGNISED = ("candidates.name=exhaustive", "localization.matcher.name=nearest", "localization.matcher.ratio=0.85")
VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "guided": ("guided (default)", ()),
    "unguided": ("not guided", ("matcher.guided=null",)),
}


def run() -> str:
    source, photographs = SHARED / "data" / "street-dev", OUT / "photographs"
    if not source.is_dir():
        return f"skipped: {source} is not here"
    shutil.rmtree(OUT, ignore_errors=True)
    frames = [*posed_cameras(read_model(source / "3D-models"))[0], *read_query_list(source / "queries.txt")[0]]
    frames.sort(key=lambda name: Path(name).name)
    split(source, photographs, [frame for number, frame in enumerate(frames) if number % EVERY])
    asked, _ = read_query_list(photographs / "queries.txt")
    added = {name: asked[name] for name in sorted(asked)[::ADDED]}
    write_query_list(OUT / "added.txt", added)
    rows = []
    for name, (title, overrides) in VARIANTS.items():
        context = _context(photographs, OUT / name, overrides)
        run_flow(context)
        rows.append(_row(title, context, set(asked)))
        grown = replace(context, config=context.config.model_copy(update={"run": "grown"}))
        extend(grown, OUT / "added.txt")
        localize(grown)
        rows.append(_row("... extended", grown, set(asked) - set(added)))
    return table(COLUMNS, rows)


def _context(photographs: Path, workspace: Path, overrides: tuple[str, ...]) -> Context:
    fixed = (f"dataset.root={photographs}", f"workspace={workspace}", *UNRECOGNISED)
    return Context(load_config(CONFIG, (*fixed, *overrides, "evaluation.thresholds=[[0.25,2],[0.5,5]]")))


def _row(title: str, context: Context, names: set[str]) -> list[str]:
    records = [r for r in read_localizations(context.workspace.localizations) if r["query"] in names]
    scored = score(records, context.dataset.truth, context.config.evaluation)
    scene, scores = open_map(context.workspace.map), scored.scores["all"]
    refined = {r["query"] for r in records if r["status"] == "refined"}
    off = [error for name, error in zip(scored.errors.names, scored.errors.position_m, strict=True) if name in refined]
    return [
        title, str(len(scene)), f"{len(scene.points):,}", str(len(records)), f"{100 * scores.median_m:.1f} cm",
        " / ".join(f"{share:.1f} %" for share in scores.recall), str(len(refined)), f"{np.max(off, initial=0):.2f} m",
    ]  # fmt: skip
