"""The half-pixel rule, in one place.

Inside LBR a pixel coordinate is COLMAP's: the image's top-left corner is (0, 0) and the centre of its
first pixel is (0.5, 0.5). Hence the pixel that holds a point is floor(xy), and resizing an image
multiplies coordinates. Most libraries put (0, 0) at the centre of the first pixel instead; what comes
from them passes through `from_centre_origin` once, in the adapter that calls them, and nowhere else.
"""

from __future__ import annotations

import numpy as np

CORNER = "corner"  # (0, 0) is the image's top-left corner (COLMAP, LBR)


def from_centre_origin(xy: np.ndarray) -> np.ndarray:
    """Coordinates [..., 2] counted from the first pixel's centre -> counted from the corner."""
    return np.asarray(xy) + np.float32(0.5)


def to_centre_origin(xy: np.ndarray) -> np.ndarray:
    """Coordinates [..., 2] counted from the corner -> counted from the first pixel's centre."""
    return np.asarray(xy) - np.float32(0.5)


def rescale(xy: np.ndarray, from_size: tuple[int, int], to_size: tuple[int, int]) -> np.ndarray:
    """Corner-origin coordinates [..., 2] in an image of `from_size` (w, h) -> in its resized copy of `to_size`."""
    return np.asarray(xy) * (np.asarray(to_size, np.float64) / np.asarray(from_size, np.float64))


def pixel_index(xy: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Column and row int [..., 2] of the pixel that holds each corner-origin point, clamped to `size` (w, h)."""
    return np.clip(np.floor(xy).astype(np.int64), 0, np.asarray(size) - 1)


def fit_within(size: tuple[int, int], longer_side: int | None) -> tuple[int, int]:
    """Size (w, h) shrunk so that its longer side is at most `longer_side`; never enlarged (METHOD.md 8)."""
    if longer_side is None or max(size) <= longer_side:
        return size
    scale = longer_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
