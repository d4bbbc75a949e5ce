"""Instances out of walls: pieces of them, of a size to be recognised by, that enough photographs show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from lbr.mapping.instances.cloud import Cloud
from lbr.mapping.instances.settings import FacadeInstances
from lbr.mapping.instances.splitting import cut
from lbr.mapping.instances.texture import Canvas, Texture
from lbr.mapping.instances.walls import Wall

BEFORE = 0.14  # of the viewing distance: what stands so near before a piece is part of it (a balcony, a relief)
SEEN = 5  # points of a piece that an image must see to show it
ROOT_SHARE = 0.1


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


def images_showing(points: np.ndarray, seen: sparse.csr_matrix) -> np.ndarray:
    """int64 [K]: the images that see enough of these points (of the map) to show what they make up."""
    counts = np.diff(seen[points].tocsc().indptr)
    return np.flatnonzero(counts >= max(3, min(SEEN, ROOT_SHARE * len(points))))


def cut_wall(
    cloud: Cloud, wall: Wall, painted: tuple[Canvas, Texture], seen: sparse.csr_matrix, settings: FacadeInstances,
    images_needed: int,
) -> list[Piece]:  # fmt: skip
    """The pieces of one wall that are worth to be instances, from left to right."""
    canvas, texture = painted
    widths = settings.min_width * wall.reach / canvas.cell, settings.max_width * wall.reach / canvas.cell
    column = canvas.column(wall.place(cloud.xyz[wall.points])[0])
    pieces = []
    for first, last in cut(texture, widths, settings.price):
        points = wall.points[(column >= first) & (column < last)]
        if len(points) < settings.min_points:
            continue
        images = images_showing(cloud.index[points], seen)
        rise = np.mean(cloud.xyz[points, 2] > cloud.eye[points])
        agreement = texture.agreement[:, first:last]
        told = np.isfinite(agreement)
        agrees = float(agreement[told].mean()) if told.any() else 0.0
        if len(images) >= images_needed and rise >= settings.min_rise and agrees >= settings.min_agreement:
            pieces.append(_piece(cloud, wall, (canvas, texture), (first, last), points, images))
    return pieces


def _piece(
    cloud: Cloud, wall: Wall, painted: tuple[Canvas, Texture], columns: tuple[int, int], points: np.ndarray,
    images: np.ndarray,
) -> Piece:  # fmt: skip
    canvas, texture = painted
    first, last = columns
    top = int(np.clip(canvas.row(np.percentile(cloud.xyz[points, 2], 99) + 0.05 * wall.reach), 0, canvas.size[1] - 1))
    part = Canvas(canvas.left + first * canvas.cell, canvas.top - top * canvas.cell, canvas.cell,
                  (last - first, canvas.size[1] - top))  # fmt: skip
    box = np.s_[top:, first:last]
    support = _support(cloud, wall, part, points)
    return Piece(wall, part, texture.lab[box], texture.views[box] > 0, support, points, images)


def _support(cloud: Cloud, wall: Wall, canvas: Canvas, points: np.ndarray) -> np.ndarray:
    empty = np.ones((canvas.size[1], canvas.size[0]), np.uint8)
    column = np.clip(canvas.column(wall.place(cloud.xyz[points])[0]).astype(np.int64), 0, canvas.size[0] - 1)
    row = np.clip(canvas.row(cloud.xyz[points, 2]).astype(np.int64), 0, canvas.size[1] - 1)
    empty[row, column] = 0
    return cv2.distanceTransform(empty, cv2.DIST_L2, 5) * np.float32(canvas.cell / wall.reach)


def attach(cloud: Cloud, pieces: Sequence[Piece]) -> np.ndarray:
    """int32 [N]: for each point of the cloud the number of its piece, from 1; 0: none.

    Points of no piece that stand just before one (balconies, reliefs, bay windows) belong to it.
    """
    labels = np.zeros(len(cloud), np.int32)
    for number, piece in enumerate(pieces, 1):
        labels[piece.points] = number
    tree = cKDTree(cloud.xyz)
    for number, piece in enumerate(pieces, 1):
        reach, width = piece.wall.reach, piece.canvas.size[0] * piece.canvas.cell
        left, top = piece.canvas.left, piece.canvas.top
        height = piece.canvas.size[1] * piece.canvas.cell
        middle = piece.wall.origin + (left + width / 2) * piece.wall.along
        near = np.array(
            tree.query_ball_point([*middle, top - height / 2], np.hypot(width, height) / 2 + reach * BEFORE)
        )
        near = near.astype(np.int64)[labels[near.astype(np.int64)] == 0] if len(near) else np.zeros(0, np.int64)
        u, before = piece.wall.place(cloud.xyz[near])
        z = cloud.xyz[near, 2]
        inside = (u >= left) & (u <= left + width) & (z <= top) & (z >= top - height)
        inside &= (before > -BEFORE / 2 * reach) & (before < BEFORE * reach)
        inside &= cloud.towards[near] @ piece.wall.outward > 0
        labels[near[inside]] = number
    return labels


def ordered(pieces: Sequence[Piece]) -> list[Piece]:
    """Those that most images show first; the rest by where they stand, so that the order is always the same."""
    return sorted(pieces, key=lambda p: (-len(p.images), -len(p.points), *p.wall.origin.tolist(), p.canvas.left))
