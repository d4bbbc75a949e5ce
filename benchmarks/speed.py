"""Matching, triangulation and poses on the same features and candidates: ours, and the field's way beside it.

The field's way, written here from its description, not copied: every candidate pair is matched as a whole with torch
(all keypoints, top-2 both ways) and written to an h5; matches are read back and lifted keypoint by keypoint in
Python; one RANSAC over all candidates. The two alternate, query by query, so that the ratio holds on a busy machine.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pycolmap
import torch

from benchmarks.machine import SHARED, table
from benchmarks.photographs import FOLDER
from lbr.config import load_config
from lbr.io.colmap import read_model, to_pycolmap_camera
from lbr.io.features_file import FeatureFile
from lbr.io.text_lists import read_pairs
from lbr.localization.localizer import Localizer
from lbr.pipeline.stage import Context
from lbr.pipeline.stages import FLOW, STAGES
from lbr.pipeline.workspace import read_manifest
from lbr.types import LocalFeatures, Query

RATIO = 0.8
# data, overrides, queries measured, hloc's seconds per query (matching + pose) and for db matching + triangulation
CASES = [
    ("strecha-dev", ["extractor.max_keypoints=4096"], 7, 3.15, 12.2),
    ("street-dev", ["extractor.max_keypoints=2048"], 8, 7.6, 43.4),
]


def run() -> str:
    if not (SHARED / "data").is_dir():
        return f"skipped: {SHARED / 'data'} is not here"
    with tempfile.TemporaryDirectory() as folder:
        return "\n\n".join(_measure(Path(folder), *case) for case in CASES)


def _measure(folder: Path, data: str, overrides: list[str], num: int, hloc_query: float, hloc_map: float) -> str:
    config = load_config(FOLDER, [f"dataset.root={SHARED}/data/{data}", f"workspace={folder / data}", *overrides])
    context = Context(config)
    for verb in FLOW[:-1]:
        STAGES[verb](context)
    ws = context.workspace
    seconds = {name: (read_manifest(path) or {})["seconds"] for name, path in (("match", ws.matches), ("map", ws.map))}
    with FeatureFile(ws.db_features) as features:
        db = {name: features.read(name) for name in features.names}
    field_map = _field_db_matching(db, read_pairs(ws.pairs)[: 8 * num], folder)
    pairs_all = len(read_pairs(ws.pairs))
    ours, field = _queries(context, db, list(context.dataset.queries)[:num], folder)
    total = {
        name: float(np.median([sum(q.values()) for q in times])) for name, times in (("lbr", ours), ("field", field))
    }
    per_step = {step: np.median([q[step] for q in ours]) for step in ours[0]}
    map_seconds = seconds["match"] + seconds["map"]
    rows = [
        ["query: matching + pose", f"{total['lbr']:.3f} s", f"{total['field']:.3f} s",
         f"{total['field'] / total['lbr']:.1f}", f"{hloc_query} s, ratio {hloc_query / total['lbr']:.1f}"],
        ["db matching + triangulation", f"{map_seconds:.2f} s", f"{field_map * pairs_all:.2f} s (matching alone)",
         f"{field_map * pairs_all / map_seconds:.1f}", f"{hloc_map} s, ratio {hloc_map / map_seconds:.1f}"],
    ]  # fmt: skip
    spent = ", ".join(f"{step} {1e3 * t:.0f} ms" for step, t in per_step.items())
    return (
        f"{data}, {len(db)} candidates:\n\n"
        + table(["step", "lbr", "the field's way", "ratio", "hloc as reported on such a machine"], rows)
        + f"\n\nPer query: {spent}. Floor: the matrix products of a query with all db points take "
        f"{1e3 * _floor(context, list(context.dataset.queries)[:num]):.0f} ms. "
        f"Db: matching {seconds['match']:.2f} s, triangulation and map {seconds['map']:.2f} s."
    )


def _queries(
    context: Context, db: dict[str, LocalFeatures], queries: list[Query], folder: Path
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    localizer = Localizer.open(context.workspace.map, context.config.localization)
    model = read_model(context.workspace.sfm)
    points = _points_by_keypoint(model)
    ours: list[dict[str, float]] = []
    field: list[dict[str, float]] = []
    with FeatureFile(context.workspace.query_features) as file:
        localizer.localize_features(file.read(queries[0].name), queries[0].camera)  # warm-up
        for query in queries:
            features = file.read(query.name)
            start = time.perf_counter()
            result = localizer.localize_features(features, query.camera, query.name)
            whole = time.perf_counter() - start
            steps = dict(result.timings)
            ours.append({**steps, "rest": whole - sum(steps.values())})
            field.append(_field_query(features, query, db, points, model, folder))
    return ours, field


def _floor(context: Context, queries: list[Query]) -> float:
    localizer = Localizer.open(context.workspace.map)
    columns = [localizer.scene.features(i).descriptors.astype(np.float32).T.copy() for i in range(len(localizer.scene))]
    taken = []
    with FeatureFile(context.workspace.query_features) as file:
        for query in queries:
            a = file.read(query.name).descriptors.astype(np.float32)
            start = time.perf_counter()
            for b in columns:
                a @ b
            taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def _field_match(a: LocalFeatures, b: LocalFeatures) -> np.ndarray:
    """Mutual nearest neighbours with a ratio test, by torch: [N] partner or -1."""
    one, two = (torch.from_numpy(f.descriptors.astype(np.float32)) for f in (a, b))
    similarity = torch.einsum("nd,md->nm", one, two)
    best, index = similarity.topk(2, dim=1)
    back, index_back = similarity.T.topk(2, dim=1)
    keep = 2 * (1 - best[:, 0]) <= RATIO**2 * 2 * (1 - best[:, 1])
    keep_back = 2 * (1 - back[:, 0]) <= RATIO**2 * 2 * (1 - back[:, 1])
    partner = torch.where(keep, index[:, 0], -1)
    partner_back = torch.where(keep_back, index_back[:, 0], -1)
    mutual = (partner >= 0) & (partner_back[partner.clamp(min=0)] == torch.arange(len(partner)))
    return torch.where(mutual, partner, -1).numpy()


def _field_db_matching(db: dict[str, LocalFeatures], pairs: list[tuple[str, str]], folder: Path) -> float:
    """Seconds per pair."""
    start = time.perf_counter()
    with h5py.File(folder / "field-db.h5", "w") as file:
        for a, b in pairs:
            file[f"{a.replace('/', '-')}/{b.replace('/', '-')}/matches0"] = _field_match(db[a], db[b])
    return (time.perf_counter() - start) / len(pairs)


def _points_by_keypoint(model: pycolmap.Reconstruction) -> dict[str, list[int]]:
    return {
        image.name: [p.point3D_id if p.has_point3D() else -1 for p in image.points2D] for image in model.images.values()
    }


def _field_query(
    features: LocalFeatures, query: Query, db: dict[str, LocalFeatures], points: dict[str, list[int]],
    model: pycolmap.Reconstruction, folder: Path,
) -> dict[str, float]:  # fmt: skip
    start = time.perf_counter()
    with h5py.File(folder / "field-query.h5", "w") as file:
        for name, reference in db.items():
            file[f"{name.replace('/', '-')}/matches0"] = _field_match(features, reference)
    matched = time.perf_counter()
    pairs: dict[int, list[int]] = {}
    with h5py.File(folder / "field-query.h5", "r") as file:
        for name in db:
            for keypoint, other in enumerate(file[f"{name.replace('/', '-')}/matches0"][()]):
                if (
                    other >= 0
                    and points[name][other] >= 0
                    and points[name][other] not in pairs.setdefault(keypoint, [])
                ):
                    pairs[keypoint].append(points[name][other])
    listed = [(keypoint, point) for keypoint, found in pairs.items() for point in found]
    points2d = features.keypoints[[keypoint for keypoint, _ in listed]].astype(np.float64)
    points3d = np.array([model.points3D[point].xyz for _, point in listed])
    assert query.camera is not None
    pycolmap.estimate_and_refine_absolute_pose(points2d, points3d, to_pycolmap_camera(query.camera))
    return {"match": matched - start, "pose": time.perf_counter() - matched}
