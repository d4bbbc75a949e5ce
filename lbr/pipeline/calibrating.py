"""Queries of a camera that nobody measured, once more with the intrinsics that they tell together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from lbr.geometry.camera import camera_of_fields
from lbr.io.exif import camera_of_photograph
from lbr.io.images import ImageFolder
from lbr.localization.calibration import Estimated, calibrate
from lbr.pipeline.querying import TRUSTED
from lbr.pipeline.workers import Arrays, LocalizeQuery, Worker
from lbr.types import Camera, Localization, Query

MORE = 1.15  # times the fit that a query's own intrinsics must bring; where the camera is the others', 1.10 at most
Record = dict[str, Any]  # of localizations.jsonl


@dataclass(frozen=True, eq=False)
class Again:
    """A query that was localized alone, the record of that, and the camera that `num` queries tell."""

    query: Query
    record: Record
    camera: Camera
    num: int


def with_cameras_of_queries(
    queries: Sequence[Query], records: Mapping[str, Record], images: ImageFolder
) -> dict[str, Again]:
    """Whom to localize again, by key: the queries of a camera that enough of them tell together.

    Queries are of one camera where their EXIF says so; without EXIF those of one folder and size are taken for it, and
    whoever disagrees keeps its own. Where most have the intrinsics of the map's photographs, they are of its camera.
    """
    again: dict[str, Again] = {}
    for said, members in _of_one_camera(queries, records, images):
        trusted = [records[query.name] for query in members if records[query.name]["status"] in TRUSTED]
        told = [one for one in map(_estimated, trusted) if one is not None]
        found = calibrate(told) if 2 * len(told) > len(trusted) else None
        if found is not None:
            camera, num = replace(found[0], body=said.body), found[1]
            again |= {f"{query.name} again": Again(query, records[query.name], camera, num) for query in members}
    return again


def _of_one_camera(
    queries: Sequence[Query], records: Mapping[str, Record], images: ImageFolder
) -> list[tuple[Camera, list[Query]]]:
    """What photographs say of their camera, and those that say the same; without queries that could not be read, whose
    records have no camera."""
    groups: dict[tuple[Camera, str], list[Query]] = {}
    for query in queries:
        if query.camera is None and records[query.name]["camera"] is not None:
            camera = camera_of_photograph(images.path(query.name))
            folder = "" if camera.body else str(PurePosixPath(query.name).parent)
            groups.setdefault((camera, folder), []).append(query)
    return [(camera, members) for (camera, _), members in groups.items()]


def _estimated(record: Record) -> Estimated | None:
    """What a query tells of its camera; None where it has another's intrinsics."""
    covariance = record["camera"].get("covariance")
    return None if covariance is None else Estimated(camera_of_fields(record["camera"]), np.array(covariance))


@dataclass
class LocalizeAgain(Worker[Again]):
    """Query -> `line`, its localization with the camera of several queries as JSON; the record that it had, where its
    own intrinsics explain more."""

    single: LocalizeQuery

    def open(self) -> None:
        self.single.open()

    def make(self, item: Again) -> Arrays:
        note = f"intrinsics estimated from {item.num} queries of "
        note += "the same camera" if item.camera.body else "the same folder and size (no EXIF tells which camera)"
        found = self.single.with_camera(item.query, item.camera, note)
        return {"line": np.frombuffer(self._better(item, found).encode(), np.uint8)}

    def _better(self, item: Again, found: Localization) -> str:
        before, seconds = item.record, item.record["timings"]
        was_trusted, is_trusted = before["status"] in TRUSTED, found.status in TRUSTED
        explains_less = before["counts"].get("fit", 0) > MORE * found.counts.get("fit", 0)
        if was_trusted > is_trusted or (was_trusted == is_trusted and explains_less):
            why = f"intrinsics estimated from {item.num} queries explain less: they are not taken"
            return json.dumps(before | {"notes": [*before["notes"], why]})
        names = dict.fromkeys([*seconds, *found.timings])
        both = {name: seconds.get(name, 0.0) + found.timings.get(name, 0.0) for name in names}
        return self.single.line(item.query, replace(found, timings=both))


def calibrated_text(again: Mapping[str, Again]) -> str:
    """For the summary; nothing where nothing was localized again."""
    cameras = len({one.camera for one in again.values()})
    told = f"{cameras} cameras" if cameras > 1 else "a camera"
    return f"; {len(again)} once more, with intrinsics of {told} that they told together" if again else ""
