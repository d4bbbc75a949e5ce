"""Plots as SVG text: recall over position error, errors as a histogram, time by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lbr.visualization import colours as palette
from lbr.visualization import units
from lbr.visualization.axes import Axis, frame, label, line, log_axis
from lbr.visualization.markup import element, path_data, svg, text

SIZE = (460, 300)
LEFT, RIGHT, TOP, BOTTOM = 46, 20, 34, 48
BINS_PER_DECADE = 4
FAR = 100.0  # metres; an error beyond is as good as none


def recall_curves(errors: Mapping[str, np.ndarray], thresholds: Sequence[float] = ()) -> str:
    """How many queries are within a position error, by condition.

    errors: position errors in metres by condition, inf where there is no pose. thresholds: metres, drawn as marks.
    The axis ends at FAR; queries beyond are missing from a curve as those without a pose are.
    """
    together = np.concatenate([np.zeros(0), *errors.values(), np.asarray(thresholds, np.float64)])
    x = log_axis(together[together <= FAR], LEFT, SIZE[0] - RIGHT)
    y = Axis(0, 100, SIZE[1] - BOTTOM, TOP)
    parts = [frame(x, y, ("position error", "% of queries within it"), (units.limit, "{:.0f}".format))]
    for threshold in thresholds:
        if x.low <= threshold <= x.high:
            place = float(x(threshold))
            parts.append(line(place, y.start, place, y.end, palette.SOFT, stroke_dasharray="3 4"))
    colours = palette.by_condition(list(errors))
    for condition, values in errors.items():
        parts.append(_curve(x, y, np.asarray(values, np.float64), colours[condition]))
    legend, height = _legend(colours, SIZE[1] + 8) if len(errors) > 1 else ("", SIZE[1])
    return svg((SIZE[0], height), "recall over position error, by condition", *parts, legend)


def error_histogram(values: np.ndarray, name: str = "position error", missing: str = "no pose") -> str:
    """How many queries have which error. values: [N] metres; those beyond FAR, and those not finite, stand apart."""
    values = np.asarray(values, np.float64)
    finite = values[np.isfinite(values)]
    near = np.maximum(finite[finite <= FAR], 1e-5)
    apart = {f"> {units.limit(FAR)}": len(finite) - len(near), missing: len(values) - len(finite)}
    apart = {words: number for words, number in apart.items() if number}
    right = SIZE[0] - RIGHT - 54 * len(apart)
    x = log_axis(near, LEFT, right)
    edges = np.geomspace(x.low, x.high, BINS_PER_DECADE * round(np.log10(x.high / x.low)) + 1)
    counts = np.histogram(near, edges)[0]
    y = Axis(0, max(5.0, 1.15 * max([*counts.tolist(), *apart.values()])), SIZE[1] - BOTTOM, TOP)
    parts = [frame(x, y, (name, "queries"), (units.limit, "{:.0f}".format))]
    if len(near):
        words = f"median {units.metres(float(np.median(near)))}" + (" of the others" if apart else "")
        parts.append(_median_mark(x, y, float(np.median(near)), words))
    for low, high, number in zip(edges[:-1], edges[1:], counts, strict=True):
        parts.append(_bar(float(x(low)) + 1, float(x(high)) - 1, y, int(number), palette.ACCENT))
    for column, (words, number) in enumerate(apart.items()):
        middle = right + 36 + 54 * column
        parts.append(_bar(middle - 15, middle + 15, y, number, palette.STATUS["failed"]))
        parts.append(label(middle, y.start + 34, words))
    return svg(SIZE, f"histogram of {name}", *parts)


def time_bars(durations: Mapping[str, float], name: str, colour: str = palette.ACCENT) -> str:
    """Horizontal bars of seconds by stage, in the order given, with the share of the whole."""
    known = {stage: value for stage, value in durations.items() if units.is_known(value)}
    total, longest = sum(known.values()), max(known.values(), default=0.0)
    height = 30 + 27 * max(1, len(known))
    label_end, bar_end = 112, SIZE[0] - 128
    parts = [label(0, 14, f"{name}: {units.seconds(total)} in all", "start", palette.INK)]
    for row, (stage, value) in enumerate(known.items()):
        top = 28 + 27 * row
        width = (bar_end - label_end) * value / longest if longest > 0 else 0.0
        share = f"{100 * value / total:.0f} %" if total > 0 else ""
        parts += [
            label(label_end - 9, top + 14, _shortened(stage), "end"),
            element("rect", x=label_end, y=top + 2, width=max(width, 1.5), height=17, rx=2, fill=colour),
            label(label_end + width + 8, top + 14, f"{units.seconds(value)}  ({share})", "start", palette.INK),
        ]
    return svg((SIZE[0], height), name, *parts)


def _curve(x: Axis, y: Axis, errors: np.ndarray, colour: str) -> str:
    """A staircase that rises by a query's share at its error."""
    if not len(errors):
        return ""
    found = np.sort(errors[errors <= x.high])
    shares = 100 * np.arange(1, len(found) + 1) / len(errors)
    across, up = np.repeat(x(np.maximum(found, x.low)), 2), np.repeat(y(np.concatenate([[0], shares])), 2)[1:-1]
    steps = [(x.start, y.start), *zip(across, up, strict=True), (x.end, float(up[-1]) if len(up) else y.start)]
    return element("path", d=path_data(steps), fill="none", stroke=colour, stroke_width=2.2, stroke_linejoin="round")


def _legend(colours: Mapping[str, str], top: float) -> tuple[str, float]:
    """Names with strokes of their colours in lines below the plot from `top`; where they end."""
    parts, left = [], float(LEFT)
    for condition, colour in colours.items():
        words = _shortened(condition)
        wide = 40 + 6.8 * len(words)
        if left > LEFT and left + wide > SIZE[0]:
            left, top = float(LEFT), top + 18
        parts.append(line(left, top, left + 18, top, colour, stroke_width=3))
        parts.append(label(left + 24, top + 4, words, "start", palette.INK))
        left += wide
    return "".join(parts), top + 12


def _median_mark(x: Axis, y: Axis, value: float, words: str) -> str:
    place = float(x(value))
    to_the_right = place < (x.start + x.end) / 2
    return line(place, y.start, place, y.end - 4, palette.INK, stroke_dasharray="5 3") + label(
        place + (5 if to_the_right else -5), TOP - 1, words, "start" if to_the_right else "end", palette.INK
    )


def _bar(left: float, right: float, y: Axis, number: int, colour: str) -> str:
    if not number:
        return ""
    top = float(y(number))
    bar = element("rect", element("title", text(number)), x=left, y=top, width=right - left, height=y.start - top,
                  rx=1.5, fill=colour)  # fmt: skip
    return bar + label((left + right) / 2, top - 4, str(number), halo=True)


def _shortened(words: str, limit: int = 18) -> str:
    return words if len(words) <= limit else words[: limit - 1] + "…"
