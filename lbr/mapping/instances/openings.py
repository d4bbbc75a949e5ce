"""Where photographs do not look at the plane of a piece: a street between two houses, the air beside a gable, the
pavement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from lbr.geometry.gravity import Ground
from lbr.mapping.instances.cloud import Cloud
from lbr.mapping.instances.pieces import Piece
from lbr.mapping.instances.views import level_centres
from lbr.mapping.map import Map

BEHIND = 0.06  # of the viewing distance: what stands farther behind a plane was seen through it
ON = 0.07  # what stands farther before it ends the ray; what is between was seen on it
SPREAD = 0.03  # a ray tells of so much around it
LEAST_RAYS = 3.0  # through a place that is open: one may be of a wrong point
STOPPED = 0.25  # what a ray that ends before the plane counts: a car hides what other photographs show
LEAST_SHOWN = 0.2  # of a piece: photographs that look past more of it do not show a facade


def without_openings(scene: Map, ground: Ground, cloud: Cloud, pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces, not shown where the photographs that show them do not look at their planes.

    Rays to points behind a plane speak for an opening, and less so rays that end before it, as all do that would meet
    it below the ground; rays to points on it speak against one. Where there are none, as in the sky, the nearest place
    that has some decides. A piece of which next to nothing is left is none.
    """
    centres = level_centres(scene, ground)
    row = np.full(len(scene.points), -1, np.int64)
    row[cloud.index] = np.arange(len(cloud))
    found = []
    for piece in pieces:
        seen = [row[scene.point_index[scene.observations(image)]] for image in piece.images.tolist()]
        camera = np.repeat(centres[piece.images], [len(rows) for rows in seen], axis=0)
        rows = np.concatenate(seen)
        told = rows >= 0
        shown = piece.shown & ~_openings(piece, camera[told], cloud.xyz[rows[told]])
        if shown.mean() >= LEAST_SHOWN:
            found.append(replace(piece, shown=shown))
    return found


def _openings(piece: Piece, camera: np.ndarray, point: np.ndarray) -> np.ndarray:
    """bool [H, W] on the canvas of a piece, from the rays [N, 3] of cameras to the points they see, level frame."""
    reach = piece.wall.reach
    stands, before = (piece.wall.place(xyz)[1] for xyz in (camera, point))
    meets = (stands > 0) & (before < stands)  # the plane, on the way to the point or beyond it
    share = np.where(meets, stands / np.where(meets, stands - before, 1.0), 0.0)
    at = camera + share[:, None] * (point - camera)
    through = _votes(piece, at[meets & (before < -BEHIND * reach)])
    stopped = _votes(piece, at[meets & (before > ON * reach)])
    looks_at = _votes(piece, point[meets & (before >= -BEHIND * reach) & (before <= ON * reach)])
    elsewhere = through + STOPPED * stopped
    is_open = (through + stopped >= LEAST_RAYS) & (elsewhere > looks_at)
    is_closed = (looks_at >= 1) & ~is_open
    if not is_open.any() or not is_closed.any():
        return is_open
    apart = [cv2.distanceTransform((~there).astype(np.uint8), cv2.DIST_L2, 5) for there in (is_open, is_closed)]
    return np.asarray(apart[0] < apart[1])


def _votes(piece: Piece, xyz: np.ndarray) -> np.ndarray:
    """float32 [H, W]: how many of the points [N, 3] of the plane are at or around each cell of a piece."""
    width, height = piece.canvas.size
    column, row = piece.canvas.column(piece.wall.place(xyz)[0]), piece.canvas.row(xyz[:, 2])
    votes = np.histogram2d(row, column, bins=(height, width), range=((0, height), (0, width)))[0].astype(np.float32)
    sigma = SPREAD * piece.wall.reach / piece.canvas.cell
    return np.asarray(cv2.GaussianBlur(votes, (0, 0), sigma) * np.float32(2 * np.pi * sigma**2))
