"""The embedded town: time of a photograph, the map that SIFT makes of it, how hard it is by day and by night, twins."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from benchmarks.ablations import SIFT
from benchmarks.machine import table
from lbr.config import load_config
from lbr.mapping.map import open_map
from lbr.pipeline.scenes import make_town
from lbr.pipeline.scoring import evaluate
from lbr.pipeline.stage import Context
from lbr.pipeline.stages import run_flow
from lbr.pipeline.workspace import read_manifest
from lbr.town import Shot, Town, build_town, photograph
from lbr.town.conditions import CONDITIONS
from lbr.town.export import keep_freed_memory, write_photograph
from lbr.town.layouts import Files
from lbr.town.viewpoints import look, query_shots, street_camera

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "town.yaml"
PLAIN = (  # how hard the town is for what everybody has
    *SIFT, "labelling.favour_instances=false",
    "candidates.name=exhaustive", "localization.matcher.name=nearest", "localization.matcher.ratio=0.8",
    "workspace=outputs/town/workspace-plain",
)  # fmt: skip
VIEWS = 8  # queries before each twin
TIMED = 8  # photographs by each condition


def run() -> str:
    config = load_config(CONFIG, PLAIN)
    context = Context(config)
    make_town(context)
    run_flow(context)
    evaluate(context.workspace, context.dataset.truth, config.evaluation)
    report = json.loads(context.workspace.report.read_text())
    scene, town = open_map(context.workspace.map), build_town(config.town)
    points = np.diff(scene.offsets)
    made = (read_manifest(config.dataset.root) or {})["seconds"]
    own, twin, other = _confusion(town)
    rows = [
        *(
            [f"a 640x480 photograph, {name}, one core", f"{seconds:.2f} CPU s, files written", "at most 0.4 s"]
            for name, seconds in sorted(_seconds(town).items(), key=lambda pair: pair[1])
        ),
        ["the demo town", f"{made:.0f} s when it was made", "under 90 s on two cores"],
        ["mean reprojection error of SIFT's points", f"{scene.point_errors.mean():.2f} px", "under 1 px"],
        ["points per db image", f"mean {points.mean():.0f}, {np.mean(points >= 60):.0%} have 60", "at least 60"],
        *(
            [f"recall at 0.25 m, 2 deg, {name}", f"{report['scores'][name]['recall'][0]:.1f} %", wanted]
            for name, wanted in (("day", "above 90 %"), ("night", "below 60 %"))
        ),
        [
            "views of a near twin whose nearest by gradient histograms is",
            f"itself {own}, its twin {twin}, another house {other}",
            "a fifth or more wrong",
        ],
    ]
    return table(["what", "measured", "wanted"], rows)


def _seconds(town: Town) -> dict[str, float]:
    """CPU seconds of a photograph on one core, its files written, by condition: the median of the same TIMED places."""
    cv2.setNumThreads(1)
    keep_freed_memory()
    shots = query_shots(town, TIMED, "query/day", "milestone", np.random.default_rng(0))
    photograph(town, shots[0])  # builds the search tree, once for all photographs
    with TemporaryDirectory() as folder:
        files = Files(*(Path(folder) / name for name in ("photograph.jpg", "mask.png", "depth.png")))
        return {name: _median_seconds(town, [replace(s, condition=name) for s in shots], files) for name in CONDITIONS}


def _median_seconds(town: Town, shots: list[Shot], files: Files) -> float:
    taken = []
    for shot in shots:
        start = time.process_time()
        write_photograph(town, shot, files)
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def _confusion(town: Town) -> tuple[int, int, int]:
    """Of views of the twins by day and night: how many are nearest to a db view of themselves, their twin, others."""
    twins = [facade for pair in town.plan.twins for facade in pair]
    others = [f for f in range(1, len(town.plan.facades) + 1, 3) if f not in twins]
    db = {f: [_describe(_view(town, f, "overcast", f"db{k}")) for k in range(2)] for f in (*twins, *others)}
    counts = [0, 0, 0]
    for pair in town.plan.twins:
        for own, twin in (pair, pair[::-1]):
            for k in range(VIEWS):
                query = _describe(_view(town, own, ("overcast", "sun", "night", "night")[k % 4], f"query{k}"))
                best = max(db, key=lambda f: max(float(query @ d) for d in db[f]))
                counts[0 if best == own else 1 if best == twin else 2] += 1
    return counts[0], counts[1], counts[2]


def _view(town: Town, number: int, condition: str, tag: str) -> np.ndarray:
    rng = np.random.default_rng([number, *tag.encode()])
    facade = town.plan.facades[number - 1]
    place = facade.to_world(np.array([facade.width / 2 + rng.normal(0, 0.8), 1.65, rng.uniform(7.5, 9.5)]))
    yaw = float(np.arctan2(-facade.outward[1], -facade.outward[0]) + rng.normal(0, 0.1))
    kind = "db" if tag.startswith("db") else "nexus5x" if condition == "night" else "milestone"
    shot = Shot(f"{tag}-{number}", street_camera(town.config, kind), look(place, yaw, 0.12), condition, tag)
    return photograph(town, shot).image


def _describe(image: np.ndarray) -> np.ndarray:
    """A global descriptor: histograms of gradient directions (9) in 8 x 6 cells, each of unit norm."""
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (128, 96), interpolation=cv2.INTER_AREA)
    gx, gy = (cv2.Sobel(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    strength, direction = np.hypot(gx, gy), np.floor(np.arctan2(gy, gx) % np.pi / np.pi * 9) % 9
    cells = [cv2.resize(strength * (direction == k), (8, 6), interpolation=cv2.INTER_AREA) for k in range(9)]
    histograms = np.stack(cells, axis=-1)
    histograms /= np.linalg.norm(histograms, axis=-1, keepdims=True) + 1e-3
    values = np.sqrt(histograms).ravel()
    values -= values.mean()
    return values / np.linalg.norm(values)
