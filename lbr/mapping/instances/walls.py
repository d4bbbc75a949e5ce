"""Upright planes in a cloud: lines on the plan that points follow over a good part of their height."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from lbr.mapping.instances.cloud import Cloud

# All lengths in shares of the viewing distance.
TOLERANCE = 0.018  # from the plane, beside a point's own noise
MAX_TOLERANCE = 0.05
NEAR = 0.35  # around a seed
GAP = 0.22  # along a wall without a point: here it ends
CELL = 0.06  # a wall is worth what its points cover, in cells of this size
MIN_CELLS = 8
MIN_HEIGHT, MIN_LENGTH = 0.14, 0.12
FACING = 0.08  # the least cosine between a wall's outside and where its points are seen from

MAX_SEEDS = 20_000
POINTS_PER_SEED = 3
NEIGHBOURS, DIRECTIONS = 160, 32
ROUNDS = 8


@dataclass(frozen=True, eq=False)
class Wall:
    """An upright plane, in the level frame.

    origin: float64 [2] on the plan. outward: float64 [2], its unit normal towards those who see it. points: int64 [M]
    into the cloud. span: the first and the last of its points along it. reach: their median viewing distance.
    """

    origin: np.ndarray
    outward: np.ndarray
    points: np.ndarray
    span: tuple[float, float]
    reach: float

    @property
    def along(self) -> np.ndarray:
        """float64 [2]: from left to right for one who stands before it."""
        return np.array([-self.outward[1], self.outward[0]])

    @property
    def length(self) -> float:
        return self.span[1] - self.span[0]

    def place(self, xyz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points [N, 2+] of the level frame -> (how far along [N], how far before the plane [N])."""
        offset = np.asarray(xyz)[:, :2] - self.origin
        return offset @ self.along, offset @ self.outward


def find_walls(cloud: Cloud, seed: int) -> list[Wall]:
    """Walls of a cloud, the best supported first; every point is in one at most."""
    tree = cKDTree(cloud.xyz[:, :2])
    free, walls = np.ones(len(cloud), bool), []
    for start, outward in _hypotheses(cloud, tree, seed):
        if not free[start]:
            continue
        wall = _grow(cloud, tree, free, start, outward)
        if wall is not None and _is_wall(cloud, wall):
            free[wall.points] = False
            walls.append(wall)
    return walls


def tolerance(cloud: Cloud, points: np.ndarray) -> np.ndarray:
    """How far from a plane points [M] of the cloud may be and still belong to it, float64 [M]."""
    reach = cloud.reach[points]
    return np.minimum(TOLERANCE * reach + 2 * cloud.noise[points], MAX_TOLERANCE * reach)


def _hypotheses(cloud: Cloud, tree: cKDTree, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """(a point, the outward normal of the best line through it), the best supported first."""
    rng = np.random.default_rng(seed)
    seeds = rng.permutation(len(cloud))[: min(MAX_SEEDS, max(200, len(cloud) // POINTS_PER_SEED))]
    found = [_best_line(cloud, tree, int(start)) for start in seeds]
    scores = np.array([score for score, _ in found])
    for k in np.argsort(-scores, kind="stable"):
        if scores[k] > 0:
            yield int(seeds[k]), found[k][1]


def _best_line(cloud: Cloud, tree: cKDTree, start: int) -> tuple[float, np.ndarray]:
    """(cells that its neighbours cover, outward normal [2]) of the best line through a point; 0 when there is none."""
    reach = cloud.reach[start]
    near = np.sort(np.array(tree.query_ball_point(cloud.xyz[start, :2], NEAR * reach), np.int64))
    near = near[:: max(1, len(near) // NEIGHBOURS)]
    offset = cloud.xyz[near, :2] - cloud.xyz[start, :2]
    far = np.flatnonzero(np.linalg.norm(offset, axis=1) > CELL * reach)
    far = far[:: max(1, len(far) // DIRECTIONS)]
    if len(far) < 3:
        return 0.0, np.zeros(2)
    along = offset[far] / np.linalg.norm(offset[far], axis=1, keepdims=True)
    normals = np.stack([along[:, 1], -along[:, 0]], 1)
    normals *= np.where(normals @ cloud.towards[start] < 0, -1.0, 1.0)[:, None]
    close = (np.abs(normals @ offset.T) < tolerance(cloud, near)) & (normals @ cloud.towards[near].T > FACING)
    best = int(np.argmax(close.sum(axis=1)))
    if not close[best].any():
        return 0.0, np.zeros(2)
    inside = near[close[best]]
    cells = np.stack([offset[close[best]] @ along[best], cloud.xyz[inside, 2]], 1) / (CELL * reach)
    upright = np.ptp(cells[:, 1]) * CELL > MIN_HEIGHT
    return (_num_cells(cells) if upright else 0.0), normals[best]


def _num_cells(cells: np.ndarray) -> float:
    return float(len(np.unique(np.floor(cells).astype(np.int64), axis=0)))


def _grow(cloud: Cloud, tree: cKDTree, free: np.ndarray, start: int, outward: np.ndarray) -> Wall | None:
    """The wall that grows from a point along a line: its points joined without a gap, the line fitted to them anew."""
    reach = float(cloud.reach[start])
    origin, span = cloud.xyz[start, :2], (-NEAR * reach, NEAR * reach)
    wall = Wall(origin, outward, np.zeros(0, np.int64), span, reach)
    for _ in range(ROUNDS):
        points = _joined(cloud, tree, free, wall)
        if len(points) < MIN_CELLS:
            return None
        grown = _fitted(cloud, points, wall)
        if len(points) == len(wall.points) and np.array_equal(points, wall.points):
            return grown
        wall = grown
    return wall


def _joined(cloud: Cloud, tree: cKDTree, free: np.ndarray, wall: Wall) -> np.ndarray:
    """Points near the plane of a wall, joined to its middle without a gap, sorted."""
    gap = GAP * wall.reach
    middle = wall.origin + (wall.span[0] + wall.span[1]) / 2 * wall.along
    near = np.array(tree.query_ball_point(middle, wall.length / 2 + 2 * gap), np.int64)
    near = np.sort(near[free[near]])
    u, before = wall.place(cloud.xyz[near])
    kept = (np.abs(before) < tolerance(cloud, near)) & (cloud.towards[near] @ wall.outward > FACING)
    near, u = near[kept], u[kept]
    if not len(near):
        return near
    order = np.argsort(u, kind="stable")
    part = np.cumsum(np.append(0, np.diff(u[order]) > gap))
    # the part that holds most of what the wall had, or is nearest to where it began
    inside = np.abs(u[order] - (wall.span[0] + wall.span[1]) / 2) <= wall.length / 2
    votes = np.bincount(part, inside.astype(np.float64))
    return np.sort(near[order][part == int(np.argmax(votes))])


def _fitted(cloud: Cloud, points: np.ndarray, wall: Wall) -> Wall:
    """The plane of these points: least squares, less for those far away, turned at most by what they say."""
    xy = cloud.xyz[points, :2]
    _, before = wall.place(xy)
    weight = 1 / (1 + (before / np.maximum(tolerance(cloud, points) / 2, 1e-12)) ** 2)
    origin = weight @ xy / weight.sum()
    spread = ((xy - origin) * weight[:, None]).T @ (xy - origin)
    outward = np.linalg.eigh(spread)[1][:, 0]
    outward = outward if outward @ wall.outward > 0 else -outward
    reach = float(np.median(cloud.reach[points]))
    fitted = Wall(origin, outward, points, (0.0, 0.0), reach)
    u, _ = fitted.place(xy)
    return Wall(origin, outward, points, (float(u.min()), float(u.max())), reach)


def _is_wall(cloud: Cloud, wall: Wall) -> bool:
    xyz = cloud.xyz[wall.points]
    low, high = np.percentile(xyz[:, 2], [5, 95])
    cells = np.stack([wall.place(xyz)[0], xyz[:, 2]], 1) / (CELL * wall.reach)
    large = high - low >= MIN_HEIGHT * wall.reach and wall.length >= MIN_LENGTH * wall.reach
    return bool(large and _num_cells(cells) >= MIN_CELLS)
