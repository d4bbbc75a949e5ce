"""The stage `localize`: poses of the queries."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lbr.errors import DataError
from lbr.io.files import remove, write_text
from lbr.io.text_lists import Problem, write_poses
from lbr.localization.cameras import shared_cameras
from lbr.localization.localizer import NO_KEYPOINTS
from lbr.mapping.georeference import Georeference
from lbr.parallel import num_cores
from lbr.pipeline.calibrating import Again, LocalizeAgain, calibrated_text, with_cameras_of_queries
from lbr.pipeline.geography import on_earth, places_on_earth, write_positions
from lbr.pipeline.querying import QueryLocalizer
from lbr.pipeline.results import poses_of
from lbr.pipeline.searching import SearchedScene
from lbr.pipeline.stage import Context, Report, identities, make_of_items, make_parts, reused, weights_digest
from lbr.pipeline.workers import LocalizeMoment, LocalizeQuery, group_moments
from lbr.pipeline.workspace import Making, Recipe, Workspace, digest_files, digest_text, problems_of, read_manifest
from lbr.retrieval.candidates import CandidatesConfig, pairs_file
from lbr.types import Status


def localize(context: Context) -> list[Report]:
    """Poses of the queries."""
    dataset, output = context.dataset, context.workspace.localizations
    queries = dataset.queries
    if not queries:
        raise DataError("the dataset has no queries to localize: set dataset.queries or dataset.query_folder")
    places = places_on_earth(context)
    recipe = _recipe(context, bool(places))
    if context.reusable(output, recipe):
        return [reused(output)]

    single, pack = _worker(context), partial(_pack, context, places)
    if not context.config.localization.rig:
        items = {query.name: query for query in queries}
        return [make_of_items(context, output, recipe, items, single, partial(pack, single, items.keys()))]
    if not any(query.place for query in queries):
        raise DataError(
            "localization.rig=true, but no query stands in a rig: a robotcar dataset with dataset.cameras of two sides "
            "or more and their extrinsics/<side>_extrinsics.txt has one"
        )
    moments = group_moments(queries)
    worker = LocalizeMoment(single)
    return [make_of_items(context, output, recipe, moments, worker, partial(pack, single, moments.keys()))]


def _pack(
    context: Context, places: Mapping[int, Georeference], single: LocalizeQuery, keys: Iterable[str], work: Making
) -> str:
    """Write the results of all queries from the parts `keys`; some are localized once more before."""
    records = {record["query"]: record for key in keys for record in _records(work, key)}
    again = _again(context, records)
    make_parts(work, again, LocalizeAgain(single), context, "localize again")
    records |= {record["query"]: record for key in again for record in _records(work, key)}
    placed = [on_earth(records[query.name], places) for query in context.dataset.queries]
    unlike = _write_results(context, placed, bool(places))
    known = [p for p in problems_of(context.workspace.query_features) if p not in work.problems]
    work.problems += [*known, *_unusable(records.values(), {problem.what for problem in known})]
    statuses = Counter(record["status"] for record in records.values())
    told = ", ".join(f"{statuses[s]} {s}" for s in Status)
    return f"{len(records)} queries: {told}{calibrated_text(again)}{unlike}"


def _unusable(records: Iterable[Mapping[str, Any]], known: Container[str]) -> list[Problem]:
    """Queries that were compared with nothing though they show something: what they came with is wrong."""
    alone = (r for r in records if r["status"] == Status.FAILED and not r["tried"] and r["query"] not in known)
    return [Problem(r["query"], r["reason"]) for r in alone if r["reason"] != NO_KEYPOINTS]


def _records(work: Making, key: str) -> list[dict[str, Any]]:
    """What a worker made of an item: a record of each of its queries."""
    return [json.loads(line) for line in work.parts.get(key)["line"].tobytes().decode().splitlines()]


def _again(context: Context, records: Mapping[str, dict[str, Any]]) -> dict[str, Again]:
    """Which queries to localize once more, with a camera that they tell together."""
    settings, dataset = context.config.localization, context.dataset
    if settings.rig or not settings.calibrate:
        return {}
    return with_cameras_of_queries(dataset.queries, records, dataset.images)


def _write_results(context: Context, records: Sequence[dict[str, Any]], is_on_earth: bool) -> str:
    """Writes the files of a run; says which names in them are not as the benchmark's server wants them."""
    workspace, dataset = context.workspace, context.dataset
    names = result_names((record["query"] for record in records), dataset.result_name)
    write_text(workspace.localizations, "".join(f"{json.dumps(record)}\n" for record in records))
    for path in workspace.positions:
        remove(path)
    if is_on_earth:
        write_positions(*workspace.positions, records)
    write_poses(workspace.poses, {names[query]: pose for query, pose in poses_of(records).items()})
    whole = sum(name == query != dataset.result_name(query) for query, name in names.items())
    return f"; {whole} of them by their whole names in poses.txt, as others have the same short one" if whole else ""


def result_names(names: Iterable[str], short: Callable[[str], str]) -> dict[str, str]:
    """Of queries the names in poses.txt: `short`, as a benchmark's server wants them, where no other has the same."""
    wanted = {name: short(name) for name in names}
    count = Counter(wanted.values())
    return {name: one if count[one] == 1 else name for name, one in wanted.items()}


def _recipe(context: Context, on_earth_too: bool) -> Recipe:
    workspace, config = context.workspace, context.config
    inputs = identities(workspace.map, workspace.query_features)
    if on_earth_too:
        inputs |= identities(workspace.georeference)
    inputs["queries"] = digest_text(repr(context.dataset.queries))
    if listed := pairs_file(config.candidates):
        inputs["candidates"] = digest_files([listed])
    inputs |= weights_digest(config.localization.matcher)
    sections = context.dump("localization", "candidates", "seed")
    if context.uses_instances:
        _check_same_network(workspace)
        inputs |= identities(workspace.index, workspace.query_predictions)
        sections |= {**context.dump("labelling"), "recognition": {"ranking": config.recognition.ranking.model_dump()}}
    return Recipe("localize", sections, inputs)


def _check_same_network(workspace: Workspace) -> None:
    """Raises DataError when db images and queries were recognised by two networks, whose features do not compare."""
    made = [read_manifest(path) for path in (workspace.db_predictions, workspace.query_predictions)]
    networks = [
        {k: v for k, v in m["inputs"].items() if k not in ("images", workspace.prototypes.name)} for m in made if m
    ]
    if len(networks) == 2 and networks[0] != networks[1]:
        raise DataError(
            f"{workspace.query_predictions}: made by another network than {workspace.db_predictions.name}; "
            "run `lbr recognise --overwrite`"
        )


def _worker(context: Context) -> LocalizeQuery:
    workspace, dataset = context.workspace, context.dataset
    predictions = workspace.query_predictions if context.uses_instances else None
    threads = max(1, num_cores() // context.config.parallel.num_workers)
    unmeasured = any(query.camera is None for query in dataset.queries)
    localizer = query_localizer(context, context.config.candidates, predictions, threads, unmeasured)
    return LocalizeQuery(localizer, workspace.query_features, dataset.images)


def query_localizer(
    context: Context, candidates: CandidatesConfig, predictions: Path | None, threads: int, unmeasured: bool
) -> QueryLocalizer:
    """What localizes queries in the map of a workspace. predictions: the file of them, if there is one.

    unmeasured: there are queries whose intrinsics nobody gave, which may be of a camera of the map.
    """
    workspace, config = context.workspace, context.config
    scene = SearchedScene(
        workspace.map, workspace.index if context.uses_instances else None, predictions,
        candidates, config.labelling, config.recognition.ranking, config.extractor.max_keypoints,
    )  # fmt: skip
    shared = shared_cameras(scene.map) if unmeasured else {}
    return QueryLocalizer(scene, config.localization, config.seed, threads, shared)
