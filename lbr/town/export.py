"""Writing a town: photographs in parallel, each whole or not at all, then the lists, models and truth of a layout."""

from __future__ import annotations

import ctypes
import multiprocessing
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from lbr.io.files import atomic_path
from lbr.io.text_lists import Problem
from lbr.parallel import single_blas_thread
from lbr.town import layouts
from lbr.town.config import TownConfig
from lbr.town.render import View, render_view
from lbr.town.scene import RayScene
from lbr.town.scenery import stage
from lbr.town.viewpoints import Shot
from lbr.town.world import Mapper, Town, build_town

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers of the two settings (malloc.h)
_KEPT_BYTES = 2**25  # the most that glibc takes
MAX_DEPTH_M = 65.535  # a depth file holds millimetres in 16 bits

_town: Town | None = None  # the worker's copy, inherited or built once per process


@dataclass(frozen=True)
class TownSummary:
    """What was written: folder of the dataset, folder of the truth, counts, seconds for world and photographs, what
    could not be used."""

    dataset: Path
    truth: Path
    num_images: int
    num_new: int
    num_buildings: int
    num_instances: int
    world_seconds: float
    image_seconds: float
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class _Job:
    shot: Shot
    files: layouts.Files


def write_town(config: TownConfig, root: Path, workers: int = 1) -> TownSummary:
    """Build the town and write it below `root` in the configured layout. Photographs that exist are kept, so `root` is
    a folder of this configuration's own (the stage `town` names it by its recipe).

    The result depends on the configuration alone, not on `workers`.
    """
    root = Path(root)
    started = time.perf_counter()
    with _workers(workers, None) as mapper:
        town = build_town(config, mapper)
    with _workers(workers, town) as mapper:
        (layout,) = mapper(_lay_out, [root])
    built = time.perf_counter()
    jobs = [_Job(shot, files) for shot, files in layout.shots if not files.complete()]
    with _workers(workers, town) as mapper:
        # On a terminal the bar moves; in a log file it says one line every half minute, and a last one.
        every = 0.1 if sys.stderr.isatty() else 30
        for _ in tqdm(mapper(_work, jobs), "photographs", len(jobs), unit="", mininterval=every, disable=not jobs):
            pass
    layouts.write_lists(town, layout)
    return TownSummary(
        layout.dataset, layout.truth, len(layout.shots), len(jobs), town.plan.num_buildings, len(town.plan.facades),
        built - started, time.perf_counter() - built, town.problems,
    )  # fmt: skip


def photograph(town: Town, shot: Shot) -> View:
    """Take one photograph. Random draws come from (seed, moment) and (seed, name)."""
    seed = town.config.seed
    moment, own = (
        np.random.default_rng([seed, k, zlib.crc32(v.encode())]) for k, v in ((6, shot.moment), (7, shot.name))
    )
    with single_blas_thread():  # products of three columns: more threads only wait for each other
        scenery = stage(town, shot.condition, shot.pose, moment)
        return render_view(scenery, shot.pose, shot.camera, own)


def write_photograph(town: Town, shot: Shot, files: layouts.Files) -> None:
    """Take a photograph and write it with its label image and depth."""
    view = photograph(town, shot)
    _write(files.mask, layouts.colour_mask(town.plan, view.instance_ids), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    depth = np.where(view.depth < MAX_DEPTH_M, np.round(view.depth * 1000), 0).astype(np.uint16)
    _write(files.depth, depth, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    quality = 78 + zlib.crc32(shot.name.encode()) % 17
    _write(files.image, view.image, [cv2.IMWRITE_JPEG_QUALITY, quality])


@contextmanager
def _workers(count: int, town: Town | None) -> Iterator[Mapper]:
    """A map over `count` processes that have the town, in order; the plain `map` for one.

    Workers are forked while this process has not started embree, whose threads do not survive that; else spawned.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # before the fork: OpenCV's threads do not survive it either
    try:
        if count <= 1:
            _start(town)
            yield map
            _start(None)
            return
        fork = "fork" in multiprocessing.get_all_start_methods() and not RayScene.in_use
        with multiprocessing.get_context("fork" if fork else "spawn").Pool(count, _start, (town,)) as pool:
            yield pool.imap
            pool.close()  # a worker that is terminated prints the stack of its C++ libraries
            pool.join()
    finally:
        cv2.setNumThreads(threads)


def keep_freed_memory() -> None:
    """Let this process keep what it frees: taking a picture's arrays from the system anew each time costs a fifth of
    its time. Nothing where the C library has no such setting."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        library.mallopt(_TRIM_THRESHOLD, 32 * _KEPT_BYTES)


def _start(town: Town | None) -> None:
    """Ready a worker: its town, its memory, and one thread for OpenCV."""
    global _town
    _town = town
    keep_freed_memory()
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)


def _own_town() -> Town:
    if _town is None:
        raise RuntimeError("this worker was started without a town")
    return _town


def _lay_out(root: Path) -> layouts.Layout:
    return layouts.make_layout(_own_town(), root)


def _work(job: _Job) -> None:
    write_photograph(_own_town(), job.shot, job.files)


def _write(path: Path, picture: np.ndarray, options: list[int]) -> None:
    """Write an RGB or one-channel picture, whole or not at all; the image comes last and stands for the rest."""
    pixels = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    data = cv2.imencode(path.suffix, pixels, options)[1]
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
