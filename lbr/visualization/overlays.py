"""What was seen, drawn on the photograph: keypoints, reprojected points with their residuals, instance masks.

Every function returns a new RGB uint8 [H, W, 3]; coordinates are pixels of the picture it is given, corner-origin.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from lbr.geometry.pixels import to_centre_origin
from lbr.visualization import colours as palette

INLIER, OUTLIER = palette.rgb("#3ddc97"), palette.rgb("#f2f4f6")
_SHIFT = 4  # cv2 takes coordinates in 1/16 pixels


def draw_points(
    image: np.ndarray, xy: np.ndarray, colour: np.ndarray | tuple[int, int, int], radius: float = 2.0,
    opacity: float = 1.0, filled: bool = True,
) -> np.ndarray:  # fmt: skip
    """Discs (or rings) at xy [N, 2] in one RGB colour or one each [N, 3]; points that are not finite are left out."""
    layer = image.copy()
    shades = np.broadcast_to(np.asarray(colour), (len(xy), 3))
    thickness = cv2.FILLED if filled else 1
    for (x, y), shade in _drawable(xy, shades):
        cv2.circle(layer, (x, y), round(radius * 2**_SHIFT), shade, thickness, cv2.LINE_AA, _SHIFT)
    return _blended(image, layer, opacity)


def draw_lines(
    image: np.ndarray, start: np.ndarray, end: np.ndarray, colour: np.ndarray | tuple[int, int, int],
    thickness: int = 1, opacity: float = 1.0,
) -> np.ndarray:  # fmt: skip
    """Lines from start [N, 2] to end [N, 2] in one RGB colour or one each [N, 3]."""
    layer = image.copy()
    shades = np.broadcast_to(np.asarray(colour), (len(start), 3))
    ends = np.hstack([np.asarray(start, np.float64).reshape(-1, 2), np.asarray(end, np.float64).reshape(-1, 2)])
    for (x, y, u, v), shade in _drawable(ends, shades):
        cv2.line(layer, (x, y), (u, v), shade, thickness, cv2.LINE_AA, _SHIFT)
    return _blended(image, layer, opacity)


def draw_keypoints(image: np.ndarray, xy: np.ndarray, inlier: np.ndarray, max_others: int = 800) -> np.ndarray:
    """Keypoints xy [N, 2]: those of the boolean mask `inlier` [N] bright, of the others a faint even choice."""
    others = np.flatnonzero(~inlier)
    others = others[:: max(1, -(-len(others) // max_others))]
    faint = draw_points(image, xy[others], OUTLIER, radius=1.2, opacity=0.55)
    ringed = draw_points(faint, xy[inlier], palette.rgb(palette.INK), radius=2.9, opacity=0.6)
    return draw_points(ringed, xy[inlier], INLIER, radius=2.1)


def draw_residuals(
    image: np.ndarray, observed: np.ndarray, projected: np.ndarray, magnify: float = 1.0, max_lines: int = 1500
) -> np.ndarray:
    """Keypoints `observed` [N, 2], and from each a line towards the projection [N, 2] of its map point.

    The line is `magnify` times as long as the residual. Of more than `max_lines` an even choice is drawn.
    """
    step = max(1, -(-len(observed) // max_lines))
    observed, projected = observed[::step], projected[::step]
    ends = observed + magnify * (projected - observed)
    lines = draw_lines(image, observed, ends, palette.rgb(palette.INK), thickness=2, opacity=0.45)
    lines = draw_lines(lines, observed, ends, palette.rgb("#ffd43b"))
    return draw_points(lines, observed, INLIER, radius=1.6)


def draw_instances(
    image: np.ndarray, ids: np.ndarray, colours: Mapping[int, palette.Colour] | None = None, opacity: float = 0.45
) -> np.ndarray:
    """Instance masks over the photograph, with an outline; the background (0) is left as it is.

    ids: int [H, W], an instance per pixel. colours: RGB of each id; without, a fixed colour each.
    Raises ValueError when the sizes differ.
    """
    if ids.shape != image.shape[:2]:
        raise ValueError(f"ids {list(ids.shape)} for an image {list(image.shape[:2])}")
    present, inverse = np.unique(ids, return_inverse=True)
    table = palette.by_instance(present, colours)
    tint, inside = table[inverse.reshape(ids.shape)], (ids > 0)[..., None]
    mixed = np.where(inside, np.round((1 - opacity) * image + opacity * tint).astype(np.uint8), image)
    edge = np.zeros(ids.shape, bool)
    edge[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    edge[1:] |= ids[1:] != ids[:-1]
    return np.where(edge[..., None], np.where(inside, tint, np.uint8(255)), mixed)


def _drawable(coordinates: np.ndarray, shades: np.ndarray) -> list[tuple[list[int], list[int]]]:
    """Rows of coordinates in cv2's fixed point (from the pixel's centre) with their colours; only what it can take."""
    centred = to_centre_origin(np.asarray(coordinates, np.float64))
    usable = np.isfinite(centred).all(axis=-1) & (np.abs(np.nan_to_num(centred, posinf=1e9)) < 2**15).all(axis=-1)
    fixed = np.round(centred[usable] * 2**_SHIFT).astype(np.int64)
    return list(zip(fixed.tolist(), shades[usable].tolist(), strict=True))


def _blended(image: np.ndarray, layer: np.ndarray, opacity: float) -> np.ndarray:
    return layer if opacity >= 1 else cv2.addWeighted(layer, opacity, image, 1 - opacity, 0)
