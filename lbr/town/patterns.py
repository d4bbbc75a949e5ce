"""Surfaces of the town: noise, masonry, roofs and paving as float32 RGB pictures [H, W, 3] in 0..255."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from lbr.town.arrays import f32

Colour = tuple[float, float, float]


def noise(
    shape: tuple[int, int], cell_px: float, rng: np.random.Generator, octaves: int = 4, wrap: bool = False
) -> np.ndarray:
    """Smooth noise [H, W] of about unit deviation; the largest blobs are `cell_px` wide, each octave half as wide.

    With `wrap` the picture continues over its borders.
    """
    height, width = shape
    total, weight = np.zeros(shape, np.float32), 0.0
    for octave in range(octaves):
        cell = max(1.0, cell_px / 2**octave)
        rows, cols = max(2, round(height / cell)), max(2, round(width / cell))
        grid = rng.standard_normal((rows, cols), np.float32)
        amplitude = 0.6**octave
        total += amplitude * _enlarge(grid, shape, wrap)
        weight += amplitude**2
        if cell <= 1.0:
            break
    return total / f32(np.sqrt(weight) * 0.75)


def _enlarge(grid: np.ndarray, shape: tuple[int, int], wrap: bool) -> np.ndarray:
    if not wrap:
        return cv2.resize(grid, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    margin = 2
    padded = np.pad(grid, margin, mode="wrap")
    scale_y, scale_x = shape[0] / grid.shape[0], shape[1] / grid.shape[1]
    size = (round(padded.shape[1] * scale_x), round(padded.shape[0] * scale_y))
    big = cv2.resize(padded, size, interpolation=cv2.INTER_CUBIC)
    y, x = round(margin * scale_y), round(margin * scale_x)
    return big[y : y + shape[0], x : x + shape[1]]


def plain(shape: tuple[int, int], colour: Colour) -> np.ndarray:
    return np.broadcast_to(f32(colour), (*shape, 3)).copy()


def plaster(shape: tuple[int, int], colour: Colour, texel_m: float, rng: np.random.Generator) -> np.ndarray:
    """Rendered wall: broad tonal drift, trowel marks, grain."""
    tone = 0.025 * noise(shape, 1.6 / texel_m, rng, 3)
    tone += 0.03 * noise(shape, 0.22 / texel_m, rng, 3)
    tone += 0.04 * noise(shape, 0.045 / texel_m, rng, 2)
    return f32(colour) * np.exp(tone)[..., None]


def _cells(
    shape: tuple[int, int], texel_m: float, course: float, length: float, rng: np.random.Generator, jitter: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Masonry bond: row and column of every texel, and its distance in metres to the joints above and beside it."""
    y = (np.arange(shape[0], dtype=np.float32) + 0.5) * texel_m
    x = (np.arange(shape[1], dtype=np.float32) + 0.5) * texel_m
    row = np.floor(y / course).astype(np.int32)
    num_rows = int(row[-1]) + 1
    shift = (np.arange(num_rows) % 2) * 0.5 + jitter * rng.uniform(-0.5, 0.5, num_rows)
    along = x[None, :] / length + shift[row][:, None].astype(np.float32)
    col = np.floor(along).astype(np.int32)
    in_row = np.minimum(y % course, course - y % course)[:, None]
    in_col = np.minimum(along - col, 1 - (along - col)) * length
    return np.broadcast_to(row[:, None], shape), col, np.broadcast_to(in_row, shape), in_col


def _per_cell(row: np.ndarray, col: np.ndarray, rng: np.random.Generator, channels: int = 1) -> np.ndarray:
    """One normal deviate per masonry unit, spread over its texels [H, W, channels]."""
    table = rng.standard_normal((int(row.max()) + 1, int(col.max()) + 1, channels), np.float32)
    return table[row, col]


def masonry(
    shape: tuple[int, int], colour: Colour, texel_m: float, rng: np.random.Generator, kind: str = "brick"
) -> np.ndarray:
    """Brick, ashlar, rubble or panels: units of varying tone and hue between joints."""
    course, length, joint, mortar, spread, jitter = {
        "brick": (0.077, 0.25, 0.011, (168, 160, 148), 0.17, 0.0),
        "ashlar": (0.42, 0.86, 0.012, (118, 112, 104), 0.075, 0.35),
        "rubble": (0.2, 0.37, 0.018, (150, 143, 132), 0.16, 0.9),
        "panels": (1.4, 1.1, 0.012, (70, 70, 72), 0.03, 0.0),
    }[kind]
    row, col, in_row, in_col = _cells(shape, texel_m, course, length, rng, jitter)
    tone = spread * _per_cell(row, col, rng) + 0.25 * spread * _per_cell(row, col, rng, 3)
    tone = tone + 0.05 * noise(shape, 0.07 / texel_m, rng, 3)[..., None]
    wall = f32(colour) * np.exp(tone)
    soft = max(joint * 0.5, texel_m * 0.6)
    in_joint = np.clip(1.15 - np.minimum(in_row, in_col) / soft, 0, 1)[..., None]
    dirt = 1 + 0.1 * noise(shape, 0.9 / texel_m, rng, 3)[..., None]
    return wall * (1 - in_joint) + f32(mortar) * in_joint * dirt


def boards(shape: tuple[int, int], colour: Colour, texel_m: float, rng: np.random.Generator) -> np.ndarray:
    """Upright boards with grain."""
    board = np.floor(np.arange(shape[1]) * texel_m / 0.16).astype(int)
    tone = 0.09 * rng.standard_normal(board.max() + 1)[board].astype(np.float32)[None, :, None]
    grain = cv2.resize(rng.standard_normal((max(2, shape[0] // 24), shape[1])).astype(np.float32), (shape[1], shape[0]))
    gap = (np.arange(shape[1]) * texel_m % 0.16 < 0.012)[None, :, None]
    return f32(colour) * np.exp(tone + 0.07 * grain[..., None]) * np.where(gap, 0.45, 1.0).astype(np.float32)


def roof_tiles(size: int, texel_m: float, rng: np.random.Generator) -> np.ndarray:
    """Pantiles or plain tiles in rows, grey around 160 (tinted later), wrapping."""
    rows, cols = round(size * texel_m / 0.3), round(size * texel_m / 0.22)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    v, u = y * rows / size, x * cols / size
    r = np.floor(v).astype(int) % rows
    u = (u + 0.5 * (r % 2)) % cols
    c = np.floor(u).astype(int) % cols
    tone = 0.16 * rng.standard_normal((rows, cols)).astype(np.float32)[r, c]
    bulge = 0.16 * np.cos((u - c - 0.5) * np.pi * 2) - 0.42 * np.clip(1 - (1 - (v % 1)) / 0.22, 0, 1)
    moss = 0.12 * noise((size, size), size / 5, rng, 4, wrap=True)
    return 160 * np.exp(tone + bulge + moss)[..., None] * f32([1.0, 0.98, 0.95])


def setts(size: int, texel_m: float, rng: np.random.Generator, stone_m: float = 0.13) -> np.ndarray:
    """Paving of small stones in crooked rows, wrapping, grey around 120."""
    count = round(size * texel_m / stone_m)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    bend_x = noise((size, size), size / 4, rng, 3, wrap=True) * 0.16
    bend_y = noise((size, size), size / 4, rng, 3, wrap=True) * 0.16
    v = y * count / size + bend_y
    r = np.floor(v)
    u = x * count / size + bend_x + 0.5 * (r % 2)
    c = np.floor(u)
    tone = rng.standard_normal((count, count, 3)).astype(np.float32)[r.astype(int) % count, c.astype(int) % count]
    edge = np.minimum(np.minimum(u - c, 1 - u + c), np.minimum(v - r, 1 - v + r))
    gap = np.clip(1.25 - edge / 0.1, 0, 1)[..., None]
    stone = 122 * np.exp(
        0.15 * tone[..., :1] + 0.035 * tone + 0.05 * noise((size, size), 6, rng, 2, wrap=True)[..., None]
    )
    return stone * (1 - gap) + f32([58, 54, 48]) * gap


def slabs(size: int, texel_m: float, rng: np.random.Generator, slab_m: float = 0.5) -> np.ndarray:
    """Square slabs for pavements, wrapping, grey around 140."""
    count = round(size * texel_m / slab_m)
    y, x = np.mgrid[:size, :size].astype(np.float32) * count / size
    r, c = np.floor(y).astype(int) % count, np.floor(x).astype(int) % count
    tone = rng.standard_normal((count, count)).astype(np.float32)[r, c]
    edge = np.minimum(np.minimum(x % 1, 1 - x % 1), np.minimum(y % 1, 1 - y % 1)) * slab_m
    gap = np.clip(1.2 - edge / 0.012, 0, 1)
    grain = 0.05 * noise((size, size), 10, rng, 3, wrap=True) + 0.06 * noise((size, size), size / 6, rng, 3, wrap=True)
    return (140 * np.exp(0.09 * tone + grain) * (1 - 0.5 * gap))[..., None] * f32([1.0, 0.985, 0.95])


def speckle(size: int, rng: np.random.Generator, strength: float = 0.1) -> np.ndarray:
    """Plain rough stuff (concrete, bark, cloth, grass once tinted), wrapping, grey around 200."""
    tone = noise((size, size), size / 4, rng, 3, wrap=True) * 0.6 + noise((size, size), 5, rng, 2, wrap=True)
    return np.repeat(200 * np.exp(strength * tone)[..., None], 3, axis=2)


def scaled(colour: Sequence[float], factor: float) -> Colour:
    """A darker or lighter colour."""
    return (float(colour[0]) * factor, float(colour[1]) * factor, float(colour[2]) * factor)


def vary(colour: Sequence[float], rng: np.random.Generator) -> Colour:
    """A colour a little off, no two houses being painted from one pot."""
    out = np.clip(np.asarray(colour, float) * rng.normal(1.0, 0.05) + rng.normal(0, 5, 3), 12, 244)
    return (float(out[0]), float(out[1]), float(out[2]))


WOODS: tuple[Colour, ...] = ((70, 46, 34), (48, 36, 32), (104, 58, 40), (84, 74, 64))
PLINTH: Colour = (120, 114, 106)
CONCRETE: Colour = (168, 162, 152)
BAND_DARK: Colour = (0.55, 0.55, 0.6)
BAND_LIGHT: Colour = (1.35, 1.45, 1.4)
