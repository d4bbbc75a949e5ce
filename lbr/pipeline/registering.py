"""Photographs that are to be added to a map, localized in it: more strictly than queries, and beside their like."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from lbr.errors import DataError
from lbr.geometry.camera import camera_of_fields
from lbr.io.features_file import FeatureFile
from lbr.io.images import ImageFolder
from lbr.io.text_lists import Problem, write_pairs
from lbr.localization.cameras import shared_cameras
from lbr.localization.localizer import LocalizationSettings
from lbr.localization.verification import VerificationSettings
from lbr.mapping.changes import NewImage
from lbr.mapping.map import Map, write_map
from lbr.parallel import parallel_map
from lbr.pipeline.calibrating import LocalizeAgain, Record, with_cameras_of_queries
from lbr.pipeline.extension import Extension, Fresh
from lbr.pipeline.matching import pairs_alike
from lbr.pipeline.querying import TRUSTED, QueryLocalizer
from lbr.pipeline.results import poses_of
from lbr.pipeline.searching import SearchedScene
from lbr.pipeline.stage import Context
from lbr.pipeline.workers import Arrays, LocalizeQuery
from lbr.retrieval.candidates import ListedCandidates, without_list
from lbr.retrieval.pairs import SimilarPairs
from lbr.types import Query

# A photograph at a wrong place spoils the map for all that come after it: never less than without instances.
STRICT = VerificationSettings()
LIKE = SimilarPairs(num_neighbours=12, num_following=3)  # a film's next photographs, a place's other ones
QUICK_IMAGES = 30  # of the map, in a quick look: who finds a place does so in fewer, who finds none asks half of it


def look_alikes(work: Extension, names: Sequence[str]) -> dict[str, list[str]]:
    """For each of the photographs those of them that it looks like, or whose names follow it."""
    alike: dict[str, list[str]] = {name: [] for name in names}
    with FeatureFile(work.staging.query_features) as features:
        for first, second in pairs_alike(features, names, LIKE, work.context.config.seed):
            alike[first].append(second)
            alike[second].append(first)
    return alike


def register(
    work: Extension, scene: Map, names: Sequence[str], beside: Mapping[str, Sequence[str]] | None = None,
    quick: bool = False,
) -> tuple[Fresh, dict[str, str]]:  # fmt: skip
    """Cameras and poses of the photographs that are verified in the map, and why the others are not.

    beside: the images of the map to compare each with; without, all of the map, by the ordinary search. quick: that
    ends after QUICK_IMAGES.
    """
    if not names:
        return {}, {}
    searched = _searched(work, scene, names, beside)
    known = work.photographs.cameras
    shared = {} if known.keys() >= set(names) else shared_cameras(scene)
    localizer = QueryLocalizer(searched, _settings(work.context, quick), work.context.config.seed, 1, shared)
    worker = LocalizeQuery(localizer, work.staging.query_features, work.images)
    records = _records(work.context, worker, work.images, {name: Query(name, known.get(name)) for name in names})
    found = {
        name: NewImage(camera_of_fields(record["camera"]), poses_of([record])[name], record["place"], work.said(name))
        for name, record in records.items()
        if record["status"] in TRUSTED
    }
    return found, {
        name: f"not localized in the map: {record['status']}, {record['reason']}"
        for name, record in records.items()
        if name not in found
    }


def _searched(
    work: Extension, scene: Map, names: Sequence[str], beside: Mapping[str, Sequence[str]] | None
) -> SearchedScene:
    """The map as it grew so far, or before it grew, and what to compare the photographs with in it."""
    context, workspace = work.context, work.context.workspace
    config, folder, candidates = context.config, workspace.map, without_list(context.config.candidates)
    search = work.recognised and context.uses_instances
    if beside is not None:
        folder, pairs = work.staging.map, work.staging.pairs
        write_map(folder, scene)
        write_pairs(pairs, [(name, other) for name in names for other in beside[name]])
        candidates = ListedCandidates(path=pairs)
    return SearchedScene(
        folder, workspace.index if search and beside is None else None,
        work.staging.query_predictions if search else None,
        candidates, config.labelling, config.recognition.ranking, config.extractor.max_keypoints,
    )  # fmt: skip


def _records(
    context: Context, worker: LocalizeQuery, images: ImageFolder, queries: Mapping[str, Query]
) -> dict[str, Record]:
    """What is found of the queries; of those of an unknown camera with what they tell of it together."""
    parallel = context.config.parallel
    worker.open()
    alone = parallel_map(worker, list(queries.items()), parallel, "localize")
    records = {name: _record(arrays) for (name, _), arrays in alone}
    if not context.config.localization.calibrate:
        return records
    again = with_cameras_of_queries(list(queries.values()), records, images)
    together = parallel_map(LocalizeAgain(worker), list(again.items()), parallel, "localize again")
    return records | {item.query.name: _record(arrays) for (_, item), arrays in together}


def _record(arrays: Arrays | Problem) -> Record:
    if isinstance(arrays, Problem):
        raise DataError(str(arrays))
    return json.loads(arrays["line"].tobytes())


def _settings(context: Context, quick: bool) -> LocalizationSettings:
    """Those of localization, with limits of verification that are never below the defaults; how much a quick look may
    spend."""
    settings = context.config.localization
    limits = settings.verification
    strict = limits.model_copy(
        update={
            key: max(getattr(limits, key), getattr(STRICT, key))
            for key in ("min_inliers", "min_image_inliers", "min_kept")
        }
    )
    most = min(QUICK_IMAGES, settings.max_images or QUICK_IMAGES) if quick else settings.max_images
    return settings.model_copy(update={"verification": strict, "max_images": most})
