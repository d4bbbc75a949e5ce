"""The localizer: a query's features and a map in, a `Localization` with its reason out; no query makes it raise."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from pydantic import Field, TypeAdapter

from lbr.errors import DataError
from lbr.features import Extractor, ExtractorConfig, make_extractor
from lbr.geometry.camera import Camera, guess_camera
from lbr.io.images import exif_focal_px, image_size, read_image
from lbr.localization.correspondences import lift, seeded_clusters
from lbr.localization.pnp import PnpSettings, estimate_pose
from lbr.localization.refine import RefinementSettings, refine_with_frames
from lbr.mapping.map import Map, open_map
from lbr.matching import Matcher, MatcherConfig, make_matcher
from lbr.matching.nearest import NearestSettings
from lbr.parallel import num_cores, single_blas_thread
from lbr.settings import Settings
from lbr.types import Candidates, Correspondences, LocalFeatures, Localization, Matches, PoseEstimate, Status


class VerificationSettings(Settings):
    """A pose is verified with this many inliers in all and from the best db image; under weak_inliers there is none."""

    min_inliers: int = Field(default=40, ge=4)
    min_image_inliers: int = Field(default=10, ge=4)
    weak_inliers: int = Field(default=12, ge=4)


class LocalizationSettings(Settings):
    matcher: MatcherConfig = NearestSettings(ratio=0.8)
    pnp: PnpSettings = PnpSettings()
    verification: VerificationSettings = VerificationSettings()
    refinement: RefinementSettings = RefinementSettings()
    cluster_size: int = Field(default=15, ge=1, description="db images of one place that are tried together")
    max_clusters: int = Field(default=10, ge=1)


@dataclass(frozen=True, eq=False)
class _Attempt:
    estimate: PoseEstimate
    pairs: Correspondences
    reference: int
    reference_inliers: int


@dataclass
class _Log:
    """What happened to one query, filled as it goes."""

    tried: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[what] = self.timings.get(what, 0.0) + time.perf_counter() - start


class Localizer:
    """Localizes photographs in an open map; safe to share between threads.

    threads: how many match one query with db images at a time; all cores by default.

    >>> localizer = Localizer.open(Path("workspace/map"))
    >>> result = localizer.localize(image, camera)      # RGB uint8 [H, W, 3], or a path
    >>> result.status, result.reason, result.estimate.pose.centre, result.estimate.position_std
    """

    def __init__(
        self,
        scene: Map,
        settings: LocalizationSettings | None = None,
        extractor: Extractor | None = None,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.scene = scene
        self.settings = settings or LocalizationSettings()
        self.seed = seed
        self._matcher: Matcher = make_matcher(self.settings.matcher)
        self._extractor = extractor
        self._threads = ThreadPoolExecutor(threads or num_cores())

    @classmethod
    def open(cls, folder: Path, settings: LocalizationSettings | None = None, seed: int = 0) -> Localizer:
        """Open the map in `folder`. Raises DataError when there is none. Arrays stay on disk until needed."""
        return cls(open_map(Path(folder)), settings, seed=seed)

    def localize(
        self, image: np.ndarray | Path | str, camera: Camera | None = None, name: str = "query",
        candidates: Candidates | None = None,
    ) -> Localization:  # fmt: skip
        """Localize one photograph with the map's own local feature.

        image: RGB uint8 [H, W, 3], or a path. camera: its intrinsics; without, the focal length is EXIF's or a guess,
        and estimated with the pose. candidates: db images to compare with, all by default.
        A file that cannot be read gives a failed result that says so.
        """
        log = _Log()
        try:
            if not isinstance(image, np.ndarray):
                camera = camera or camera_of_photograph(Path(image))
                image = read_image(Path(image))
            with log.timed("extract"):
                features = self._map_extractor().extract(image)
        except DataError as error:
            return Localization(name, Status.FAILED, str(error))
        result = self.localize_features(features, camera, name, candidates)
        return replace(result, timings={**log.timings, **result.timings})

    def localize_features(
        self, features: LocalFeatures, camera: Camera | None = None, name: str = "query",
        candidates: Candidates | None = None,
    ) -> Localization:  # fmt: skip
        """Localize a query from its features (of the map's kind). The same seed and name give the same pose."""
        log = _Log()
        camera = camera or guess_camera(*features.image_size)
        if camera.source != "given":
            log.notes.append(f"focal length not given: estimated from {camera.source} {camera.focal[0]:.0f} px")
        if problem := self._unusable(features, camera):
            return Localization(name, Status.FAILED, problem, camera=camera, notes=tuple(log.notes))
        images = self._candidate_images(candidates, log)
        log.tried = tuple(self.scene.names[i] for i in images)
        with log.timed("match"):
            matches = self._match(features, images)
        log.counts["candidates"] = len(images)
        with log.timed("pose"):
            best = self._verify(features, camera, images, matches, name, log)
        if best is None:
            reason = f"no pose: of {len(images)} db images the best has {max(map(len, matches), default=0)} matches"
            return self._result(name, Status.FAILED, reason, None, camera, log)
        with log.timed("refine"):
            return self._refine(features, best, name, log)

    def _match(self, features: LocalFeatures, images: Sequence[int]) -> list[Matches]:
        """The query with each db image; threads take images, so that the matrix products need none of their own."""
        query = replace(features, descriptors=features.descriptors.astype(np.float32))
        with single_blas_thread():
            return list(self._threads.map(lambda i: self._matcher.match(query, self.scene.features(i)), images))

    def _map_extractor(self) -> Extractor:
        if self._extractor is None:
            if not self.scene.extractor:
                raise DataError("the map does not say which local feature it was made with; pass extractor=")
            config: ExtractorConfig = TypeAdapter(ExtractorConfig).validate_python(dict(self.scene.extractor))
            self._extractor = make_extractor(config)
        return self._extractor

    def _unusable(self, features: LocalFeatures, camera: Camera) -> str | None:
        width = self.scene.descriptors.shape[1]
        if not len(features):
            return "no keypoints in the image"
        if features.descriptors.shape[1] != width:
            return (
                f"descriptors of {features.descriptors.shape[1]} numbers, the map's have {width}: another local feature"
            )
        if features.image_size != camera.size:
            (w, h), (cw, ch) = features.image_size, camera.size
            return f"the image is {w}x{h}, its camera {cw}x{ch}; correct the query list"
        return None

    def _candidate_images(self, candidates: Candidates | None, log: _Log) -> list[int]:
        if candidates is None:
            return [i for i in range(len(self.scene)) if self.scene.offsets[i + 1] > self.scene.offsets[i]]
        known = [self.scene.index_of(n) for n in candidates.names if n in self.scene]
        if len(known) < len(candidates.names):
            log.counts["candidates_not_in_map"] = len(candidates.names) - len(known)
            log.notes.append(f"{len(candidates.names) - len(known)} candidates are not in the map")
        return [i for i in known if self.scene.offsets[i + 1] > self.scene.offsets[i]]

    def _verify(
        self, features: LocalFeatures, camera: Camera, images: Sequence[int], matches: Sequence[Matches], name: str,
        log: _Log,
    ) -> _Attempt | None:  # fmt: skip
        """The first verified pose, or the one with most inliers of those that are not; None when there is none."""
        limits = self.settings.verification
        of_image = dict(zip(images, matches, strict=True))
        counts = np.array([len(m) for m in matches], np.int64)
        best: _Attempt | None = None
        for number, cluster in enumerate(seeded_clusters(self.scene, images, counts, self.settings.cluster_size)):
            if number == self.settings.max_clusters:
                break
            log.counts["clusters"] = number + 1
            pairs = lift(self.scene, features, cluster, [of_image[i] for i in cluster])
            if len(pairs) < limits.weak_inliers:
                continue
            estimate = estimate_pose(pairs, camera, self.settings.pnp, self._seed_of(name, number))
            if estimate is None:
                continue
            votes = pairs.votes_by_image(estimate.inliers, len(self.scene))
            attempt = _Attempt(estimate, pairs, int(votes.argmax()), int(votes.max()))
            if self._is_verified(attempt):
                return attempt
            if best is None or estimate.num_inliers > best.estimate.num_inliers:
                best = attempt
        return best if best and best.estimate.num_inliers >= limits.weak_inliers else None

    def _is_verified(self, attempt: _Attempt) -> bool:
        limits = self.settings.verification
        return (
            attempt.estimate.num_inliers >= limits.min_inliers and attempt.reference_inliers >= limits.min_image_inliers
        )

    def _refine(self, features: LocalFeatures, found: _Attempt, name: str, log: _Log) -> Localization:
        limits, estimate, pairs = self.settings.verification, found.estimate, found.pairs
        log.counts["inliers_before_refinement"] = estimate.num_inliers
        status = Status.VERIFIED if self._is_verified(found) else Status.WEAK
        if self.settings.refinement.enabled:
            refined = refine_with_frames(self.scene, features, estimate, pairs, self.settings.refinement)
            # With less than half of the inliers it has wandered off: the pose before is the better one.
            if refined is not None and 2 * refined[0].num_inliers >= estimate.num_inliers:
                estimate, pairs = refined
                status = Status.REFINED if status is Status.VERIFIED else status
        reference = self.scene.names[found.reference]
        reason = f"{found.estimate.num_inliers} inliers, {found.reference_inliers} of them from {reference}"
        if status is Status.WEAK:
            reason += f"; wanted {limits.min_inliers} and {limits.min_image_inliers}"
        elif status is Status.REFINED:
            reason += f"; {estimate.num_inliers} after refinement"
        log.counts["matches"] = len(pairs)
        log.counts["inliers"] = estimate.num_inliers
        return replace(self._result(name, status, reason, estimate, estimate.camera, log), reference=reference)

    def _result(
        self, name: str, status: Status, reason: str, estimate: PoseEstimate | None, camera: Camera, log: _Log
    ) -> Localization:
        return Localization(
            name, status, reason, estimate, camera, log.tried, None, log.counts, log.timings, tuple(log.notes)
        )

    def _seed_of(self, name: str, number: int) -> int:
        """From (seed, name): the same whatever the order of queries or the number of workers."""
        return zlib.crc32(f"{self.seed}/{name}/{number}".encode()) & 0x7FFFFFFF


def camera_of_photograph(path: Path) -> Camera:
    """Intrinsics of a photograph nobody measured: focal length from EXIF, or a guess. Raises as read_image."""
    return guess_camera(*image_size(path), exif_focal_px(path))
