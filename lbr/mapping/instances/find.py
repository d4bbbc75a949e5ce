"""The method, in the order of its steps: gravity, points, walls, their pictures, pieces, and what may be in view."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from lbr.errors import DataError
from lbr.geometry.gravity import Ground, ground_across, ground_of, refine_up
from lbr.mapping.instances.cloud import Cloud, cloud_of
from lbr.mapping.instances.kmeans import cluster_points
from lbr.mapping.instances.openings import without_openings
from lbr.mapping.instances.pieces import (
    Outlines,
    Piece,
    attach,
    cut_wall,
    images_showing,
    is_bare,
    is_empty,
    is_foliage,
    joined,
    ordered,
    outlines_of,
    shares_of_view,
    within,
)
from lbr.mapping.instances.settings import FacadeInstances, KMeansInstances
from lbr.mapping.instances.texture import Canvas, Texture, canvas_of, stretches
from lbr.mapping.instances.views import level_pose, sightings, small_size
from lbr.mapping.instances.walls import Wall, find_walls
from lbr.mapping.map import Map
from lbr.types import Camera, Pose

NEIGHBOURS = 30  # covisible images whose pieces may be in view too
IN_VIEW = 0.01  # of a photograph: pieces that would fill so much of it may be in view, whatever points it shares
IMAGES_PER_CLUSTER = 3


@dataclass(frozen=True, eq=False)
class Scene:
    """A map made ready: the ground (up refined by the walls), its usable points, its walls, who sees what."""

    map: Map
    ground: Ground
    cloud: Cloud
    walls: tuple[Wall, ...]
    seen: sparse.csr_matrix


@dataclass(frozen=True, eq=False)
class Found:
    """Instances of a map.

    labels: int32 [P], the id of each of its points, 0: none. num: how many there are. pieces: (id, piece) in the order
    of the ids, several of one id where it has layers; empty for a method without planes.
    """

    labels: np.ndarray
    num: int
    pieces: tuple[tuple[int, Piece], ...] = ()

    @cached_property
    def outlines(self) -> Outlines:
        """Of the pieces, in their order."""
        return outlines_of([piece for _, piece in self.pieces])


Painted = tuple[Wall, Canvas, Texture]  # a wall with its picture


@dataclass(frozen=True, eq=False)
class ImageTask:
    """What the labelling of one image needs: camera and cam_from_level; the pieces that may be in view, by id; its
    keypoints float [N, 2] in pixels of its small copy, with the ids int [N] of their points. unseen: ids of pieces
    that lie before the camera, but that neither it nor a covisible image sees a point of. by_planes: whether the method
    has planes."""

    name: str
    camera: Camera
    pose: Pose
    pieces: list[tuple[int, Piece]]
    keypoints: np.ndarray
    labels: np.ndarray
    unseen: frozenset[int]
    by_planes: bool


def prepare(scene: Map, seed: int, min_track: int = 2) -> Scene:
    """Gravity and walls of a map, by points that `min_track` images see. Raises DataError when it has too few."""
    ground = ground_of(np.asarray(scene.poses, np.float64)[:, :, :3])
    cloud = cloud_of(scene, ground, min_track)
    walls = find_walls(cloud, seed)
    if walls:
        normals = np.stack([_normal(cloud, wall) for wall in walls]) @ ground.level_from_world
        ground = ground_across(refine_up(ground.up, normals, np.array([float(len(w.points)) for w in walls])))
        cloud = cloud_of(scene, ground, min_track)
        walls = find_walls(cloud, seed)
    return Scene(scene, ground, cloud, tuple(walls), sightings(scene))


def _normal(cloud: Cloud, wall: Wall) -> np.ndarray:
    """Unit normal [3] of the plane through a wall's points, level frame: unlike the wall it may lean."""
    offset = cloud.xyz[wall.points] - cloud.xyz[wall.points].mean(axis=0)
    return np.linalg.eigh(offset.T @ offset)[1][:, 0]


def canvases(scene: Scene) -> list[tuple[Wall, Canvas, list[tuple[int, int, np.ndarray]]]]:
    """For every wall that enough points make worth it: the canvas, and the images that paint its stretches."""
    found = []
    for wall in scene.walls:
        canvas = canvas_of(scene.cloud, wall)
        found.append((wall, canvas, stretches(scene.cloud, wall, canvas, scene.seen)))
    return found


def find_facades(scene: Scene, painted: list[Painted], settings: FacadeInstances) -> Found:
    """The instances of a map from the pictures of its walls. Raises DataError when there is none."""
    needed = settings.images_needed(len(scene.map))
    cut = ordered([
        piece
        for wall, canvas, texture in painted
        for piece in cut_wall(scene.cloud, wall, (canvas, texture), scene.seen, settings, needed)
    ])  # fmt: skip
    pieces = [
        piece
        for piece in without_openings(scene.map, scene.ground, scene.cloud, cut)
        if not is_foliage(scene.cloud, piece, settings) and not is_empty(piece, settings)
    ]
    root = joined(scene.cloud, pieces)
    wholes = [k for k in sorted(set(root)) if not is_bare(pieces[k], settings)]
    if not wholes:
        raise DataError(
            f"not one of {len(painted)} upright planes is seen in {needed} images, rises over the eye and looks "
            "alike in them, has level and upright edges and detail, has points all over, and nothing is seen through "
            "it; see instances: min_images, min_points, min_rise, min_agreement, min_square, min_told, min_covered"
        )
    numbers = {k: number for number, k in enumerate(wholes, 1)}
    kept = [k for k, whole in enumerate(root) if whole in numbers]
    ids = [numbers[root[k]] for k in kept]
    labels = np.zeros(len(scene.map.points), np.int32)
    labels[scene.cloud.index] = attach(scene.cloud, [pieces[k] for k in kept], ids)
    parts = [(number, within(pieces[k], pieces[root[k]])) for number, k in zip(ids, kept, strict=True)]
    known = tuple((number, part) for number, part in parts if part is not None)
    return Found(labels, len(numbers), known)


def find_clusters(scene: Scene, settings: KMeansInstances, seed: int) -> Found:
    """The baseline's instances: clusters that enough images show, most images first. Raises DataError when there is
    none."""
    num = settings.num or max(1, len(scene.map) // IMAGES_PER_CLUSTER)
    clusters = cluster_points(scene.cloud, num, seed)
    members = [np.flatnonzero(clusters == k) for k in range(1, num + 1)]
    shown = [
        len(images_showing(scene.cloud.index[m], scene.seen)) if len(m) >= settings.min_points else 0 for m in members
    ]
    order = [
        k for k in np.argsort(-np.array(shown), kind="stable") if shown[k] >= settings.images_needed(len(scene.map))
    ]
    if not order:
        raise DataError(f"not one of {num} clusters of points is seen in enough images; see instances.num, min_images")
    labels = np.zeros(len(scene.map.points), np.int32)
    for number, k in enumerate(order, 1):
        labels[scene.cloud.index[members[k]]] = number
    return Found(labels, len(order))


def numbered_from(found: Found, first: int) -> Found:
    """The same instances with ids from `first` + 1 on: behind those of another part of the map."""
    labels = np.where(found.labels > 0, found.labels + first, 0).astype(np.int32)
    return replace(found, labels=labels, pieces=tuple((number + first, piece) for number, piece in found.pieces))


def task_of(scene: Scene, found: Found, image: int) -> ImageTask:
    """What one image's labelling needs. The pieces that may be in view are those that it or a covisible image sees, and
    those that lie before it: from far off or from the side a facade has no point in common with the views of it."""
    span, camera = scene.map.observations(image), scene.map.camera(image)
    labels = found.labels[scene.map.point_index[span]]
    scale = np.array(small_size(camera)) / np.array(camera.size)
    near = [labels]
    for other in scene.map.covisible(image)[0][:NEIGHBOURS]:
        near.append(found.labels[scene.map.point_index[scene.map.observations(int(other))]])
    ids = set(np.unique(np.concatenate(near)).tolist())
    pose = level_pose(scene.map, image, scene.ground)
    fills = shares_of_view(found.outlines, camera, pose) >= IN_VIEW
    pieces = [known for known, fill in zip(found.pieces, fills, strict=True) if fill or known[0] in ids]
    keypoints = np.asarray(scene.map.keypoints[span], np.float64) * scale
    unseen = frozenset(number for number, _ in pieces) - ids
    return ImageTask(scene.map.names[image], camera, pose, pieces, keypoints, labels, unseen, bool(found.pieces))
