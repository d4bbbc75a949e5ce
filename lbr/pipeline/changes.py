"""What was added to a map and taken from it since it was made: told by its manifest, and put in place whole.

A changed map keeps in its manifest the identity of the recipe it was made by (`made_as`), so that the stages before it
know it again; its own identity is another one, so that what was made from it is known to be of the map before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lbr.errors import DataError
from lbr.io.files import atomic_path, read_text, remove, write_text
from lbr.io.labels import mask_path
from lbr.mapping.changes import Addition
from lbr.mapping.map import Map, write_map
from lbr.pipeline.workspace import Workspace, digest_text, made_as, manifest_path, read_manifest

ON_EARTH = "on_earth"  # in the manifest of a changed map: whether it is to be georeferenced, as the map before was
EXTEND, REMOVE = "extend", "remove"
IMAGES, LABELS = "images", "labels"  # in the workspace's folder of additions
VOCABULARY = "vocabulary.txt"  # there: the dataset's instances and the new ones


@dataclass(frozen=True)
class Change:
    """One call of `lbr extend` or `lbr remove`: which images, from what (digests). made: the identity it led to."""

    verb: str
    names: tuple[str, ...]
    inputs: Mapping[str, str]
    made: str = ""


@dataclass(frozen=True)
class Changes:
    """The history of a map since it was made, and the additions that are in it now. Both are empty for most maps."""

    log: tuple[Change, ...] = ()
    additions: tuple[Addition, ...] = ()

    @property
    def added(self) -> tuple[str, ...]:
        return tuple(name for addition in self.additions for name in addition.names)

    def names_as_made(self, names: Iterable[str]) -> list[str]:
        """The images of the map as it was made, sorted, from those of the map now."""
        left = set(names)
        for change in reversed(self.log):
            left = left - set(change.names) if change.verb == EXTEND else left | set(change.names)
        return sorted(left)

    @property
    def summary(self) -> str:
        """' (changed: ...)', '' for a map as it was made."""
        if not self.log:
            return ""
        done = ", ".join(f"{'+' if change.verb == EXTEND else '-'}{len(change.names)}" for change in self.log)
        return f" (changed since it was made: {done} images)"


def changes_of(workspace: Workspace) -> Changes:
    """Raises DataError for a manifest that is not whole."""
    manifest = read_manifest(workspace.map) or {}
    try:
        log = [Change(**{**c, "names": tuple(c["names"])}) for c in manifest.get("changes", [])]
        additions = [Addition(tuple(a["names"]), int(a["num_points"])) for a in manifest.get("additions", [])]
    except (TypeError, KeyError) as error:
        raise DataError(f"{manifest_path(workspace.map)}: broken ({error}); reconstruct with --overwrite") from None
    return Changes(tuple(log), tuple(additions))


def changed(workspace: Workspace, change: Change) -> Change:
    """The change with the identity that the workspace's map will have after it."""
    before = (read_manifest(workspace.map) or {})["identity"]
    told = [before, change.verb, list(change.names), dict(change.inputs)]
    return Change(change.verb, change.names, change.inputs, digest_text(json.dumps(told, sort_keys=True)))


def publish_map(
    workspace: Workspace, scene: Map, change: Change, additions: tuple[Addition, ...], facts: Mapping[str, Any]
) -> None:
    """Put a changed map in the place of the old one: killed at any moment, one of the two is there, and whole.

    The new one is made ready beside the old, with its manifest; from then on `finish_change` brings it to an end.
    facts: what the manifest says anew of the whole (summary, seconds, problems, ON_EARTH).
    """
    manifest = read_manifest(workspace.map) or {}
    log = (*changes_of(workspace).log, change)
    manifest |= {
        "identity": change.made, "made_as": made_as(manifest), "changes": [asdict(c) for c in log],
        "additions": [asdict(a) for a in additions], **facts,
    }  # fmt: skip
    manifest["summary"] = facts["summary"] + Changes(log, additions).summary
    with atomic_path(_ready(workspace)) as unfinished:
        unfinished.mkdir()
        write_map(unfinished / "map", scene)
        write_text(unfinished / "manifest.json", json.dumps(manifest, indent=1, default=str))
    finish_change(workspace)


def finish_change(workspace: Workspace) -> None:
    """Bring to its end what a killed process left between making a changed map ready and putting it in place."""
    ready, previous = _ready(workspace), workspace.map.with_name("map.previous")
    if not ready.is_dir():
        return
    if (ready / "map").is_dir():
        remove(previous)
        if workspace.map.exists():
            os.replace(workspace.map, previous)
        os.replace(ready / "map", workspace.map)
    if (ready / "manifest.json").is_file():
        write_text(manifest_path(workspace.map), read_text(ready / "manifest.json"))
    remove(previous)
    remove(workspace.staging)
    remove(ready)


def added_photograph(workspace: Workspace, name: str) -> Path:
    """The workspace's own copy of a photograph that was added."""
    return workspace.additions / IMAGES / name


def added_label_image(workspace: Workspace, name: str) -> Path:
    """What came with a photograph that was added; there is none once `lbr label` has looked at the map with it."""
    return mask_path(workspace.additions / LABELS, name)


def label_image_of_added(workspace: Workspace, masks: Path | None, name: str) -> Path:
    """Of a photograph that was added: among the label images `masks`, else its own, which may not be there."""
    listed = None if masks is None else mask_path(masks, name)
    return listed if listed and listed.is_file() else added_label_image(workspace, name)


def forget_added_labels(workspace: Workspace) -> None:
    """The label images of additions and their new instances, once the map with them has been looked at anew."""
    remove(workspace.additions / LABELS)
    remove(workspace.additions / VOCABULARY)


def _ready(workspace: Workspace) -> Path:
    return workspace.map.with_name("map.next")
