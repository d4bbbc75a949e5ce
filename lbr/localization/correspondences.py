"""2D-3D correspondences: matches with db images lifted to the map's points, and the clusters they form."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

import numpy as np

from lbr.mapping.map import Map
from lbr.types import Correspondences, LocalFeatures, Matches

LEAST_DOUBT = 1e-3  # about the score of a match: none is quite certain


def lift(scene: Map, query: LocalFeatures, images: Sequence[int], matches: Sequence[Matches]) -> Correspondences:
    """Matches of the query (a) with `scene.features(image)` (b) of each image -> unique (keypoint, point) pairs.

    A pair found through several images is kept once and credited to each of them. Pairs are ordered by keypoint.
    Quality: each image that finds a pair adds 1 / (1 - score), for cosines the inverse of the squared distance.
    """
    counts = [len(m) for m in matches]
    indices = np.concatenate([np.zeros((0, 2), np.int64), *(m.indices for m in matches)])
    vote_image = np.repeat(np.asarray(images, np.int64), counts)
    keypoint = indices[:, 0].astype(np.int64)
    point = scene.point_index[scene.offsets[vote_image] + indices[:, 1]].astype(np.int64)
    unique, vote_pair = np.unique(keypoint * len(scene.points) + point, return_inverse=True)
    keypoint, point = np.divmod(unique, len(scene.points))
    score = np.concatenate([np.zeros(0, np.float32), *(m.scores for m in matches)])
    quality = np.bincount(vote_pair.reshape(-1), quality_of(score), len(unique))
    return Correspondences(
        keypoint, point, query.keypoints[keypoint].astype(np.float64), np.asarray(scene.points[point], np.float64),
        vote_pair.reshape(-1), vote_image, quality,
    )  # fmt: skip


def quality_of(score: np.ndarray) -> np.ndarray:
    """float64 [M]: what a match of this score says for its pair."""
    quality: np.ndarray = 1 / np.maximum(1 - score.astype(np.float64), LEAST_DOUBT)
    return quality


def seeded_clusters(
    scene: Map, images: Sequence[int], counts: np.ndarray, size: int, seeds: Container[int] | None = None
) -> Iterator[list[int]]:
    """Clusters of db images that show the same place, the most promising first.

    The image with most matches (`counts`, int [len(images)]) seeds a cluster of at most `size`: itself and those that
    share points with it, most matches first; the next cluster is seeded by the best of the rest. Connected components
    would join a whole street, and drown the right images in the false matches of the others.
    With `seeds`, only these images seed clusters; all others can still be in one.
    """
    left = {image: int(count) for image, count in zip(images, counts, strict=True) if count > 0}
    while may_seed := [image for image in left if seeds is None or image in seeds]:
        seed = max(may_seed, key=lambda image: (left[image], -image))
        others = [int(i) for i in scene.covisible(seed)[0] if int(i) in left]
        cluster = [seed, *sorted(others, key=lambda image: (-left[image], image))[: size - 1]]
        yield cluster
        for image in cluster:
            del left[image]


def union(first: Correspondences, second: Correspondences) -> Correspondences:
    """The pairs of `first`, and after them those of `second` that are new, with their votes."""
    width = 1 + max(first.point_index.max(initial=0), second.point_index.max(initial=0))
    known = np.isin(
        second.keypoint_index * width + second.point_index, first.keypoint_index * width + first.point_index
    )
    new = second.select(~known)
    quality = None
    if first.quality is not None and new.quality is not None:
        quality = np.concatenate([first.quality, new.quality])
    return Correspondences(
        np.concatenate([first.keypoint_index, new.keypoint_index]),
        np.concatenate([first.point_index, new.point_index]), np.concatenate([first.points2d, new.points2d]),
        np.concatenate([first.points3d, new.points3d]), np.concatenate([first.vote_pair, len(first) + new.vote_pair]),
        np.concatenate([first.vote_image, new.vote_image]), quality,
    )  # fmt: skip
