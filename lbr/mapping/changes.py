"""A map with images more or fewer; what does not depend on them keeps every bit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import project
from lbr.mapping.map import Map, covisibility
from lbr.types import LocalFeatures


@dataclass(frozen=True)
class NewImage:
    """An image to add to a map: its camera, cam_from_world in the frame of its place, and which place this is; what the
    photograph itself says of its camera, None where it says nothing."""

    camera: Camera
    pose: Pose
    place: int = 0
    said: Camera | None = None


@dataclass(frozen=True, eq=False)
class NewObservations:
    """Observations to add to a map. images: names [K]. keypoints: float32 [K, 2]. descriptors: [K, D].

    point_index: int [K]; points of the map, and from P on the new points.
    """

    images: np.ndarray
    keypoints: np.ndarray
    descriptors: np.ndarray
    point_index: np.ndarray


@dataclass(frozen=True)
class Addition:
    """Images that were added to a map in one go, and how many points they made, which follow those of earlier ones."""

    names: tuple[str, ...]
    num_points: int


def points_of_keypoints(scene: Map, name: str, features: LocalFeatures) -> np.ndarray:
    """int64 [N]: the map's point of each of an image's keypoints, -1 for none; found by equal bits."""
    own = np.full(len(features), -1, np.int64)
    span = scene.observations(scene.index_of(name))
    if not len(features) or span.start == span.stop:
        return own
    rows, mapped = (_rows(f.keypoints, f.descriptors) for f in (features, scene.features(scene.index_of(name))))
    order = np.argsort(rows, kind="stable")
    place = np.minimum(np.searchsorted(rows[order], mapped), len(rows) - 1)
    there = rows[order][place] == mapped
    own[order[place[there]]] = scene.point_index[span][there]
    return own


def _rows(keypoints: np.ndarray, descriptors: np.ndarray) -> np.ndarray:
    """Each of one or more keypoints with its descriptor as one comparable value: two of one place differ in it."""
    parts = np.ascontiguousarray(keypoints, np.float32), np.ascontiguousarray(descriptors, np.float16)
    packed = np.ascontiguousarray(np.hstack([part.view(np.uint8).reshape(len(part), -1) for part in parts]))
    return packed.view(f"S{packed.shape[1]}").reshape(-1)


def with_images(scene: Map, images: Mapping[str, NewImage], points: np.ndarray, seen: NewObservations) -> Map:
    """The map with new images, points [Q, 3] and observations. Old points keep their place, new ones follow.

    Raises ValueError for an image that is there already.
    """
    if clash := sorted(set(images) & set(scene.names)):
        raise ValueError(f"the map has '{clash[0]}' already")
    new = [replace(image, camera=_of_map(image.camera, scene.cameras)) for image in images.values()]
    names = np.array([*scene.names, *images])
    order = np.argsort(names, kind="stable")
    row = np.empty(len(order), np.int64)
    row[order] = np.arange(len(order))
    of_image = {name: row[i] for i, name in enumerate(names.tolist())}
    listed = tuple(dict.fromkeys([*scene.cameras, *(image.camera for image in new)]))
    camera_index = np.concatenate([scene.camera_index, [listed.index(image.camera) for image in new]])
    place = np.concatenate([scene.place, [image.place for image in new]])
    poses = np.concatenate([scene.poses, np.reshape([image.pose.matrix for image in new], (-1, 3, 4))])
    added = np.array([of_image[name] for name in seen.images.tolist()], np.int64)
    everything = replace(
        scene, names=tuple(names[order].tolist()), cameras=listed, camera_index=camera_index[order].astype(np.int32),
        poses=poses[order], place=place[order].astype(np.int32), offsets=np.zeros(1, np.int64), labels=None,
        keypoints=np.concatenate([scene.keypoints, seen.keypoints.astype(np.float32)]),
        descriptors=np.concatenate([scene.descriptors, seen.descriptors.astype(np.float16)]),
        point_index=np.concatenate([scene.point_index, seen.point_index]).astype(np.int32),
        points=np.concatenate([scene.points, points]),
        point_errors=np.concatenate([scene.point_errors, np.zeros(len(points), np.float32)]),
        said={**scene.said, **{name: image.said for name, image in images.items() if image.said is not None}},
    )  # fmt: skip
    image = np.concatenate([row[_images_of_observations(scene)], added])
    return _assembled(everything, image, np.unique(seen.point_index))


def _of_map(camera: Camera, known: Collection[Camera]) -> Camera:
    """Intrinsics as a map has them: given, as are those that it gave itself, or else its own, however estimated."""
    given = replace(camera, source="given", body="", spreads=())
    return given if camera.source == "given" or given in known else replace(given, source="map")


def without_images(
    scene: Map, removed: Collection[str], additions: Sequence[Addition] = ()
) -> tuple[Map, tuple[Addition, ...]]:
    """The map without these images, and what is left of the additions to it.

    A point goes that fewer than two images see, or that an addition made none of whose images sees it any more: so
    taking away what was added gives the map as it was. Of places without images the number goes too, those behind move
    up. Raises DataError when no image is left, or no point.
    """
    gone = np.isin(np.array(scene.names), sorted(removed))
    if gone.all():
        raise DataError(f"all {len(scene)} images of the map would go; delete the workspace instead")
    image = _images_of_observations(scene)
    kept = ~gone[image]
    lost = np.unique(scene.point_index[~kept])
    views = np.unique(np.stack([scene.point_index[kept], image[kept]], 1), axis=0)
    born = _born(len(scene.points), additions)
    alive = np.bincount(views[:, 0], minlength=len(scene.points)) >= 2
    alive &= _sees_its_own(born, views, [np.isin(np.array(scene.names), a.names) for a in additions])
    if not alive.any():
        raise DataError("no point would be left that two images see")
    kept &= alive[scene.point_index]
    renumbered, row = np.cumsum(alive) - 1, np.cumsum(~gone) - 1
    used, place = np.unique(scene.camera_index[~gone]), np.unique(scene.place[~gone])
    smaller = replace(
        scene, names=tuple(np.array(scene.names)[~gone].tolist()), cameras=tuple(scene.cameras[k] for k in used),
        camera_index=np.searchsorted(used, scene.camera_index[~gone]).astype(np.int32), poses=scene.poses[~gone],
        place=np.searchsorted(place, scene.place[~gone]).astype(np.int32), offsets=np.zeros(1, np.int64), labels=None,
        keypoints=scene.keypoints[kept], descriptors=scene.descriptors[kept],
        point_index=renumbered[scene.point_index[kept]].astype(np.int32), points=scene.points[alive],
        point_errors=scene.point_errors[alive], said={n: c for n, c in scene.said.items() if n not in removed},
    )  # fmt: skip
    sizes = np.bincount(born[alive], minlength=len(additions) + 1)[1:]
    left = [
        Addition(tuple(n for n in a.names if n not in removed), int(k)) for a, k in zip(additions, sizes, strict=True)
    ]
    return _assembled(smaller, row[image[kept]], renumbered[lost[alive[lost]]]), tuple(left)


def _born(num_points: int, additions: Sequence[Addition]) -> np.ndarray:
    """int [P]: 0 for the points of the map as it was made, k for those that addition k (from 1) made."""
    made = [a.num_points for a in additions]
    return np.repeat(np.arange(len(made) + 1), [num_points - sum(made), *made])


def _sees_its_own(born: np.ndarray, views: np.ndarray, own: Sequence[np.ndarray]) -> np.ndarray:
    """bool [P]: whether an image of a point's own addition sees it; views: (point, image) rows, own: bool [I] each."""
    is_own = np.stack([np.ones(len(own[0]) if own else views[:, 1].max(initial=-1) + 1, bool), *own])
    sees = is_own[born[views[:, 0]], views[:, 1]]
    return (np.bincount(views[:, 0], sees, len(born)) > 0) | (born == 0)


def _assembled(loose: Map, image: np.ndarray, changed: np.ndarray) -> Map:
    """A map from observations in any order (image: int [O]); of the `changed` points the errors are measured anew."""
    order = np.argsort(image, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(image, minlength=len(loose)))]).astype(np.int64)
    point_index, keypoints = loose.point_index[order], loose.keypoints[order]
    scene = replace(
        loose, offsets=offsets, keypoints=keypoints, descriptors=loose.descriptors[order], point_index=point_index,
        track_lengths=np.bincount(point_index, minlength=len(loose.points)).astype(np.int32),
        covisibility=covisibility(offsets, point_index, len(loose.points)),
    )  # fmt: skip
    errors = np.array(loose.point_errors, np.float32)
    errors[changed] = _mean_errors(scene, changed)
    return replace(scene, point_errors=errors)


def _mean_errors(scene: Map, points: np.ndarray) -> np.ndarray:
    """float64 [len(points)]: mean reprojection error of points, in pixels, over all that see them."""
    asked = np.zeros(len(scene.points), bool)
    asked[points] = True
    sums = np.zeros(len(scene.points))
    for i in range(len(scene)):
        span = scene.observations(i)
        own = np.flatnonzero(asked[scene.point_index[span]])
        if len(own):
            point = scene.point_index[span][own]
            off = project(scene.camera(i), scene.pose(i), scene.points[point]) - scene.keypoints[span][own]
            sums += np.bincount(point, np.linalg.norm(off, axis=1), len(sums))
    return sums[points] / np.maximum(scene.track_lengths[points], 1)


def _images_of_observations(scene: Map) -> np.ndarray:
    return np.repeat(np.arange(len(scene)), np.diff(scene.offsets))
