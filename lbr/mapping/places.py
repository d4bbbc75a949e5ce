"""Several models that share no points, laid out as one: places, each in a frame of its own; parts of them, and their
places brought into one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lbr.geometry.similarity import Similarity
from lbr.io.colmap_arrays import ModelArrays
from lbr.mapping.map import Map


def join_places(models: Sequence[ModelArrays]) -> tuple[ModelArrays, np.ndarray]:
    """One set of arrays of several models without a common image, and the model (place) of each image, int32 [I].

    Images are sorted by name over all models; points stay in the order of the models. Nothing is transformed: poses
    and points of different places cannot be compared. Raises ValueError when two models have an image in common.
    """
    names = [name for model in models for name in model.names]
    if len(set(names)) < len(names):
        raise ValueError("an image belongs to one place, and two models have it")
    if len(models) == 1:
        return models[0], np.zeros(len(names), np.int32)
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.repeat(np.arange(len(models), dtype=np.int32), [len(model.names) for model in models])
    cameras = [camera for model in models for camera in model.cameras]
    poses = [pose for model in models for pose in model.poses]
    lengths = np.concatenate([np.diff(model.offsets) for model in models])
    starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    offsets = np.concatenate([[0], np.cumsum(lengths[order])]).astype(np.int64)
    rows = np.repeat(starts[order] - offsets[:-1], lengths[order]) + np.arange(offsets[-1])
    first_point = np.cumsum([0, *(len(model.points) for model in models)])
    points = [np.where(m.point_index < 0, -1, m.point_index + n) for m, n in zip(models, first_point, strict=False)]
    joined = ModelArrays(
        tuple(names[i] for i in order), tuple(cameras[i] for i in order), tuple(poses[i] for i in order), offsets,
        np.concatenate([m.keypoints for m in models])[rows], np.concatenate(points)[rows].astype(np.int32),
        np.concatenate([m.points for m in models]), np.concatenate([m.point_errors for m in models]),
    )  # fmt: skip
    return joined, place[order]


def part_of(scene: Map, images: np.ndarray) -> tuple[Map, np.ndarray]:
    """Some images of a map, int [K] ascending, with the points that they see; and which of its points these are, int64
    [Q] ascending. Tracks and covisibility are those among these images. The map itself where all are asked for."""
    if len(images) == len(scene):
        return scene, np.arange(len(scene.points))
    counts = np.diff(scene.offsets)
    kept = np.repeat(np.isin(np.arange(len(scene)), images), counts)
    points, point_index = np.unique(scene.point_index[kept], return_inverse=True)
    part = Map(
        names=tuple(scene.names[i] for i in images), cameras=scene.cameras, camera_index=scene.camera_index[images],
        poses=scene.poses[images], offsets=np.concatenate([[0], np.cumsum(counts[images])]).astype(np.int64),
        keypoints=scene.keypoints[kept], descriptors=scene.descriptors[kept], point_index=point_index.astype(np.int32),
        points=scene.points[points], point_errors=scene.point_errors[points],
        track_lengths=np.bincount(point_index, minlength=len(points)).astype(np.int32),
        covisibility=scene.covisibility[images][:, images].tocsr(), extractor=scene.extractor,
        place=scene.place[images], units=scene.units,
    )  # fmt: skip
    return part, points.astype(np.int64)


def in_one_frame(scene: Map, frames: Mapping[int, Similarity]) -> Map:
    """The map in a frame that all of its places have, in metres. frames: metres_from_map of every place."""
    poses, points = np.array(scene.poses, np.float64), np.array(scene.points, np.float64)
    for place in np.unique(scene.place).tolist():
        for image in scene.images_of(place).tolist():
            poses[image] = frames[place].move(scene.pose(image)).matrix
        seen = scene.points_of(place)
        points[seen] = frames[place].apply(points[seen])
    return replace(scene, poses=poses, points=points, units="metres")
