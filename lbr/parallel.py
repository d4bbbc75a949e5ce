"""`parallel_map`: the one way to run a function over many items, with progress, in order, whatever the workers."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from threading import Lock
from typing import Any, Literal, TypeVar

from pydantic import Field
from tqdm import tqdm

from lbr.errors import ConfigError
from lbr.settings import Settings

Item = TypeVar("Item")
Result = TypeVar("Result")

_of_torch: list[int] = []  # limits of its threads that were set and not applied yet
_applying = Lock()  # of several workers that import torch at once none goes on before the limit holds


class ParallelSettings(Settings):
    """workers: 0 takes one for each core. OpenCV uses cores / workers threads (at least one) in each, torch one: the
    last bits of its convolutions depend on their number, and results shall not depend on that of the workers."""

    backend: Literal["threads", "processes", "ray"] = "threads"
    workers: int = Field(default=0, ge=0)

    @property
    def num_workers(self) -> int:
        return self.workers or num_cores()


def num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], settings: ParallelSettings, label: str
) -> Iterator[tuple[Item, Result]]:
    """(item, function(item)) in the order of the items, with a progress bar.

    At most two items a worker are in flight, so that results which are not taken yet do not pile up. For the backends
    'processes' and 'ray', function and items must pickle.
    """
    workers = min(settings.num_workers, max(1, len(items)))
    results = _serial(function, items) if workers == 1 else _pooled(function, items, settings, workers)
    with progress_bar(label, len(items)) as bar:
        for result in results:
            yield result
            bar.update()


def progress_bar(label: str, total: int) -> tqdm:
    """On a terminal the bar moves; in a log file it says one line every half minute, and a last one."""
    return tqdm(desc=label, total=total, unit="", mininterval=0.1 if sys.stderr.isatty() else 30, disable=not total)


def limit_threads(threads: int, of_torch: int | None = None) -> None:
    """Threads of OpenCV and torch (which may be imported later: `limit_torch`) in this process; BLAS gets one.

    The threads of OpenBLAS wait by spinning: two of them beside a busy neighbour are ten times slower than one.
    What is heavy is spread over items instead.
    """
    import cv2

    cv2.setNumThreads(threads)
    _of_torch.append(of_torch or threads)
    if "torch" in sys.modules:
        limit_torch()
    if not _has_single_blas_thread():
        _blas().limit(limits=1)  # for good: nobody takes the limit back


def limit_torch() -> None:
    """The limit that was set before torch was imported, for whoever imports it; nothing where there is none left."""
    with _applying:
        if _of_torch:
            sys.modules["torch"].set_num_threads(_of_torch.pop())
            _of_torch.clear()


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """One BLAS thread inside the block; costs nothing where that is so already."""
    if _has_single_blas_thread():
        yield
        return
    with _blas().limit(limits=1):
        yield


def _has_single_blas_thread() -> bool:
    return all(library.num_threads == 1 for library in _blas().lib_controllers)


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def _serial(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    limit_threads(num_cores(), 1)
    for item in items:
        yield item, function(item)


def _pooled(
    function: Callable[[Item], Result], items: Sequence[Item], settings: ParallelSettings, workers: int
) -> Iterator[tuple[Item, Result]]:
    threads = max(1, num_cores() // workers)
    if settings.backend == "ray":
        yield from _ray(function, items, workers, threads)
        return
    pool: Executor
    if settings.backend == "threads":
        limit_threads(threads, 1)
        pool = ThreadPoolExecutor(workers)
    else:
        pool = ProcessPoolExecutor(workers, get_context("spawn"), limit_threads, (threads, 1))
    with pool:
        yield from _in_order(
            lambda item: pool.submit(function, item), items, 2 * workers, lambda future: future.result()
        )


def _ray(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, threads: int
) -> Iterator[tuple[Item, Result]]:
    try:
        import ray
    except ImportError:
        raise ConfigError("parallel.backend=ray needs the package ray: pip install ray") from None
    if not ray.is_initialized():
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    task = ray.remote(num_cpus=1)(_limited)

    def result(handle: Any) -> Result:
        try:
            return ray.get(handle)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None  # its text is that of a stack

    yield from _in_order(lambda item: task.remote(function, item, threads), items, 2 * workers, result)


def _limited(function: Callable[[Item], Result], item: Item, threads: int) -> Result:
    limit_threads(threads, 1)
    return function(item)


def _in_order(
    submit: Callable[[Item], Future | Any], items: Sequence[Item], ahead: int, result: Callable[[Any], Result]
) -> Iterator[tuple[Item, Result]]:
    waiting: deque[tuple[Item, Any]] = deque()
    for item in items:
        waiting.append((item, submit(item)))
        if len(waiting) >= ahead:
            first, handle = waiting.popleft()
            yield first, result(handle)
    for first, handle in waiting:
        yield first, result(handle)
