"""The search for one query: steps of db images in, each matched and verified, until a pose is verified."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import Field

from lbr.localization.correspondences import lift, seeded_clusters
from lbr.localization.pnp import PnpSettings, estimate_pose
from lbr.mapping.map import Map
from lbr.settings import Settings
from lbr.types import Camera, Candidates, Correspondences, LocalFeatures, Matches, PoseEstimate, SearchStep


class VerificationSettings(Settings):
    """A pose is verified with this many inliers in all and from the best db image; under weak_inliers there is none.

    min_kept: refinement with covisible frames must keep this share of the inliers. Where a look-alike of the right
    place was matched, what stands around it does not fit, and they melt away. (Db poses that are decimetres off cost
    some as well: the street drive needs 0.5.)
    """

    min_inliers: int = Field(default=40, ge=4)
    min_image_inliers: int = Field(default=10, ge=4)
    weak_inliers: int = Field(default=12, ge=4)
    min_kept: float = Field(default=0.5, ge=0)


class SearchSettings(Settings):
    """How a step's db images are verified together, and how much may be spent on one query."""

    pnp: PnpSettings = PnpSettings()
    verification: VerificationSettings = VerificationSettings()
    cluster_size: int = Field(default=15, ge=1, description="db images of one place that are tried together")
    max_clusters: int = Field(default=10, ge=1, description="places that one step is tried at")
    max_images: int | None = Field(default=None, ge=1, description="db images compared with one query")
    max_ms: float | None = Field(default=None, gt=0, description="no further step is begun after so long")


Refined = tuple[PoseEstimate, Correspondences]


@dataclass(frozen=True, eq=False)
class Attempt:
    """A pose by RANSAC, the pairs it is from, the db image that supports it most.

    refined: the pose and pairs after refinement, None when it was not tried or came to nothing.
    """

    estimate: PoseEstimate
    pairs: Correspondences
    reference: int
    reference_inliers: int
    refined: Refined | None = None

    def has_support(self, limits: VerificationSettings) -> bool:
        return self.estimate.num_inliers >= limits.min_inliers and self.reference_inliers >= limits.min_image_inliers

    @property
    def kept(self) -> float:
        """Inliers after refinement as a share of those before."""
        return self.refined[0].num_inliers / self.estimate.num_inliers if self.refined else 0.0


@dataclass
class Log:
    """What happened to one query, filled as it goes."""

    tried: list[str] = field(default_factory=list)
    steps: list[SearchStep] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[what] = self.timings.get(what, 0.0) + time.perf_counter() - start

    def count(self, what: str, number: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + number


@dataclass(eq=False)
class Search:
    """One query against the map. `match` compares it with db images (indices) at once, in their order.

    refine: what refinement makes of an attempt, None when nothing; no function at all when it is switched off.
    best: the verified attempt, or of those that are not the one with most inliers.
    """

    scene: Map
    features: LocalFeatures
    camera: Camera
    settings: SearchSettings
    seed: str
    match: Callable[[Sequence[int]], list[Matches]]
    refine: Callable[[Attempt], Refined | None] | None
    log: Log
    best: Attempt | None = None
    matched: dict[int, Matches] = field(default_factory=dict)

    def run(self, steps: Iterator[Candidates]) -> Attempt | None:
        """Take steps until one is accepted or the budget is spent; the best attempt, None under weak_inliers."""
        limits, start = self.settings.verification, time.perf_counter()
        for candidates in steps:
            if self._spent(start):
                break
            images = self._new_images(candidates)
            if not images:
                continue
            with self.log.timed("match"):
                self.matched.update(zip(images, self.match(images), strict=True))
            self.log.tried += [self.scene.names[i] for i in images]
            with self.log.timed("pose"):
                attempt = self._try(images)
            self._note(candidates.source, images, attempt)
            if attempt is not None and self.is_verified(attempt):
                self.best = attempt
                return attempt
            if attempt is not None and (
                self.best is None or attempt.estimate.num_inliers > self.best.estimate.num_inliers
            ):
                self.best = attempt
        if self.best is None or self.best.estimate.num_inliers < limits.weak_inliers:
            return None
        return self.best

    def is_verified(self, attempt: Attempt) -> bool:
        """Support enough, and, where there is refinement, support that it keeps."""
        limits = self.settings.verification
        return attempt.has_support(limits) and (self.refine is None or attempt.kept >= limits.min_kept)

    def _spent(self, start: float) -> bool:
        settings = self.settings
        over = settings.max_images is not None and len(self.matched) >= settings.max_images
        late = settings.max_ms is not None and 1000 * (time.perf_counter() - start) > settings.max_ms
        if over or late:
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

    def _try(self, new: Sequence[int]) -> Attempt | None:
        """The first verified pose of this step's places, or the one with most inliers; None when there is none.

        A place is seeded by an image of this step, and takes in what was compared before and sees the same points.
        """
        limits, best = self.settings.verification, None
        images = list(self.matched)
        counts = np.array([len(self.matched[i]) for i in images], np.int64)
        clusters = seeded_clusters(self.scene, images, counts, self.settings.cluster_size, frozenset(new))
        for number, cluster in enumerate(clusters):
            if number == self.settings.max_clusters:
                break
            self.log.count("clusters")
            pairs = lift(self.scene, self.features, cluster, [self.matched[i] for i in cluster])
            if len(pairs) < limits.weak_inliers:
                continue
            estimate = estimate_pose(pairs, self.camera, self.settings.pnp, self._seed(self.log.counts["clusters"] - 1))
            if estimate is None:
                continue
            votes = pairs.votes_by_image(estimate.inliers, len(self.scene))
            attempt = Attempt(estimate, pairs, int(votes.argmax()), int(votes.max()))
            if self.refine is not None and attempt.has_support(limits):
                with self.log.timed("refine"):
                    attempt = replace(attempt, refined=self.refine(attempt))
            if self.is_verified(attempt):
                return attempt
            if best is None or estimate.num_inliers > best.estimate.num_inliers:
                best = attempt
        return best

    def _note(self, source: str, images: Sequence[int], attempt: Attempt | None) -> None:
        limits = self.settings.verification
        matches = max(len(self.matched[i]) for i in images)
        inliers, of_image = (attempt.estimate.num_inliers, attempt.reference_inliers) if attempt else (0, 0)
        if attempt is None:
            outcome = f"no pose: at most {matches} matches with one image"
        elif self.is_verified(attempt):
            outcome = "accepted"
        elif attempt.has_support(limits):
            outcome = f"{inliers} inliers, of which refinement keeps {100 * attempt.kept:.0f} %: a look-alike"
        else:
            outcome = (
                f"{inliers} inliers, {of_image} of one image; wanted {limits.min_inliers}, {limits.min_image_inliers}"
            )
        names = tuple(self.scene.names[i] for i in images)
        self.log.steps.append(SearchStep(source, names, matches, inliers, of_image, outcome))

    def _seed(self, number: int) -> int:
        """From (seed, name): the same whatever the order of queries or the number of workers."""
        return zlib.crc32(f"{self.seed}/{number}".encode()) & 0x7FFFFFFF
