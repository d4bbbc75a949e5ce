"""The stages by verb, in the order of the flow: each reads files, calls the pure modules, and writes its outputs.

A new one is a function `Context -> list[Report]` of 20..40 lines in a module of this folder, and a line here.
"""

from __future__ import annotations

from lbr.pipeline.features import extract
from lbr.pipeline.localization import localize
from lbr.pipeline.mapping import reconstruct
from lbr.pipeline.matching import choose_pairs, match
from lbr.pipeline.reporting import make_report
from lbr.pipeline.scenes import make_stylized, make_town
from lbr.pipeline.stage import Context, Stage

STAGES: dict[str, Stage] = {
    "town": make_town,
    "stylize": make_stylized,
    "extract": extract,
    "pairs": choose_pairs,
    "match": match,
    "reconstruct": reconstruct,
    "localize": localize,
    "report": make_report,
}
FLOW = ("extract", "pairs", "match", "reconstruct", "localize")  # from photographs to poses


def run_flow(context: Context) -> None:
    """From photographs to poses, without a word: for scripts and notebooks."""
    for verb in FLOW:
        STAGES[verb](context)
