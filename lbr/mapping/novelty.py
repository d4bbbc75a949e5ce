"""What images added to a map show beside the instances it knows: which labels to believe, and which are new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial import cKDTree

from lbr.mapping.instances.cloud import Cloud
from lbr.mapping.instances.find import NEIGHBOURS, Found
from lbr.mapping.instances.pieces import COVERED
from lbr.mapping.map import Map

NEAR = 0.25  # of the distance from the camera: a known instance has known points that close
CONFIRMED = 0.5  # share of an image's points of an instance that must lie where it is
NEW = 0.5  # of its points, fewer than these may be: else it is not new


def confirmed(scene: Map, known: np.ndarray, named: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    """Of the instances named in added images those that stand where the map has them, by image.

    known: int32 [P], the instance of each point of the map, 0 where there is none. named: by image int [O_i], what its
    observations are named. A network that knows only its own instances names strange ones after them; but a facade
    stands in one place.
    """
    home = np.full(len(scene.points), -1)
    home[scene.point_index] = np.repeat(scene.place, np.diff(scene.offsets))
    there = np.unique(np.stack([home, known], 1)[known > 0], axis=0).tolist()
    trees = {(place, v): cKDTree(scene.points[(home == place) & (known == v)]) for place, v in there}
    found: dict[str, list[int]] = {}
    for name, own in named.items():
        image = scene.index_of(name)
        points = scene.points[scene.point_index[scene.observations(image)]]
        reach = np.linalg.norm(points - scene.pose(image).centre, axis=1)
        place = int(scene.place[image])
        found[name] = []
        for v in [v for v in np.unique(own).tolist() if (place, v) in trees]:
            near = trees[place, v].query(points[own == v])[0] <= NEAR * reach[own == v]
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


def surroundings(scene: Map, added: Sequence[int]) -> np.ndarray:
    """int64 [K], ascending: images that were added to a map, and those that share most points with each."""
    near = [scene.covisible(image)[0][:NEIGHBOURS] for image in added]
    return np.unique(np.concatenate([added, *near])).astype(np.int64)


def new_pieces(found: Found, cloud: Cloud, known: np.ndarray) -> list[int]:
    """Ids of the instances that stand, for the most part, where there was nothing before.

    known: bool [P], the points that the map had before, and those that are named already. A point beside these is of
    what was there too: an instance that was dropped does not come back because one more photograph shows it.
    """
    old = known[cloud.index]
    if not old.any():
        return list(range(1, found.num + 1))
    old = cKDTree(cloud.xyz[old]).query(cloud.xyz)[0] <= COVERED * cloud.reach
    labels = found.labels[cloud.index]
    points, of_old = (np.bincount(labels[rows], minlength=found.num + 1) for rows in (labels > 0, (labels > 0) & old))
    return [number for number in range(1, found.num + 1) if of_old[number] < NEW * points[number]]
