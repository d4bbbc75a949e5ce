"""The published refinement ('clurefpos', METHOD.md 11), to be compared with ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lbr.localization.correspondences import lift
from lbr.localization.pnp import PnpSettings, estimate_pose, pair_errors, refine_pose
from lbr.localization.refine import Refined, RefinementSettings, looks_alike
from lbr.mapping.map import Map
from lbr.types import LocalFeatures, Matches, PoseEstimate


def published_frames(scene: Map, reference: int, estimate: PoseEstimate, settings: RefinementSettings) -> list[int]:
    """The best image, and those that share points with it: first, the nearest first, those that look within
    max_angle_deg the way the estimate does, then, up to covisible_frames, those that share most points."""
    others = scene.covisible(reference)[0]
    frames = np.concatenate([[reference], others]).astype(np.int64)
    distance = np.linalg.norm(scene.centres[frames] - estimate.pose.centre, axis=1)
    alike = np.flatnonzero(looks_alike(scene, estimate.pose, settings)[frames])
    nearest = frames[alike[np.argsort(distance[alike], kind="stable")]]
    rest = frames[~np.isin(frames, nearest)]
    return [int(f) for f in np.concatenate([nearest, rest])[: settings.covisible_frames]]


def refine_as_published(
    scene: Map, query: LocalFeatures, estimate: PoseEstimate, reference: int,
    match: Callable[[Sequence[int]], list[Matches]], settings: RefinementSettings,
) -> Refined | None:  # fmt: skip
    """Match the frames' points anew, drop short tracks and what reprojects farther than radius_px, take the inliers of
    RANSAC at max_error_px, and refine the pose `iterations` times from those within max_error_px of it.

    None when there are too few. support: all inliers, as nothing here tells those by chance; in_view: all pairs;
    significance: the one over the root of the other.
    """
    frames = published_frames(scene, reference, estimate, settings)
    pairs = lift(scene, query, frames, match(frames))
    errors = pair_errors(pairs, estimate)
    tracks = scene.track_lengths[pairs.point_index]
    pairs = pairs.select((tracks >= settings.min_track_length) & (errors <= settings.radius_px))
    sampled = estimate_pose(pairs, estimate.camera, PnpSettings(max_error_px=settings.max_error_px), 0)
    if sampled is None:
        return None
    mask, moved = sampled.inliers, estimate
    for _ in range(settings.iterations):
        errors = pair_errors(pairs, moved)
        refined = refine_pose(
            pairs, mask & (errors <= settings.max_error_px), moved.pose, moved.camera, settings.loss_scale_px
        )
        if refined is None:
            return None
        moved = refined
    return Refined(moved, pairs, moved.num_inliers, len(pairs), moved.num_inliers / len(pairs) ** 0.5)
