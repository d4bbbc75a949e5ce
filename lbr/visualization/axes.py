"""Axes of a plot: from values to places, with ticks a person can read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lbr.visualization import colours as palette
from lbr.visualization.markup import element, text

FONT = "11.5px"


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` lie at `start` to `end` of the picture, evenly or by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, values: np.ndarray | float) -> np.ndarray:
        """Places of values; those outside are brought to the ends."""
        inside = np.clip(np.asarray(values, np.float64), self.low, self.high)
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        share = ((np.log(inside) if self.log else inside) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Powers of ten on a logarithmic axis, else about five round values."""
        if not self.log:
            step = round_step((self.high - self.low) / 5)
            return [step * i for i in range(math.ceil(self.low / step), math.floor(self.high / step + 1e-9) + 1)]
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        return [10.0**power for power in range(first, last + 1)]


def log_axis(values: np.ndarray, start: float, end: float) -> Axis:
    """A logarithmic axis of whole decades that holds the positive finite values [N]; at least one decade."""
    usable = values[np.isfinite(values) & (values > 0)]
    low, high = (usable.min(), usable.max()) if len(usable) else (0.1, 1.0)
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    return Axis(10.0**first, 10.0 ** max(last, first + 1), start, end, log=True)


def round_step(length: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not longer than `length`."""
    power = 10.0 ** math.floor(math.log10(length))
    return next(factor * power for factor in (5, 2, 1) if factor * power <= length * (1 + 1e-9))


def label(x: float, y: float, words: str, anchor: str = "middle", fill: str = palette.SOFT, halo: bool = False) -> str:
    """Text in a picture, over a picture with a light halo."""
    around = {"stroke": palette.PAPER, "stroke_width": 3, "paint_order": "stroke"} if halo else {}
    return element("text", text(words), x=float(x), y=float(y), text_anchor=anchor, fill=fill, font_size=FONT, **around)


def line(x1: float, y1: float, x2: float, y2: float, stroke: str = palette.FAINT, **attributes: object) -> str:
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), stroke=stroke, **attributes)


def frame(x: Axis, y: Axis, names: tuple[str, str], written: Sequence[Callable[[float], str]]) -> str:
    """Grid, ticks and names of both axes. written: how a value of x, and of y, is written."""
    parts = []
    for tick in x.ticks():
        place = float(x(tick))
        parts += [line(place, y.start, place, y.end), label(place, y.start + 17, written[0](tick))]
    for tick in y.ticks():
        place = float(y(tick))
        parts += [line(x.start, place, x.end, place), label(x.start - 7, place + 4, written[1](tick), "end")]
    parts.append(label((x.start + x.end) / 2, y.start + 37, names[0], fill=palette.INK))
    parts.append(label(x.start - 34, y.end - 13, names[1], "start", palette.INK))
    return "".join(parts)
