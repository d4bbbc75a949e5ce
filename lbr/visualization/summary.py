"""The report's first page: figures of the whole run, plots, the map with all queries, what went wrong on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from lbr.evaluation import PoseScores
from lbr.visualization import colours as palette
from lbr.visualization import units
from lbr.visualization.entries import Entry, ReportInputs
from lbr.visualization.ground import MapPlan
from lbr.visualization.markup import element, key, text
from lbr.visualization.plan import draw_overview
from lbr.visualization.plots import error_histogram, recall_curves, time_bars

MAX_OPEN_PROBLEMS = 8
MAX_PLACES = 8  # drawn on the first page


def header(inputs: ReportInputs, entries: Sequence[Entry]) -> str:
    """Title, one sentence, and the figures that matter most."""
    statuses = Counter(entry.status for entry in entries)
    posed = len(entries) - statuses["failed"]
    parts = ", ".join(f"{units.count(statuses[s])} {s}" for s in palette.STATUS if statuses[s])
    lead = (
        f"{units.count(posed)} of {units.count(len(entries))} queries have a pose ({parts or 'there are no queries'}), "
    )
    lead += f"in a map of {units.count(len(inputs.scene))} images and {units.count(len(inputs.scene.points))} points."
    title = element("h1", text(inputs.title)) + element("p", text(lead + _frame_words(inputs)), class_="lead soft")
    tiles = [element("div", element("b", text(big)), element("span", text(small)), class_="tile")
             for big, small in _tiles(inputs, entries)]  # fmt: skip
    wrong = [entry for entry in entries if entry.is_misleading]
    warning = ""
    if wrong:
        loosest = max(inputs.thresholds)
        words = (
            f"{units.count(len(wrong))} of the poses called refined or verified are off by more than "
            f"{units.limit(loosest[0])} or {loosest[1]:g}°: they come first below."
        )
        warning = element("p", text(words), class_="warn")
    return title + element("div", *tiles, class_="tiles") + warning


def results_table(inputs: ReportInputs, entries: Sequence[Entry]) -> str:
    """A row for each condition: statuses, medians, recall, images compared, seconds."""
    conditions = sorted({entry.condition for entry in entries})
    groups = [(c, [e for e in entries if e.condition == c]) for c in conditions]
    if len(groups) > 1:
        groups.append(("all", list(entries)))
    heads = ["condition", "queries"]
    if inputs.scores:
        heads += ["median error", *(f"{units.limit(m)}, {d:g}°" for m, d in inputs.thresholds)]
    else:
        heads.append("median stated std")
    heads += [*palette.STATUS, "images compared", "time per query"]
    rows = [element("tr", *(element("th", text(head)) for head in heads))]
    for condition, group in groups:
        cells = _table_row(inputs, condition, group)
        rows.append(element("tr", *(element("td", text(c), class_="none" if c == "0" else None) for c in cells)))
    body = element("div", element("table", *rows), class_="panel wide")
    note = "Recall: % of queries with position and rotation within the limits; one without a pose counts as missed."
    return element("h2", "Results") + body + (element("figcaption", text(note)) if inputs.scores else "")


def plots(inputs: ReportInputs, entries: Sequence[Entry], plans: Mapping[int, MapPlan]) -> str:
    """Recall curves, histogram, time by stage and by step of a query, and each place of the map with its queries."""
    figures = []
    if inputs.errors is not None and inputs.errors.names:
        figures += [
            _figure(recall_curves(_errors_by_condition(inputs), [m for m, _ in inputs.thresholds]),
                    "Recall over position error (rotation aside); dashed: the limits of the table."),
            _figure(error_histogram(inputs.errors.position_m), "Position errors of all queries with a true pose."),
        ]  # fmt: skip
    else:
        stated = [e.std_m for e in entries]
        values = np.array([np.inf if s is None else s for s in stated], np.float64)
        if np.isfinite(values).any() or (len(values) and inputs.scene.units == "metres"):
            note = "What the localizer itself says about its poses; there are no true poses to check it with."
            figures.append(_figure(error_histogram(values, "stated std of the position"), note))
    figures += [_overview([e for e in entries if e.place == place], place, plans) for place in [*plans][:MAX_PLACES]]
    steps = _median_steps(entries)
    bars = time_bars(inputs.stage_seconds, "Time by stage") if inputs.stage_seconds else ""
    bars += time_bars(steps, "Time of a query by step (medians)", palette.CATEGORIES[0]) if steps else ""
    if bars:
        figures.append(_figure(bars, "Stages: wall clock of the run that made each output. Steps: of one query."))
    return element("h2", "At a glance") + element("div", *figures, class_="plots")


def problems(inputs: ReportInputs) -> str:
    """What could not be used, one line each; a long list is folded."""
    if not inputs.problems:
        return ""
    lines = [element("li", element("b", text(p.what)), ": ", text(p.why)) for p in inputs.problems]
    title = f"{units.count(len(lines))} problem{'s' if len(lines) > 1 else ''} met on the way"
    few = len(lines) <= MAX_OPEN_PROBLEMS
    body = element("details", element("summary", text(title)), element("ul", *lines), class_="problems", open=few)
    return element("h2", "Problems") + element("div", body, class_="panel")


def footer(inputs: ReportInputs) -> str:
    """Machine, versions, and what else the caller knows about the run."""
    facts = [
        element("div", element("dt", text(key)), element("dd", text(value))) for key, value in inputs.facts.items()
    ]
    body = element("div", element("dl", *facts), class_="panel") if facts else ""
    return (element("h2", "The run") + body if facts else "") + element(
        "footer", "Made by LBR, localization by recognition."
    )


def _frame_words(inputs: ReportInputs) -> str:
    """How many places there are, and what lengths are given in, where that is not one place in metres."""
    scene, words = inputs.scene, ""
    if scene.num_places > 1:
        sizes = ", ".join(units.count(count) for count in np.bincount(scene.place))
        words += f" It has {scene.num_places} separate places ({sizes} images), each in a frame of its own."
    if any(inputs.metres_per_unit.get(place, 1.0) is None for place in range(scene.num_places)):
        words += " It was made by structure from motion, which knows no scale: lengths are in units of the model."
    if inputs.georeference:
        words += " On earth: " + "; ".join(inputs.georeference) + "."
    return words + (" Aligned to reference poses: " + "; ".join(inputs.alignment) + "." if inputs.alignment else "")


def _tiles(inputs: ReportInputs, entries: Sequence[Entry]) -> list[tuple[str, str]]:
    tiles = []
    overall = _overall(inputs)
    if overall is not None:
        tiles.append((units.metres(overall.median_m), f"median position error, {units.degrees(overall.median_deg)}"))
        for (metres, degrees), recall in zip(inputs.thresholds, overall.recall, strict=True):
            tiles.append((units.percent(recall), f"within {units.limit(metres)}, {degrees:g}°"))
    else:
        trusted = sum(entry.status in ("refined", "verified") for entry in entries)
        stated = _median_std(entries)
        tiles.append((units.percent(100 * trusted / len(entries) if entries else None), "verified or refined"))
        tiles.append((stated, "median stated std of the position"))
    compared = _median([len(entry.tried) for entry in entries])
    share = 100 * compared / len(inputs.scene) if compared is not None and len(inputs.scene) else None
    tiles.append((units.count(compared), f"images compared per query, {units.percent(share)} of the map"))
    if inputs.search.get("trusted"):
        first = "{first_instance} of {trusted}".format(**inputs.search)
        tiles.append((first, "poses to be trusted are of the first instance tried"))
    tiles.append((units.seconds(_median([e.seconds for e in entries])), "per query (median)"))
    return tiles


def _overall(inputs: ReportInputs) -> PoseScores | None:
    scores = inputs.scores or {}
    return scores.get("all") or (next(iter(scores.values())) if len(scores) == 1 else None)


def _table_row(inputs: ReportInputs, condition: str, group: Sequence[Entry]) -> list[str]:
    statuses = Counter(entry.status for entry in group)
    cells = [condition, units.count(len(group))]
    if inputs.scores:
        found = inputs.scores.get(condition)
        medians = f"{units.metres(found.median_m)}, {units.degrees(found.median_deg)}" if found else units.UNKNOWN
        recall = [units.percent(r) for r in found.recall] if found else [units.UNKNOWN] * len(inputs.thresholds)
        if found and found.num < len(group):
            cells[1] += f" ({units.count(found.num)} with truth)"
        cells += [medians, *recall]
    else:
        cells.append(_median_std(group))
    cells += [units.count(statuses[s]) for s in palette.STATUS]
    cells.append(units.count(_median([len(e.tried) for e in group])))
    return [*cells, units.seconds(_median([e.seconds for e in group]))]


def _errors_by_condition(inputs: ReportInputs) -> dict[str, np.ndarray]:
    assert inputs.errors is not None
    conditions = {str(r["query"]): str(r.get("condition", "all")) for r in inputs.records}
    of = np.array([conditions.get(name, "all") for name in inputs.errors.names])
    found = {str(c): inputs.errors.position_m[of == c] for c in np.unique(of)}
    return found if len(found) == 1 else {**found, "all": inputs.errors.position_m}


def _median_steps(entries: Sequence[Entry]) -> dict[str, float]:
    steps = dict.fromkeys(step for entry in entries for step in entry.record.get("timings") or {})
    found = {
        s: _median([e.record["timings"][s] for e in entries if s in (e.record.get("timings") or {})]) for s in steps
    }
    return {step: value for step, value in found.items() if value is not None}


def _median_std(entries: Sequence[Entry]) -> str:
    """Of those in metres; where none is, in units of the model, as long as all are of one place."""
    in_metres = _median([e.std_m for e in entries])
    if in_metres is not None or len({e.place for e in entries}) > 1:
        return units.metres(in_metres)
    return units.length(_median([e.record.get("position_std") for e in entries]), None)


def _overview(entries: Sequence[Entry], place: int, plans: Mapping[int, MapPlan]) -> str:
    """Estimates as dots in the colour of their status; a failed query where it truly was, where that is known."""
    plan, num = plans[place], len(plans)
    drawn = [(e.pose or e.truth, palette.STATUS.get(e.status, palette.INK)) for e in reversed(entries)]
    places = [(pose.centre, colour) for pose, colour in drawn if pose is not None]
    picture = draw_overview(plan, [p for p, _ in places], [c for _, c in places])
    present = [s for s in palette.STATUS if any(e.status == s for e in entries)]
    keys = "".join(key(status, palette.STATUS[status]) for status in present)
    note = "The map" if num == 1 else f"Place {place} of the map"
    note += " from above: points, db cameras with a stroke where they look, and the queries: "
    last = text(" (where it truly was)") if any(e.pose is None and e.truth for e in entries) else ""
    return element("figure", picture, element("figcaption", text(note), keys + last), class_="panel")


def _figure(picture: str, caption: str) -> str:
    return element("figure", picture, element("figcaption", text(caption)), class_="panel")


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None and not np.isnan(v)]
    return float(np.median(known)) if known else None
