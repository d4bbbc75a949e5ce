"""All textures on one sheet with its mip pyramid, and a filtered lookup.

Lookup is anisotropic, as graphics hardware does it: several taps along the long axis of a pixel's footprint, each
trilinear at the level of its short axis. That is what keeps slanted facades sharp without shimmering.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from lbr.town.arrays import f32, planes

NUM_LEVELS = 7
ALIGN = 2 ** (NUM_LEVELS - 1)
GUTTER = 32
MAX_TAPS = 8
_ROW = 1024  # cv2.remap wants a picture, not a list


@dataclass(frozen=True, eq=False)
class Atlas:
    """levels: uint8 [H / 2^l, W / 2^l, 4] (sRGB colour, glass) · lights: uint8 [H, W] light ids · tiles: float32 [T, 4]
    (column and row of the tile's corner, its width and height in texels)."""

    levels: tuple[np.ndarray, ...]
    lights: np.ndarray
    tiles: np.ndarray

    def sample(
        self, texel: np.ndarray, tile: np.ndarray, axis: np.ndarray, short: np.ndarray, ratio: np.ndarray
    ) -> np.ndarray:
        """Filtered colour and glass, float32 [4, N] in 0..255 (sRGB).

        texel [2, N]: position inside the tile · tile int [N] · axis [2, N]: unit direction of the footprint's long
        axis · short [N]: its short side in texels · ratio [N]: long side / short side.
        """
        level = np.log2(np.maximum(short, 1e-3))
        taps = np.clip(np.ceil(np.log2(np.maximum(ratio, 1.0)) - 0.25), 0, np.log2(MAX_TAPS)).astype(np.int8)
        spread = np.maximum(np.minimum(ratio, 2.0 * MAX_TAPS) - 1.0, 0.0)
        level = level + np.maximum(np.log2(np.maximum(ratio, 1e-3) / MAX_TAPS), 0) * 0.7
        key = taps * np.int8(NUM_LEVELS) + np.clip(np.floor(level), 0, NUM_LEVELS - 2).astype(np.int8)
        order = np.argsort(key, kind="stable")
        starts = np.searchsorted(key.take(order), np.arange(int(key.max(initial=0)) + 2))
        step = f32(axis * (spread * short)).take(order, axis=1)
        texel, level = f32(texel).take(order, axis=1), f32(level).take(order)
        frame = planes(self.tiles).take(tile.take(order), axis=1)
        out = np.empty((len(order), 4), np.float32)
        for k in range(len(starts) - 1):
            part = slice(int(starts[k]), int(starts[k + 1]))
            if part.stop > part.start:
                how = (1 << (k // NUM_LEVELS), k % NUM_LEVELS)
                out[order[part]] = self._filter(texel[:, part], step[:, part], frame[:, part], level[part], how)
        return planes(out)

    def _filter(
        self, texel: np.ndarray, step: np.ndarray, frame: np.ndarray, level: np.ndarray, how: tuple[int, int]
    ) -> np.ndarray:
        """Mean of the taps [N, 4], each blended between level `how[1]` and the next."""
        num_taps, base = how
        shape = (-(-len(level) // _ROW), _ROW)
        share = np.zeros(shape, np.float32)
        np.clip(level - base, 0, 1, out=share.reshape(-1)[: len(level)])
        weight, total = cv2.merge([share] * 4), np.zeros((*shape, 4), np.float32)
        for tap in range(num_taps):
            where = _wrapped(texel + step * f32((tap + 0.5) / num_taps - 0.5) if num_taps > 1 else texel, frame)
            low = _lookup(self.levels[base], where, 0.5**base, shape)
            high = _lookup(self.levels[base + 1], where, 0.5 ** (base + 1), shape)
            # OpenCV reads bytes and writes float32 in one pass, where numpy copies both pictures first
            blend = cv2.multiply(cv2.subtract(high, low, dtype=cv2.CV_32F), weight)
            cv2.add(total, cv2.add(low, blend, dtype=cv2.CV_32F), dst=total)
        return total.reshape(-1, 4)[: len(level)] / f32(num_taps)

    def light_ids(self, texel: np.ndarray, tile: np.ndarray) -> np.ndarray:
        """uint8 [N]: the light behind each texel [2, N]."""
        x, y = _wrapped(texel, planes(self.tiles).take(tile, axis=1)).astype(np.int32)
        return self.lights.reshape(-1).take(y * self.lights.shape[1] + x)


def _wrapped(texel: np.ndarray, frame: np.ndarray) -> np.ndarray:
    size = frame[2:]
    turns = texel / size
    np.floor(turns, out=turns)
    turns *= size
    np.subtract(texel, turns, out=turns)
    turns += frame[:2]
    return turns


def _lookup(sheet: np.ndarray, where: np.ndarray, scale: float, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear lookup at corner-origin positions [2, N] of a sheet `scale` times as large -> uint8 [*shape, 4], whose
    first N pixels count."""
    maps = np.zeros((2, shape[0] * shape[1]), np.float32)
    at = maps[:, : where.shape[1]]
    np.multiply(where, f32(scale), out=at)
    at -= f32(0.5)
    x, y = maps.reshape(2, *shape)
    return np.asarray(cv2.remap(sheet, x, y, cv2.INTER_LINEAR))


@dataclass
class AtlasBuilder:
    """Packs tiles on shelves. Every tile continues periodically into its gutter, facades repeat their border."""

    width: int = 8192
    _tiles: list[tuple[np.ndarray, np.ndarray, bool]] = field(default_factory=list)

    def add(
        self, colour: np.ndarray, glass: np.ndarray | None = None, lights: np.ndarray | None = None, wrap: bool = True
    ) -> int:
        """Add a texture (colour [H, W, 3] 0..255, glass uint8 [H, W], light ids uint8 [H, W]); its number."""
        shape = colour.shape[:2]
        alpha = np.zeros(shape, np.uint8) if glass is None else glass
        rgba = np.dstack([np.clip(colour, 0, 255).astype(np.uint8), alpha])
        self._tiles.append((rgba, np.zeros(shape, np.uint8) if lights is None else lights, wrap))
        return len(self._tiles) - 1

    def build(self) -> Atlas:
        places, height = self._pack()
        sheet, lights = np.zeros((height, self.width, 4), np.uint8), np.zeros((height, self.width), np.uint8)
        for (rgba, ids, wrap), (x, y) in zip(self._tiles, places, strict=True):
            mode: Literal["wrap", "edge"] = "wrap" if wrap else "edge"
            h, w = ids.shape
            area = np.s_[y - GUTTER : y + h + GUTTER, x - GUTTER : x + w + GUTTER]
            sheet[area] = np.pad(rgba, ((GUTTER, GUTTER), (GUTTER, GUTTER), (0, 0)), mode=mode)
            lights[area] = np.pad(ids, GUTTER, mode=mode)
        levels: list[np.ndarray] = [sheet]
        for _ in range(NUM_LEVELS - 1):
            half = (levels[-1].shape[1] // 2, levels[-1].shape[0] // 2)
            levels.append(np.asarray(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA)))
        table = np.array(
            [(x, y, t[1].shape[1], t[1].shape[0]) for t, (x, y) in zip(self._tiles, places, strict=True)], np.float32
        )
        return Atlas(tuple(levels), lights, table)

    def _pack(self) -> tuple[list[tuple[int, int]], int]:
        """Corner of each tile, and the height of the sheet (a multiple of ALIGN)."""
        places: list[tuple[int, int]] = [(0, 0)] * len(self._tiles)
        x, y, shelf = 0, 0, 0
        for k in sorted(range(len(self._tiles)), key=lambda k: -self._tiles[k][1].shape[0]):
            h, w = (-(-(n + 2 * GUTTER) // ALIGN) * ALIGN for n in self._tiles[k][1].shape)
            if x + w > self.width:
                x, y, shelf = 0, y + shelf, 0
            places[k] = (x + GUTTER, y + GUTTER)
            x, shelf = x + w, max(shelf, h)
        return places, y + shelf
