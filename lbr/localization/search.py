"""The search for one query: steps of db images in, each matched and verified, until a pose is verified."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from pydantic import Field

from lbr.localization.correspondences import lift, seeded_clusters, union
from lbr.localization.log import Log
from lbr.localization.pnp import PnpSettings, estimate_pose, pair_errors
from lbr.localization.refine import Refined
from lbr.localization.rivals import (
    between_look_alikes,
    disagreement,
    fits,
    is_of_look_alikes,
    is_same_place,
    told_apart,
)  # fmt: skip
from lbr.localization.verification import Attempt, VerificationSettings, shortcoming
from lbr.mapping.map import Map
from lbr.settings import Settings
from lbr.types import Camera, Candidates, Correspondences, LocalFeatures, Matches, SearchStep

ENOUGH_TIMES = 2  # that the same pose is refined: the second, from other pairs, at times finds what the first did not
PROMISING = 1 / 3  # of min_significance: of 500 places whose first pose had less, a second one was right at none
DISAGREEING_PX = 4.0, 24.0  # refinement's closest and widest search: two poses of one place, but not the same
MOST_PLACES = 10  # that any step is tried at, unless max_clusters is more
OUTDONE = "verified, but another step finds what stands out more"


class SearchSettings(Settings):
    """How a step's db images are verified together, and how much may be spent on one query."""

    pnp: PnpSettings = PnpSettings()
    verification: VerificationSettings = VerificationSettings()
    min_track_length: int = Field(default=2, ge=2, description="points that fewer db images see are not used")
    clusters: Literal["covisible", "steps"] = Field(
        default="covisible", description="db images that share points are one place; or all of a step, as published"
    )
    cluster_size: int = Field(default=15, ge=1, description="db images of one place that are tried together")
    max_clusters: int = Field(
        default=10, ge=1, description="places tried for every cluster_size images of a step; 10 or this at most"
    )
    max_images: int | None = Field(default=None, ge=1, description="db images compared with one query")
    max_ms: float | None = Field(default=None, gt=0, description="no further step is begun after so long")


@dataclass(eq=False)
class Search:
    """One query against the map. `match` compares it with db images (indices) at once, in their order; the second
    argument tells that they are not those of an instance.

    refine: what refinement makes of an attempt, None when nothing; no function at all when it is switched off.
    best: the verified attempt, or the strongest of those that are not (`_strength`).
    """

    scene: Map
    features: LocalFeatures
    camera: Camera
    settings: SearchSettings
    seed: str
    match: Callable[[Sequence[int], bool], list[Matches]]
    refine: Callable[[Attempt], Refined | None] | None
    log: Log
    best: Attempt | None = None
    found_by: Candidates | None = None  # the step that the best attempt is from
    found_at: int = 0  # its number among the steps taken
    contested: str = ""  # why the best attempt may be of another place, which was verified as well
    limits: VerificationSettings = field(init=False)
    matched: dict[int, Matches] = field(default_factory=dict)
    judged: list[Attempt] = field(default_factory=list)  # by refinement, whatever it made of them
    shown: dict[str, float] = field(default_factory=dict)  # by db image: how much of what was recognised it shows

    def __post_init__(self) -> None:
        self.limits = self.settings.verification

    def run(self, steps: Iterator[Candidates]) -> Attempt | None:
        """Take steps until one is accepted or the budget is spent; the best attempt, None under weak_inliers."""
        limits, start = self.settings.verification, time.perf_counter()
        for candidates in steps:
            if self._spent(start):
                break
            if not self._may_outdo(candidates):
                if self._may_be_outdone(candidates):
                    continue
                break
            self.shown.update(zip(candidates.names, candidates.shown, strict=False))
            images = self._new_images(candidates)
            if images and self._take(candidates, images):
                break
        best = self.best
        strong = best is not None and (best.verified or best.estimate.num_inliers >= limits.weak_inliers)
        return best if strong else None

    def _take(self, candidates: Candidates, images: list[int]) -> bool:
        """Compare with the images of a step, and try its places; whether nothing is left to be asked after it."""
        with self.log.timed("match"):
            doubtful = not candidates.instance or candidates.look_alike
            self.matched.update(zip(images, self.match(images, doubtful), strict=True))
        self.limits = self.settings.verification.of_step(candidates)
        self.log.tried += [self.scene.names[i] for i in images]
        earlier, at = self.best, self.found_at
        attempt = self._try(images, elsewhere=bool(candidates.look_alike or candidates.doubts))
        self.best = self._preferred(earlier, attempt, candidates)
        if self.best is not earlier:
            self.found_by, self.found_at = candidates, len(self.log.steps)
        self._note(candidates, images, attempt)
        if earlier is not None and earlier.verified:  # this step was a second opinion
            if self.best is not earlier:
                self.log.steps[at] = replace(self.log.steps[at], outcome=OUTDONE)
            self._reconcile(earlier, attempt)
            if not candidates.doubts:
                return True
        best = self.best
        return best is not None and best.verified and self._is_sure(best) and not self._may_be_twin(best)

    def _is_sure(self, attempt: Attempt) -> bool:
        """Whether so much supports it that no look-alike of the place would be."""
        wanted = self.settings.verification.sure_significance
        return wanted is None or attempt.significance >= wanted

    def doubt(self) -> str | None:
        """Why the best attempt may be of another place although it is verified; None where nothing speaks for that."""
        if self.best is None or self.found_by is None:
            return None
        one, twin = self.found_by.instance, self.found_by.twin
        if self._tells_apart(self.found_by) < 0:
            return f"beside it stands what is beside instance {twin}, which looks like {one}"
        if self.contested or self.found_by.doubts:  # it outdid a place that looks like it: as much of a trial as below
            return self.contested or None
        shown = self.shown.get(self.scene.names[self.best.reference], 1.0)
        if not one and shown < self.settings.verification.min_shown:
            return f"found without instances, where {100 * shown:.0f} % of what was recognised is shown"
        return None

    def _may_be_twin(self, attempt: Attempt) -> bool:
        """Whether the best attempt, however sure, may be of the twin of its facade: what is beside that says so, or
        says nothing, and hardly anything was found that has no twin."""
        if self.found_by is None or not self.found_by.twin:
            return False
        told, compares = self._tells_apart(self.found_by), self.settings.verification.sure_significance is not None
        return told < 0 or (told == 0 and compares and is_of_look_alikes(attempt, self.found_by.alike, self.scene))

    def _tells_apart(self, candidates: Candidates) -> int:
        return told_apart(candidates, self.settings.verification.min_advantage)

    def _may_outdo(self, candidates: Candidates) -> bool:
        """Whether a step is worth taking beside a verified pose: its instance may be the one, and the pose's a twin.

        What was recognised beside a facade may speak against its look-alike, but a network that takes the one for the
        other may take what is beside it as well: where the pose is not sure, and of look-alikes alone, both are tried.
        Where steps before that of the pose had failed, labels may be wrong: the fallback, which goes without, may.
        """
        if self.best is None or self.found_by is None or not self.best.verified:
            return not candidates.doubts
        is_sure = self._is_sure(self.best)
        if candidates.doubts:
            return candidates.doubts == self.found_by.names and not is_sure
        if candidates.look_alike and self._tells_apart(candidates) < 0:
            return not is_sure and is_of_look_alikes(self.best, candidates.alike, self.scene)
        if is_sure:
            return candidates.look_alike and candidates.twin == self.found_by.instance
        if candidates.evidence >= self.settings.verification.rival_evidence * self.found_by.evidence:
            return True
        return self._found_late() and not candidates.instance

    def _may_be_outdone(self, candidates: Candidates) -> bool:
        """Whether a step that comes after these candidates may be worth taking, where they are not: one of a rival or,
        beside a pose that is not sure, of the fallback."""
        if candidates.look_alike or candidates.doubts:
            return True
        return self._found_late() and self.best is not None and not self._is_sure(self.best)

    def _found_late(self) -> bool:
        """Whether another step than the first found the best pose: the search goes on while none is verified."""
        return self.found_at > 0

    def _preferred(self, earlier: Attempt | None, attempt: Attempt | None, candidates: Candidates) -> Attempt | None:
        """The better of the attempt of these candidates and the one before. Of two look-alikes the one beside which
        stands what was recognised: a wall that its map shows well has more support than the right one shown badly."""
        if earlier is None or attempt is None or not (earlier.verified and attempt.verified):
            return self._better(earlier, attempt)
        better, told = max(earlier, attempt, key=self._strength), self._tells_apart(candidates)
        if better is attempt:  # what spoke against the earlier one says nothing of it
            self.contested = ""
        if is_same_place(earlier, attempt, self.settings.pnp.max_error_px):
            return attempt if candidates.look_alike and told > 0 else better
        if (
            candidates.doubts
            and better is attempt
            and not self._is_sure(attempt)
            and self._shows_less(attempt, earlier)
        ):
            self.contested = "it outdid a place where more of what was recognised is shown"
        elif candidates.look_alike:
            better, doubtful = between_look_alikes(earlier, attempt, better, told)
            ours, theirs = candidates.instance, candidates.twin
            alike = f"{theirs} looks like {ours}" if better is attempt else f"{ours} looks like {theirs}"
            self.contested = f"instance {alike}, and its place was verified as well" if doubtful else ""
        return better

    def _shows_less(self, one: Attempt, other: Attempt) -> bool:
        """Whether clearly less of what was recognised is shown where the one pose is than where the other is."""
        here, there = (self.shown.get(self.scene.names[a.reference], np.nan) for a in (one, other))
        return bool(there - here > self.settings.verification.min_advantage)

    def _reconcile(self, one: Attempt, other: Attempt | None) -> None:
        """Refine the best attempt with the pairs of two verified ones that are near each other, but not the same.

        Each was refined with what its own step shows of the place, and the less exact may stand out more there.
        """
        if self.best is None or self.refine is None or other is None or not other.verified:
            return
        apart, (least, most) = disagreement(one, other), DISAGREEING_PX
        if not least < apart <= most:
            return
        settled, pairs = self.best.final, union(one.pairs, other.pairs)
        start = replace(settled, inliers=pair_errors(pairs, settled) <= self.settings.pnp.max_error_px)
        with self.log.timed("refine"):
            refined = self.refine(replace(self.best, pairs=pairs, estimate=start))
        both = replace(self.best, refined=refined)
        if both.holds(self.limits) and both.significance > self.best.significance:
            self.best = both
            self.log.notes.append(f"two steps found its place, {apart:.0f} px apart: refined with the pairs of both")

    def _better(self, one: Attempt | None, other: Attempt | None) -> Attempt | None:
        """The verified, then the stronger of two attempts; the first where they are equal."""
        if one is None or other is None:
            return one or other
        return max(one, other, key=self._strength)

    def _strength(self, attempt: Attempt) -> tuple[bool, float, int]:
        """The verified first, and of them, where support verifies, the more significant: a look-alike may have more in
        view, and more support.

        Of others, significance times inliers: these are of other matches than what refinement finds, and few wrong
        poses have much of both. Significance alone took one of 12 inliers before the right one of 100.
        """
        inliers = attempt.estimate.num_inliers
        significance = 0.0 if self.settings.verification.min_support is None else attempt.significance
        return attempt.verified, significance * (1 if attempt.verified else inliers), inliers

    def _spent(self, start: float) -> bool:
        settings = self.settings
        over = settings.max_images is not None and len(self.matched) >= settings.max_images
        late = settings.max_ms is not None and 1000 * (time.perf_counter() - start) > settings.max_ms
        if (over or late) and not (self.best is not None and self.best.verified):
            spent = f"{settings.max_images} db images" if over else f"{settings.max_ms:g} ms"
            self.log.notes.append(f"search ended without a verified pose: {spent} spent")
        return over or late

    def _new_images(self, candidates: Candidates) -> list[int]:
        """Images of the map that have points and were not compared yet; others are counted and noted."""
        known = [self.scene.index_of(n) for n in dict.fromkeys(candidates.names) if n in self.scene]
        unknown = len(set(candidates.names)) - len(known)
        if unknown:
            self.log.count("candidates_not_in_map", unknown)
            self.log.notes.append(f"{unknown} candidates are not in the map")
        images = [i for i in known if self.scene.offsets[i + 1] > self.scene.offsets[i] and i not in self.matched]
        room = len(images) if self.settings.max_images is None else self.settings.max_images - len(self.matched)
        if len(images) > room:
            self.log.notes.append(f"{len(images) - room} candidates of a step left out: max_images is reached")
        return images[:room]

    def _try(self, new: Sequence[int], elsewhere: bool) -> Attempt | None:
        """The first verified pose of this step's places, or the one with most inliers; None when there is none.

        A place is seeded by an image of this step, and takes in what was compared before and sees the same points; not
        where look-alikes of what was found before are asked for (elsewhere), which may share points by mistake.
        """
        best, most = None, self._most_places(len(new))
        images = list(new) if elsewhere else list(self.matched)
        counts = np.array([len(self.matched[i]) for i in images], np.int64)
        if self.settings.clusters == "steps":
            clusters: Iterator[list[int]] = iter([list(new)])
        else:
            clusters = seeded_clusters(self.scene, images, counts, self.settings.cluster_size, frozenset(new))
        for number, cluster in enumerate(clusters):
            if number == most:
                break
            self.log.count("clusters")
            attempt = self._attempt(cluster)
            if attempt is not None and attempt.verified:
                return attempt
            best = self._better(best, attempt)
        return best

    def _most_places(self, num_images: int) -> int:
        """A step of all db images, as without labels, has the right place among more than a step of a few does."""
        most, parts = self.settings.max_clusters, -(-num_images // self.settings.cluster_size)
        return min(most * parts, max(most, MOST_PLACES))

    def _attempt(self, cluster: Sequence[int]) -> Attempt | None:
        """The pose of one place, judged; None when there is none.

        Where support verifies, but not the first pose, a second one may be drawn from closer pairs.
        """
        with self.log.timed("pose"):
            pairs = lift(self.scene, self.features, cluster, [self.matched[i] for i in cluster])
            if self.settings.min_track_length > 2:
                pairs = pairs.select(self.scene.track_lengths[pairs.point_index] >= self.settings.min_track_length)
        first = self._estimated(pairs, self.settings.pnp)
        if not self._may_be_another(first):
            return first
        closer = self.settings.pnp.model_copy(update={"max_error_px": self.settings.pnp.max_error_px / 2})
        return self._better(first, self._estimated(pairs, closer))

    def _may_be_another(self, first: Attempt | None) -> bool:
        """Whether a second pose of a place is worth looking for: not where the first is verified or was found before,
        nor where refinement came to its end and found next to nothing."""
        limits = self.settings.verification
        if limits.sure_significance is None:
            return False
        if first is None:
            return True
        promising = first.refined is None or first.significance >= PROMISING * limits.min_significance
        return promising and not (first.verified or first.repeats)

    def _estimated(self, pairs: Correspondences, settings: PnpSettings) -> Attempt | None:
        if len(pairs) < self._fewest():
            return None
        with self.log.timed("pose"):
            seed = self.seed_of(self.log.counts["clusters"] - 1)
            estimate = estimate_pose(pairs, self.camera, settings, seed, with_covariance=False)
        if estimate is None:
            return None
        votes = pairs.votes_by_image(estimate.inliers, len(self.scene))
        if votes.max() < self.limits.weak_image_inliers:
            return None
        return self._judged(Attempt(estimate, pairs, int(votes.argmax()), int(votes.max())))

    def _fewest(self) -> int:
        """Inliers from which on a pose is worth a thought."""
        limits = self.limits
        by_support = self.refine is not None and limits.min_support is not None
        least = limits.hopeful_inliers if by_support else limits.weak_inliers
        return max(least, limits.min_pairs or 0)

    def _judged(self, attempt: Attempt) -> Attempt:
        """Verified or not: by its inliers, and, where there is refinement, by what that makes of them."""
        limits = self.limits
        if self.refine is None:
            return replace(attempt, verified=attempt.has_support(limits))
        if limits.min_support is None:
            hopeful = attempt.has_support(limits)
        else:
            hopeful = attempt.estimate.num_inliers >= limits.hopeful_inliers
        if not hopeful:
            return attempt
        with self.log.timed("refine"):
            before = self._judged_before(attempt)
            if before is not None:
                self.log.count("refined_before")
                return replace(attempt, hopeful=True, refined=before.refined, verified=before.verified, repeats=True)
            attempt = replace(attempt, hopeful=True, refined=self.refine(attempt))
        attempt = replace(attempt, verified=attempt.holds(limits))
        self.judged.append(attempt)
        return attempt

    def _judged_before(self, attempt: Attempt) -> Attempt | None:
        """The strongest of the earlier attempts that came to the pose of this one, when they are ENOUGH_TIMES.

        Step after step of a weak query finds one pose again, whose refinement costs most and says what it said.
        """
        inliers = attempt.pairs.select(attempt.estimate.inliers)
        most = self.settings.pnp.max_error_px
        same = [one for one in self.judged if one.refined is not None and fits(inliers, one.refined.estimate, most)]
        return max(same, key=self._strength) if len(same) >= ENOUGH_TIMES else None

    def _note(self, candidates: Candidates, images: Sequence[int], attempt: Attempt | None) -> None:
        matches = max(len(self.matched[i]) for i in images)
        inliers, of_image = (attempt.estimate.num_inliers, attempt.reference_inliers) if attempt else (0, 0)
        if attempt is None:
            outcome = f"no pose: at most {matches} matches with one image"
        elif attempt.verified:
            outcome = "accepted" if attempt is self.best else OUTDONE
        else:
            outcome = f"{inliers} inliers, {shortcoming(attempt, self.limits)}"
        names = tuple(self.scene.names[i] for i in images)
        step = SearchStep(candidates.source, names, matches, inliers, of_image, outcome, candidates.instance)
        self.log.steps.append(step)

    def seed_of(self, number: int) -> int:
        """From (seed, name): the same whatever the order of queries or the number of workers."""
        return zlib.crc32(f"{self.seed}/{number}".encode()) & 0x7FFFFFFF
