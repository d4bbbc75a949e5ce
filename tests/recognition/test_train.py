"""Training on squares: it learns, stops and goes on to the bit, and is the same on two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from lbr.errors import ConfigError, DataError
from lbr.recognition import train as training
from lbr.recognition.calibration import Calibration
from lbr.recognition.checkpoints import Checkpoint, save_checkpoint
from lbr.recognition.material import gather
from lbr.recognition.settings import (
    AdamSettings,
    CosineSchedule,
    DeepLabSettings,
    LossSettings,
    MuonSettings,
    PlateauSchedule,
    RecognitionSettings,
    SgdSettings,
    StepSchedule,
)
from lbr.recognition.train import LOG, Progress, augmentation_for, train
from lbr.types import InstanceVocabulary
from tests.recognition.squares import NETWORK, SIZE, VOCABULARY, settings, write_squares

DROPOUT = NETWORK.model_copy(update={"dropout": 0.3})


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list:
    return write_squares(tmp_path_factory.mktemp("squares"), 8)


def assert_same(a: tuple[Checkpoint, Progress], b: tuple[Checkpoint, Progress]) -> None:
    assert a[1].records == b[1].records and a[1].best_score == b[1].best_score
    states = [found[0].network.state_dict() for found in (a, b)]
    assert all(torch.equal(states[0][k], v) for k, v in states[1].items())
    assert [found[0].temperature for found in (a, b)] == [a[0].temperature] * 2
    assert a[0].presence_scale == b[0].presence_scale and a[0].scores == b[0].scores


def test_one_batch_is_learned_by_heart(tmp_path: Path, images: list):
    found, progress = train(
        images, VOCABULARY, settings(epochs=70, overfit_batch=True, validate_every=70, holdout=0.5), tmp_path, 0
    )
    record = progress.records[-1]
    assert record["accuracy"] > 0.95 and record["epoch"] == 70 and "held_out_accuracy" not in record
    assert found.vocabulary == VOCABULARY and found.input_size == SIZE and found.settings == NETWORK
    logged = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert logged == progress.records
    assert list((tmp_path / "tensorboard").iterdir())


@pytest.mark.parametrize(
    "more",
    [
        {"schedule": CosineSchedule(), "optimizer": MuonSettings(rate=3e-3), "average": 0.9},
        {"schedule": PlateauSchedule(patience=0)},
    ],
)
def test_killed_and_resumed_is_undisturbed(tmp_path: Path, images: list, monkeypatch: pytest.MonkeyPatch, more: dict):
    chosen = settings(
        DROPOUT, epochs=4, holdout=0.25, chunks=2, growing=(1.0,), **more,
        loss=LossSettings(rare_power=0.5), augmentation=RecognitionSettings().training.augmentation,
    )  # fmt: skip
    undisturbed = train(images, VOCABULARY, chosen, tmp_path / "whole", 3)
    save = training.Trainer._save

    def save_and_die(trainer, folder: Path, progress: Progress, writer) -> None:
        save(trainer, folder, progress, writer)
        if progress.epoch in (1, 3):
            raise KeyboardInterrupt

    monkeypatch.setattr(training.Trainer, "_save", save_and_die)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(images, VOCABULARY, chosen, tmp_path / "killed", 3)
    assert len((tmp_path / "killed" / LOG).read_text().splitlines()) == 3
    monkeypatch.undo()
    resumed = train(images, VOCABULARY, chosen, tmp_path / "killed", 3)
    assert_same(resumed, undisturbed)
    assert [r["epoch"] for r in resumed[1].records] == [1, 2, 3, 4]
    assert (tmp_path / "killed" / LOG).read_text() == (tmp_path / "whole" / LOG).read_text()
    assert resumed[0].scores["held_out_images"] == 2
    assert_same(train(images, VOCABULARY, chosen, tmp_path / "killed", 3), undisturbed)
    other = train(images, VOCABULARY, chosen, tmp_path / "seed", 4)
    assert other[1].records != undisturbed[1].records


SCRIPT = """
import os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from lbr.recognition.train import train
from lbr.recognition.settings import SgdSettings
from tests.recognition.squares import NETWORK, VOCABULARY, settings, write_squares
folder, dropout = Path(sys.argv[1]), float(sys.argv[2])
images = write_squares(folder / ("images" + os.environ["RANK"]), 8)
network = NETWORK.model_copy(update={"dropout": dropout})
train(images, VOCABULARY, settings(network, epochs=3, optimizer=SgdSettings(rate=0.01)), folder / "run", 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path, images: list, dropout: float):
    """On gloo; one process with two chunks, two with one each; also with dropout, which is drawn by chunk."""
    network = NETWORK.model_copy(update={"dropout": dropout})
    steady = SgdSettings(rate=0.01)  # Adam's first steps make much of the rounding
    _, alone = train(images, VOCABULARY, settings(network, epochs=3, chunks=2, optimizer=steady), tmp_path / "alone", 0)
    (tmp_path / "script.py").write_text(SCRIPT)
    root = str(Path(__file__).parents[2])
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        str(tmp_path / "script.py"), str(tmp_path), str(dropout),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    together = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert len(together) == len(alone.records) == 3
    for a, b in zip(together, alone.records, strict=True):
        for key in ("total", "segmentation", "classification"):
            assert a[key] == pytest.approx(b[key], abs=1e-4)


def test_what_gets_no_better_stops_early(tmp_path: Path, images: list):
    """At this rate nothing changes: the first validation is the best."""
    still = SgdSettings(rate=1e-30, momentum=0)
    _, progress = train(
        images, VOCABULARY, settings(epochs=30, holdout=0.25, patience=2, optimizer=still, schedule=StepSchedule()),
        tmp_path, 0,
    )  # fmt: skip
    assert progress.epoch < 30 and progress.validations_since == 2
    best = max(range(len(progress.records)), key=lambda i: progress.records[i]["held_out_accuracy"])
    assert len(progress.records) == best + 3


def test_the_best_weights_are_returned(tmp_path: Path, images: list, monkeypatch: pytest.MonkeyPatch):
    """Of four validations the second is said to be the best; a fifth is of what is returned."""
    weights, said = [], [0.1, 0.9, 0.2, 0.3, 0.9]

    def validate(network: torch.nn.Module, *_) -> float:
        weights.append(deepcopy(network.state_dict()))
        return said[len(weights) - 1]

    monkeypatch.setattr(training, "validate", validate)
    found, progress = train(images, VOCABULARY, settings(epochs=4, holdout=0.25), tmp_path, 0)
    same = [all(torch.equal(v, then[k]) for k, v in found.network.state_dict().items()) for then in weights]
    assert same == [False, True, False, False, True] and progress.best_score == 0.9


def test_what_was_calibrated_is_in_the_checkpoint(tmp_path: Path, images: list, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training, "fit_calibration", lambda *_: Calibration(2.0, 3.0, 0.5))
    found, _ = train(images, VOCABULARY, settings(epochs=1, holdout=0.25), tmp_path, 0)
    assert found.temperature == 2.0 and found.presence_scale == (3.0, 0.5)


def test_a_loss_that_is_no_number_stops_with_advice(tmp_path: Path, images: list):
    wild = SgdSettings(rate=1e18, momentum=0)
    with pytest.raises(DataError, match=r"loss became (nan|inf).*optimizer\.rate"):
        train(images, VOCABULARY, settings(epochs=9, optimizer=wild), tmp_path, 0)


def test_class_weights_act(tmp_path: Path, images: list):
    losses = [
        train(images, VOCABULARY, settings(epochs=1, loss=LossSettings(rare_power=p)), tmp_path / str(p), 0)[1].records
        for p in (0.0, 1.0)
    ]
    assert abs(losses[0][0]["segmentation"] - losses[1][0]["segmentation"]) > 1e-3


def test_batches_that_cannot_be_cut_are_said(tmp_path: Path, images: list):
    with pytest.raises(DataError, match="batch of 4 cannot be cut into 3 chunks"):
        train(images, VOCABULARY, settings(chunks=3), tmp_path, 0)
    single = settings(DeepLabSettings(encoder="resnet18", channels=8), chunks=4)
    with pytest.raises(DataError, match=r"batch of 4 in 4 chunks has one image in each, and deeplabv3p normalises"):
        train(images, VOCABULARY, single, tmp_path, 0)
    with pytest.raises(DataError, match="no labelled image"):
        train([], VOCABULARY, settings(), tmp_path, 0)


def test_the_held_out_images_may_be_listed(tmp_path: Path, images: list):
    (tmp_path / "list.txt").write_text("db/3.png\ndb/5.png\ndb/unknown.png\n")
    chosen = settings(epochs=1, holdout_list=tmp_path / "list.txt")
    found, _ = train(images, VOCABULARY, chosen, tmp_path / "run", 0)
    assert found.scores["held_out_images"] == 2
    made = gather(images, VOCABULARY, chosen, 0)
    assert [item.name for item in made.held] == ["db/3.png", "db/5.png"]
    assert [item.name for item in made.chosen] == [f"db/{i}.png" for i in (0, 1, 2, 4, 6, 7)]
    with pytest.raises(DataError, match=r"none\.txt: no such list"):
        train(images, VOCABULARY, settings(holdout_list=tmp_path / "none.txt"), tmp_path / "other", 0)


def test_night_is_made_on_the_fly_where_copies_are_missing(images: list):
    from dataclasses import replace

    copied = [*images[1:], replace(images[0], images=images[0].images * 2)]
    own = RecognitionSettings().training.augmentation
    for choice, alone, beside in (("missing", own.night, 0), ("always", own.night, own.night), ("never", 0, 0)):
        chosen = settings(on_the_fly=choice, augmentation=own)
        assert augmentation_for(chosen, images).night == alone
        assert augmentation_for(chosen, copied).night == beside
        assert augmentation_for(chosen, copied).rotation_deg == own.rotation_deg


def test_what_was_learned_elsewhere_is_gone_on_with(tmp_path: Path, images: list):
    """Other classes, the same encoder and decoder: the first steps already see squares."""
    learned, _ = train(images, VOCABULARY, settings(epochs=30, validate_every=30), tmp_path / "before", 0)
    save_checkpoint(tmp_path / "before.pt", learned)
    other = InstanceVocabulary(np.array([0, 1, 2, 3]), np.arange(4, dtype=np.int32))
    recoloured = write_squares(tmp_path / "other", 8, vocabulary=other)
    options = {"epochs": 1, "validate_every": 1, "optimizer": AdamSettings(rate=1e-3, encoder_factor=1)}
    _, fresh = train(recoloured, other, settings(**options), tmp_path / "fresh", 0)
    _, gone_on = train(recoloured, other, settings(start_from=tmp_path / "before.pt", **options), tmp_path / "on", 0)
    assert gone_on.records[-1]["accuracy"] > fresh.records[-1]["accuracy"] + 0.05
    deeper = NETWORK.model_copy(update={"channels": 24})
    with pytest.raises(ConfigError, match="recognition.network.channels=16, the network to train 24"):
        train(images, VOCABULARY, settings(deeper, start_from=tmp_path / "before.pt"), tmp_path / "deeper", 0)
