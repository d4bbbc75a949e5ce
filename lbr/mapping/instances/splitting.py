"""Where a wall is cut into houses: columns of its picture that look alike stay together (change points)."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from lbr.mapping.instances.texture import Texture

BIN = 5  # columns of cells that are judged together
BAND = 16  # rows of cells
EDGE_GAIN = 1.0  # what a seam from top to bottom is worth, in shares of the price of a cut
LOWEST = 40  # percentile over the height: a seam shows in most of it, a window does not
WEIGHTS = np.array([1.0, 2.0, 2.0, 1.5], np.float32)  # of L, a, b and of how much detail there is


def cut(texture: Texture, columns: tuple[float, float], price: float) -> list[tuple[int, int]]:
    """(first column, last column) of the parts of a wall, from left to right, none left out.

    columns: the least and the largest width of a part, in cells. price: what one cut must explain, as the share of the
    variance of a part of the least width. The optimum of: squared deviation of every band of every part from its mean,
    relative to the usual one, plus the price of the cuts (Jackson et al. 2005, optimal partitioning); cuts at seams
    are cheaper.
    """
    values, weights = _profile(texture)
    seams = _seams(texture)
    num = len(values)
    least, most = max(1, round(columns[0] / BIN)), max(2, round(columns[1] / BIN))
    if num < 2 * least:
        return [(0, texture.lab.shape[1])]
    cost = _Costs(values, weights)
    usual = cost.usual(least)
    beta = price * least * weights.sum(axis=(1, 2)).mean()
    best, before = np.full(num + 1, np.inf), np.zeros(num + 1, np.int64)
    best[0] = 0
    for end in range(least, num + 1):
        starts = np.arange(max(0, end - most), end - least + 1)
        total = best[starts] + cost.of(starts, end) / usual + beta * (1 - EDGE_GAIN * seams[starts])
        k = int(np.argmin(total))
        best[end], before[end] = total[k], starts[k]
    if not np.isfinite(best[num]):
        return [(0, texture.lab.shape[1])]
    ends = [num]
    while ends[-1] > 0:
        ends.append(int(before[ends[-1]]))
    edges = [min(end * BIN, texture.lab.shape[1]) for end in ends[::-1]]
    edges[-1] = texture.lab.shape[1]
    return list(zip(edges[:-1], edges[1:], strict=True))


class _Costs:
    """Squared deviations of ranges of bins from their means, by sums from the left."""

    def __init__(self, values: np.ndarray, weights: np.ndarray) -> None:
        def summed(x: np.ndarray) -> np.ndarray:
            return np.concatenate([np.zeros((1, *x.shape[1:])), np.cumsum(x, axis=0, dtype=np.float64)])

        self.w, self.wx, self.wxx = summed(weights), summed(weights * values), summed(weights * values**2)

    def of(self, starts: np.ndarray, end: np.ndarray | int) -> np.ndarray:
        """float64 [N]: bins starts[k]:end."""
        w, wx, wxx = (s[end] - s[starts] for s in (self.w, self.wx, self.wxx))
        return (wxx - wx**2 / np.maximum(w, 1e-9)).sum(axis=(-2, -1))

    def usual(self, width: int) -> float:
        """The median deviation of a bin's band within ranges of this width."""
        starts = np.arange(len(self.w) - width)
        total = self.of(starts, starts + width)
        weight = (self.w[starts + width] - self.w[starts]).sum(axis=(-2, -1))
        told = weight > 0
        return max(float(np.median(total[told] / weight[told])), 1e-6) if told.any() else 1.0


def _profile(texture: Texture) -> tuple[np.ndarray, np.ndarray]:
    """Means float32 [bins, bands, 4] of L, a, b and detail, and their weights [bins, bands, 1]."""
    lab = texture.lab.astype(np.float32)
    grey = lab[..., 0]
    detail = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / 4
    channels = np.concatenate([lab, detail[..., None]], -1) * WEIGHTS
    shown = (texture.views > 0).astype(np.float32)[..., None]
    total, weight = _pooled(channels * shown), _pooled(shown)
    return total / np.maximum(weight, 1e-6), weight


def _pooled(cells: np.ndarray) -> np.ndarray:
    """Means over blocks of BIN columns and BAND rows: [H, W, C] -> [bins, bands, C]; the last ones may be smaller."""
    rows, columns = np.arange(0, cells.shape[0], BAND), np.arange(0, cells.shape[1], BIN)
    sums = np.add.reduceat(np.add.reduceat(cells, rows, axis=0), columns, axis=1)
    return np.moveaxis(sums, 1, 0) / (BAND * BIN)


def _seams(texture: Texture) -> np.ndarray:
    """For the left edge of each bin, 0..1: how much a line runs there from the top to the bottom."""
    lab = texture.lab.astype(np.float32)
    step = np.abs(lab[:, 2:] - lab[:, :-2]).sum(axis=-1) / 3
    step = np.pad(step, ((0, 0), (1, 1)))
    shown = texture.views > 0
    step = np.where(shown, ndimage.maximum_filter1d(step, 3, axis=1), np.nan)
    with np.errstate(all="ignore"):
        strength = np.nan_to_num(_percentile_by_column(step))
    starts = np.arange(0, lab.shape[1], BIN)
    at_bins = np.maximum.reduceat(np.append(strength, 0.0), np.maximum(starts - 2, 0))[: len(starts)]
    return np.clip(at_bins / 12.0, 0, 1)


def _percentile_by_column(values: np.ndarray) -> np.ndarray:
    """The LOWEST percentile of each column's finite values, nan without any."""
    ordered = np.sort(values, axis=0)  # nan last
    number = np.isfinite(values).sum(axis=0)
    place = np.clip((LOWEST / 100 * number).astype(np.int64), 0, np.maximum(number - 1, 0))
    return ordered[place, np.arange(values.shape[1])]
