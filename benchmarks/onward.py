"""A drive that goes on: `./run_own` on its first hundred frames (../shared/data), then `lbr extend` by the other fifty.

These come with their poses, or are localized, each next to those before it. Queries are of the whole drive. The
network knows the facades of the first part; those of the second are new instances, found as `lbr label` finds them and
known by prototypes.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from benchmarks.machine import SHARED, table
from benchmarks.own import COLUMNS, PLACES, lbr, row, run_own, thresholds
from lbr.config import load_config
from lbr.io.colmap import build_model, posed_cameras, read_model, write_model
from lbr.io.text_lists import write_poses, write_query_list
from lbr.mapping.map import open_map
from lbr.pipeline.stage import Context
from lbr.pipeline.vocabulary import load_vocabulary

OUT = Path(__file__).resolve().parents[1] / "outputs" / "onward-benchmark"
FIRST = 100  # frames
LIMIT = PLACES["street-dev"]


def run() -> str:
    source, photographs = SHARED / "data" / "street-dev", OUT / "photographs"
    if not source.is_dir():
        return f"skipped: {source} is not here"
    shutil.rmtree(OUT, ignore_errors=True)
    num = _first_part(source, photographs)
    minutes = run_own(OUT / "first", str(photographs), thresholds(LIMIT))
    rows = [_row(f"{FIRST} frames", OUT / "first", f"{minutes} min, all stages")]
    poses = ("--poses", str(photographs / "added-poses.txt"))
    for title, folder, given in (("", OUT / "extended", poses), (", without poses", OUT / "registered", ())):
        shutil.copytree(OUT / "first", folder, ignore=shutil.ignore_patterns("runs"))
        took = f"{_extended(photographs / 'added/list.txt', folder, *given):.0f} s"
        rows.append(_row(f"... extended by the {num} after them{title}", folder, took))
    return table(["map", "images", "instances", *COLUMNS[1:-1], "time"], rows)


def _first_part(source: Path, target: Path) -> int:
    """The layout of `./run_own` with the first frames in the map; of the others a list and one of poses. How many these
    are."""
    cameras, poses = posed_cameras(read_model(source / "3D-models"))
    names = sorted(cameras, key=lambda name: Path(name).name)
    first, later = names[:FIRST], names[FIRST:]
    (target / "images").mkdir(parents=True)
    (target / "images/query").symlink_to((source / "images/query").resolve())
    for name in names:
        path = target / ("images" if name in first else "added") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to((source / "images" / name).resolve())
    write_model(target / "3D-models", build_model({n: cameras[n] for n in first}, {n: poses[n] for n in first}))
    for name in ("queries.txt", "gt.txt"):
        (target / name).symlink_to((source / name).resolve())
    write_query_list(target / "added/list.txt", {name: cameras[name] for name in later})
    write_poses(target / "added-poses.txt", {name: poses[name] for name in later})
    return len(later)


def _extended(listed: Path, folder: Path, *poses: str) -> float:
    """Seconds of the extension; then the queries are recognised and localized anew."""
    where = ("--config", str(OUT / "first/config.yaml"), f"workspace={folder}")
    start = time.perf_counter()
    lbr("extend", *where, "--images", str(listed), *poses)
    seconds = time.perf_counter() - start
    lbr("run", *where, "--from", "recognise", "--overwrite", thresholds(LIMIT))
    return seconds


def _row(title: str, folder: Path, took: str) -> list[str]:
    context = Context(load_config(OUT / "first/config.yaml", (f"workspace={folder}",)))
    sizes = len(open_map(context.workspace.map)), load_vocabulary(context).num_classes - 1
    return [title, *map(str, sizes), *row(folder, LIMIT), took]
