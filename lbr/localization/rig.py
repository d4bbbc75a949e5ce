"""The cameras of a rig as one query: what each sees of the map, joined to the pose of the rig (generalised PnP).

The first camera whose own pose is verified, and not in doubt, places the others, which are then not searched for. Where
none is, the matches of all cameras make a pose together. Either way all cameras take part in the refinement, and each
gets its pose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.localization.covariance import covariance_in_camera
from lbr.localization.guided import Guide, Guided, make_guide, match_beyond_chance
from lbr.localization.localizer import Localizer
from lbr.localization.pnp import RigPairs, estimate_rig_pose, refine_rig_pose, reprojection_errors
from lbr.localization.refine import RefinementSettings, covisible_frames, looks_alike, search_radii
from lbr.localization.search import Search
from lbr.localization.verification import Attempt
from lbr.mapping.map import Map
from lbr.types import Candidates, Correspondences, LocalFeatures, Localization, PoseEstimate, Status


@dataclass(frozen=True, eq=False)
class View:
    """One camera's photograph of the moment. cam_from_rig: its pose in the rig, metres."""

    name: str
    features: LocalFeatures
    camera: Camera
    cam_from_rig: Pose
    candidates: Candidates | Iterable[Candidates] | None = None


@dataclass(frozen=True, eq=False)
class _Seen:
    """A view whose search was made ready, and what it came to; None when it was not run or found nothing."""

    view: View
    search: Search
    attempt: Attempt | None

    @property
    def pairs(self) -> Correspondences | None:
        return None if self.attempt is None else self.attempt.pairs

    @property
    def doubt(self) -> str | None:
        """Why a verified attempt may be of another place; None where nothing speaks for that."""
        return self.search.doubt() if self.attempt is not None and self.attempt.verified else None

    @property
    def places(self) -> bool:
        """Whether the others can be placed by this view alone."""
        return self.attempt is not None and self.attempt.verified and self.doubt is None


@dataclass(frozen=True, eq=False)
class RigEstimate:
    """rig_from_world, its covariance [6, 6], the pairs it is from with their inliers, bool [M], and the inliers beyond
    chance (`refine.Refined.support`). reference: the map's number of the db image that supports the best view most.
    doubt: why it may be of another place, where the best view is in doubt."""

    pose: Pose
    covariance: np.ndarray | None
    pairs: RigPairs
    inliers: np.ndarray
    support: float
    reference: int
    doubt: str | None = None


def localize_rig(localizer: Localizer, views: Sequence[View], missing: Sequence[str] = ()) -> dict[str, Localization]:
    """{name of the view: its localization}, all from one pose of the rig. missing: what the notes say is not there.

    A view that cannot be used fails with its reason, and the others do without it.
    """
    results: dict[str, Localization] = {}
    seen: list[_Seen] = []
    placed = False
    for view in views:
        search = localizer.new_search(view.features, view.camera, view.name)
        if isinstance(search, Localization):
            results[view.name] = search
            missing = (*missing, f"{view.name} could not be used: {search.reason}")
            continue
        seen.append(_Seen(view, search, None if placed else search.run(localizer.steps(view.candidates))))
        placed = placed or seen[-1].places
    found = _best_estimate(localizer, seen)
    return results | {one.view.name: _of_view(localizer, seen, k, found, missing) for k, one in enumerate(seen)}


def _best_estimate(localizer: Localizer, seen: Sequence[_Seen]) -> RigEstimate | None:
    """The refined pose with most support, of the one that the best view gives and the one that all give together."""
    best = _best_view(seen)
    if best is None:
        return None
    starts = [pose for pose in (_from_one(*best), _from_all(localizer, seen)) if pose is not None]
    reference, settings = best[1].reference, localizer.settings.refinement
    refined = [_refined(localizer.scene, reference, seen, start, settings) for start in starts]
    found = max((r for r in refined if r is not None), key=lambda r: r.support, default=None)
    return None if found is None else replace(found, doubt=best[0].doubt)


def _best_view(seen: Sequence[_Seen]) -> tuple[_Seen, Attempt] | None:
    """That whose own pose is best; one in doubt only where all are."""
    tried = [(one, one.attempt) for one in seen if one.attempt is not None]
    return max(tried, key=lambda t: (t[0].places, t[1].verified, t[1].support, t[1].estimate.num_inliers), default=None)


def _from_one(one: _Seen, attempt: Attempt) -> Pose:
    """rig_from_world by the pose of a single view."""
    estimate = attempt.refined.estimate if attempt.verified and attempt.refined else attempt.estimate
    return one.view.cam_from_rig.inverse() @ estimate.pose


def _from_all(localizer: Localizer, seen: Sequence[_Seen]) -> Pose | None:
    """rig_from_world by RANSAC over the matches of all views; None when one view has them all."""
    pairs = [one.pairs for one in seen]
    if sum(p is not None for p in pairs) < 2:
        return None
    settings, seed = localizer.settings.pnp, seen[0].search.seed_of(0)
    found = estimate_rig_pose(_joined(seen, pairs), settings, seed)
    return None if found is None else found[0]


def _joined(seen: Sequence[_Seen], pairs: Sequence[Correspondences | None]) -> RigPairs:
    there = [(k, p) for k, p in enumerate(pairs) if p is not None]
    return RigPairs(
        np.concatenate([np.zeros((0, 2)), *(p.points2d for _, p in there)]),
        np.concatenate([np.zeros((0, 3)), *(p.points3d for _, p in there)]),
        np.repeat([k for k, _ in there], [len(p) for _, p in there]).astype(np.int64),
        tuple(one.view.camera for one in seen), tuple(one.view.cam_from_rig for one in seen),
    )  # fmt: skip


def _refined(
    scene: Map, reference: int, seen: Sequence[_Seen], start: Pose, settings: RefinementSettings
) -> RigEstimate | None:
    """Guided matching in every view under the rig's pose in the place of a db image, and its refinement, in turn."""
    guides = [_guide(scene, int(scene.place[reference]), one, start, settings) for one in seen]
    pairs = _joined(seen, [one.pairs for one in seen])
    inliers = int(np.count_nonzero(pairs.errors(start) <= settings.radius_px / 2))
    pose, covariance, guided = start, None, list[Guided | None]()
    for radius in search_radii(inliers, settings):
        last = radius <= settings.max_error_px
        guided = _guided_all(seen, guides, pose, radius, settings, None if last else settings.wide_points)
        pairs = _joined(seen, [None if found is None else found.pairs for found in guided])
        for limit in (max(settings.max_error_px, radius / 3), settings.max_error_px)[: 2 if last else 1]:
            moved = refine_rig_pose(pairs, pairs.errors(pose) <= limit, pose, _scale(pairs, pose, limit, settings))
            if moved is None:
                return None
            pose, covariance = moved
    near = pairs.errors(pose) <= settings.max_error_px
    support = sum(found.support(near[pairs.view == k]) for k, found in enumerate(guided) if found is not None)
    return RigEstimate(pose, covariance, pairs, near, support, reference)


def _scale(pairs: RigPairs, pose: Pose, limit_px: float, settings: RefinementSettings) -> float:
    """The loss is as wide as the errors are, and no narrower than asked for."""
    errors = pairs.errors(pose)
    near = errors[errors <= limit_px]
    return max(settings.loss_scale_px, float(np.median(near))) if len(near) else settings.loss_scale_px


def _guide(scene: Map, place: int, one: _Seen, rig_from_world: Pose, settings: RefinementSettings) -> Guide:
    """Frames of a view: by its own matches where it has some that fit, else those that look the same way from near."""
    estimate = _estimate(one.view, rig_from_world)
    frames = np.zeros(0, np.int64)
    if one.pairs is not None:
        errors = reprojection_errors(one.view.camera, estimate.pose, one.pairs.points2d, one.pairs.points3d)
        votes = one.pairs.votes_by_image(errors <= settings.radius_px, len(scene))
        frames = covisible_frames(scene, votes, estimate, settings)
    if len(frames) < settings.covisible_frames:
        near = nearest_frames(scene, place, estimate.pose, settings)
        frames = np.concatenate([frames, near[~np.isin(near, frames)]])[: settings.covisible_frames]
    return make_guide(scene, one.search.features, frames)


def nearest_frames(scene: Map, place: int, pose: Pose, settings: RefinementSettings) -> np.ndarray:
    """int [K]: db images of a place that look within max_angle_deg the way `pose` does, the nearest first."""
    distance = np.linalg.norm(scene.centres - pose.centre, axis=1)
    distance[~looks_alike(scene, pose, settings) | (scene.place != place)] = np.inf
    nearest = np.argsort(distance, kind="stable")[: settings.covisible_frames]
    return nearest[np.isfinite(distance[nearest])]


def _estimate(view: View, rig_from_world: Pose) -> PoseEstimate:
    return PoseEstimate(view.cam_from_rig @ rig_from_world, np.zeros(0, bool), None, view.camera)


def _guided_all(
    seen: Sequence[_Seen], guides: Sequence[Guide], pose: Pose, radius: float, settings: RefinementSettings,
    most_points: int | None,
) -> list[Guided | None]:  # fmt: skip
    """What is found in each view, None where nothing stands out from chance."""
    return [
        match_beyond_chance(guide, _estimate(one.view, pose), radius, settings.caution, most_points)
        for one, guide in zip(seen, guides, strict=True)
    ]


def _of_view(
    localizer: Localizer, seen: Sequence[_Seen], number: int, found: RigEstimate | None, missing: Sequence[str]
) -> Localization:
    """What the rig's pose says of one view."""
    view, log = seen[number].view, seen[number].search.log
    log.notes += missing
    log.counts["candidates"] = len(log.tried)
    log.counts["cameras"] = len(seen)
    result = Localization(
        view.name, Status.FAILED, f"no pose: none of {len(seen)} cameras has one", camera=view.camera,
        tried=tuple(log.tried), counts=log.counts, timings=log.timings, notes=tuple(log.notes), steps=tuple(log.steps),
    )  # fmt: skip
    if found is None:
        return result
    of_view = found.pairs.view == number
    log.counts["inliers"], log.counts["support"] = int(found.inliers.sum()), round(found.support)
    log.counts["inliers_here"] = int(found.inliers[of_view].sum())
    limits = localizer.settings.verification
    wanted = limits.min_support or limits.min_inliers
    enough = found.support >= wanted
    each = _inliers_by_name(seen, found)
    parts = ", ".join(f"{name} {count}" for name, count in each.items())
    reason = f"{log.counts['inliers']} inliers of {len(seen)} cameras ({parts}), {found.support:.0f} beyond chance"
    reason += "" if enough else f"; wanted {wanted}"
    reason += f"; {found.doubt}" if found.doubt else ""
    status = Status.REFINED if enough and found.doubt is None else Status.WEAK
    covariance = covariance_in_camera(found.covariance, view.cam_from_rig)
    estimate = PoseEstimate(view.cam_from_rig @ found.pose, found.inliers[of_view], covariance, view.camera)
    scene, own = localizer.scene, seen[number].attempt
    place = int(scene.place[found.reference])
    reference = found.reference if own is None or scene.place[own.reference] != place else own.reference
    return replace(
        result, status=status, reason=reason, estimate=estimate, reference=scene.names[reference], place=place,
        counts=log.counts,
    )  # fmt: skip


def _inliers_by_name(seen: Sequence[_Seen], found: RigEstimate) -> Mapping[str, int]:
    return {one.view.name: int(np.count_nonzero(found.inliers & (found.pairs.view == k))) for k, one in enumerate(seen)}
