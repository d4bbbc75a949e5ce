from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from lbr.errors import ConfigError
from lbr.parallel import ParallelSettings, parallel_map

ROOT = Path(__file__).parents[1]
NO_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install ray")
BACKENDS = [(1, "threads"), (3, "threads"), (2, "processes"), pytest.param(2, "ray", marks=NO_RAY)]


def square(number: int) -> int:
    return number * number


def slow_first(number: int) -> int:
    time.sleep(0.05 if number == 0 else 0)
    return number


def broken(number: int) -> int:
    if number == 3:
        raise ConfigError("three is no number")
    return number


def whoami(_: int) -> tuple[int, int]:
    time.sleep(0.02)
    return os.getpid(), threading.get_ident()


@pytest.mark.parametrize("workers, backend", BACKENDS)
def test_results_come_with_their_items_in_order(workers: int, backend: str):
    settings = ParallelSettings(workers=workers, backend=backend)
    assert list(parallel_map(square, range(20), settings, "x")) == [(i, i * i) for i in range(20)]
    assert [item for item, _ in parallel_map(slow_first, range(9), settings, "x")] == list(range(9))


@pytest.mark.parametrize("workers, backend", BACKENDS)
def test_no_items_give_nothing(workers: int, backend: str):
    assert list(parallel_map(square, [], ParallelSettings(workers=workers, backend=backend), "x")) == []


@pytest.mark.parametrize("workers, backend", BACKENDS)
def test_an_error_of_an_item_comes_through(workers: int, backend: str):
    with pytest.raises(ConfigError, match="three is no number"):
        list(parallel_map(broken, range(9), ParallelSettings(workers=workers, backend=backend), "x"))


def test_threads_work_side_by_side_and_processes_apart():
    threads = {found for _, found in parallel_map(whoami, range(12), ParallelSettings(workers=3), "x")}
    assert {pid for pid, _ in threads} == {os.getpid()} and len(threads) == 3
    apart = {
        pid for _, (pid, _) in parallel_map(whoami, range(6), ParallelSettings(workers=2, backend="processes"), "x")
    }
    assert os.getpid() not in apart


def test_no_more_than_two_items_a_worker_are_ahead():
    started: list[int] = []

    def start(number: int) -> int:
        started.append(number)
        return number

    results = parallel_map(start, range(50), ParallelSettings(workers=2), "x")
    next(results)
    time.sleep(0.1)
    assert len(started) <= 5


def test_no_number_of_workers_is_one_for_each_core():
    assert ParallelSettings().num_workers == len(os.sched_getaffinity(0))
    assert ParallelSettings(workers=7).num_workers == 7


LATE = """
import sys
from lbr.parallel import ParallelSettings, parallel_map
def threads(_):
    from lbr.networks import pick_device
    pick_device("cpu")
    return sys.modules["torch"].get_num_threads()
assert "torch" not in sys.modules
print([found for _, found in parallel_map(threads, range(4), ParallelSettings(workers=WORKERS), "x")])
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_torch_has_one_thread_in_a_worker_that_imports_it_as_well(workers: int):
    code = LATE.replace("WORKERS", str(workers))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[1, 1, 1, 1]"
