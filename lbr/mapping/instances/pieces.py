"""Instances out of walls: pieces of them, of a size to be recognised by, that enough photographs show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from lbr.geometry.pose import Pose
from lbr.io.colmap import cam_from_img
from lbr.mapping.instances.cloud import Cloud
from lbr.mapping.instances.settings import FacadeInstances
from lbr.mapping.instances.splitting import cut
from lbr.mapping.instances.texture import MARGIN, Canvas, Texture, detailed, squareness
from lbr.mapping.instances.walls import TOLERANCE, Wall
from lbr.types import Camera

BEFORE = 0.14  # of the viewing distance: what stands so near before a piece is part of it (a balcony, a relief)
BESIDE = 0.06  # a piece ends so far beside the outermost of its points
LOWEST, TRIM = 2, 0.05  # ... at this percentile of their heights, but no higher than so much over the wall's bottom
BEHIND_CAMERA = 0.05  # of the viewing distance: what has a corner nearer to the camera's plane is not projected
SEEN = 5  # points of a piece that an image must see to show it
SEEN_SHARE = 0.1  # of its points, or so many
COVERED = 0.06  # a point tells of so much around it
LEAVES = 0.005  # of the viewing distance: half of the points of trees and hedges are farther from a plane
NEAR_POINTS = 0.1  # of the viewing distance: its picture so near to its points is that of the piece
MIN_AREA = 0.1  # together they must tell of this area (reach squared)
COLUMN, IN_COLUMN = 0.1, 0.7  # a post's width; the share of its points that stand in it
POINT = 0.02  # from a point: its cell
LAYER_DEPTH, PARALLEL, OVER, SEEN_WITH = 0.25, 0.8, 0.6, 0.8


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a wall, one instance.

    wall, canvas: where it is; lab uint8 [H, W, 3] its picture; shown bool [H, W]: where the picture is known; support
    float32 [H, W]: distance of each cell from the nearest of its points, in shares of the viewing distance. points:
    int64 [M] into the cloud. images: int64 [K] of the map, those that show it.
    """

    wall: Wall
    canvas: Canvas
    lab: np.ndarray
    shown: np.ndarray
    support: np.ndarray
    points: np.ndarray
    images: np.ndarray

    @cached_property
    def corners(self) -> np.ndarray:
        """float64 [4, 3] of its canvas, level frame."""
        u = self.canvas.left + np.array([0, 1]) * self.canvas.size[0] * self.canvas.cell
        heights = self.canvas.top - np.array([0, 1]) * self.canvas.size[1] * self.canvas.cell
        ground = self.wall.origin + u[:, None] * self.wall.along
        return np.array([[*at, height] for at in ground.tolist() for height in heights.tolist()])


@dataclass(frozen=True, eq=False)
class Outlines:
    """Where pieces are: their corners float64 [K, 4, 3], the origin and outward normal of their walls [K, 2], their
    reach [K]; level frame."""

    corners: np.ndarray
    origin: np.ndarray
    outward: np.ndarray
    reach: np.ndarray


def outlines_of(pieces: Sequence[Piece]) -> Outlines:
    """Gathered once for all photographs that they may be in."""
    return Outlines(
        np.array([piece.corners for piece in pieces]).reshape(-1, 4, 3),
        np.array([piece.wall.origin for piece in pieces]).reshape(-1, 2),
        np.array([piece.wall.outward for piece in pieces]).reshape(-1, 2),
        np.array([piece.wall.reach for piece in pieces], np.float64),
    )


def shares_of_view(outlines: Outlines, camera: Camera, pose: Pose) -> np.ndarray:
    """float64 [K]: the share of the photograph of a camera at cam_from_level `pose` that each piece would fill, were
    nothing before it; 0 for one that is seen from behind or reaches behind the camera."""
    seen = pose.apply(outlines.corners.reshape(-1, 3)).reshape(outlines.corners.shape)
    nearest = BEHIND_CAMERA * outlines.reach[:, None]
    before = (seen[..., 2] > nearest).all(axis=1)
    before &= np.einsum("kd,kd->k", pose.centre[:2] - outlines.origin, outlines.outward) > 0
    flat = seen[..., :2] / np.maximum(seen[..., 2:], nearest[..., None])
    low, high = cam_from_img(camera, np.array([[0.0, 0.0], camera.size]))
    box = np.clip(flat.max(axis=1), low, high) - np.clip(flat.min(axis=1), low, high)
    return np.where(before, np.prod(box / (high - low), axis=1), 0.0)


def images_showing(points: np.ndarray, seen: sparse.csr_matrix) -> np.ndarray:
    """int64 [K]: the images that see enough of these points (of the map) to show what they make up."""
    counts = np.diff(seen[points].tocsc().indptr)
    return np.flatnonzero(counts >= max(3, min(SEEN, SEEN_SHARE * len(points))))


def cut_wall(
    cloud: Cloud, wall: Wall, painted: tuple[Canvas, Texture], seen: sparse.csr_matrix, settings: FacadeInstances,
    images_needed: int,
) -> list[Piece]:  # fmt: skip
    """The pieces of one wall that are worth to be instances, from left to right."""
    canvas, texture = painted
    widths = settings.min_width * wall.reach / canvas.cell, settings.max_width * wall.reach / canvas.cell
    column = canvas.column(wall.place(cloud.xyz[wall.points])[0])
    pieces = []
    for first, last in cut(texture, widths, settings.price, settings.alike):
        points = wall.points[(column >= first) & (column < last)]
        if len(points) < settings.min_points:
            continue
        images = images_showing(cloud.index[points], seen)
        rise = np.mean(cloud.xyz[points, 2] > cloud.eye[points])
        agreement = texture.agreement[:, first:last]
        told = np.isfinite(agreement)
        agrees = float(agreement[told].mean()) if told.any() else 0.0
        if len(images) >= images_needed and rise >= settings.min_rise and agrees >= settings.min_agreement:
            piece = _piece(cloud, wall, (canvas, texture), (first, last), points, images)
            if _is_large(piece):
                pieces.append(piece)
    return pieces


def _is_large(piece: Piece) -> bool:
    return bool(np.count_nonzero(piece.support < COVERED) * (piece.canvas.cell / piece.wall.reach) ** 2 >= MIN_AREA)


def is_foliage(cloud: Cloud, piece: Piece, settings: FacadeInstances) -> bool:
    """Whether the edges of its picture have no direction, as those of trees and hedges; not where it tells nothing, nor
    where its points keep to the plane, as those of rubble do."""
    square = squareness(piece.lab[..., 0], piece.shown & (piece.support < NEAR_POINTS))
    return bool(square < settings.min_square and _depth(cloud, piece) > LEAVES)


def _depth(cloud: Cloud, piece: Piece) -> float:
    """How far before or behind their median its points stand, at the median, in shares of the viewing distance."""
    _, before = piece.wall.place(cloud.xyz[piece.points])
    return float(np.median(np.abs(before - np.median(before)))) / piece.wall.reach


def is_empty(piece: Piece, settings: FacadeInstances) -> bool:
    """Whether too much of it is flat and has no point near, as the sky behind wires: of facades, of bare plaster too,
    next to nothing is both."""
    told = detailed(piece.lab[..., 0]) | (piece.support < COVERED)
    return bool(told[piece.shown].mean() < settings.min_told) if piece.shown.any() else True


def is_bare(piece: Piece, settings: FacadeInstances) -> bool:
    """Whether its points tell of too little of it, as of a plane through pavement and roofs; twice as much is needed
    where they stand in one column, as those of a lamp before the sky."""
    needed = settings.min_covered * (2 if _in_one_column(piece) >= IN_COLUMN else 1)
    return bool((piece.support < COVERED).mean() < needed)


def _in_one_column(piece: Piece) -> float:
    """The share of its cells with a point that are in the fullest column of it, a post's width wide."""
    cells = np.count_nonzero(piece.support < POINT, axis=0)
    width = min(len(cells), max(1, round(COLUMN * piece.wall.reach / piece.canvas.cell)))
    return float(np.convolve(cells, np.ones(width, int), "valid").max() / cells.sum())


def _piece(
    cloud: Cloud, wall: Wall, painted: tuple[Canvas, Texture], columns: tuple[int, int], points: np.ndarray,
    images: np.ndarray,
) -> Piece:  # fmt: skip
    canvas, texture = painted
    first, last, top, bottom = occupied(canvas, wall, cloud.xyz[points], columns)
    box = np.s_[top:bottom, first:last]
    part = canvas.part(box)
    support = _support(cloud, wall, part, points)
    return Piece(wall, part, texture.lab[box], texture.views[box] > 0, support, points, images)


def occupied(canvas: Canvas, wall: Wall, xyz: np.ndarray, columns: tuple[int, int]) -> tuple[int, int, int, int]:
    """First and last column, top and bottom row of what points [M, 3] of a part of a wall tell of: no further to the
    sides than BESIDE, no deeper than the lowest of them, which is where the pavement begins, and no higher than those
    that are not behind the plane, as a roof is."""
    beside = BESIDE * wall.reach / canvas.cell
    along, before = wall.place(xyz)
    left, right = np.percentile(canvas.column(along), [1, 99])
    upright = before > -TOLERANCE * wall.reach
    low = np.percentile(xyz[:, 2], LOWEST)
    high = np.percentile(xyz[upright, 2] if upright.any() else xyz[:, 2], 99)
    first, last = max(columns[0], int(left - beside)), min(columns[1], int(right + beside) + 1)
    top = min(max(int(canvas.row(high + MARGIN * wall.reach)), 0), canvas.size[1] - 1)
    lowest = max(int(canvas.row(low)) + 1, int(canvas.size[1] - TRIM * wall.reach / canvas.cell))
    return first, last, top, max(min(lowest, canvas.size[1]), top + 1)


def _support(cloud: Cloud, wall: Wall, canvas: Canvas, points: np.ndarray) -> np.ndarray:
    empty = np.ones((canvas.size[1], canvas.size[0]), np.uint8)
    column = np.clip(canvas.column(wall.place(cloud.xyz[points])[0]).astype(np.int64), 0, canvas.size[0] - 1)
    row = np.clip(canvas.row(cloud.xyz[points, 2]).astype(np.int64), 0, canvas.size[1] - 1)
    empty[row, column] = 0
    return cv2.distanceTransform(empty, cv2.DIST_L2, 5) * np.float32(canvas.cell / wall.reach)


def joined(cloud: Cloud, pieces: Sequence[Piece]) -> list[int]:
    """For each piece, in the order given, the number of the piece that it is a part of: its own, or that of a larger
    one.

    A layer (a balcony, a relief, a porch, half of a front that is not quite a plane) that stands parallel to the wall
    behind or before it, over or under it for the most part, and is never seen without it, is a part of it.
    """
    order = sorted(range(len(pieces)), key=lambda k: -len(pieces[k].points))
    root, near = list(range(len(pieces))), _near_and_parallel(pieces)
    for rank, k in enumerate(order):
        among = [j for j in order[:rank] if near[k, j] and root[j] == j]
        larger = [j for j in among if _is_layer_of(cloud, pieces[k], pieces[j])]
        if larger:
            apart = [abs(float(np.median(pieces[j].wall.place(cloud.xyz[pieces[k].points])[1]))) for j in larger]
            root[k] = larger[int(np.argmin(apart))]
    return root


def _near_and_parallel(pieces: Sequence[Piece]) -> np.ndarray:
    """bool [K, K]: whether the outlines of two pieces may overlap but for LAYER_DEPTH, and their walls are parallel."""
    outlines = outlines_of(pieces)
    ends = outlines.corners[:, [0, 2], :2]
    middle, radius = ends.mean(axis=1), np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) / 2
    close = cdist(middle, middle) <= radius[:, None] + radius[None] + LAYER_DEPTH * outlines.reach[None]
    return close & (outlines.outward @ outlines.outward.T >= PARALLEL)


def _is_layer_of(cloud: Cloud, small: Piece, large: Piece) -> bool:
    u, before = large.wall.place(cloud.xyz[small.points])
    left, width = large.canvas.left, large.canvas.size[0] * large.canvas.cell
    over = np.mean((u > left) & (u < left + width)) >= OVER
    near = abs(float(np.median(before))) < LAYER_DEPTH * large.wall.reach
    return bool(over and near and np.mean(np.isin(small.images, large.images)) >= SEEN_WITH)


def within(layer: Piece, piece: Piece) -> Piece | None:
    """A layer as far as it is over or under the piece that it is a part of; None where nothing is.

    A few points of eaves, or of a kerb, make a plane that goes on along the whole row of houses.
    """
    beside, (width, height) = BESIDE * piece.wall.reach / piece.canvas.cell, piece.canvas.size
    column = piece.canvas.column(piece.wall.place(layer.canvas.ground(layer.wall, 0, layer.canvas.size[0]))[0])
    row = piece.canvas.row(layer.canvas.heights)
    columns = np.flatnonzero((column > -beside) & (column < width + beside)).tolist()
    rows = np.flatnonzero((row > -beside) & (row < height + beside)).tolist()
    if not columns or not rows:
        return None
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return replace(
        layer, canvas=layer.canvas.part(box), lab=layer.lab[box], shown=layer.shown[box], support=layer.support[box]
    )


def attach(cloud: Cloud, pieces: Sequence[Piece], ids: Sequence[int]) -> np.ndarray:
    """int32 [N]: for each point of the cloud the id of its piece; 0: none.

    Points of no piece that stand just before one (balconies, reliefs, bay windows) belong to it.
    """
    labels = np.zeros(len(cloud), np.int32)
    for number, piece in zip(ids, pieces, strict=True):
        labels[piece.points] = number
    tree = cKDTree(cloud.xyz)
    for number, piece in zip(ids, pieces, strict=True):
        near = _just_before(cloud, tree, piece)
        labels[near[labels[near] == 0]] = number
    return labels


def _just_before(cloud: Cloud, tree: cKDTree, piece: Piece) -> np.ndarray:
    """int64 [K]: points of the cloud within the outline of a piece, near its plane."""
    reach, cell = piece.wall.reach, piece.canvas.cell
    width, height = piece.canvas.size[0] * cell, piece.canvas.size[1] * cell
    left, top = piece.canvas.left, piece.canvas.top
    middle = piece.wall.origin + (left + width / 2) * piece.wall.along
    radius = np.hypot(width, height) / 2 + reach * BEFORE
    near = np.sort(np.array(tree.query_ball_point([*middle, top - height / 2], radius), np.int64))
    u, before = piece.wall.place(cloud.xyz[near])
    z = cloud.xyz[near, 2]
    inside = (u >= left) & (u <= left + width) & (z <= top) & (z >= top - height)
    inside &= (before > -BEFORE / 2 * reach) & (before < BEFORE * reach)
    return near[inside & (cloud.towards[near] @ piece.wall.outward > 0)]


def ordered(pieces: Sequence[Piece]) -> list[Piece]:
    """Those that most images show first; the rest by where they stand, so that the order is always the same."""
    return sorted(pieces, key=lambda p: (-len(p.images), -len(p.points), *p.wall.origin.tolist(), p.canvas.left))
