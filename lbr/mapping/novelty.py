"""What images added to a map show beside the instances it knows: which labels to believe, and new instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from scipy.spatial import cKDTree

from lbr.mapping.instances.find import Scene, prepare
from lbr.mapping.instances.walls import Wall
from lbr.mapping.map import Map

NEAR = 0.25  # of the distance from the camera: a known instance has known points that close
CONFIRMED = 0.5  # share of an image's points of an instance that must lie where it is
MAX_WIDTH, GAP = 1.5, 0.5  # of a new instance and between two, in shares of the distance it is seen from
MIN_POINTS, MIN_IMAGES = 30, 2
REACH = 1 / 16  # of the image's width: how far from its keypoints a new instance spreads


def confirmed(scene: Map, known: np.ndarray, named: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    """Of the instances named in added images those that stand where the map has them, by image.

    known: int32 [P], the instance of each point of the map, 0 where there is none. named: by image int [O_i], what its
    observations are named. A network that knows only its own instances names strange ones after them; but a facade
    stands in one place.
    """
    trees = {v: cKDTree(scene.points[known == v]) for v in np.unique(known[known > 0]).tolist()}
    found: dict[str, list[int]] = {}
    for name, own in named.items():
        image = scene.index_of(name)
        points = scene.points[scene.point_index[scene.observations(image)]]
        reach = np.linalg.norm(points - scene.pose(image).centre, axis=1)
        found[name] = []
        for v in np.intersect1d(own, list(trees)).tolist():
            near = trees[v].query(points[own == v])[0] <= NEAR * reach[own == v]
            found[name] += [v] if near.mean() >= CONFIRMED else []
    return found


def known_points(scene: Map, labels: np.ndarray) -> np.ndarray:
    """int32 [P]: the instance that most observations of a point have; labels: int [O]; 0 where it is the background."""
    pairs, counts = np.unique(np.stack([scene.point_index, labels], 1), axis=0, return_counts=True)
    order = np.lexsort((-counts, pairs[:, 0]))
    first = order[np.unique(pairs[order, 0], return_index=True)[1]]
    known = np.zeros(len(scene.points), np.int32)
    known[pairs[first, 0]] = pairs[first, 1]
    return known


def new_groups(scene: Map, unknown: np.ndarray, seed: int) -> np.ndarray:
    """int32 [P]: facade-like pieces, from 1, of the points that are unknown (bool [P]); 0 for all others.

    Walls of the map, cut where unknown points leave a gap and where they get too wide to be one thing.
    Raises DataError when the map has too few points to have walls.
    """
    ready = prepare(scene, seed)
    groups, count = np.zeros(len(scene.points), np.int32), 0
    for wall in ready.walls:
        for piece in _pieces(ready, wall, unknown):
            if len(piece) >= MIN_POINTS and np.count_nonzero(ready.seen[piece].sum(axis=0)) >= MIN_IMAGES:
                count += 1
                groups[piece] = count
    return groups


def _pieces(ready: Scene, wall: Wall, unknown: np.ndarray) -> Sequence[np.ndarray]:
    """Points of the map, in runs along a wall."""
    members = wall.points[unknown[ready.cloud.index[wall.points]]]
    if not len(members):
        return []
    along, _ = wall.place(ready.cloud.xyz[members])
    order = np.argsort(along)
    cuts = np.flatnonzero(np.diff(along[order]) > GAP * wall.reach) + 1
    runs = np.split(order, cuts)
    pieces = []
    for run in runs:
        width = along[run[-1]] - along[run[0]]
        parts = max(1, int(np.ceil(width / (MAX_WIDTH * wall.reach))))
        edges = along[run[0]] + width * np.arange(1, parts) / parts
        pieces += np.split(run, np.searchsorted(along[run], edges))
    return [ready.cloud.index[members[piece]] for piece in pieces]


def spread_groups(scene: Map, name: str, classes: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask int [H, W] of an image with new instances on its background, around the keypoints that see them.

    classes: int32 [P], the new instance of each point, or 0. A pixel is of its nearest keypoint's, up to REACH.
    """
    image = scene.index_of(name)
    span = scene.observations(image)
    of_keypoint = classes[scene.point_index[span]]
    if not of_keypoint.any():
        return mask
    height, width = mask.shape
    scale = np.array([width, height]) / scene.camera(image).size
    column, row = np.clip(np.floor(scene.keypoints[span] * scale).astype(int), 0, [width - 1, height - 1]).T
    free = np.full((height, width), 255, np.uint8)
    free[row, column] = 0
    distance, nearest = cv2.distanceTransformWithLabels(
        free, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_seed = np.zeros(nearest.max() + 1, mask.dtype)
    of_seed[nearest[row, column]] = of_keypoint
    around = np.where(distance <= REACH * width, of_seed[nearest], 0)
    return np.where(mask > 0, mask, around).astype(mask.dtype)
