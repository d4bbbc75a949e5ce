"""How long a training is: by the data, by the clock, and kept for a run that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lbr.errors import DataError
from lbr.recognition import train as training
from lbr.recognition.planning import Cost, Plan, automatic_epochs, keep_plan, make_plan, read_plan
from lbr.recognition.settings import TrainingSettings
from lbr.recognition.train import train
from tests.recognition.squares import VOCABULARY, settings, write_squares


def never() -> Cost:
    raise AssertionError("nothing is measured where no time is given")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list:
    return write_squares(tmp_path_factory.mktemp("squares"), 8)


def test_epochs_by_the_data():
    assert 190 <= automatic_epochs(154, 48, 16) <= 200, "the embedded town"
    assert 95 <= automatic_epochs(6697, 451, 16) <= 110, "Aachen, published 120"
    few = automatic_epochs(14, 8, 16)
    assert few == 480, "14 photographs are one batch: epochs are steps"
    for images, batch in ((14, 16), (154, 8), (154, 32), (1000, 16)):
        epochs = automatic_epochs(images, 20, batch)
        per_epoch = -(-images // batch) * batch
        wanted = 16 * (250 + 20 * 20 + 5 * images)
        assert wanted <= epochs * per_epoch < wanted + per_epoch, "as many images whatever the batch"


def test_without_a_limit_nothing_is_measured():
    plan = make_plan(TrainingSettings(epochs=30), 100, 5, never)
    assert plan == Plan(30, 30, 5) and str(plan) == "30 epochs"
    auto = make_plan(TrainingSettings(epochs="auto", validate_every="auto"), 154, 48, never)
    assert auto.epochs == automatic_epochs(154, 48, 16) and auto.validate_every == -(-auto.epochs // 20)


def test_the_time_given_is_kept_to():
    """A third of the epochs takes 1 s, the rest 4: 3 s at the mean; reading 10 s, measuring 5, a validation 0.5."""
    cost = Cost((1.0, 4.0, 4.0), 0.5, 10.0, 5.0)
    asked = TrainingSettings(epochs=200, max_minutes=3, validate_every=5, growing=(0.5, 1, 1))
    plan = make_plan(asked, 100, 5, lambda: cost)
    total = plan.epochs * 3 + 15 + 0.5 * (plan.epochs / 5 + 2)
    assert 180 - 3.1 < total <= 180 and plan.asked == 200 and plan.expected_minutes == pytest.approx(total / 60)
    assert "of 200, shortened to fit, expected to take 3.0 minutes" in str(plan)
    ample = make_plan(asked.model_copy(update={"max_minutes": 60.0}), 100, 5, lambda: cost)
    assert ample.epochs == 200 and "shortened" not in str(ample)
    squeezed = make_plan(asked.model_copy(update={"max_minutes": 0.2}), 100, 5, lambda: cost)
    assert squeezed.epochs == 3 and squeezed.least and not plan.least, "one for each size, however long that takes"
    assert str(squeezed).endswith("expected to take 0.4 minutes (max_minutes is too short here even for that)")


def test_a_plan_is_kept(tmp_path: Path):
    plan = Plan(12, 30, 2, 1.5)
    keep_plan(tmp_path / "new", plan)
    assert read_plan(tmp_path / "new") == plan


def test_a_shortened_run_goes_on_as_it_was_planned(tmp_path: Path, images: list, monkeypatch: pytest.MonkeyPatch):
    """Measured here, shortened, killed, and gone on with by a machine that would have planned otherwise."""
    chosen = settings(
        epochs=10**6, max_minutes=0.05, holdout=0.25, validate_every="auto", growing=(0.67, 1.0), average=0.9
    )
    monkeypatch.setattr(training.Trainer, "cost", lambda trainer: Cost((0.5, 0.7), 0.01, 0.1))
    whole, _ = train(images, VOCABULARY, chosen, tmp_path / "whole", 0)
    plan = json.loads((tmp_path / "whole/plan.json").read_text())
    assert plan["asked"] == 10**6 and plan["epochs"] == 4 and plan["validate_every"] == 1
    save = training.Trainer._save

    def save_and_die(trainer, folder: Path, progress, writer) -> None:
        save(trainer, folder, progress, writer)
        if progress.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.Trainer, "_save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        train(images, VOCABULARY, chosen, tmp_path / "killed", 0)
    monkeypatch.setattr(training.Trainer, "_save", save)
    monkeypatch.setattr(training.Trainer, "cost", lambda trainer: never())
    longer = settings(epochs=7, growing=(0.67, 1.0), holdout=0.25)
    with pytest.raises(DataError, match="training of 1000000 epochs was begun there, now 7 are asked for"):
        train(images, VOCABULARY, longer, tmp_path / "killed", 0)
    resumed, progress = train(images, VOCABULARY, chosen, tmp_path / "killed", 0)
    assert progress.epoch == 4
    weights = whole.network.state_dict()
    assert all((weights[k] == v).all() for k, v in resumed.network.state_dict().items())


def test_what_is_measured_changes_nothing(tmp_path: Path, images: list):
    """The real measurement, on a copy: ample time gives the run that no limit gives, to the bit."""
    short = settings(epochs=2, growing=(0.67, 1.0), holdout=0.25)
    limited = settings(epochs=2, growing=(0.67, 1.0), holdout=0.25, max_minutes=30)
    (a, _), (b, _) = (train(images, VOCABULARY, s, tmp_path / str(i), 0) for i, s in enumerate((short, limited)))
    assert all((v == b.network.state_dict()[k]).all() for k, v in a.network.state_dict().items())
    plan = read_plan(tmp_path / "1")
    assert plan.epochs == 2 and 0 < plan.expected_minutes < 2
