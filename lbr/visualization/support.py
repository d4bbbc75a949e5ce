"""What supports a pose: map points that it projects onto keypoints that look like them.

The results hold no matches. Projecting the map with the pose and looking for the keypoints there shows what agrees
with the pose, whichever way it was found; a wrong pose shows that nothing does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import project
from lbr.mapping.map import Map
from lbr.types import LocalFeatures

MAX_ERROR_PX = 4.0
NUM_NEAR, NUM_OTHERS = 4, 256


@dataclass(frozen=True, eq=False)
class Support:
    """Pairs of an observation of the map and a keypoint of the query, each of both at most once.

    observation_index: int [S], into the map's observations. keypoint_index: int [S], into the query's features.
    projected: float64 [S, 2], where the pose puts the point, in pixels of the query. depth: float64 [S], metres
    before the query's camera. visible: int [V], the observations asked about whose points fall into the picture.
    """

    observation_index: np.ndarray
    keypoint_index: np.ndarray
    projected: np.ndarray
    depth: np.ndarray
    visible: np.ndarray

    def __len__(self) -> int:
        return len(self.keypoint_index)

    def within(self, span: slice) -> Support:
        """The part that concerns one db image, `span` being its observations."""
        kept = (self.observation_index >= span.start) & (self.observation_index < span.stop)
        seen = (self.visible >= span.start) & (self.visible < span.stop)
        return Support(
            self.observation_index[kept], self.keypoint_index[kept], self.projected[kept], self.depth[kept],
            self.visible[seen],
        )  # fmt: skip


def observations_around(scene: Map, image: int, num_covisible: int = 0) -> np.ndarray:
    """Observations int [K] of a db image and of those that share most points with it.

    Every point once: the image's own observations come first, so all of them are there.
    """
    images = [image, *scene.covisible(image)[0][:num_covisible].tolist()]
    spans = [np.arange(scene.offsets[i], scene.offsets[i + 1]) for i in images]
    all_of_them = np.concatenate(spans)
    _, first = np.unique(scene.point_index[all_of_them], return_index=True)
    return all_of_them[np.sort(first)]


def find_support(
    scene: Map, observations: np.ndarray, camera: Camera, pose: Pose, features: LocalFeatures,
    max_error_px: float = MAX_ERROR_PX,
) -> Support:  # fmt: skip
    """Observations int [K] of the map whose points the pose (cam_from_world) projects onto keypoints like them.

    A keypoint is like an observation when it lies within `max_error_px` of the projection and its descriptor is more
    similar than that of every one of some 256 keypoints from elsewhere in the picture. The second condition matters:
    among 2,000 keypoints of a small picture a third of all places have one within 4 px by chance.
    """
    points = scene.points[scene.point_index[observations]]
    projected, depth = project(camera, pose, points), pose.apply(points)[:, 2]
    with np.errstate(invalid="ignore"):
        inside = np.flatnonzero(((projected >= 0) & (projected < camera.size)).all(axis=1) & (depth > 0))
    visible = observations[inside]
    if not len(inside) or not len(features) or features.descriptors.shape[1] != scene.descriptors.shape[1]:
        none = np.zeros(0, np.int64)
        return Support(none, none, np.zeros((0, 2)), np.zeros(0), visible)
    wanted = np.asarray(scene.descriptors[visible], np.float32)
    keypoint, likeness = _alike_nearby(projected[inside], wanted, features, max_error_px)
    near = np.flatnonzero(np.isfinite(likeness))
    elsewhere = _likeness_elsewhere(projected[inside[near]], wanted[near], features, max_error_px)
    sure = near[likeness[near] > elsewhere]
    kept = sure[_best_of_each(keypoint[sure], likeness[sure])]
    return Support(visible[kept], keypoint[kept], projected[inside[kept]], depth[inside[kept]], visible)


def _alike_nearby(
    xy: np.ndarray, wanted: np.ndarray, features: LocalFeatures, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """The most similar of the nearest keypoints within `radius` of each place, int [V], and how similar, [V].

    The similarity is the product of the descriptors, -inf where there is no keypoint.
    """
    distance, near = cKDTree(features.keypoints).query(xy, NUM_NEAR, distance_upper_bound=radius)
    found = np.isfinite(distance)
    near = np.where(found, near, 0)
    likeness = np.einsum("vkd,vd->vk", features.descriptors[near].astype(np.float32), wanted)
    likeness[~found] = -np.inf
    best = likeness.argmax(axis=1)
    rows = np.arange(len(best))
    return near[rows, best], likeness[rows, best]


def _likeness_elsewhere(xy: np.ndarray, wanted: np.ndarray, features: LocalFeatures, radius: float) -> np.ndarray:
    """The greatest similarity [V] to keypoints from anywhere but the place itself, of an even choice of them."""
    chosen = np.unique(np.linspace(0, len(features) - 1, NUM_OTHERS).astype(np.int64))
    likeness = wanted @ features.descriptors[chosen].astype(np.float32).T
    far = cdist(xy, features.keypoints[chosen], "sqeuclidean") > (3 * radius) ** 2
    return np.where(far, likeness, -np.inf).max(axis=1)


def _best_of_each(keypoint: np.ndarray, likeness: np.ndarray) -> np.ndarray:
    """Rows int [S], rising, that keep every keypoint once, with the observation most similar to it."""
    order = np.lexsort((-likeness, keypoint))
    first = np.unique(keypoint[order], return_index=True)[1]
    return np.sort(order[first])
