"""What a person corrects in a list of instances: names, merges, drops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lbr.errors import DataError
from lbr.io.files import read_text

TOLD = {"colour", "images", "area", "points"}  # keys of the list that are for the eye alone


@dataclass(frozen=True)
class Edit:
    """The correction of one instance. merge_into: the id of another one that it is a part of."""

    id: int
    name: str | None = None
    merge_into: int | None = None
    drop: bool = False


def read_edits(path: Path, found: str) -> list[Edit]:
    """The corrections in a (copied and edited) list of instances; [] when there is no such file.

    found: the identity of the instances that were found: a list that names another is of another map, where the ids
    mean something else. Raises DataError with the entry that is wrong.
    """
    if not path.is_file():
        return []
    try:
        tree = yaml.safe_load(read_text(path)) or {}
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    entries = tree.get("instances") if isinstance(tree, dict) else tree
    entries = [] if entries is None else entries
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise DataError(f"{path}: wanted a list `instances:` of entries with an id each")
    of = tree.get("found") if isinstance(tree, dict) else None
    if of is not None and str(of) != found:
        raise DataError(f"{path}: is for the instances {of}, but those found now are {found}: begin a new list")
    edits = [_edit(entry, path) for entry in entries]
    return [edit for edit in edits if edit != Edit(edit.id)]


def _edit(entry: Mapping[str, Any], path: Path) -> Edit:
    number, name = entry.get("id"), entry.get("name")
    if unknown := set(entry) - {"id", "name", "merge_into", "drop"} - TOLD:
        raise DataError(f"{path}: instance {number}: unknown key '{min(unknown)}'; there are name, merge_into, drop")
    into, drop = entry.get("merge_into"), entry.get("drop") or False
    if type(number) is not int or not isinstance(drop, bool) or not (into is None or type(into) is int):
        raise DataError(f"{path}: {dict(entry)}: id and merge_into are numbers, drop is true or false")
    return Edit(number, None if name is None else str(name), into, drop)


def apply_edits(num: int, edits: Sequence[Edit], path: Path) -> tuple[np.ndarray, dict[int, str]]:
    """(table int32 [num + 1]: the id that each found id becomes, 0 for dropped ones; names by id).

    path: of the list, for messages. Raises DataError for ids that are unknown, named twice, merged in a circle or into
    a dropped one.
    """
    table, by_id = np.arange(num + 1, dtype=np.int32), {}
    for edit in edits:
        if unknown := [i for i in (edit.id, edit.merge_into) if i is not None and not 1 <= i <= num]:
            raise DataError(f"{path}: there is no instance {unknown[0]}; ids are 1 to {num}")
        if edit.id in by_id:
            raise DataError(f"{path}: instance {edit.id} stands twice in it")
        by_id[edit.id] = edit
    for edit in by_id.values():
        table[edit.id] = 0 if edit.drop else _target(edit, by_id, path)
    if not np.any(table):
        raise DataError(f"{path}: drops every instance")
    return table, {e.id: e.name for e in by_id.values() if e.name and table[e.id] == e.id}


def _target(edit: Edit, by_id: Mapping[int, Edit], path: Path) -> int:
    passed: list[int] = [edit.id]
    while (into := by_id.get(passed[-1], Edit(0)).merge_into) is not None:
        if into in passed:
            raise DataError(f"{path}: instances {', '.join(map(str, passed))} are merged in a circle")
        passed.append(into)
    if by_id.get(passed[-1], Edit(0)).drop:
        raise DataError(f"{path}: instance {edit.id} is merged into {passed[-1]}, which is dropped")
    return passed[-1]


def edited_list(found: str, rows: Iterable[Mapping[str, Any]], title: str) -> str:
    """The text of a list of instances that a person can edit: rows of id, name, colour, ..., under a comment."""
    body = yaml.safe_dump(
        {"found": found, "instances": [dict(row) for row in rows]}, sort_keys=False, allow_unicode=True
    )
    return "".join(f"# {line}\n" for line in title.splitlines()) + body
