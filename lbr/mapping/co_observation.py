"""What the images of a model should see of each other, and do or do not: free space and missing correspondences.

Images are compared cell by cell. A point of one image that projects into a cell of another stands behind what the other
sees there (it is hidden, which tells nothing), level with it (the other should see it as well) or before it, in space
that the other looks through.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.ndimage import convolve, minimum_filter

from lbr.geometry.camera import Camera
from lbr.io.colmap import cam_from_img, img_from_cam
from lbr.io.colmap_arrays import ModelArrays
from lbr.mapping.map import sightings

CELLS = 24  # of the longer side of an image
BEFORE, BEHIND = 0.85, 1.15  # times the depth of what an image sees; level is between them
BEYOND = 1.1  # times the corner's distance from the axis, to which points are in view
POINTS = 2  # that an image needs in a cell of another, and the other around it, to tell: one alone may be false
AROUND = np.ones((3, 3), np.int64)  # a cell and its neighbours


@dataclass(frozen=True, eq=False)
class CoObservation:
    """Of images i and j, float32 [I, I]: counts of cells of j (row) in which i (column) has points.

    before: they stand before all that j sees around there. level: at what j sees, and j sees none of them.
    shared: j sees one of them or more; 0 on the diagonal. points: how many points both see, symmetric.
    """

    before: np.ndarray
    level: np.ndarray
    shared: np.ndarray
    points: np.ndarray

    @property
    def by_both(self) -> tuple[np.ndarray, np.ndarray]:
        """Cells of i and j, symmetric, in which both see a point, and in which both see one or should."""
        shared, should = self.shared, self.shared + self.level + self.before
        return shared + shared.T, should + should.T


def co_observation(model: ModelArrays) -> CoObservation:
    """Compare each image of a model with each; memory grows with the square of their number."""
    seen = sightings(model.offsets, model.point_index, len(model.points)).astype(np.float32)
    seen_by = seen.T.tocsr()
    rows = [_row(model, seen_by, image) for image in range(len(model.names))]
    before, level, shared = (np.stack(kind) for kind in zip(*rows, strict=True))
    np.fill_diagonal(shared, 0)
    return CoObservation(before, level, shared, (seen @ seen_by).toarray())


def _row(model: ModelArrays, seen_by: sparse.csr_matrix, image: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of the image's cells, before, level and shared, float32 [I] each. seen_by: [P, I], 1 where it is."""
    points, depth, cell, shape = _in_view(model, image)
    observed = model.point_index[model.offsets[image] : model.offsets[image + 1]]
    own = np.isin(points, observed[observed >= 0])
    nearest, farthest, told = _surface(cell[own], depth[own], shape)
    others = ~own & told[cell]
    before = others & (depth < BEFORE * nearest[cell])
    level = others & ~before & (depth <= BEHIND * farthest[cell])

    def cells(chosen: np.ndarray, least: int) -> np.ndarray:
        """In how many cells each image has so many of the chosen points."""
        entries = np.ones(np.count_nonzero(chosen), np.float32), (cell[chosen], points[chosen])
        in_cell = sparse.csr_matrix(entries, (len(told), len(model.points))) @ seen_by
        return np.bincount(in_cell.indices[in_cell.data >= least], minlength=len(model.names)).astype(np.float32)

    return cells(before, POINTS), cells(level, POINTS), cells(own, 1)


def _in_view(model: ModelArrays, image: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """Points that project into an image, int [K], their depths, their cells, int [K], and rows and columns of cells."""
    camera = model.cameras[image]
    xyz = model.poses[image].apply(model.points)
    ahead = np.flatnonzero((xyz[:, 2] > 0) & (np.hypot(xyz[:, 0], xyz[:, 1]) <= _reach(camera) * xyz[:, 2]))
    xy = img_from_cam(camera, xyz[ahead])
    inside = ((xy >= 0) & (xy < camera.size)).all(1)
    points, side = ahead[inside], max(camera.size) / CELLS
    columns, rows = (int(np.ceil(length / side)) for length in camera.size)
    column, row = (xy[inside] // side).astype(np.int64).T
    return points, xyz[points, 2], row * columns + column, (rows, columns)


def _reach(camera: Camera) -> float:
    """How far from the axis, at depth 1, points are in view: beyond, distortion may fold them back into the image."""
    width, height = camera.size
    corners = cam_from_img(camera, np.array([[0, 0], [width, 0], [0, height], [width, height]]))
    farthest = float(np.linalg.norm(corners, axis=1).max())
    return BEYOND * farthest if np.isfinite(farthest) else np.inf


def _surface(cell: np.ndarray, depth: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What an image sees: the least depth in and around each cell, the greatest in it, where that tells, [C] each."""
    size = shape[0] * shape[1]
    nearest, farthest = np.full(size, np.inf), np.zeros(size)
    np.minimum.at(nearest, cell, depth)
    np.maximum.at(farthest, cell, depth)
    around = convolve(np.bincount(cell, minlength=size).reshape(shape), AROUND, mode="constant")
    told = (farthest > 0) & (around.ravel() >= POINTS)
    return minimum_filter(nearest.reshape(shape), 3, mode="constant", cval=np.inf).ravel(), farthest, told
