"""Queries as people have them: every third photograph of strecha, resized, cut, blurred, covered, pressed, without its
intrinsics, against a map of the others; and as many photographs of other places, of which none should be refined.

What is made stays in outputs/changed-benchmark; a second run reuses it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from benchmarks.machine import SHARED, table
from benchmarks.own import changed, row, run_own, thresholds
from benchmarks.splits import split
from lbr.io.colmap import posed_cameras, read_model
from lbr.io.images import list_images, read_image
from lbr.io.text_lists import read_poses
from lbr.pipeline.results import read_localizations
from lbr.pipeline.workspace import Workspace

OUT = Path(__file__).resolve().parents[1] / "outputs" / "changed-benchmark"
LIMIT = (0.1, 2.0)
COLUMNS = ["queries", "median error", "within", "largest error", "error / stated std", "status"]


def _resized(share: float, photograph: np.ndarray) -> np.ndarray:
    return cv2.resize(photograph, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)


def _cut(photograph: np.ndarray) -> np.ndarray:
    return photograph[photograph.shape[0] // 5 :, photograph.shape[1] // 4 :]


def _covered(photograph: np.ndarray) -> np.ndarray:
    width, covered = photograph.shape[1], photograph.copy()
    covered[:, int(0.35 * width) : int(0.75 * width)] = 127
    return covered


def _pressed(photograph: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", photograph, [cv2.IMWRITE_JPEG_QUALITY, 15])[1], cv2.IMREAD_COLOR)


CHANGES = {
    "as it is": lambda photograph, _: photograph,
    "half": lambda photograph, _: _resized(0.5, photograph),
    "third": lambda photograph, _: _resized(0.3, photograph),
    "cut": lambda photograph, _: _cut(photograph),
    "blurred": lambda photograph, _: cv2.GaussianBlur(photograph, (0, 0), 3),
    "covered": lambda photograph, _: _covered(photograph),
    "pressed": lambda photograph, _: _pressed(photograph),
}


def run() -> str:
    if not (SHARED / "data").is_dir():
        return f"skipped: {SHARED / 'data'} is not here"
    source, photographs, made = SHARED / "data" / "strecha-dev", OUT / "photographs", OUT / "strecha"
    names = [*posed_cameras(read_model(source / "3D-models"))[0], *read_poses(source / "gt.txt")]
    asked = sorted(name for name in names if int(Path(name).stem[-4:]) % 3 == 0)
    split(source, photographs, asked)
    run_own(made, str(photographs), thresholds(LIMIT))
    rows = []
    for kind, change in CHANGES.items():
        folder = changed(made, kind.replace(" ", "-"), change, LIMIT, "dataset.queries=null")
        rows.append([kind, *row(folder, LIMIT)[:-1], _statuses(folder)])
    photos = SHARED / "photos"
    foreign = list_images(photos)
    others = iter(foreign[:: len(foreign) // len(asked)])
    folder = changed(made, "foreign", lambda *_: read_image(photos / next(others)), LIMIT, "dataset.queries=null")
    rows.append(["of other places", "", "", "", "", _statuses(folder)])
    return table(COLUMNS, rows)


def _statuses(folder: Path) -> str:
    counts = Counter(record["status"] for record in read_localizations(Workspace(folder, "default").localizations))
    return ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
