"""Engines of the mutual nearest neighbour with second neighbours, interleaved so that ratios hold on a busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from benchmarks.machine import table
from lbr.features.sift_daynight import beside_sift
from lbr.matching.epipolar import TwoViews, match_along_lines
from lbr.matching.nearest import GuidedSettings, nearest_neighbours
from lbr.types import LocalFeatures

ROUNDS = 9
SIZE, FOCAL = (640, 480), 500.0  # pixels


def run() -> str:
    rows = []
    for n, m in ((4096, 4096), (2048, 1000), (512, 512)):
        a, b = _descriptors(n, 0), _descriptors(m, 1)
        engines: dict[str, Callable[[], object]] = {
            "lbr (numpy, blocks)": lambda a=a, b=b: nearest_neighbours(a, b),
            "lbr, half SIFT, half DayNight": partial(nearest_neighbours, *_of_two_kinds(a, b)),
            "lbr, along epipolar lines": _along(a, b),
            "... half SIFT, half DayNight": _along(*_of_two_kinds(a, b)),
            "torch (topk both ways)": lambda a=a, b=b: _torch(a, b),
            "faiss (two searches)": lambda a=a, b=b: _faiss(a, b),
            "OpenCV (knnMatch both ways)": lambda a=a, b=b: _opencv(a, b),
            "floor: one matrix product": lambda a=a, b=b: a @ b.T,
        }
        seconds = _interleaved(engines)
        ours = seconds["lbr (numpy, blocks)"]
        rows += [[f"{n} x {m}", name, f"{1e3 * s:.1f} ms", f"{s / ours:.2f}"] for name, s in seconds.items()]
    return table(["size", "engine", "median", "ratio to lbr"], rows)


def _interleaved(engines: dict[str, Callable[[], object]]) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for round_index in range(ROUNDS + 1):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine()
            if round_index:  # the first is a warm-up
                taken[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in taken.items()}


def _descriptors(n: int, seed: int) -> np.ndarray:
    values = np.abs(np.random.default_rng(seed).normal(size=(n, 128))).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _of_two_kinds(*sides: np.ndarray) -> list[np.ndarray]:
    """Every other descriptor as of another local feature beside SIFT."""
    kinds = []
    for seed, sift in enumerate(sides):
        other = np.random.default_rng([seed, 2]).normal(size=(len(sift), 64)).astype(np.float32)
        beside = beside_sift(other / np.linalg.norm(other, axis=1, keepdims=True))
        kinds.append(np.where(np.arange(len(sift))[:, None] % 2, beside, sift))
    return kinds


def _along(a: np.ndarray, b: np.ndarray) -> Callable[[], object]:
    """The matching of two photographs side by side, keypoints anywhere in them."""
    rng = np.random.default_rng(0)
    one, other = (
        LocalFeatures(rng.uniform(0, SIZE, (len(d), 2)).astype(np.float32), np.ones(len(d), np.float32), d, SIZE)
        for d in (a, b)
    )
    rays = (np.column_stack([(f.keypoints - 320) / FOCAL, np.ones(len(f))]) for f in (one, other))
    sideways = np.array([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    return partial(match_along_lines, one, other, TwoViews(*rays, sideways, FOCAL), GuidedSettings())


def _torch(a: np.ndarray, b: np.ndarray) -> object:
    import torch

    similarity = torch.from_numpy(a) @ torch.from_numpy(b).T
    return similarity.topk(2, dim=1), similarity.max(0)


def _faiss(a: np.ndarray, b: np.ndarray) -> object:
    import faiss

    found = []
    for query, base, k in ((a, b, 2), (b, a, 1)):
        index = faiss.IndexFlatIP(base.shape[1])
        index.add(base)
        found.append(index.search(query, k))
    return found


def _opencv(a: np.ndarray, b: np.ndarray) -> object:
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    return matcher.knnMatch(a, b, 2), matcher.match(b, a)
