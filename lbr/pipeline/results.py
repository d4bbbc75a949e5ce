"""The result files of a run: localizations.jsonl, with everything, and poses.txt, as the benchmarks take it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lbr.errors import DataError
from lbr.geometry.pose import Pose
from lbr.io.files import read_text
from lbr.types import Localization


def localization_to_json(
    result: Localization, condition: str = "all", metres_per_unit: float | None = 1.0
) -> dict[str, Any]:
    """One line of localizations.jsonl (docs/formats.md): poses as qvec wxyz and tvec, cam_from_world.

    metres_per_unit: of the map's frame; None where nothing tells it, and then nothing is said in metres.
    """
    estimate = result.estimate
    record: dict[str, Any] = {
        "query": result.query, "condition": condition, "status": str(result.status), "reason": result.reason,
        "reference": result.reference, "place": result.place,
        "counts": dict(result.counts), "notes": list(result.notes),
        "timings": {k: round(v, 5) for k, v in result.timings.items()}, "tried": list(result.tried),
        "instances": [list(pair) for pair in result.instances], "steps": [vars(step) for step in result.steps],
        "camera": _camera_to_json(result), "pose": None,
    }  # fmt: skip
    if estimate is not None:
        record["pose"] = {"qvec": estimate.pose.quaternion.tolist(), "tvec": estimate.pose.t.tolist()}
        record["num_inliers"] = estimate.num_inliers
        record["covariance"] = None if estimate.covariance is None else estimate.covariance.tolist()
        std = record["position_std"] = estimate.position_std
        record["position_std_m"] = None if std is None or metres_per_unit is None else std * metres_per_unit
        record["rotation_std_deg"] = None if estimate.rotation_std is None else float(np.degrees(estimate.rotation_std))
    return record


def read_localizations(path: Path) -> list[dict[str, Any]]:
    """Lines of localizations.jsonl. Raises DataError when the file is missing or a line is broken."""
    if not path.is_file():
        raise DataError(f"{path}: not there yet; run `lbr localize` first")
    records = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON ({error}); localize again") from None
    return records


def poses_of(records: Iterable[Mapping[str, Any]]) -> dict[str, Pose]:
    """Poses by query, of the records that have one."""
    return {r["query"]: Pose.from_quaternion(r["pose"]["qvec"], r["pose"]["tvec"]) for r in records if r["pose"]}


def _camera_to_json(result: Localization) -> dict[str, Any] | None:
    camera, covariance = result.camera, result.intrinsics_covariance
    if camera is None:
        return None
    written = {
        "model": camera.model, "width": camera.width, "height": camera.height, "params": list(camera.params),
        "source": camera.source,
    }  # fmt: skip
    return written if covariance is None else written | {"covariance": covariance.tolist()}
