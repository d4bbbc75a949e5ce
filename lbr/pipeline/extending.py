"""`lbr extend`: photographs are added to the map of a workspace; what is in it stays as it is, bit for bit."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lbr.errors import DataError
from lbr.io.exif import is_read_upright
from lbr.io.features_file import FeatureFile, add_features
from lbr.io.files import remove
from lbr.io.predictions_file import PredictionFile, add_predictions, prediction_to_arrays
from lbr.io.text_lists import Problem
from lbr.mapping.changes import Addition, NewImage
from lbr.mapping.map import Map
from lbr.pipeline.additions import label_additions
from lbr.pipeline.changes import (
    EXTEND,
    IMAGES,
    ON_EARTH,
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
from lbr.pipeline.recognition import DB_RANKS, recognise_images
from lbr.pipeline.registering import QUICK_IMAGES, look_alikes, register
from lbr.pipeline.stage import Context, Report, identities
from lbr.pipeline.vocabulary import load_vocabulary
from lbr.pipeline.workers import MaskSource
from lbr.pipeline.workspace import Workspace, digest_images, digest_text

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
    if poses is None and context.uses_instances:  # they are searched for by what is recognised in them
        identities(workspace.db_predictions, workspace.index)
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
        "problems": [[p.what, p.why] for p in problems], ON_EARTH: on_earth,
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
    turned = {name for name, path in files.items() if is_read_upright(path, known.get(name))}
    copy_photographs(files, work.images.root, turned)
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
    copies = {name: str(work.images.path(name)) for name in names}
    return [  # of the user's own files, not of our copies
        Problem(p.what, p.why.replace(copies[p.what], str(files[p.what]))) if p.what in copies else p
        for p in (*problems, *report.problems)
    ]


def _grown(work: Extension, scene: Map) -> tuple[Map, Fresh, int, list[Problem]]:
    """The map with all that fits, in rounds: what finds its place next to what was added before. Who stands beyond the
    map is found so, and not in all of it: that is looked through when a quick look and rounds have found who they can.
    Poses that are given are of its only place, and stay; the others are adjusted together with what they see of what is
    new.

    Returns the map, the images added, how many points they made, and why others were left out.
    """
    with FeatureFile(work.staging.query_features) as file:
        readable = [name for name in sorted(work.photographs.files) if name in file]
    given, cameras = work.photographs.poses, work.photographs.cameras
    fresh: Fresh = {n: NewImage(cameras[n], given[n], said=work.said(n)) for n in readable if n in given}
    waiting = [n for n in readable if n not in given]
    growing = Growing(work, scene, frozenset(given))
    reasons = dict.fromkeys(fresh.keys() - growing.add(fresh), ALONE)
    alike: dict[str, list[str]] = {}  # of use only to who waits beside who was found
    for quick in (True, False) if len(scene) > QUICK_IMAGES else (False,):
        fresh, failed = register(work, growing.scene, waiting, quick=quick)
        while fresh:
            kept = growing.add(fresh)
            reasons |= failed | dict.fromkeys(fresh.keys() - kept, ALONE)
            waiting = [name for name in waiting if name not in fresh]
            alike = alike or (look_alikes(work, readable) if waiting else {})
            fresh, failed = _register_next(work, growing, waiting, alike, kept)
        reasons |= failed
    growing.finish()
    left_out = [Problem(name, reasons.get(name, ALONE)) for name in readable if name not in growing.images]
    return growing.scene, growing.images, len(growing.scene.points) - len(scene.points), left_out


def _register_next(
    work: Extension, growing: Growing, waiting: list[str], alike: Mapping[str, list[str]], kept: set[str]
) -> tuple[Fresh, dict[str, str]]:
    """Those that look like what was added just now, beside all that was added of their like; where this finds none,
    everyone beside all that was added."""
    if not kept:
        return {}, {}
    beside = {name: [other for other in alike[name] if other in growing.images] for name in waiting}
    likely = [name for name in waiting if not kept.isdisjoint(beside[name])]
    fresh, failed = register(work, growing.scene, likely, beside)
    if fresh:
        return fresh, failed
    return register(work, growing.scene, waiting, dict.fromkeys(waiting, list(growing.images)))


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
