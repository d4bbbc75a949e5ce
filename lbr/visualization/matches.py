"""Two photographs side by side, with lines between what was matched."""

from __future__ import annotations

import numpy as np

from lbr.geometry.pixels import rescale
from lbr.io.images import resize
from lbr.visualization.overlays import draw_lines, draw_points


def draw_matches(
    pictures: tuple[np.ndarray, np.ndarray], points: tuple[np.ndarray, np.ndarray], colours: np.ndarray,
    width: int = 1280, max_lines: int = 120,
) -> np.ndarray:  # fmt: skip
    """The query's picture left and the db image's right, of one height, with matches: RGB uint8 [H, width, 3].

    pictures: two RGB uint8 [h, w, 3]. points: xy [M, 2] in the pixels of each picture, corner-origin.
    colours: RGB uint8 [M, 3], a match each. All matches are dots; at most `max_lines` of them, chosen at random but
    always the same, have lines.
    """
    left, right, gap = *_of_one_height(pictures, width), 6
    canvas = np.full((left.shape[0], left.shape[1] + gap + right.shape[1], 3), 255, np.uint8)
    canvas[:, : left.shape[1]], canvas[:, left.shape[1] + gap :] = left, right
    start = rescale(points[0], _size(pictures[0]), _size(left))
    end = rescale(points[1], _size(pictures[1]), _size(right)) + [left.shape[1] + gap, 0]
    lined = subsample(len(start), max_lines)
    canvas = draw_lines(canvas, start[lined], end[lined], colours[lined], opacity=0.75)
    for xy in (start, end):
        canvas = draw_points(draw_points(canvas, xy, (20, 25, 30), radius=2.7, opacity=0.6), xy, colours, radius=1.9)
    return canvas


def subsample(num: int, limit: int) -> np.ndarray:
    """Indices int [min(num, limit)] out of `num`, at random, always the same, in rising order."""
    return np.sort(np.random.default_rng(0).permutation(num)[:limit])


def _of_one_height(pictures: tuple[np.ndarray, np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Both resized to one height, as wide together as `width`, but not enlarged by more than a half."""
    aspects = [p.shape[1] / p.shape[0] for p in pictures]
    height = round(min(width / sum(aspects), width / 2, 1.5 * max(p.shape[0] for p in pictures)))
    first, second = (
        resize(p, (max(1, round(a * height)), max(1, height))) for p, a in zip(pictures, aspects, strict=True)
    )
    return first, second


def _size(image: np.ndarray) -> tuple[int, int]:
    return image.shape[1], image.shape[0]
