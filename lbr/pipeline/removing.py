"""`lbr remove`: images leave the map of a workspace; what the others see stays as it is, bit for bit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from lbr.errors import DataError
from lbr.io.files import remove as delete
from lbr.io.h5_file import drop_groups
from lbr.io.text_lists import Problem, read_query_list
from lbr.mapping.changes import without_images
from lbr.pipeline.changes import (
    ON_EARTH,
    REMOVE,
    Change,
    added_label_image,
    added_photograph,
    changed,
    changes_of,
    publish_map,
)  # fmt: skip
from lbr.pipeline.changing import is_on_earth, map_to_change, remake
from lbr.pipeline.mapping import map_summary
from lbr.pipeline.stage import Context, Report


def remove(context: Context, images: Sequence[str]) -> list[Report]:
    """Take images, by names, patterns (`db/2019-*`) or the path of a list, from the map and the index.

    Photographs that were added lose their files in the workspace too; of the dataset's own images features and
    predictions stay, as they are the dataset's. Raises DataError when none is in the map, or none would be left.
    """
    start, workspace = time.time(), context.workspace
    scene, before, on_earth = map_to_change(context), changes_of(workspace), is_on_earth(context)
    names, problems = named_images(images, scene.names)
    if not names:
        raise DataError(f"not one image of the map is named ({'; '.join(map(str, problems[:3]))})")
    smaller, additions = without_images(scene, names, before.additions)
    facts = {
        "summary": map_summary(smaller), "seconds": round(time.time() - start, 3),
        "problems": [[p.what, p.why] for p in problems], ON_EARTH: on_earth,
    }  # fmt: skip
    publish_map(workspace, smaller, changed(workspace, Change(REMOVE, tuple(names), {})), additions, facts)
    _forget(context, sorted(set(before.added) & set(names)))
    told = f"{len(names)} images and {len(scene.points) - len(smaller.points):,} points removed; {facts['summary']}"
    return [Report(workspace.map, told, problems=tuple(problems)), *remake(context, on_earth)]


def named_images(asked: Sequence[str], names: Sequence[str]) -> tuple[list[str], list[Problem]]:
    """The images of the map that are asked for, sorted; what names none is a problem."""
    known, found, problems = set(names), set[str](), []
    listed: dict[str, None] = {}
    for text in asked:
        if text not in known and Path(text).is_file():
            cameras, wrong = read_query_list(Path(text))
            listed |= dict.fromkeys(cameras)
            problems += wrong
        else:
            listed[text] = None
    for text in listed:
        hits = {text} if text in known else {name for name in names if fnmatchcase(name, text)}
        found |= hits
        if not hits:
            problems.append(Problem(text, "the map has no such image"))
    return sorted(found), problems


def _forget(context: Context, added: Sequence[str]) -> None:
    """Delete what the workspace keeps of photographs that were added and are no longer in the map."""
    if not added:
        return
    workspace, own = context.workspace, set(context.dataset.db_names)
    dropped = [name for name in added if name not in own]
    drop_groups(workspace.db_features, dropped)
    if workspace.db_predictions.is_file():
        drop_groups(workspace.db_predictions, dropped, latest=True)
    for name in added:
        delete(added_photograph(workspace, name))
        delete(added_label_image(workspace, name))
