"""Where a wall is cut into houses: columns of its picture that look alike stay together (change points)."""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from lbr.mapping.instances.texture import Texture

BIN = 5  # columns of cells that are judged together
BAND = 16  # rows of cells
SHOWN = 0.3  # of a band and a bin, or of a part: with less of it they tell nothing
EDGE_GAIN = 0.3  # what a seam from top to bottom is worth, in shares of the price of a cut
LOWEST = 50  # percentile over the height: a seam shows in half of it, a window does not
WEIGHTS = np.array([0.5, 2.0, 2.0, 1.0], np.float32)  # of L, a, b and of how much detail there is
GREY_WEIGHTS = np.array([1.0, 0.0, 0.0, 1.0], np.float32)  # where the photographs have no colour
GREEN = -6, 6  # a below, b above: leaves, or paint
PAINTED = 0.5  # of the height
GREY = 1.5  # standard deviation of a and b


def cut(texture: Texture, columns: tuple[float, float], price: float, alike: float) -> list[tuple[int, int]]:
    """(first column, last column) of the parts of a wall, from left to right, none left out.

    columns: the least and the largest width of a part, in cells. price, alike: as `_optimum` and `_merged` take them:
    first the wall is cut wherever it may change, then neighbours that look alike for the most part are joined again.
    """
    values, weights = _profile(texture, columns[0])
    least, most = max(1, round(columns[0] / BIN)), max(2, round(columns[1] / BIN))
    edges = _optimum(values, weights, _seams(texture), (least, most), price)
    edges = _merged(values, weights, edges, most, alike)
    bounds = [edge * BIN for edge in edges[:-1]] + [texture.lab.shape[1]]
    return list(zip(bounds[:-1], bounds[1:], strict=True))


def _optimum(
    values: np.ndarray, weights: np.ndarray, seams: np.ndarray, width: tuple[int, int], price: float
) -> list[int]:  # fmt: skip
    """Edges of the parts of a profile, in bins, the first 0, the last the number of bins.

    The optimum of: squared deviation of every band of every part from its mean, relative to the usual one, plus the
    price of the cuts (Jackson et al. 2005, optimal partitioning). price: what one cut must explain, as the share of the
    variance of a part of the least width; cuts at seams are cheaper. Of the house beside, a wall may have a strip: its
    first and its last part may be narrower than the least.
    """
    (least, most), num = width, len(values)
    if num <= least:
        return [0, num]
    cost = _Costs(values, weights)
    usual = cost.usual(least)
    beta = price * least * weights.sum(axis=(1, 2)).mean()
    best, before = np.full(num + 1, np.inf), np.zeros(num + 1, np.int64)
    best[0] = 0
    for end in range(1, num + 1):
        starts = np.arange(max(0, end - most), end)
        starts = starts[(end - starts >= least) | (starts == 0) | (end == num)]
        total = best[starts] + cost.of(starts, end) / usual + beta * (1 - EDGE_GAIN * seams[starts])
        k = int(np.argmin(total))
        best[end], before[end] = total[k], starts[k]
    edges = [num]
    while edges[-1] > 0:
        edges.append(int(before[edges[-1]]))
    return edges[::-1]


def _merged(values: np.ndarray, weights: np.ndarray, edges: list[int], most: int, alike: float) -> list[int]:
    """Edges without those between parts that look alike: the likest first, as long as none becomes wider than `most`.

    Likeness is the mean difference of the medians of the bands (grey levels, under `alike`): a vine, a door or a lamp,
    which make a change for a squared deviation, hardly move it.
    """
    edges = list(edges)
    while len(edges) > 2:
        looks = [_look(values[a:b], weights[a:b]) for a, b in zip(edges[:-1], edges[1:], strict=True)]
        apart = [_difference(a, b) for a, b in zip(looks[:-1], looks[1:], strict=True)]
        fits = [edges[k + 2] - edges[k] <= most for k in range(len(apart))]
        cheapest = min(range(len(apart)), key=lambda k: (not fits[k], apart[k]))
        if not fits[cheapest] or apart[cheapest] > alike:
            break
        del edges[cheapest + 1]
    return edges


def _look(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Medians float [bands, 4] over the bins of a part, nan for bands that are hardly shown."""
    shown = weights[..., 0] > SHOWN
    ordered = np.sort(np.where(shown[..., None], values, np.inf), axis=0)
    number = shown.sum(axis=0)
    middle = ordered[np.maximum(number - 1, 0) // 2, np.arange(values.shape[1])]
    return np.where((number >= max(1, SHOWN * len(values)))[:, None], middle, np.nan)


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over the bands that both show; inf when there is none."""
    apart = np.linalg.norm(a - b, axis=1)
    told = np.isfinite(apart)
    return float(apart[told].mean()) if told.any() else np.inf


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


def _profile(texture: Texture, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Means float32 [bins, bands, 4] of L, a, b and detail, and their weights [bins, bands, 1]. least: columns of the
    narrowest part."""
    lab = texture.lab.astype(np.float32)
    grey = lab[..., 0]
    detail = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / 4
    told = (texture.views > 0) & ~_foliage(texture, least)
    shown = told.astype(np.float32)[..., None]
    seen = lab[texture.views > 0][:, 1:]
    coloured = len(seen) > 0 and seen.std(axis=0).max() > GREY
    channels = np.concatenate([lab, detail[..., None]], -1) * (WEIGHTS if coloured else GREY_WEIGHTS)
    total, weight = _pooled(channels * shown), _pooled(shown)
    return total / np.maximum(weight, 1e-6), weight


def _foliage(texture: Texture, least: float) -> np.ndarray:
    """bool [H, W]: green cells. Ivy and trees are not what tells a house from the next one. Where most of a wall is
    green over `least` columns or more, it is painted so."""
    a, b = (texture.lab[..., k].astype(np.int16) - 128 for k in (1, 2))
    green = cv2.dilate(((a < GREEN[0]) & (b > GREEN[1])).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    shown = texture.views > 0
    share = (green & shown).sum(axis=0) / np.maximum(shown.sum(axis=0), 1)
    width = max(1, round(least))
    painted = ndimage.binary_opening(ndimage.median_filter(share, max(1, width // 2)) > PAINTED, np.ones(width, bool))
    return green & ~painted


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
