"""A map that grows: an eighth of the demo town's photographs leave its map and come back; beside the whole map."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.ablations import CONFIG, prepared
from benchmarks.machine import table
from lbr.config import load_config
from lbr.io.text_lists import write_poses, write_query_list
from lbr.mapping.map import open_map
from lbr.pipeline.extending import extend
from lbr.pipeline.localization import localize
from lbr.pipeline.removing import remove
from lbr.pipeline.results import read_localizations
from lbr.pipeline.scoring import score
from lbr.pipeline.stage import Context

EVERY = 8  # photograph that leaves


def run() -> str:
    root = load_config(CONFIG).workspace.with_name("workspace-changes")
    shutil.rmtree(root, ignore_errors=True)
    rows = []
    context, seconds = _timed(lambda: prepared((f"workspace={root}",)))
    rows.append(_row("the whole map, made at once", context, "whole", f"{seconds:.0f}, all stages"))
    scene = open_map(context.workspace.map)
    leaving = scene.names[::EVERY]
    kept = {name: (scene.camera(i), scene.pose(i)) for i, name in enumerate(scene.names) if name in leaving}
    _, seconds = _timed(lambda: remove(context, leaving))
    rows.append(_row(f"without {len(leaving)} of {len(scene.names)} photographs", context, "without", f"{seconds:.1f}"))
    for how in ("with their poses", "localized in it"):
        folder = root.with_name(f"workspace-changes-{how.split()[0]}")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(root, folder)
        write_query_list(folder / "added.txt", {name: camera for name, (camera, _) in kept.items()})
        write_poses(folder / "poses.txt", {name: pose for name, (_, pose) in kept.items()})
        poses = folder / "poses.txt" if how == "with their poses" else None
        grown = Context(load_config(CONFIG, (f"workspace={folder}",)))
        _, seconds = _timed(lambda: extend(grown, folder / "added.txt", poses))  # noqa: B023
        after = open_map(grown.workspace.map)
        back = [name for name in leaving if name in after.names]
        off = [np.linalg.norm(after.pose(after.index_of(n)).centre - kept[n][1].centre) for n in back]
        told = f"{len(back)} of {len(leaving)} added again, {how}, median {100 * np.median(off):.1f} cm off"
        rows.append(_row(told, grown, "grown", f"{seconds:.1f}"))
    return table(["map", "recall, day", "night", "points", "CPU s of the change"], rows)


def _timed(call: Callable[[], Context]) -> tuple[Context, float]:
    """What it gives, and the seconds of the processor that it and its processes took."""
    before = os.times()
    made = call()
    return made, sum(os.times()[:4]) - sum(before[:4])


def _row(name: str, context: Context, run: str, seconds: str) -> list[str]:
    config = context.config.model_copy(update={"run": run})
    asked = replace(context, config=config)
    localize(asked)
    records = read_localizations(asked.workspace.localizations)
    scores = score(records, asked.dataset.truth, config.evaluation, None).scores
    recall = [" / ".join(f"{v:.1f}" for v in scores[c].recall) for c in scores if c != "all"]
    return [name, *recall, f"{len(open_map(asked.workspace.map).points):,}", seconds]
