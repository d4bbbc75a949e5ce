"""A drawing sheet for facades, in metres: s from the left, h upwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lbr.town.arrays import f32
from lbr.town.patterns import Colour

Points = Sequence[Sequence[float]] | Sequence[np.ndarray] | np.ndarray  # (s, h) in metres
SHIFT = 4  # sub-pixel bits of cv2's drawing functions
SIGN_LIGHTS = 200  # light ids from here on glow by themselves, the ones below through glass


class Canvas:
    """Three sheets of one size: colour [H, W, 3] float32 0..255, glass [H, W] float32 0..1, light id [H, W] uint8.

    A light id names a lamp behind that texel (a room, a shop, a sign); 0 is none.
    """

    def __init__(self, width_m: float, height_m: float, texel_m: float) -> None:
        self.width_m, self.height_m, self.texel_m = width_m, height_m, texel_m
        self.shape = (max(8, round(height_m / texel_m)), max(8, round(width_m / texel_m)))
        self.colour = np.zeros((*self.shape, 3), np.float32)
        self.glass = np.zeros(self.shape, np.float32)
        self.lights = np.zeros(self.shape, np.uint8)
        self.num_lights = 0
        self.displays: list[tuple[tuple[float, float, float, float], int]] = []  # shop windows: box and light id
        self.num_signs = SIGN_LIGHTS

    def px(self, s: float, h: float) -> tuple[float, float]:
        """Metres -> column and row, counted from the corner of the sheet."""
        return s * self.shape[1] / self.width_m, (self.height_m - h) * self.shape[0] / self.height_m

    def window(self, s0: float, h0: float, s1: float, h1: float) -> tuple[slice, slice]:
        """Rows and columns of a rectangle, cut to the sheet."""
        (x0, y1), (x1, y0) = self.px(s0, h0), self.px(s1, h1)
        clip = [
            int(np.clip(round(v), 0, m))
            for v, m in zip((y0, y1, x0, x1), (self.shape[0],) * 2 + (self.shape[1],) * 2, strict=True)
        ]
        return slice(clip[0], clip[1]), slice(clip[2], clip[3])

    def rect(self, box: Sequence[float], colour: Colour | np.ndarray, glass: float = 0.0, light: int = 0) -> None:
        """Fill (s0, h0, s1, h1) with a colour, or with a picture resized to it."""
        rows, cols = self.window(*box)
        size = (cols.stop - cols.start, rows.stop - rows.start)
        if min(size) <= 0:
            return
        if isinstance(colour, np.ndarray) and colour.ndim == 3:
            colour = cv2.resize(colour, size, interpolation=cv2.INTER_AREA)
        self.colour[rows, cols], self.glass[rows, cols], self.lights[rows, cols] = colour, glass, light

    def frame(self, box: Sequence[float], width: float, colour: Colour) -> None:
        """The border strip, `width` metres wide, inside a rectangle."""
        s0, h0, s1, h1 = box
        for part in (
            (s0, h0, s1, h0 + width),
            (s0, h1 - width, s1, h1),
            (s0, h0, s0 + width, h1),
            (s1 - width, h0, s1, h1),
        ):
            self.rect(part, colour)

    def shade(self, box: Sequence[float], top: float, bottom: float) -> None:
        """Multiply a rectangle by factors running from `top` to `bottom`."""
        rows, cols = self.window(*box)
        count = rows.stop - rows.start
        if count > 0:
            self.colour[rows, cols] *= np.linspace(top, bottom, count, dtype=np.float32)[:, None, None]

    def polygon(self, points: Points, colour: Colour, clear: bool = True) -> None:
        """Fill a polygon of (s, h); with `clear` it is no glass and no light."""
        px = self._fixed(points)
        cv2.fillPoly(self.colour, [px], tuple(float(c) for c in colour), cv2.LINE_AA, SHIFT)
        if clear:
            cv2.fillPoly(self.glass, [px], 0.0, cv2.LINE_8, SHIFT)
            cv2.fillPoly(self.lights, [px], 0, cv2.LINE_8, SHIFT)

    def restore(self, box: Sequence[float], earlier: np.ndarray, points: Points) -> None:
        """Put the `earlier` colours [h, w, 3] of a box back inside a polygon of (s, h): no glass, no light there."""
        mask = np.zeros(self.shape, np.uint8)
        cv2.fillPoly(mask, [self._fixed(points)], 1, cv2.LINE_8, SHIFT)
        area = self.window(*box)
        inside = mask[area] > 0
        self.colour[area][inside] = earlier[inside]
        self.glass[area][inside], self.lights[area][inside] = 0, 0

    def line(self, points: Points, width: float, colour: Colour) -> None:
        """Polyline of (s, h), `width` metres wide."""
        thickness = max(1, round(width / self.texel_m))
        px = [self._fixed(points)]
        cv2.polylines(self.colour, px, False, tuple(float(c) for c in colour), thickness, cv2.LINE_AA, SHIFT)
        cv2.polylines(self.glass, px, False, 0.0, thickness, cv2.LINE_8, SHIFT)
        cv2.polylines(self.lights, px, False, 0, thickness, cv2.LINE_8, SHIFT)

    def disc(self, s: float, h: float, radius: float, colour: Colour) -> None:
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        self.polygon(np.stack([s + radius * np.cos(angle), h + radius * np.sin(angle)], 1), colour)

    def text(self, box: Sequence[float], words: str, colour: Colour, font: int = cv2.FONT_HERSHEY_DUPLEX) -> None:
        """Words as large as fit into (s0, h0, s1, h1), centred."""
        s0, h0, s1, h1 = box
        bold = 3
        (w, h), below = cv2.getTextSize(words, font, 3.0, 3 * bold)
        stencil: np.ndarray = np.zeros((h + below + 30, w + 30), np.uint8)  # OpenCV 5 writes on 8 bits only
        cv2.putText(stencil, words, (15, h + 12), font, 3.0, 255, 3 * bold, cv2.LINE_AA)
        stencil = stencil.astype(np.float32) / 255
        scale = min((s1 - s0) / stencil.shape[1], (h1 - h0) / stencil.shape[0]) / self.texel_m
        size = (max(1, round(stencil.shape[1] * scale)), max(1, round(stencil.shape[0] * scale)))
        stencil = np.asarray(cv2.resize(stencil, size, interpolation=cv2.INTER_AREA))
        x, y = self.px((s0 + s1) / 2, (h0 + h1) / 2)
        self.stamp(stencil, (round(x) - size[0] // 2, round(y) - size[1] // 2), colour)

    def stamp(self, stencil: np.ndarray, corner: tuple[int, int], colour: Colour) -> None:
        """Blend a colour through a stencil [h, w] of 0..1 whose top-left texel is `corner` (column, row)."""
        x, y = corner
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = min(x + stencil.shape[1], self.shape[1]), min(y + stencil.shape[0], self.shape[0])
        if x1 > x0 and y1 > y0:
            cover = stencil[y0 - y : y1 - y, x0 - x : x1 - x, None]
            view = self.colour[y0:y1, x0:x1]
            view += cover * (f32(colour) - view)

    def new_light(self) -> int:
        """The id of a room of its own."""
        self.num_lights = min(self.num_lights + 1, SIGN_LIGHTS - 1)
        return self.num_lights

    def new_sign(self) -> int:
        """The id of a thing that glows by itself at night."""
        self.num_signs = min(self.num_signs + 1, 255)
        return self.num_signs

    def _fixed(self, points: Points) -> np.ndarray:
        px = np.array([self.px(*p) for p in points]) - 0.5  # cv2 counts from the first texel's centre
        return np.round(px * 2**SHIFT).astype(np.int32)

    def finished(self) -> Sheet:
        """The drawing in bytes."""
        colour = np.clip(self.colour + 0.5, 0, 255).astype(np.uint8)
        glass = np.clip(self.glass * 255 + 0.5, 0, 255).astype(np.uint8)
        return Sheet(colour, glass, self.lights, tuple(self.displays))


@dataclass(frozen=True, eq=False)
class Sheet:
    """A finished drawing: colour uint8 [H, W, 3], glass uint8 [H, W], light ids uint8 [H, W], and the shop windows as
    (box in metres, light id)."""

    colour: np.ndarray
    glass: np.ndarray
    lights: np.ndarray
    displays: tuple[tuple[tuple[float, float, float, float], int], ...]
