"""A made-up map of 10,000 images x 2,000 points: time and resident memory of opening it and of one query."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from benchmarks.machine import table

IMAGES, PER_IMAGE, WIDTH = 10_000, 2_000, 128
GROUP = 5  # images that see the same points
CANDIDATES = 50

MEASURE = """
import json, sys, time
from pathlib import Path
import numpy as np, psutil
import lbr.localization.localizer as module
from lbr.types import Camera, Candidates, LocalFeatures
process = psutil.Process()
imported = process.memory_info().rss
start = time.perf_counter()
localizer = module.Localizer.open(Path(sys.argv[1]))
opened = time.perf_counter() - start
after = process.memory_info().rss
scene = localizer.scene
images = list(range(5000, 5000 + int(sys.argv[2])))
features = scene.features(5001)
query = LocalFeatures(np.array(features.keypoints), np.array(features.scores),
                      np.array(features.descriptors, np.float32), features.image_size)
names = tuple(scene.names[i] for i in images)
candidates = Candidates(names, (0.0,) * len(names), "benchmark")
times = []
for _ in range(5):
    start = time.perf_counter()
    result = localizer.localize_features(query, scene.camera(5001), "q", candidates)
    times.append(time.perf_counter() - start)
error = np.linalg.norm(result.estimate.pose.centre - scene.pose(5001).centre)
print(json.dumps({"open": opened, "imported": imported, "after": after, "end": process.memory_info().rss,
                  "first": times[0], "median": float(np.median(times)), "status": result.status, "error": error}))
"""


def run() -> str:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        _write(Path(folder, "map"))
        made = time.perf_counter() - start
        size = sum(path.stat().st_size for path in Path(folder, "map").iterdir())
        out = subprocess.run(
            [sys.executable, "-c", MEASURE, f"{folder}/map", str(CANDIDATES)],
            capture_output=True,
            text=True,
            check=True,
        )
    m = json.loads(out.stdout)
    rows = [
        ["opening", f"{m['open']:.2f} s", "under 1 s"],
        ["resident after opening, whole process", f"{m['after'] / 1e6:.0f} MB", "under 300 MB"],
        ["of it by opening", f"{(m['after'] - m['imported']) / 1e6:.0f} MB", ""],
        [f"query of {PER_IMAGE} keypoints against {CANDIDATES}, median of 5", f"{m['median']:.2f} s", "under 0.5 s"],
        ["the first of them (cold pages)", f"{m['first']:.2f} s", ""],
        ["resident after the queries", f"{m['end'] / 1e6:.0f} MB", ""],
        ["the pose found", f"{m['status']}, {1e3 * m['error']:.2f} mm off", ""],
    ]
    text = table(["what", "measured", "wanted"], rows)
    return f"{IMAGES:,} images x {PER_IMAGE:,} observations, {size / 1e9:.2f} GB, written in {made:.0f} s\n\n{text}"


def _write(folder: Path) -> None:
    """Cameras in a row that look along z at points of their own group, descriptors at random; written in pieces."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    total, points = IMAGES * PER_IMAGE, IMAGES // GROUP * PER_IMAGE
    focal, size = 1000.0, (1600, 1200)
    xyz = np.empty((points, 3))
    xyz[:, 0] = np.repeat(np.arange(IMAGES // GROUP) * GROUP * 2.0 + GROUP, PER_IMAGE) + rng.uniform(-4, 4, points)
    xyz[:, 1], xyz[:, 2] = rng.uniform(-4, 4, points), rng.uniform(12, 20, points)
    poses = np.tile(np.hstack([np.eye(3), np.zeros((3, 1))]), (IMAGES, 1, 1))
    poses[:, 0, 3] = -2.0 * np.arange(IMAGES)
    group = np.arange(IMAGES) // GROUP
    index = (np.repeat(group, PER_IMAGE) * PER_IMAGE + np.tile(np.arange(PER_IMAGE), IMAGES)).astype(np.int32)
    keypoints = open_memmap(folder / "keypoints.npy", "w+", np.float32, (total, 2))
    descriptors = open_memmap(folder / "descriptors.npy", "w+", np.float16, (total, WIDTH))
    base = rng.normal(size=(PER_IMAGE * GROUP, WIDTH))
    for start in range(0, total, PER_IMAGE * GROUP):
        rows = slice(start, start + PER_IMAGE * GROUP)
        camera = np.repeat(poses[start // PER_IMAGE : start // PER_IMAGE + GROUP, 0, 3], PER_IMAGE)
        seen = xyz[index[rows]] + np.stack([camera, 0 * camera, 0 * camera], 1)
        keypoints[rows] = focal * seen[:, :2] / seen[:, 2:] + np.array(size) / 2
        # the same points look alike in the images of a group, and unlike those of other groups
        look = np.roll(base[:PER_IMAGE], start // (PER_IMAGE * GROUP), axis=1)
        noise = np.roll(base, start, axis=0).reshape(GROUP, PER_IMAGE, WIDTH)
        same = (look + 0.1 * noise).reshape(-1, WIDTH)
        descriptors[rows] = same / np.linalg.norm(same, axis=1, keepdims=True)
    members = np.arange(IMAGES).reshape(-1, GROUP)
    others = np.stack([np.delete(members, k, axis=1) for k in range(GROUP)], 1).reshape(-1)
    arrays = {
        "camera_index": np.zeros(IMAGES, np.int32), "poses": poses, "point_index": index, "points": xyz,
        "offsets": np.arange(IMAGES + 1, dtype=np.int64) * PER_IMAGE, "point_errors": np.ones(points, np.float32),
        "track_lengths": np.full(points, GROUP, np.int32),
        "covisible_indptr": np.arange(IMAGES + 1, dtype=np.int64) * (GROUP - 1),
        "covisible_indices": others.astype(np.int32), "covisible_counts": np.full(len(others), PER_IMAGE, np.int32),
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    names = [f"db/{i:06d}.jpg" for i in range(IMAGES)]
    cameras = [["PINHOLE", *size, focal, focal, size[0] / 2, size[1] / 2]]
    header = {"format": "lbr-map", "version": 1, "extractor": {}, "names": names, "cameras": cameras}
    (folder / "map.json").write_text(json.dumps(header))
