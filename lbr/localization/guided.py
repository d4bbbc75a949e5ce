"""Guided matching: points that frames of the map see, projected under a pose and matched with the keypoints nearby.

What of it is right is told by a comparison with chance: the same search at places where the points are not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from lbr.geometry.pose import round_origin
from lbr.io.colmap import project
from lbr.localization.correspondences import quality_of
from lbr.mapping.map import Map
from lbr.matching.descriptors import as_float32, with_float32
from lbr.types import Correspondences, LocalFeatures, PoseEstimate

ASIDE = np.array([[1.0, 0.6], [-1.0, -0.6]])  # directions in which nothing but chance matches are looked for
LEAST_ASIDE_PX = 30.0  # farther than a point's own surroundings look like it
BLOCK = 65536  # numbers of descriptors compared at a time
LEAST_PAIRS = 6  # fewer say nothing about chance
SCALES = 2.0  # times nearer or farther than a frame saw a point: beyond that it is rarely found again
PRIOR = 0.6, 3.0  # frames that saw a point, and that had it in view, before any is counted


@dataclass(frozen=True, eq=False)
class Frames:
    """Db images: centres float64 [K, 3]; projections float64 [K, 3, 3] of what is as far from them, in world axes, to
    homogeneous pixels, without distortion; sizes [K, 2] in pixels."""

    centres: np.ndarray
    projections: np.ndarray
    sizes: np.ndarray

    def with_in_view(self, xyz: np.ndarray, nearest: np.ndarray, farthest: np.ndarray) -> np.ndarray:
        """int64 [V]: how many have points float64 [V, 3] in view, at a distance of so much, float64 [V] each."""
        origin = round_origin(self.centres)  # squares of a survey's coordinates would lose their digits
        offset, centres = (xyz - origin).T, self.centres - origin
        x, y, z = np.moveaxis(self.projections @ offset - self.projections @ centres[..., None], 1, 0)
        width, height = self.sizes.T[..., None]
        inside = (z > 0) & (x >= 0) & (x < width * z) & (y >= 0) & (y < height * z)
        squared = np.square(offset).sum(axis=0) - 2 * centres @ offset + np.square(centres).sum(axis=1)[:, None]
        inside &= (squared >= nearest**2) & (squared <= farthest**2)
        return np.count_nonzero(inside, axis=0)


@dataclass(frozen=True, eq=False)
class Guide:
    """What some frames see, made ready to be searched for in one query under many poses.

    points: int64 [P] of the map, xyz float64 [P, 3]; that of row p was observed start[p]:start[p]+count[p], int64 [P],
    by the db images image, int64 [O], from so far, distance float64 [O], with the descriptors of the rows described_by,
    int64 [O], of descriptors float32 [O, D]. query: descriptors float32; tree: over its keypoints. frames: what sees.
    """

    points: np.ndarray
    xyz: np.ndarray
    start: np.ndarray
    count: np.ndarray
    described_by: np.ndarray
    descriptors: np.ndarray
    image: np.ndarray
    distance: np.ndarray
    query: LocalFeatures
    tree: cKDTree
    frames: Frames


@dataclass(frozen=True, eq=False)
class Guided:
    """Pairs of a guided search under a pose, with their quality.

    Rows of the guide: point int64 [M], of the pairs; by_chance int64 [A], of what is as alike at wrong places, as many
    as ASIDE; looked_for int64 [V], of the points in view.
    """

    guide: Guide
    estimate: PoseEstimate
    pairs: Correspondences
    point: np.ndarray
    by_chance: np.ndarray
    looked_for: np.ndarray

    @cached_property
    def expected(self) -> np.ndarray:
        """float64 [P]: how surely each point of the guide is found (`_repeatability`), 0 where it needs not be."""
        return _repeatability(self.guide, self.estimate, self.looked_for)

    @property
    def in_view(self) -> int:
        """How many points are expected."""
        return int(np.count_nonzero(self.expected))

    def support(self, inliers: np.ndarray) -> float:
        """Of the pairs that a pose fits, bool [M], the expected ones, less as many as a wrong place has."""
        return self._beyond_chance(inliers, self.expected > 0)

    def significance(self, inliers: np.ndarray) -> float:
        """The support over its spread by chance, each point counted by how surely it is found.

        That is the filter matched to what a right pose finds (North 1963), where chance finds all points alike. If all
        are as sure as each other, it is the support over the square root of the points in view.
        """
        found = self._beyond_chance(inliers, self.expected)
        return found / max(float(np.square(self.expected).sum()), 1e-12) ** 0.5

    def _beyond_chance(self, inliers: np.ndarray, weights: np.ndarray) -> float:
        """The weights, [P], of the points of the inliers, less what those found at a wrong place have."""
        return float(weights[self.point[inliers]].sum() - weights[self.by_chance].sum() / len(ASIDE))


def make_guide(scene: Map, query: LocalFeatures, frames: np.ndarray) -> Guide:
    """The guide of the db images `frames`, int [K]."""
    frames = np.asarray(frames, np.int64)
    spans = [scene.observations(int(frame)) for frame in frames]
    seen_in = np.repeat(frames, [span.stop - span.start for span in spans])
    point = np.concatenate([scene.point_index[:0], *(scene.point_index[span] for span in spans)])
    # Span by span, as they lie in the file: gathering them in the order of points takes twice as long.
    descriptors = np.concatenate([scene.descriptors[:0], *(scene.descriptors[span] for span in spans)])
    order = np.argsort(point, kind="stable")
    start = np.flatnonzero(np.diff(point[order], prepend=-1))
    points, count = point[order[start]], np.diff(start, append=len(order))
    xyz, image = np.asarray(scene.points[points], np.float64), seen_in[order]
    distance = np.linalg.norm(scene.centres[image] - np.repeat(xyz, count, axis=0), axis=1)
    return Guide(
        points.astype(np.int64), xyz, start, count, order, as_float32(descriptors), image, distance,
        with_float32(query), _tree(query.keypoints), _frames(scene, frames),
    )  # fmt: skip


def _frames(scene: Map, frames: np.ndarray) -> Frames:
    cameras = [scene.camera(int(frame)) for frame in frames]
    intrinsics = np.array([camera.matrix for camera in cameras]).reshape(-1, 3, 3)
    sizes = np.array([camera.size for camera in cameras], np.float64).reshape(-1, 2)
    return Frames(scene.centres[frames], intrinsics @ scene.poses[frames, :, :3], sizes)


def guided_match(guide: Guide, estimate: PoseEstimate, radius_px: float) -> tuple[Correspondences, np.ndarray]:
    """Pairs of query keypoints and points of the guide that project within radius_px of them, and their cosines.

    A point is as alike as the best of its observations; point and keypoint must be each other's most alike within the
    radius. Cosines: float32 [M].
    """
    xy, row = _projected(guide, estimate, None)
    found = _mutual(guide, xy, row, radius_px)
    return _correspondences(guide, *found[:2]), found[2]


def match_beyond_chance(
    guide: Guide, estimate: PoseEstimate, radius_px: float, caution: float, most_points: int | None = None
) -> Guided | None:
    """The pairs of `guided_match` that are alike enough: down to the cosine where most is gained.

    Chance is how many pairs are as alike when the projections are moved aside, where none is right. A right pair gains
    one, one by chance costs `caution`. With most_points, only those seen in most frames are looked for. None when no
    LEAST_PAIRS stand out: another place.
    """
    xy, row = _projected(guide, estimate, most_points)
    point, keypoint, cosine = _mutual(guide, xy, row, radius_px)
    aside = ASIDE * max(3 * radius_px, LEAST_ASIDE_PX)
    beside = [_mutual(guide, xy + step, row, radius_px) for step in aside]
    of_wrong, wrong = (np.concatenate([found[part] for found in beside]) for part in (0, 2))
    best = np.sort(cosine)[::-1]
    by_chance = (len(wrong) - np.searchsorted(np.sort(wrong), best)) / len(aside)
    gain = np.arange(1, len(best) + 1) - (1 + caution) * by_chance
    if not len(gain) or gain.max() < LEAST_PAIRS:
        return None
    least = best[gain.argmax()]
    kept = cosine >= least
    pairs = replace(_correspondences(guide, point[kept], keypoint[kept]), quality=quality_of(cosine[kept]))
    return Guided(guide, estimate, pairs, point[kept], of_wrong[wrong >= least], row)


def _projected(guide: Guide, estimate: PoseEstimate, most_points: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Pixels float64 [V, 2] of the points in view, and their rows in the guide, int64 [V]."""
    xy = project(estimate.camera, estimate.pose, guide.xyz)
    with np.errstate(invalid="ignore"):  # nan behind the camera
        row = np.flatnonzero(((xy >= 0) & (xy < estimate.camera.size)).all(axis=1))
    if most_points is not None and len(row) > most_points:
        row = np.sort(row[np.argsort(-guide.count[row], kind="stable")[:most_points]])
    return xy[row], row


def _repeatability(guide: Guide, estimate: PoseEstimate, row: np.ndarray) -> np.ndarray:
    """float64 [P]: of the points in view, row int64 [V], how surely a frame sees each from about as far as the pose
    does: of the frames that have it in view from there the share that saw it, with PRIOR; 0 where none did, and of the
    points not in view.

    Along a street most points in view were seen, near by, from its other end: that they are not found says nothing. And
    a point that two of ten frames found says little.
    """
    which, observation = _observations(guide, row)
    own = np.linalg.norm(estimate.pose.centre - guide.xyz[row], axis=1)
    ratio = own[which] / guide.distance[observation]
    saw = np.bincount(which[(ratio <= SCALES) & (ratio >= 1 / SCALES)], minlength=len(row))
    had = guide.frames.with_in_view(guide.xyz[row], own / SCALES, own * SCALES)
    found = np.zeros(len(guide.points))
    found[row] = np.where(saw > 0, (saw + PRIOR[0]) / (np.maximum(had, saw) + PRIOR[1]), 0)
    return found


def _mutual(
    guide: Guide, xy: np.ndarray, row: np.ndarray, radius_px: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of points and keypoints int64 [M] that are each other's most alike within the radius, their cosines [M]."""
    found = _tree(xy.reshape(-1, 2)).sparse_distance_matrix(guide.tree, radius_px, output_type="ndarray")
    order = np.argsort(found["i"] * len(guide.query) + found["j"])
    point, keypoint = row[found["i"][order]], found["j"][order].astype(np.int64)
    cosine = _best_cosines(guide, point, keypoint)
    of_point, of_keypoint = np.full(len(guide.points), -1, np.float32), np.full(len(guide.query), -1, np.float32)
    np.maximum.at(of_point, point, cosine)
    np.maximum.at(of_keypoint, keypoint, cosine)
    mutual = (cosine >= of_point[point]) & (cosine >= of_keypoint[keypoint])
    return point[mutual], keypoint[mutual], cosine[mutual]


def _tree(points: np.ndarray) -> cKDTree:
    """Over a few thousand points [N, 2], each of which is asked about a few times: one that is soon made."""
    return cKDTree(points, leafsize=8, compact_nodes=False, balanced_tree=False)


def _best_cosines(guide: Guide, point: np.ndarray, keypoint: np.ndarray) -> np.ndarray:
    """float32 [K]: for each (row of points, keypoint) the best cosine over the point's observations."""
    if not len(point):
        return np.zeros(0, np.float32)
    which, observation = _observations(guide, point)
    cosine = _products(guide.query.descriptors, keypoint[which], guide.descriptors, guide.described_by[observation])
    best: np.ndarray = np.maximum.reduceat(cosine, np.searchsorted(which, np.arange(len(point))))
    return best


def _observations(guide: Guide, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64 [O], int64 [O]: places in `point`, rows of points, each as often as the point was observed; by what."""
    count = guide.count[point]
    return np.repeat(np.arange(len(point)), count), _ranges(guide.start[point], count)


def _ranges(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """int64 [sum of count]: start[0], start[0] + 1, ..., count[0] of them; then those from start[1]; and so on."""
    return np.repeat(start - (np.cumsum(count) - count), count) + np.arange(count.sum())


def _products(a: np.ndarray, row: np.ndarray, b: np.ndarray, column: np.ndarray) -> np.ndarray:
    """float32 [K]: the products of rows of a with rows of b, both [.., D], in blocks that stay in the cache."""
    found, rows = np.empty(len(row), np.float32), max(1, BLOCK // a.shape[1])
    from_a, from_b = (np.empty((rows, m.shape[1]), np.float32) for m in (a, b))
    for start in range(0, len(row), rows):
        block = slice(start, min(start + rows, len(row)))
        size = block.stop - start
        np.take(a, row[block], axis=0, out=from_a[:size], mode="clip")  # mode: without it rows are copied twice
        np.take(b, column[block], axis=0, out=from_b[:size], mode="clip")
        np.einsum("nd,nd->n", from_a[:size], from_b[:size], out=found[block])
    return found


def _correspondences(guide: Guide, point: np.ndarray, keypoint: np.ndarray) -> Correspondences:
    vote_pair, observation = _observations(guide, point)
    return Correspondences(
        keypoint, guide.points[point], guide.query.keypoints[keypoint].astype(np.float64), guide.xyz[point],
        vote_pair, guide.image[observation],
    )  # fmt: skip
