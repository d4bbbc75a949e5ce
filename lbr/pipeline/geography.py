"""Poses of a run on earth: in its records, as a table (positions.csv) and for map viewers (positions.geojson)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lbr.errors import DataError
from lbr.geometry.camera import camera_of_fields
from lbr.geometry.pose import Pose
from lbr.io.files import write_text
from lbr.mapping.georeference import Georeference, read_georeferences
from lbr.pipeline.changes import ON_EARTH
from lbr.pipeline.stage import Context
from lbr.pipeline.workspace import read_manifest
from lbr.types import PoseEstimate

COLUMNS = (
    "latitude", "longitude", "height", "heading_deg", "horizontal_std_m", "vertical_std_m", "heading_std_deg",
)  # fmt: skip


def places_on_earth(context: Context) -> dict[int, Georeference]:
    """Where the places of the map lie; none when it was never georeferenced.

    Raises DataError when it was before it was changed, and the change was killed before it was again.
    """
    if is_unplaced(context):
        path = context.workspace.georeference
        raise DataError(f"{path}: not made again since the map was changed; run `lbr georeference`")
    return read_georeferences(context.workspace.map)


def is_unplaced(context: Context) -> bool:
    """Whether the map lay on earth before it was changed, and does not yet again."""
    wanted, workspace = context.config.georeference.enabled != "never", context.workspace
    return wanted and not workspace.georeference.exists() and bool((read_manifest(workspace.map) or {}).get(ON_EARTH))


def on_earth(record: Mapping[str, Any], places: Mapping[int, Georeference]) -> dict[str, Any]:
    """A record with `geo`, where its place is georeferenced, and with its position's deviation in metres by that scale
    where the map has none of its own."""
    found = None if record["place"] is None else places.get(record["place"])
    if found is None or not record["pose"]:
        return dict(record)
    pose = Pose.from_quaternion(record["pose"]["qvec"], record["pose"]["tvec"])
    position = rotation = None
    if record["covariance"] is not None:
        rotation = np.array(record["covariance"])[:3, :3]
        used = camera_of_fields(record["camera"])
        position = PoseEstimate(pose, np.zeros(0, bool), np.array(record["covariance"]), used).position_covariance
    metres = record["position_std_m"]
    if metres is None and record["position_std"] is not None:
        metres = record["position_std"] * found.similarity.scale
    return {**record, "position_std_m": metres, "geo": asdict(found.locate(pose, position, rotation))}


def write_positions(table: Path, features: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """The records that lie on earth, as CSV and as GeoJSON (RFC 7946: longitude first)."""
    placed = [record for record in records if record.get("geo")]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["query", "status", *COLUMNS])
    rows.writerows(
        [r["query"], r["status"], *("" if r["geo"][c] is None else r["geo"][c] for c in COLUMNS)] for r in placed
    )
    write_text(table, text.getvalue())
    write_text(features, json.dumps({"type": "FeatureCollection", "features": [_feature(r) for r in placed]}, indent=1))


def _feature(record: Mapping[str, Any]) -> dict[str, Any]:
    geo = record["geo"]
    place = [geo["longitude"], geo["latitude"], *([] if geo["height"] is None else [geo["height"]])]
    told = {key: geo[key] for key in COLUMNS[3:]}
    properties = {"query": record["query"], "status": record["status"], **told}
    return {"type": "Feature", "geometry": {"type": "Point", "coordinates": place}, "properties": properties}
