"""The localizer: a query's features and a map in, a `Localization` with its reason out; no query makes it raise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import Field

from lbr.errors import DataError
from lbr.features import Extractor, config_of_record, make_extractor
from lbr.geometry.camera import Camera, guess_camera
from lbr.io.exif import camera_of_photograph, is_read_upright
from lbr.io.images import read_image
from lbr.localization.clurefpos import refine_as_published
from lbr.localization.intrinsics import is_cut
from lbr.localization.log import Log
from lbr.localization.pnp import covariance_of_intrinsics, with_its_covariance
from lbr.localization.refine import Refined, RefinementSettings, likelihood_gain, refine_with_frames
from lbr.localization.search import Search, SearchSettings
from lbr.localization.verification import Attempt, shortcoming
from lbr.mapping.map import Map, open_map
from lbr.matching import Matcher, MatcherConfig, make_matcher
from lbr.matching.descriptors import with_float32
from lbr.matching.instancewise import InstanceWise
from lbr.matching.nearest import NearestSettings
from lbr.parallel import num_cores, single_blas_thread
from lbr.types import Candidates, LocalFeatures, Localization, Matches, PoseEstimate, Status

NO_KEYPOINTS = "no keypoints in the image"  # a query's reason: nothing is wrong with what it came with


class LocalizationSettings(SearchSettings):
    matcher: MatcherConfig = NearestSettings(ratio=0.8)
    refinement: RefinementSettings = RefinementSettings()
    rig: bool = Field(default=False, description="cameras of one moment as one query (lbr.localization.rig)")
    calibrate: bool = Field(
        default=True, description="queries of a camera that nobody measured once more, with what they tell together"
    )


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
        candidates: Candidates | Iterable[Candidates] | None = None,
    ) -> Localization:  # fmt: skip
        """Localize one photograph with the map's own local feature.

        image: RGB uint8 [H, W, 3], or a path. camera: its intrinsics (`is_read_upright`); without, the photograph is
        turned upright, and intrinsics are estimated with the pose, from EXIF's or a guess. candidates: db images to
        compare with, or steps of them (`progressive_search`) of which the next is taken while no pose is verified; all
        at once by default.
        A file that cannot be read gives a failed result that says so.
        """
        log = Log()
        try:
            if not isinstance(image, np.ndarray):
                image = read_image(path := Path(image), is_read_upright(path, camera))
                camera = camera or camera_of_photograph(path)
            with log.timed("extract"):
                features = self._map_extractor().extract(image)
        except DataError as error:
            return Localization(name, Status.FAILED, str(error))
        result = self.localize_features(features, camera, name, candidates)
        return replace(result, timings={**log.timings, **result.timings})

    def localize_features(
        self, features: LocalFeatures, camera: Camera | None = None, name: str = "query",
        candidates: Candidates | Iterable[Candidates] | None = None,
    ) -> Localization:  # fmt: skip
        """Localize a query from its features (of the map's kind). The same seed and name give the same pose."""
        search = self.new_search(features, camera, name)
        if isinstance(search, Localization):
            return search
        log, camera = search.log, search.camera
        found = search.run(self.steps(candidates))
        log.counts["candidates"] = len(log.tried)
        if found is None:
            most = max(map(len, search.matched.values()), default=0)
            reason = f"no pose: of {len(log.tried)} db images the best has {most} matches"
            return self._result(name, Status.FAILED, reason, None, camera, log)
        return self._conclude(search, found, name, log)

    def new_search(self, features: LocalFeatures, camera: Camera | None, name: str) -> Search | Localization:
        """The search for one query, not begun; its failed result where nothing can be searched for."""
        log = Log()
        features = with_float32(features)
        camera = camera or guess_camera(*features.image_size)
        if not camera.is_known:
            log.notes.append(f"focal length not given: estimated from {camera.source} {camera.focal[0]:.0f} px")
        if problem := self._unusable(features, camera):
            return Localization(name, Status.FAILED, problem, camera=camera, notes=tuple(log.notes))
        return Search(
            self.scene, features, camera, self.settings, f"{self.seed}/{name}",
            partial(self._match, features),
            partial(self._refined, features) if self.settings.refinement.enabled else None, log,
        )  # fmt: skip

    def steps(self, candidates: Candidates | Iterable[Candidates] | None) -> Iterator[Candidates]:
        if candidates is None:
            yield Candidates(self.scene.names, (0.0,) * len(self.scene), "exhaustive")
        elif isinstance(candidates, Candidates):
            yield candidates
        else:
            yield from candidates

    def _match(self, features: LocalFeatures, images: Sequence[int], doubtful: bool = False) -> list[Matches]:
        """The query with each db image; threads take images, so that the matrix products need none of their own.

        doubtful: the images are not those of an instance of the query, so that its labels may be wrong.
        """
        match = self._matcher.match
        if doubtful and isinstance(self._matcher, InstanceWise):
            match = self._matcher.match_doubtful
        with single_blas_thread():
            return list(self._threads.map(lambda i: match(features, self.scene.features(i)), images))

    def _map_extractor(self) -> Extractor:
        if self._extractor is None:
            if not self.scene.extractor:
                raise DataError("the map does not say which local feature it was made with; pass extractor=")
            self._extractor = make_extractor(config_of_record(self.scene.extractor))
        return self._extractor

    def _unusable(self, features: LocalFeatures, camera: Camera) -> str | None:
        width = self.scene.descriptors.shape[1]
        if not len(features):
            return NO_KEYPOINTS
        if features.descriptors.shape[1] != width:
            return (
                f"descriptors of {features.descriptors.shape[1]} numbers, the map's have {width}: another local feature"
            )
        if unlike := camera.unlike(features.image_size):
            return f"the image {unlike}; correct the query list"
        return None

    def _refined(self, features: LocalFeatures, found: Attempt) -> Refined | None:
        settings = self.settings.refinement
        if settings.method == "clurefpos":
            match = partial(self._match, features)
            return refine_as_published(self.scene, features, found.estimate, found.reference, match, settings)
        refined = refine_with_frames(self.scene, features, found.estimate, found.pairs, settings)
        if refined is None or is_cut(found.estimate.camera) or not is_cut(refined.estimate.camera):
            return refined
        # its pairs were found with the axis in the middle of the photograph, where it is not
        return refine_with_frames(self.scene, features, refined.estimate, refined.pairs, settings) or refined

    def _conclude(self, search: Search, found: Attempt, name: str, log: Log) -> Localization:
        limits, estimate, pairs = self.settings.verification, found.estimate, found.pairs
        log.counts["inliers_before_refinement"] = estimate.num_inliers
        status = Status.VERIFIED if found.verified else Status.WEAK
        if search.refine is not None and not found.hopeful:
            with log.timed("refine"):
                found = replace(found, refined=search.refine(found))
        # With less than half of the inliers it has wandered off: the pose before is the better one.
        after = found.refined if found.kept >= 0.5 else None
        if after is not None:
            estimate, pairs = after.estimate, after.pairs
            status = Status.REFINED if found.verified else status
            log.counts["support"] = round(after.support)
            log.counts["points_in_view"] = after.in_view
        reference = self.scene.names[found.reference]
        reason = f"{found.estimate.num_inliers} inliers, {found.reference_inliers} of them from {reference}"
        if status is Status.WEAK and found.hopeful:
            reason += f"; {shortcoming(found, limits)}"
        elif status is Status.WEAK:
            reason += f"; wanted {limits.min_inliers} and {limits.min_image_inliers}"
        elif after is not None:
            reason += f"; {estimate.num_inliers} after refinement"
        if found.verified and (doubt := search.doubt()) is not None:
            status, reason = Status.WEAK, f"{reason}; {doubt}"
        log.counts["matches"] = len(pairs)
        log.counts["inliers"] = estimate.num_inliers
        log.counts["fit"] = round(likelihood_gain(estimate, pairs, self.settings.refinement))
        estimate = with_its_covariance(estimate, pairs)
        if not estimate.camera.is_known and is_cut(estimate.camera):
            log.notes.append("principal point far from the middle: cut out of a larger photograph")
        result = self._result(name, status, reason, estimate, estimate.camera, log)
        return replace(
            result, reference=reference, place=int(self.scene.place[found.reference]),
            intrinsics_covariance=covariance_of_intrinsics(estimate, pairs),
        )  # fmt: skip

    def _result(
        self, name: str, status: Status, reason: str, estimate: PoseEstimate | None, camera: Camera, log: Log
    ) -> Localization:
        return Localization(
            name, status, reason, estimate, camera, tuple(log.tried), None, log.counts, log.timings, tuple(log.notes),
            tuple(log.steps),
        )  # fmt: skip
