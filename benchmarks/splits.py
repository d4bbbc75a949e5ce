"""`./run_own` as in `own`, with other photographs of the same places as queries.

Limits were chosen with the queries of `own` in sight. Here every second or third of its db photographs is a query, and
its queries are in the map; and every third of all photographs of strecha is a map of four of each place.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import SHARED, table
from benchmarks.own import COLUMNS, FROM_NOTHING, PLACES, darkened, from_nothing, row, run_own, thresholds
from lbr.io.colmap import build_model, posed_cameras, read_model, write_model
from lbr.io.text_lists import read_poses, read_query_list, write_poses, write_query_list

OUT = Path(__file__).resolve().parents[1] / "outputs" / "splits-benchmark"
EVERY = {"strecha-dev": 2, "street-dev": 3}  # so many db photographs make one query
FEW = 3  # one of so many photographs is in the map


def run() -> str:
    if not (SHARED / "data").is_dir():
        return f"skipped: {SHARED / 'data'} is not here"
    rows = []
    for data, every in EVERY.items():
        limit, workspace = PLACES[data], OUT / data
        source = SHARED / "data" / data
        queries = list(posed_cameras(read_model(source / "3D-models"))[0])[1::every]
        num = split(source, OUT / f"{data}-photographs", queries)
        minutes = run_own(workspace, str(OUT / f"{data}-photographs"), thresholds(limit))
        rows += [[f"{data}, {num[0]} db + {num[1]} query", *row(workspace, limit), minutes]]
        rows += [[f"{data}, queries darkened", *row(darkened(workspace, limit), limit), ""]]
    data = "strecha-dev"
    found = from_nothing(OUT / f"{data}-photographs", OUT / f"{data}-from-nothing", FROM_NOTHING[data])
    rows += [[f"{data} from nothing", *found]]
    return table(COLUMNS, [*rows, *_few(data)])


def _few(data: str) -> list[list[str]]:
    source, limit, photographs = SHARED / "data" / data, PLACES[data], OUT / f"{data}-few-photographs"
    names = [*posed_cameras(read_model(source / "3D-models"))[0], *read_query_list(source / "queries.txt")[0]]
    num = split(source, photographs, [name for name in sorted(names) if int(Path(name).stem[-4:]) % FEW])
    minutes = run_own(OUT / f"{data}-few", str(photographs), thresholds(limit))
    title = f"{data}, few: {num[0]} db + {num[1]} query"
    found = from_nothing(photographs, OUT / f"{data}-few-from-nothing", limit)
    return [[title, *row(OUT / f"{data}-few", limit), minutes], [f"{title}, from nothing", *found]]


def split(source: Path, target: Path, queries: Sequence[str]) -> tuple[int, int]:
    """Write a folder of photographs with known poses and other queries: these, by their names; all others are in the
    map. How many db photographs and queries there are."""
    cameras, poses = posed_cameras(read_model(source / "3D-models"))
    asked, _ = read_query_list(source / "queries.txt")
    cameras |= {name: camera for name, camera in asked.items() if camera is not None}
    poses |= read_poses(source / "gt.txt")
    new = {name: f"{'query' if name in queries else 'db'}/{Path(name).name}" for name in poses}
    shutil.rmtree(target, ignore_errors=True)
    for name, renamed in new.items():
        (target / "images" / renamed).parent.mkdir(parents=True, exist_ok=True)
        (target / "images" / renamed).symlink_to(source.resolve() / "images" / name)
    db = sorted(set(new) - set(queries))
    model = build_model({new[name]: cameras[name] for name in db}, {new[name]: poses[name] for name in db})
    write_model(target / "3D-models", model)
    write_query_list(target / "queries.txt", {new[name]: cameras[name] for name in queries})
    write_poses(target / "gt.txt", {new[name]: poses[name] for name in queries})
    return len(db), len(queries)
