"""Training in several processes that are started here: the same network, and an end that is told."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

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


def test_what_is_wrong_is_said_once(tmp_path: Path, images: list, capfd: pytest.CaptureFixture):
    with pytest.raises(DataError, match="no labelled image"):
        together(2, partial(train, [], VOCABULARY, settings(chunks=2), tmp_path, 0))
    assert "Error" not in capfd.readouterr().err
