"""The report of a run: one HTML file that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lbr.io.files import write_text
from lbr.visualization import summary
from lbr.visualization.cards import Desk, card, row
from lbr.visualization.embedding import BASE64
from lbr.visualization.entries import Entry, ReportInputs, entries_of
from lbr.visualization.ground import plan_of
from lbr.visualization.markup import element, text
from lbr.visualization.naming import name_queries
from lbr.visualization.recognition_section import recognition_section
from lbr.visualization.style import SHEET

__all__ = ["ReportInputs", "write_report"]

MAX_THUMBNAILS = 200
NUM_COMPARED = 2
BYTES_BESIDES = 22_000  # a card's texts and plans


def write_report(path: Path, inputs: ReportInputs) -> Path:
    """Write the report of a run, whole or not at all; returns its path.

    A photograph that cannot be read is a grey field with the reason, a query without truth or features has fewer
    pictures; neither stops the report.
    """
    write_text(path, report_html(inputs))
    return path


def report_html(inputs: ReportInputs) -> str:
    """The report as text: a page without scripts, addresses or fonts from elsewhere."""
    entries = entries_of(inputs)
    named = name_queries(inputs)
    recognition = recognition_section(inputs, named)
    plans = {
        place: plan_of(inputs.scene, place=place, metres_per_unit=inputs.metres_per_unit.get(place, 1.0))
        for place in range(inputs.scene.num_places)
    }
    desk = Desk(inputs, named, plans, _picture_bytes(inputs, len(entries), len(recognition)))
    parts = [
        summary.header(inputs, entries), summary.results_table(inputs, entries),
        summary.plots(inputs, entries, desk.plans), recognition, summary.problems(inputs), _queries(entries, desk),
        summary.footer(inputs),
    ]  # fmt: skip
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", text(inputs.title)),
        element("style", SHEET),
    ]
    page = element("html", element("head", *head), element("body", element("main", *parts)), lang="en")
    return f"<!doctype html>\n{page}\n"


def _queries(entries: Sequence[Entry], desk: Desk) -> str:
    """The worst with pictures, for comparison a middling and the best one, the others a row each."""
    shown, others = list(entries[: desk.inputs.num_expanded]), list(entries[desk.inputs.num_expanded :])
    order = "by position error" if desk.inputs.errors is not None else "by stated uncertainty"
    first = "Wrong though trusted, then failed" if any(entry.is_misleading for entry in entries) else "Failed"
    note = f"{first}, then weak, then {order}. Click a headline to fold it."
    parts = [element("h2", "Queries, worst first"), element("p", text(note), class_="soft")]
    parts += [card(entry, desk) for entry in shown]
    if shown and len(others) > NUM_COMPARED:
        compared = [others.pop(-1), others.pop(len(others) // 2)]
        parts += [element("h2", "For comparison: the best, and one in between"), *(card(e, desk) for e in compared)]
    if others:
        rows = [row(entry, desk, number < MAX_THUMBNAILS) for number, entry in enumerate(others)]
        parts += [element("h2", text(f"The other {len(others)}")), element("div", *rows, class_="rows")]
    return "".join(parts)


def _picture_bytes(inputs: ReportInputs, num: int, taken: int) -> int:
    """How many bytes the pictures of one card may take, so that the page, `taken` of it already, keeps its size."""
    num_cards = max(1, min(num, inputs.num_expanded + NUM_COMPARED))
    num_rows = max(0, num - inputs.num_expanded)
    taken += 150_000 + 2500 * num_rows
    besides = taken + BASE64 * 5000 * min(num_rows, MAX_THUMBNAILS) + BYTES_BESIDES * num_cards
    return int(min(max(inputs.max_bytes - besides, 0) / BASE64 / num_cards, 420_000))
