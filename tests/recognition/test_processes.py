"""Training in several processes that are started here: the same network, and an end that is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from lbr.errors import DataError
from lbr.recognition.processes import mean_over, processes, sharing, together
from lbr.recognition.settings import SgdSettings
from lbr.recognition.train import train
from tests.recognition.squares import VOCABULARY, settings, write_squares


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list:
    return write_squares(tmp_path_factory.mktemp("squares"), 8)


def test_processes_that_are_started_here_learn_what_one_does(tmp_path: Path, images: list):
    chosen = settings(epochs=2, validate_every=1, chunks=2, optimizer=SgdSettings(rate=0.01))
    alone, _ = train(images, VOCABULARY, chosen, tmp_path / "alone", 0)
    both, progress = together(2, partial(train, images, VOCABULARY, chosen, tmp_path / "both", 0))
    assert not {"WORLD_SIZE", "RANK"} & set(os.environ) and [record["epoch"] for record in progress.records] == [1, 2]
    weights = dict(both.network.named_parameters())  # each process has norms' statistics of its own share
    for name, one in alone.network.named_parameters():
        assert torch.allclose(one, weights[name], rtol=1e-3, atol=1e-4), name


def test_how_many_processes_share_the_chunks(monkeypatch: pytest.MonkeyPatch):
    for cores, chunks, found in ((2, 1, 1), (2, 2, 2), (16, 2, 2), (3, 4, 2), (4, 4, 4), (1, 8, 1), (5, 6, 3)):
        monkeypatch.setattr("lbr.recognition.processes.num_cores", lambda cores=cores: cores)
        assert sharing(chunks, "cpu") == found
    assert sharing(2, "cuda") == 1


def _ends_beside() -> None:
    """The others end as a process does that is killed for its memory; the first waits for them."""
    with processes("cpu") as own:
        if not own.is_first:
            os._exit(9)
        mean_over(own, torch.zeros(1))


def test_a_process_that_ends_beside_is_told():
    with pytest.raises(
        DataError, match=r"beside this one ended \(exit code 9; killed for memory\?\): set .*chunks to 1"
    ):
        together(2, _ends_beside)


def _meets_a_fault_beside() -> None:
    """One of the others reads what the first does not."""
    with processes("cpu") as own:
        if not own.is_first:
            raise DataError("b.png: broken")
        mean_over(own, torch.zeros(1))


def test_a_fault_that_another_meets_is_told_as_it_is():
    with pytest.raises(DataError, match=r"^b\.png: broken$"):
        together(2, _meets_a_fault_beside)


class _CannotBegin:
    """Work that the others cannot read."""

    def __call__(self) -> None:
        raise AssertionError("the first waits for the others")

    def __reduce__(self) -> tuple:
        return os._exit, (7,)


def test_a_process_that_never_begins_is_told():
    with pytest.raises(DataError, match="beside this one ended .exit code 7"):
        together(2, _CannotBegin())


def test_what_is_wrong_is_said_once(tmp_path: Path, images: list, capfd: pytest.CaptureFixture):
    with pytest.raises(DataError, match="no labelled image"):
        together(2, partial(train, [], VOCABULARY, settings(chunks=2), tmp_path, 0))
    assert "Error" not in capfd.readouterr().err


SCRIPT = """
import os
import sys
from functools import partial
from pathlib import Path

import torch

from lbr.recognition.processes import mean_over, processes, together


def work(told: Path) -> None:
    with processes("cpu") as own:
        mean_over(own, torch.zeros(1))
        if not own.is_first:
            told.write_text(str(os.getpid()))
        while True:
            mean_over(own, torch.zeros(1))


if __name__ == "__main__":
    together(2, partial(work, Path(sys.argv[1])))
"""


def test_the_others_end_with_the_first_and_say_nothing(tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT)
    told = tmp_path / "pid"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(tmp_path / "script.py"), str(told)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as first:
        _wait_until(lambda: told.is_file() and bool(told.read_text()))
        other = psutil.Process(int(told.read_text()))
        first.terminate()
        assert first.stderr is not None and first.stderr.read() == "", "also closed by the other"
    _wait_until(lambda: not other.is_running() or other.status() == psutil.STATUS_ZOMBIE)


def _wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
