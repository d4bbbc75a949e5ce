"""`./run_own` on photographs whose poses were surveyed (../shared/data): with the poses of the db photographs, the
same without the intrinsics of the queries and with the queries darkened, and from nothing but photographs.

What is made stays in outputs/own-benchmark; a second run reuses it, and its minutes are then no measure.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.machine import SHARED, table
from benchmarks.photographs import accuracy
from lbr.config import load_config
from lbr.io.images import read_image, write_image
from lbr.pipeline.stage import Context
from lbr.pipeline.workspace import Workspace
from lbr.stylization import stylize

OUT = Path(__file__).resolve().parents[1] / "outputs" / "own-benchmark"
PLACES = {"strecha-dev": (0.02, 0.2), "street-dev": (0.25, 2.0)}  # the limit that counts (m, deg)
FROM_NOTHING = {"strecha-dev": (0.02, 0.2), "street-dev": (0.5, 5.0)}  # after alignment to the reference poses
COLUMNS = [
    "photographs", "median error", "within", "largest error", "error / stated std", "db images compared", "minutes",
]  # fmt: skip
OF_QUERIES = ("features-query*", "predictions-query*", "recognition", "recognition.manifest.json", "runs")  # made anew

Change = Callable[[np.ndarray, str], np.ndarray]


def run() -> str:
    if not (SHARED / "data").is_dir():
        return f"skipped: {SHARED / 'data'} is not here"
    rows = []
    for data, limit in PLACES.items():
        minutes = run_own(OUT / data, str(SHARED / "data" / data), thresholds(limit))
        rows += [[data, *row(OUT / data, limit), minutes]]
        rows += [[f"{data}, no intrinsics of the queries", *row(OUT / data, limit, unmeasured(OUT / data, limit)), ""]]
        rows += [[f"{data}, queries darkened", *row(darkened(OUT / data, limit), limit), ""]]
    for data, limit in FROM_NOTHING.items():
        found = from_nothing(SHARED / "data" / data, OUT / f"{data}-from-nothing", limit)
        rows += [[f"{data} from nothing", *found]]
    return table(COLUMNS, rows)


def lbr(*arguments: str) -> None:
    """Raises CalledProcessError where a verb could not run; that some items could not be processed, the table shows."""
    done = subprocess.run([sys.executable, "-m", "lbr", *arguments], stdout=subprocess.DEVNULL)
    if done.returncode not in (0, 1):
        done.check_returncode()


def thresholds(limit: tuple[float, float]) -> str:
    return f"evaluation.thresholds=[[{limit[0]},{limit[1]}]]"


def run_own(workspace: Path, *arguments: str) -> str:
    """Minutes that `./run_own` takes."""
    start = time.perf_counter()
    lbr("own", *arguments, "--workspace", str(workspace))
    return f"{(time.perf_counter() - start) / 60:.1f}"


def from_nothing(root: Path, workspace: Path, limit: tuple[float, float]) -> list[str]:
    """COLUMNS but for the first, of the photographs of `root` alone; its poses serve to align what was made of them."""
    truth = (f"dataset.reference={root}/3D-models", f"dataset.ground_truth={root}/gt.txt")
    minutes = run_own(workspace, f"{root}/images/db", f"{root}/images/query", *truth, thresholds(limit))
    return [*row(workspace, limit), minutes]


def unmeasured(made: Path, limit: tuple[float, float]) -> str:
    """The run in which the queries of a workspace are localized without their list, which gives their intrinsics."""
    run = "unmeasured"
    for verb in ("localize", "evaluate"):
        lbr(
            verb, "--config", str(made / "config.yaml"), f"run={run}", "dataset.queries=null", "--overwrite",
            thresholds(limit),
        )  # fmt: skip
    return run


def darkened(made: Path, limit: tuple[float, float]) -> Path:
    """A workspace with the map and the network of another, and its queries as at night (`lbr stylize`'s)."""
    return changed(made, "darkened", _night, limit)


def _night(photograph: np.ndarray, name: str) -> np.ndarray:
    return stylize(photograph, "night", np.random.default_rng([*name.encode()]))


def changed(made: Path, kind: str, change: Change, limit: tuple[float, float], *overrides: str) -> Path:
    """A workspace with the map and the network of another, and its queries as `change` makes them of (photograph RGB
    uint8 [H, W, 3], name)."""
    workspace, configuration = made.with_name(f"{made.name}-{kind}"), str(made / "config.yaml")
    if not workspace.is_dir():
        shutil.copytree(made, workspace, ignore=shutil.ignore_patterns(*OF_QUERIES), copy_function=os.link)
    dataset, images = Context(load_config(Path(configuration), ())).dataset, workspace / kind
    for folder in {Path(name).parts[0] for name in dataset.db_names}:
        images.mkdir(exist_ok=True)
        if not (images / folder).exists():
            (images / folder).symlink_to((dataset.image_root / folder).resolve())
    for query in dataset.queries:
        target = images / query.name
        target.parent.mkdir(exist_ok=True)
        write_image(target, change(read_image(dataset.image_root / query.name), query.name), 95)
    for verb in ("extract", "recognise", "localize", "evaluate"):
        lbr(
            verb, "--config", configuration, f"workspace={workspace}", f"dataset.images={images}", thresholds(limit),
            *overrides,
        )  # fmt: skip
    return workspace


def row(folder: Path, limit: tuple[float, float], run: str = "default") -> list[str]:
    """The middle five of COLUMNS, of a run of a workspace."""
    workspace = Workspace(folder, run)
    report = json.loads(workspace.report.read_text())
    compared = "{compared:.0f}; {first_instance} of {trusted} of the first instance".format(**report["search"])
    stated = report.get("error_over_stated_std")  # not there where no pose was refined
    return [*accuracy(report, limit), f"{stated['median']:.2f}" if stated else "", compared]
