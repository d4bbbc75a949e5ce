"""The stage `localize`: poses of the queries."""

from __future__ import annotations

import json
from collections import Counter

from lbr.errors import DataError
from lbr.io.files import remove, write_text
from lbr.io.text_lists import write_poses
from lbr.mapping.georeference import read_georeferences
from lbr.parallel import num_cores
from lbr.pipeline.geography import on_earth, write_positions
from lbr.pipeline.results import poses_of
from lbr.pipeline.searching import SearchedScene, cameras_of_db
from lbr.pipeline.stage import Context, Report, identities, make_of_items, reused, weights_digest
from lbr.pipeline.workers import LocalizeMoment, LocalizeQuery, group_moments
from lbr.pipeline.workspace import Making, Recipe, Workspace, digest_files, digest_text, problems_of, read_manifest
from lbr.retrieval.candidates import pairs_file
from lbr.types import Status


def localize(context: Context) -> list[Report]:
    """Poses of the queries."""
    workspace, dataset, output = context.workspace, context.dataset, context.workspace.localizations
    queries = dataset.queries
    if not queries:
        raise DataError("the dataset has no queries to localize: set dataset.queries or dataset.query_folder")
    places = read_georeferences(workspace.map)
    recipe = _recipe(context, bool(places))
    if context.reusable(output, recipe):
        return [reused(output)]

    def pack(work: Making) -> str:
        done = work.parts.keys()
        text = "\n".join(work.parts.get(key)["line"].tobytes().decode() for key in done)
        found = {record["query"]: on_earth(record, places) for record in map(json.loads, text.splitlines())}
        records = [found[query.name] for query in queries]
        write_text(output, "".join(f"{json.dumps(record)}\n" for record in records))
        for path in workspace.positions:
            remove(path)
        if places:
            write_positions(*workspace.positions, records)
        write_poses(workspace.poses, {dataset.result_name(n): pose for n, pose in poses_of(records).items()})
        known = problems_of(workspace.query_features)
        work.problems.extend(problem for problem in known if problem not in work.problems)
        statuses = Counter(r["status"] for r in records)
        return f"{len(records)} queries: " + ", ".join(f"{statuses[s]} {s}" for s in Status)

    worker, items = _worker(context), {query.name: query for query in queries}
    if not context.config.localization.rig:
        return [make_of_items(context, output, recipe, items, worker, pack)]
    if not any(query.place for query in queries):
        raise DataError(
            "localization.rig=true, but no query stands in a rig: a robotcar dataset with dataset.cameras of two sides "
            "or more and their extrinsics/<side>_extrinsics.txt has one"
        )
    moments = group_moments(queries)
    return [make_of_items(context, output, recipe, moments, LocalizeMoment(worker), pack)]


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
    workspace, config = context.workspace, context.config
    threads = max(1, num_cores() // config.parallel.num_workers)
    instances = context.uses_instances
    scene = SearchedScene(
        workspace.map, workspace.index if instances else None, workspace.query_predictions if instances else None,
        config.candidates, config.labelling, config.recognition.ranking, config.extractor.max_keypoints,
    )  # fmt: skip
    dataset = context.dataset
    return LocalizeQuery(
        scene,
        workspace.query_features,
        dataset.images,
        config.localization,
        config.seed,
        threads,
        cameras_of_db(scene.map, dataset) if any(query.camera is None for query in dataset.queries) else {},
    )
