"""`lbr extend`: photographs are added to the map of a workspace; what is in it stays as it is, bit for bit."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lbr.errors import DataError
from lbr.geometry.camera import camera_of_fields
from lbr.io.features_file import FeatureFile, add_features
from lbr.io.files import remove
from lbr.io.images import ImageFolder
from lbr.io.predictions_file import PredictionFile, add_predictions, prediction_to_arrays
from lbr.io.text_lists import Problem, write_pairs
from lbr.localization.localizer import LocalizationSettings
from lbr.localization.verification import VerificationSettings
from lbr.mapping.changes import Addition, NewImage
from lbr.mapping.map import Map, write_map
from lbr.parallel import parallel_map
from lbr.pipeline.additions import label_additions
from lbr.pipeline.calibrating import LocalizeAgain, Record, with_cameras_of_queries
from lbr.pipeline.changes import (
    EXTEND,
    IMAGES,
    Change,
    changed,
    changes_of,
    publish_map,
)  # fmt: skip
from lbr.pipeline.changing import is_on_earth, map_to_change, remake
from lbr.pipeline.extension import Extension, Fresh
from lbr.pipeline.features import NOTHING_FAVOURED, extract_images
from lbr.pipeline.growing import Growing
from lbr.pipeline.mapping import map_summary
from lbr.pipeline.photographs import copy_photographs, find_photographs
from lbr.pipeline.querying import TRUSTED, QueryLocalizer
from lbr.pipeline.recognition import DB_RANKS, recognise_images
from lbr.pipeline.results import poses_of
from lbr.pipeline.searching import SearchedScene, cameras_of_db
from lbr.pipeline.stage import Context, Report, identities
from lbr.pipeline.vocabulary import load_vocabulary
from lbr.pipeline.workers import Arrays, LocalizeQuery, MaskSource
from lbr.pipeline.workspace import Workspace, digest_images, digest_text
from lbr.retrieval.candidates import ListedCandidates, without_list
from lbr.types import Query

# A photograph at a wrong place spoils the map for all that come after it: never less than without instances.
STRICT = VerificationSettings()
ALONE = "its pose agrees with the matches of no other image"


def extend(context: Context, images: Path, poses: Path | None = None) -> list[Report]:
    """Add photographs of a folder or a list to the map; with `poses` (a list or a COLMAP model) or localized in it.

    Raises DataError when there is no map, or none of them can be added; the map then stays as it is.
    """
    start, workspace = time.time(), context.workspace
    scene, on_earth = map_to_change(context), is_on_earth(context)
    if poses is not None and scene.num_places > 1:
        raise DataError(
            f"{poses}: the map has {scene.num_places} places, each in a frame of its own, and these poses could be of "
            "any; leave --poses out, and the photographs are localized"
        )
    found = find_photographs(context.dataset.image_root, images, poses, set(scene.names))
    work = Extension(context, found, Workspace(workspace.staging))
    problems = [*found.problems, *_prepare(work)]
    grown, added, points, lost = _grown(work, scene)
    problems += lost
    if not added:
        remove(work.staging.root)
        reasons = "; ".join(map(str, problems[:3]))
        raise DataError(f"not one of {len(found.files)} photographs could be added to the map ({reasons})")
    change = Change(EXTEND, tuple(sorted(added)), _inputs(work, added))
    new = _keep(work, grown, added)
    seen = int(grown.offsets[-1] - scene.offsets[-1])
    facts = {
        "summary": map_summary(grown), "seconds": round(time.time() - start, 3),
        "problems": [[p.what, p.why] for p in problems],
    }  # fmt: skip
    additions = (*changes_of(workspace).additions, Addition(change.names, points))
    publish_map(workspace, grown, changed(workspace, change), additions, facts)
    instances = f", {new} new instances" if new else ""
    told = f"{len(added)} images added with {points:,} points, {seen:,} observations{instances}; {facts['summary']}"
    return [Report(workspace.map, told, problems=tuple(dict.fromkeys(problems))), *remake(context, on_earth)]


def _prepare(work: Extension) -> list[Problem]:
    """Copies, predictions and features of the photographs in the staging folder; those that are broken."""
    context, names = replace(work.context, overwrite=True, shard=None), sorted(work.photographs.files)
    files, known = work.photographs.files, work.photographs.cameras
    copy_photographs(files, work.images.root, {name for name in files if name not in known})
    problems: list[Problem] = []
    favoured = NOTHING_FAVOURED
    if work.recognised:
        report = recognise_images(context, work.staging.query_predictions, work.images, names, None)
        problems += report.problems
        if context.favours_in_db:
            predictions = work.staging.query_predictions
            minimum = context.config.labelling.min_confidence
            source = MaskSource(None, predictions, load_vocabulary(context), minimum)
            favoured = source, context.dump("labelling"), identities(predictions)
    report = extract_images(context, work.staging.query_features, work.images, names, favoured)
    return [*problems, *report.problems]


def _grown(work: Extension, scene: Map) -> tuple[Map, Fresh, int, list[Problem]]:
    """The map with all that fits, in rounds: what finds its place next to what was added before. Poses that are given
    are of its only place, and stay; the others are adjusted together with what they see of what is new.

    Returns the map, the images added, how many points they made, and why others were left out.
    """
    with FeatureFile(work.staging.query_features) as file:
        readable = [name for name in sorted(work.photographs.files) if name in file]
    given = work.photographs.poses
    fresh: Fresh = {n: NewImage(work.photographs.cameras[n], given[n]) for n in readable if n in given}
    waiting, reasons, first = [n for n in readable if n not in given], dict[str, str](), True
    growing = Growing(work, scene, frozenset(given))
    while fresh or (first and waiting):
        if fresh:
            kept = growing.add(fresh)
            reasons |= dict.fromkeys(fresh.keys() - kept, ALONE)
            if not kept:
                break
        beside = () if first else tuple(growing.images)
        fresh, failed = _localize(work, growing.scene, waiting, beside) if waiting else ({}, {})
        if first or fresh:
            reasons |= failed
        waiting, first = [name for name in waiting if name not in fresh], False
    left_out = [Problem(name, reasons.get(name, ALONE)) for name in readable if name not in growing.images]
    return growing.scene, growing.images, len(growing.scene.points) - len(scene.points), left_out


def _localize(
    work: Extension, scene: Map, names: list[str], beside: tuple[str, ...]
) -> tuple[Fresh, dict[str, str]]:  # fmt: skip
    """Cameras and poses of the photographs that are verified in the map, and why the others are not.

    beside: db images to compare with, those added so far; all of the map, by the ordinary search, when there are none.
    """
    context, workspace = work.context, work.context.workspace
    config, folder, candidates = context.config, workspace.map, context.config.candidates
    if beside:
        folder, pairs = work.staging.map, work.staging.pairs
        write_map(folder, scene)
        write_pairs(pairs, [(name, other) for name in names for other in beside])
        candidates = ListedCandidates(path=pairs)
    else:
        candidates = without_list(candidates)
    search = work.recognised and context.uses_instances
    searched = SearchedScene(
        folder, workspace.index if search and not beside else None, work.staging.query_predictions if search else None,
        candidates, config.labelling, config.recognition.ranking, config.extractor.max_keypoints,
    )  # fmt: skip
    known = work.photographs.cameras
    shared = {} if known.keys() >= set(names) else cameras_of_db(scene, context.dataset)
    localizer = QueryLocalizer(searched, _strict(context), config.seed, 1, shared)
    worker = LocalizeQuery(localizer, work.staging.query_features, work.images)
    records = _records(context, worker, work.images, {name: Query(name, known.get(name)) for name in names})
    found = {
        name: NewImage(camera_of_fields(record["camera"]), poses_of([record])[name], record["place"])
        for name, record in records.items()
        if record["status"] in TRUSTED
    }
    return found, {
        name: f"not localized in the map: {record['status']}, {record['reason']}"
        for name, record in records.items()
        if name not in found
    }


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


def _strict(context: Context) -> LocalizationSettings:
    """The settings of localization, with limits of verification that are never below the defaults."""
    settings = context.config.localization
    limits = settings.verification
    strict = limits.model_copy(
        update={
            key: max(getattr(limits, key), getattr(STRICT, key))
            for key in ("min_inliers", "min_image_inliers", "min_kept")
        }
    )
    return settings.model_copy(update={"verification": strict})


def _inputs(work: Extension, added: Fresh) -> dict[str, str]:
    """What the extension was made of, in the words of a manifest."""
    given = {n: [i.pose.matrix.tolist(), repr(i.camera), i.place] for n, i in sorted(added.items())}
    return {"images": digest_images(work.images.root, sorted(added)), "poses": digest_text(json.dumps(given))}


def _keep(work: Extension, grown: Map, added: Mapping[str, object]) -> int:
    """Photographs, label images, predictions and features to where those of the map are; nothing reads them yet.

    Returns how many new instances there are.
    """
    workspace, names = work.context.workspace, sorted(added)
    copy_photographs({name: work.images.path(name) for name in names}, workspace.additions / IMAGES)
    add_features(workspace.db_features, work.read(names))
    if not work.recognised:
        return 0
    with PredictionFile(work.staging.query_predictions) as file:
        found = {name: file.read(name) for name in names if name in file}
    new = label_additions(work.context, grown, found)
    add_predictions(workspace.db_predictions, ((n, prediction_to_arrays(p, DB_RANKS)) for n, p in found.items()))
    return new
