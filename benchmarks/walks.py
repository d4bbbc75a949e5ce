"""The demo town photographed from elsewhere, both its db images and its queries, by a walk of another number.

The shipped network knows its facades but none of these photographs. Of the limits those of significance were chosen
with them in sight. A walk takes three minutes.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.ablations import COLUMNS, placed, prepared, row, truly_labelled
from benchmarks.machine import table

WALKS = (1, 2, 3, 4)
SAMPLINGS = 3
FOLDER = Path(__file__).resolve().parents[1] / "outputs" / "walks"


def run() -> str:
    return table(COLUMNS, [cells for walk in WALKS for cells in _rows(walk, FOLDER / str(walk))])


def _rows(walk: int, root: Path) -> list[list[str]]:
    context = prepared((f"town.walk={walk}", *placed(root)))
    return [
        row(f"walk {walk}", context, (), (None,) * SAMPLINGS),
        row(f"walk {walk}, labels true", context, (), (truly_labelled(context),) * SAMPLINGS),
    ]
