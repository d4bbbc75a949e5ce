"""Refinement of a pose with the frames of the map that see the same points (METHOD.md 11)."""

from __future__ import annotations

import numpy as np
from pydantic import Field
from scipy.spatial import cKDTree

from lbr.io.colmap import project
from lbr.localization.pnp import MIN_PAIRS, refine_pose, reprojection_errors
from lbr.mapping.map import Map
from lbr.settings import Settings
from lbr.types import Correspondences, LocalFeatures, PoseEstimate

LOOSEST = 0.1  # guided pairs must be as alike as all but this share of the verified pairs


class RefinementSettings(Settings):
    """The points of covisible frames are projected under the pose and matched within `radius_px`, halved each round;
    those that reproject within `max_error_px` make the pose."""

    enabled: bool = True
    covisible_frames: int = Field(default=20, ge=1)
    max_angle_deg: float = Field(default=60.0, gt=0, le=180, description="rotation between a frame and the estimate")
    radius_px: float = Field(default=10.0, gt=0)
    max_error_px: float = Field(default=4.0, gt=0)
    loss_scale_px: float = Field(default=0.5, gt=0, description="of the Cauchy loss")
    iterations: int = Field(default=3, ge=1)


def covisible_frames(
    scene: Map, support: np.ndarray, estimate: PoseEstimate, settings: RefinementSettings
) -> np.ndarray:
    """int [K]: the supporting images and those that share most points with them, best first.

    support: int [I], inliers of the estimate by db image. Frames that look elsewhere are left out.
    """
    weight = support.astype(np.float64)
    score = scene.covisibility.T @ weight + weight * np.diff(scene.offsets)
    cosine = (np.einsum("nij,ij->n", scene.poses[:, :, :3], estimate.pose.R) - 1) / 2
    score[cosine < np.cos(np.radians(settings.max_angle_deg))] = 0
    best = np.argsort(-score, kind="stable")[: settings.covisible_frames]
    return best[score[best] > 0]


def refine_with_frames(
    scene: Map, query: LocalFeatures, estimate: PoseEstimate, pairs: Correspondences, settings: RefinementSettings
) -> tuple[PoseEstimate, Correspondences] | None:
    """Guided matching under the pose and non-linear refinement, in turn; the estimate and the pairs it is from.

    None when a round is left with too few pairs: the caller keeps what it had.
    """
    frames = covisible_frames(scene, pairs.votes_by_image(estimate.inliers, len(scene)), estimate, settings)
    verified = pairs.select(estimate.inliers)
    least_cosine: float | None = None
    for round_index in range(settings.iterations):
        # Later rounds search closer: the pose is better, and a look-alike nearby no longer gets in the way.
        radius = max(settings.max_error_px, settings.radius_px * 0.5**round_index)
        guided, cosine = guided_match(scene, query, frames, estimate, radius)
        if least_cosine is None:
            known = np.isin(_pair_keys(scene, guided), _pair_keys(scene, verified))
            least_cosine = _least_cosine(cosine[known])
        guided = guided.select(cosine >= least_cosine)
        moved = _refine_twice(guided, estimate, radius, settings)
        if moved is None:
            return None
        estimate = moved
    return estimate, guided


def _refine_twice(
    pairs: Correspondences, estimate: PoseEstimate, radius: float, settings: RefinementSettings
) -> PoseEstimate | None:
    """First from all pairs within the search radius, then from those within max_error_px of that pose."""
    for limit in (radius, settings.max_error_px):
        if len(pairs) < MIN_PAIRS:
            return None
        errors = reprojection_errors(estimate.camera, estimate.pose, pairs.points2d, pairs.points3d)
        moved = refine_pose(pairs, errors <= limit, estimate.pose, estimate.camera, settings.loss_scale_px)
        if moved is None:
            return None
        estimate = moved
    return estimate


def guided_match(
    scene: Map, query: LocalFeatures, frames: np.ndarray, estimate: PoseEstimate, radius_px: float
) -> tuple[Correspondences, np.ndarray]:
    """Pairs of query keypoints and points seen by `frames` that project within radius_px of them, and their cosines.

    A point is as alike as the best of its observations in `frames`; point and keypoint must be each other's most
    alike within the radius. Cosines: float32 [M].
    """
    observation = np.concatenate(
        [np.zeros(0, np.int64), *(np.arange(scene.offsets[f], scene.offsets[f + 1]) for f in frames)]
    )
    seen_in = np.repeat(frames, scene.offsets[frames + 1] - scene.offsets[frames])
    points, owner = np.unique(scene.point_index[observation], return_inverse=True)
    near = _near_keypoints(estimate, scene.points[points], query, radius_px)
    cosine = _best_cosines(scene, query, near, observation, owner.reshape(-1))

    best_of_point = np.full(len(points), -1, np.float32)
    best_of_keypoint = np.full(len(query), -1, np.float32)
    np.maximum.at(best_of_point, near[:, 0], cosine)
    np.maximum.at(best_of_keypoint, near[:, 1], cosine)
    mutual = (cosine >= best_of_point[near[:, 0]]) & (cosine >= best_of_keypoint[near[:, 1]])
    local, keypoint = near[mutual].T
    point = points[local].astype(np.int64)

    pair_of_point = np.full(len(points), -1)
    pair_of_point[local] = np.arange(len(local))
    vote = pair_of_point[owner.reshape(-1)]
    pairs = Correspondences(
        keypoint, point, query.keypoints[keypoint].astype(np.float64), np.asarray(scene.points[point], np.float64),
        vote[vote >= 0], seen_in[vote >= 0],
    )  # fmt: skip
    return pairs, cosine[mutual]


def _near_keypoints(estimate: PoseEstimate, points: np.ndarray, query: LocalFeatures, radius_px: float) -> np.ndarray:
    """int [K, 2]: (row of points, keypoint) of the points [P, 3] that project within radius_px of a keypoint."""
    projected = project(estimate.camera, estimate.pose, points)
    with np.errstate(invalid="ignore"):  # nan behind the camera
        visible = np.flatnonzero(((projected >= 0) & (projected < estimate.camera.size)).all(axis=1))
    tree = cKDTree(projected[visible].reshape(-1, 2))
    found = tree.sparse_distance_matrix(cKDTree(query.keypoints), radius_px, output_type="ndarray")
    near = np.stack([visible[found["i"]], found["j"]], axis=1).astype(np.int64)
    return near[np.lexsort((near[:, 1], near[:, 0]))]


def _best_cosines(
    scene: Map, query: LocalFeatures, near: np.ndarray, observation: np.ndarray, owner: np.ndarray
) -> np.ndarray:
    """float32 [K]: for each (point, keypoint) of near the best cosine over the point's observations.

    observation: int [O] rows of the map's descriptors; owner: int [O] the point (row) of each.
    """
    by_point = np.argsort(owner, kind="stable")
    start = np.searchsorted(owner[by_point], near[:, 0])
    count = np.searchsorted(owner[by_point], near[:, 0], side="right") - start
    which = np.repeat(np.arange(len(near)), count)
    offset = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    row = observation[by_point[np.repeat(start, count) + offset]]
    cosine = np.einsum(
        "nd,nd->n", query.descriptors[near[which, 1]].astype(np.float32), scene.descriptors[row].astype(np.float32)
    )
    best = np.full(len(near), -1, np.float32)
    np.maximum.at(best, which, cosine)
    return best


def _least_cosine(verified: np.ndarray) -> float:
    """How alike a guided pair must be at least, from the cosines of the pairs that RANSAC verified; -1 without any."""
    return float(np.quantile(verified, LOOSEST)) if len(verified) else -1.0


def _pair_keys(scene: Map, pairs: Correspondences) -> np.ndarray:
    return pairs.keypoint_index * len(scene.points) + pairs.point_index
