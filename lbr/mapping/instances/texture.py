"""A wall as seen by the photographs before it, brought into its plane: the median of them, and where they agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse

from lbr.mapping.instances.cloud import Cloud
from lbr.mapping.instances.views import View
from lbr.mapping.instances.walls import Wall

CELL = 1 / 200  # of the viewing distance
MAX_CELLS = 1_500_000
MARGIN = 0.02  # beyond the outermost points
STRETCH = 0.4  # in shares of the viewing distance: over so much of a wall the same photographs are used
MAX_VIEWS = 7  # for a stretch
SEEN = 3  # points of a stretch that a photograph must see to be used there
WINDOW = 9  # cells, for the likeness of two pictures
FLAT = 4.0  # grey levels: below this standard deviation a place looks like any other
AXIS_DEG = 15.0  # an edge that leans less is level, or upright
LEAST_EDGES = 100  # cells: fewer tell nothing


@dataclass(frozen=True, eq=False)
class Canvas:
    """A grid of square cells on a wall: left and top edges (along the wall, level height), size of a cell, (columns,
    rows)."""

    left: float
    top: float
    cell: float
    size: tuple[int, int]

    def column(self, u: np.ndarray) -> np.ndarray:
        return (np.asarray(u) - self.left) / self.cell

    def row(self, height: np.ndarray) -> np.ndarray:
        return (self.top - np.asarray(height)) / self.cell

    @property
    def heights(self) -> np.ndarray:
        """float64 [rows]: level heights of the cells' centres."""
        return self.top - (np.arange(self.size[1]) + 0.5) * self.cell

    def ground(self, wall: Wall, first: int, last: int) -> np.ndarray:
        """float64 [last - first, 2]: on the plan, where the middles of these columns stand."""
        u = self.left + (np.arange(first, last) + 0.5) * self.cell
        return wall.origin + u[:, None] * wall.along

    def cells(self, wall: Wall, first: int, last: int) -> np.ndarray:
        """float64 [rows, last - first, 3]: centres of the cells of these columns, level frame."""
        flat = np.broadcast_to(self.ground(wall, first, last), (self.size[1], last - first, 2))
        return np.concatenate([flat, np.broadcast_to(self.heights[:, None, None], (*flat.shape[:2], 1))], -1)

    def part(self, box: tuple[slice, slice]) -> Canvas:
        """The canvas of these rows and columns alone."""
        rows, columns = box
        left, top = self.left + columns.start * self.cell, self.top - rows.start * self.cell
        return Canvas(left, top, self.cell, (columns.stop - columns.start, rows.stop - rows.start))


@dataclass(frozen=True, eq=False)
class Texture:
    """A wall's picture on its canvas: lab uint8 [H, W, 3], the median of the photographs; agreement float32 [H, W],
    the mean normalised correlation of a photograph with that median around a cell (nan where it is flat or nobody
    looks); views uint8 [H, W], how many photographs show the cell."""

    lab: np.ndarray
    agreement: np.ndarray
    views: np.ndarray


def canvas_of(cloud: Cloud, wall: Wall) -> Canvas:
    """The canvas that holds all points of a wall, with a margin."""
    u, _ = wall.place(cloud.xyz[wall.points])
    low, high = np.percentile(cloud.xyz[wall.points, 2], [1, 99.5])
    margin = MARGIN * wall.reach
    width, height = np.ptp(u) + 2 * margin, high - low + 2 * margin
    cell = max(CELL * wall.reach, float(np.sqrt(width * height / MAX_CELLS)))
    return Canvas(float(u.min()) - margin, float(high) + margin, cell, (int(width / cell) + 1, int(height / cell) + 1))


def stretches(
    cloud: Cloud, wall: Wall, canvas: Canvas, seen: sparse.csr_matrix
) -> list[tuple[int, int, np.ndarray]]:  # fmt: skip
    """(first column, last column, images int [K]) along a wall: the photographs that see most of each stretch."""
    step = max(1, round(STRETCH * wall.reach / canvas.cell))
    column = canvas.column(wall.place(cloud.xyz[wall.points])[0])
    parts = []
    for first in range(0, canvas.size[0], step):
        last = min(canvas.size[0], first + step)
        near = wall.points[(column > first - step / 2) & (column < last + step / 2)]
        counts = np.diff(seen[cloud.index[near]].tocsc().indptr)
        order = np.lexsort((np.arange(len(counts)), -counts))[:MAX_VIEWS]
        parts.append((first, last, order[counts[order] >= SEEN]))
    return parts


def paint(
    wall: Wall, canvas: Canvas, parts: Sequence[tuple[int, int, np.ndarray]], view_of: Callable[[int], View | None]
) -> Texture:  # fmt: skip
    """The texture of a wall from its stretches; `view_of` gives an image's View, None where it cannot be read."""
    width, height = canvas.size
    lab, views = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
    agreement = np.full((height, width), np.nan, np.float32)
    for first, last, images in parts:
        cells = canvas.cells(wall, first, last)
        found = [sampled for image in images.tolist() if (view := view_of(image)) for sampled in [_sample(view, cells)]]
        if not found:
            continue
        samples = np.stack([s for s, _ in found])
        valid = np.stack([v for _, v in found])
        painted = _median(samples, valid)
        lab[:, first:last], views[:, first:last] = np.round(painted), valid.sum(axis=0)
        agreement[:, first:last] = _agreement(samples[..., 0], valid, painted[..., 0])
    return Texture(lab, agreement, views)


def likeness(a: np.ndarray, b: np.ndarray, window: int = WINDOW) -> tuple[np.ndarray, np.ndarray]:
    """Normalised correlation of two pictures float32 [H, W] around each pixel, and the smaller standard deviation
    there."""

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(values, cv2.CV_32F, (window, window), borderType=cv2.BORDER_REFLECT)

    a, b = a - a.mean(), b - b.mean()
    mean_a, mean_b = mean(a), mean(b)
    var_a = np.maximum(mean(a * a) - mean_a**2, 0)
    var_b = np.maximum(mean(b * b) - mean_b**2, 0)
    least = np.sqrt(np.minimum(var_a, var_b))
    return (mean(a * b) - mean_a * mean_b) / np.sqrt(np.maximum(var_a * var_b, 1.0)), least


def detailed(grey: np.ndarray) -> np.ndarray:
    """Where a picture, grey levels [H, W], is not FLAT: bool [H, W]."""
    grey = grey.astype(np.float32)
    return np.asarray(likeness(grey, grey)[1] > FLAT)


def squareness(grey: np.ndarray, told: np.ndarray) -> float:
    """Of a wall's picture, grey levels [H, W], where `told` bool [H, W]: the share of its edges, of those stronger
    than the mean, that are level or upright. A third in foliage, which has no direction; half to three quarters on
    facades. nan where there is too little to tell.

    Edges along and across are made equally strong first: a wall that is seen from the side is a picture drawn out, and
    so is a tree.
    """
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0)
    inside = cv2.erode(told.astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=1) > 0
    slopes = np.abs([cv2.Sobel(smooth, cv2.CV_32F, 1, 0)[inside], cv2.Sobel(smooth, cv2.CV_32F, 0, 1)[inside]])
    if np.count_nonzero(slopes.any(axis=0)) < LEAST_EDGES or not slopes.any(axis=1).all():
        return float("nan")
    across, along = slopes / np.sqrt((slopes**2).mean(axis=1, keepdims=True))
    strength, leaning = np.hypot(across, along), np.degrees(np.arctan2(along, across))
    on_axis = (leaning < AXIS_DEG) | (leaning > 90 - AXIS_DEG)
    return float(on_axis[strength > strength.mean()].mean())


def _sample(view: View, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lab float32 [H, W, 3] of a photograph at cells [H, W, 3], and where it shows them bool [H, W]."""
    height, width = cells.shape[:2]
    xy = view.project(cells.reshape(-1, 3)).reshape(height, width, 2)
    rows, columns = view.lab.shape[:2]
    valid = np.isfinite(xy).all(axis=-1)
    xy = np.where(valid[..., None], xy, -9).astype(np.float32)
    valid &= (xy[..., 0] > 0.5) & (xy[..., 0] < columns - 0.5) & (xy[..., 1] > 0.5) & (xy[..., 1] < rows - 0.5)
    at = np.clip(xy - np.float32(0.5), -9, 32000)  # cv2 counts from the first pixel's centre
    return cv2.remap(view.lab, at[..., 0], at[..., 1], cv2.INTER_LINEAR), valid


def _median(samples: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Median float32 [H, W, 3] of samples [V, H, W, 3] where valid [V, H, W], the photographs' brightness made
    equal."""
    first = _masked_median(samples, valid)
    difference = np.where(valid, samples[..., 0] - first[..., 0], np.nan).reshape(len(samples), -1)
    told = np.isfinite(difference).sum(axis=1) > 0
    shifts = [float(np.nanmedian(difference[k])) if told[k] else 0.0 for k in range(len(samples))]
    samples[..., 0] -= np.array(shifts, np.float32)[:, None, None]
    return _masked_median(samples, valid)


def _masked_median(samples: np.ndarray, valid: np.ndarray) -> np.ndarray:
    ordered = np.sort(np.where(valid[..., None], samples, np.float32(1e9)), axis=0)
    number = valid.sum(axis=0)
    middle = np.maximum(number - 1, 0) // 2
    picked = np.take_along_axis(ordered, middle[None, ..., None], axis=0)[0]
    return np.where((number > 0)[..., None], picked, 0).clip(0, 255)


def _agreement(samples: np.ndarray, valid: np.ndarray, painted: np.ndarray) -> np.ndarray:
    """Mean correlation float32 [H, W] of the photographs with their median; nan where fewer than two tell."""
    total, number = np.zeros(painted.shape, np.float32), np.zeros(painted.shape, np.float32)
    for sample, shown in zip(samples, valid, strict=True):
        alike, deviation = likeness(np.where(shown, sample, painted), painted)
        tells = shown & (deviation > FLAT)
        total += np.where(tells, alike, 0)
        number += tells
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(number >= 2, total / number, np.nan).astype(np.float32)
