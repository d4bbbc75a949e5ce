"""Refinement of a pose with the frames of the map that see the same points (METHOD.md 11)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import Field

from lbr.geometry.pose import Pose
from lbr.localization.correspondences import union
from lbr.localization.guided import Guide, Guided, make_guide, match_beyond_chance
from lbr.localization.pnp import MIN_PAIRS, PnpSettings, estimate_pose, pair_errors, refine_pose
from lbr.mapping.map import Map
from lbr.settings import Settings
from lbr.types import Correspondences, LocalFeatures, PoseEstimate

SHRINK = 0.4  # of the radius, from round to round
NEARER = 0.5  # of the distance of the frame that supports a pose most: a frame within it is near
WIDE = 2.0  # times max_error_px: from there on most pairs are chance, and a pose is sampled from them
SAMPLES = PnpSettings(min_iterations=20, max_iterations=200)


class RefinementSettings(Settings):
    """The points of covisible frames are projected under the pose and matched with the keypoints within radius_px; what
    stands out from chance makes the next pose, around which the search is closer, down to max_error_px."""

    enabled: bool = True
    method: Literal["guided", "clurefpos"] = Field(
        default="guided", description="clurefpos: the published one (lbr.localization.clurefpos)"
    )
    covisible_frames: int = Field(default=20, ge=1)
    near_frames: int = Field(default=8, ge=0, description="alone, once more, for a pose found from afar; 0: not")
    max_angle_deg: float = Field(default=60.0, gt=0, le=180, description="between the viewing directions")
    radius_px: float = Field(default=24.0, gt=0, description="where a pose of few inliers is searched around")
    sure_inliers: int = Field(default=50, ge=1, description="a pose of so many is near: a third of it is enough")
    max_error_px: float = Field(default=4.0, gt=0)
    loss_scale_px: float = Field(default=0.5, gt=0, description="of the Cauchy loss")
    caution: float = Field(default=1.0, ge=0, description="what a pair by chance costs, where a right one gains 1")
    wide_points: int = Field(default=600, ge=10, description="points looked for in all rounds but the last")
    iterations: int = Field(default=5, ge=1, description="of clurefpos")
    min_track_length: int = Field(default=3, ge=2, description="of clurefpos: published obs_thresh")


@dataclass(frozen=True, eq=False)
class Refined:
    """A refined pose and the pairs it is from.

    in_view: points of the map that the pose has in view at about the scale at which a frame saw them. support: inliers
    of these that were found around the pose, less the number that a wrong place is expected to have as well.
    significance: of the support, against what is in view (`Guided.significance`): a look-alike has the support of one
    wall, where the right place has that of all in view, so that the same support says less the more is in view.
    """

    estimate: PoseEstimate
    pairs: Correspondences
    support: float
    in_view: int
    significance: float

    @property
    def found(self) -> float:
        """The support as a share of the points in view."""
        return self.support / max(self.in_view, 1)


def looks_alike(scene: Map, pose: Pose, settings: RefinementSettings) -> np.ndarray:
    """bool [I]: the db images that look within max_angle_deg the way a pose does, however it is rolled."""
    cosine: np.ndarray = scene.poses[:, 2, :3] @ pose.R[2]
    return cosine >= np.cos(np.radians(settings.max_angle_deg))


def covisible_frames(
    scene: Map, support: np.ndarray, estimate: PoseEstimate, settings: RefinementSettings
) -> np.ndarray:
    """int [K]: the supporting images and those that share most points with them, best first.

    support: int [I], inliers of the estimate by db image. Frames that look elsewhere are left out.
    """
    return _sharing_points(scene, support, estimate, settings)[: settings.covisible_frames]


def near_frames(scene: Map, support: np.ndarray, estimate: PoseEstimate, settings: RefinementSettings) -> np.ndarray:
    """int [K]: of the frames that share points with the supporting ones, those that stand at less than NEARER the
    distance of the one with most support from the estimate, nearest first. support as in `covisible_frames`."""
    frames = _sharing_points(scene, support, estimate, settings)
    distance = np.linalg.norm(scene.centres - estimate.pose.centre, axis=1)
    nearer = frames[distance[frames] < NEARER * distance[support.argmax()]]
    return nearer[np.argsort(distance[nearer], kind="stable")[: settings.near_frames]]


def _sharing_points(
    scene: Map, support: np.ndarray, estimate: PoseEstimate, settings: RefinementSettings
) -> np.ndarray:
    """int [K]: all frames that share points with the supporting images and look the same way, best first."""
    weight = support.astype(np.float64)
    score = scene.covisibility.T @ weight + weight * np.diff(scene.offsets)
    score[~looks_alike(scene, estimate.pose, settings)] = 0
    best = np.argsort(-score, kind="stable")
    return best[score[best] > 0]


def refine_with_frames(
    scene: Map, query: LocalFeatures, estimate: PoseEstimate, pairs: Correspondences, settings: RefinementSettings
) -> Refined | None:
    """Guided matching under the pose and non-linear refinement, in turn.

    pairs: those the estimate is from; they stay in the game as long as they fit, as guided ones may all be of one wall.
    A pose found from afar is refined again with the frames near it alone, and taken if it stands out more: poses of a
    map that drift (GPS and inertial ones by decimetres over a street) fit each other nearby, and pull apart from afar.
    None when a round finds no more than chance does, or too few pairs: the caller keeps what it had. The same pose
    gives the same result: samples are drawn in the order of quality with a fixed seed.
    """
    support = pairs.votes_by_image(estimate.inliers, len(scene))
    guide = make_guide(scene, query, covisible_frames(scene, support, estimate, settings))
    found = _search(guide, estimate, pairs, search_radii(estimate.num_inliers, settings), settings)
    if found is None or not len(near := near_frames(scene, support, found.estimate, settings)):
        return found
    none = pairs.select(np.zeros(len(pairs), bool))
    again = _search(make_guide(scene, query, near), found.estimate, none, search_radii(0, settings), settings)
    return found if again is None or again.significance <= found.significance else again


def _search(
    guide: Guide, estimate: PoseEstimate, pairs: Correspondences, radii: list[float], settings: RefinementSettings
) -> Refined | None:
    """Guided matching and a new pose for each of the radii, the last of which settles it."""
    for radius in radii[:-1]:
        guided = match_beyond_chance(guide, estimate, radius, settings.caution, settings.wide_points)
        moved = None if guided is None else _moved(_with_equals(guided, pairs), estimate, radius, settings)
        if moved is None:
            return None
        estimate = moved
    return _settled(guide, estimate, pairs, settings)


def search_radii(num_inliers: int, settings: RefinementSettings) -> list[float]:
    """Pixels, from wide to max_error_px, which is the last."""
    radius = settings.radius_px / (3 if num_inliers >= settings.sure_inliers else 1)
    radii = []
    while radius > settings.max_error_px:
        radii.append(radius)
        radius *= SHRINK
    return [*radii, settings.max_error_px]


def _moved(
    pairs: Correspondences, estimate: PoseEstimate, radius: float, settings: RefinementSettings
) -> PoseEstimate | None:
    """The pose of a round's pairs: from where it was, or, where the search was wide, sampled if that fits better."""
    limit = max(settings.max_error_px, radius / 3)
    moved = [_refined_within(pairs, estimate, limit, settings)]
    if radius >= WIDE * settings.max_error_px:
        camera = replace(estimate.camera, source="given")  # whatever its focal length was, it is not sampled again
        sampling = SAMPLES.model_copy(update={"max_error_px": limit})
        sampled = estimate_pose(pairs, camera, sampling, 0, with_covariance=False)
        if sampled is not None:
            sampled = replace(sampled, camera=estimate.camera)
            moved.append(_refined_within(pairs, sampled, limit, settings))
    found = [one for one in moved if one is not None]
    return min(found, key=lambda one: _misfit(pairs, one, limit), default=None)


def _settled(
    guide: Guide, estimate: PoseEstimate, pairs: Correspondences, settings: RefinementSettings
) -> Refined | None:
    """The closest search, its pose, and once more from those within max_error_px of that pose."""
    guided = match_beyond_chance(guide, estimate, settings.max_error_px, settings.caution)
    if guided is None:
        return None
    joined, moved = _with_equals(guided, pairs), estimate
    for last in (False, True):
        # Of a camera that is known the covariance can wait: most poses that are refined are not the one that is taken.
        needed = last and not estimate.camera.is_known
        refined = _refined_within(joined, moved, settings.max_error_px, settings, with_covariance=needed)
        if refined is None:
            return None
        moved = refined
    inliers = moved.inliers[: len(guided.pairs)]
    return Refined(moved, joined, guided.support(inliers), guided.in_view, guided.significance(inliers))


def _with_equals(guided: Guided, pairs: Correspondences) -> Correspondences:
    """The guided pairs, and of the others those that are not worse than the worst of them."""
    if pairs.quality is None or guided.pairs.quality is None:
        return union(guided.pairs, pairs)
    return union(guided.pairs, pairs.select(pairs.quality >= guided.pairs.quality.min()))


def _misfit(pairs: Correspondences, estimate: PoseEstimate, limit_px: float) -> float:
    """Sum of the squared errors, each at most limit_px squared (MSAC: Torr and Zisserman 2000)."""
    errors = pair_errors(pairs, estimate)
    return float(np.square(np.minimum(errors, limit_px)).sum())


def likelihood_gain(estimate: PoseEstimate, pairs: Correspondences, settings: RefinementSettings) -> float:
    """What the inliers add to the log-likelihood of the Cauchy loss, each against one that is max_error_px off.

    Of two cameras or poses the better one has more of it, by finding more pairs or by meeting them more closely.
    """
    inliers = pairs.select(estimate.inliers)
    errors = pair_errors(inliers, estimate)
    squared = np.square(np.append(np.minimum(errors, settings.max_error_px), settings.max_error_px))
    cost = np.log1p(squared / settings.loss_scale_px**2)
    return float((cost[-1] - cost[:-1]).sum())


def _refined_within(
    pairs: Correspondences, estimate: PoseEstimate, limit_px: float, settings: RefinementSettings,
    with_covariance: bool = False,
) -> PoseEstimate | None:  # fmt: skip
    if len(pairs) < MIN_PAIRS:
        return None
    errors = pair_errors(pairs, estimate)
    near = errors <= limit_px
    # A loss much narrower than the errors has a minimum wherever a handful of pairs fits by chance.
    scale = max(settings.loss_scale_px, float(np.median(errors[near]))) if near.any() else settings.loss_scale_px
    return refine_pose(pairs, near, estimate.pose, estimate.camera, scale, with_covariance=with_covariance)
