"""Other towns than the one the limits were chosen on: recall, and poses that are called refined and are wrong.

True labels stand for recognition, as a network for each town takes twenty minutes to train. A town takes two minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.ablations import outcome, placed
from benchmarks.growth import TOWNS, localized, mapped
from benchmarks.machine import table
from lbr.config import load_config
from lbr.pipeline.stage import Context

SEEDS = (7, 8, 9, 10)
FOLDER = Path(__file__).resolve().parents[1] / "outputs" / "towns"


def run(overrides: Sequence[str] = (), folder: Path = FOLDER) -> str:
    """A row for each town, which is made in a folder of its seed. overrides: of the localization, say."""
    rows = [_row(seed, folder / str(seed), overrides) for seed in SEEDS]
    return table(["seed", "day", "night", "compared, day", "night", "refined but > 5 m or 10 deg"], rows)


def _row(seed: int, root: Path, overrides: Sequence[str]) -> list[str]:
    context = mapped(Context(load_config(TOWNS["demo"], (f"town.seed={seed}", *placed(root), *overrides))))
    recall, compared, wrong = outcome(context, localized(context)[0])
    return [str(seed), *recall, *compared, wrong]
