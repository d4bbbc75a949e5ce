"""Training of the local feature: it learns, and a killed run goes on as if nothing had been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch

from lbr.errors import DataError
from lbr.features.daynight import DayNight, DayNightSettings
from lbr.learning.settings import LearningSettings
from lbr.learning.train import learn, read_photographs
from tests.learning.test_views import texture

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = LearningSettings(
    view_px=64, batch_size=2, steps=12, save_every=4, workers=0, photograph_px=200, precision="float32", copies=1
)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photographs")
    for k in range(3):
        cv2.imwrite(str(folder / f"{k}.png"), texture(k))
    return sorted(folder.iterdir())


def records(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]


def test_a_killed_run_goes_on_to_the_same_bits(photographs: list[Path], tmp_path: Path, monkeypatch):
    whole = learn(photographs, SETTINGS, tmp_path / "whole", "cpu")
    from lbr.learning.train import Learner

    trained = Learner._train

    def killed(self: Learner, *batch: torch.Tensor) -> torch.Tensor:
        if self.step == 6:
            raise KeyboardInterrupt
        return trained(self, *batch)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Learner, "_train", killed)
        learn(photographs, SETTINGS, tmp_path / "killed", "cpu")
    assert [r["step"] for r in records(tmp_path / "killed")] == [4]
    again = learn(photographs, SETTINGS, tmp_path / "killed", "cpu")
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    for (name, one), other in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_it_learns(photographs: list[Path], tmp_path: Path):
    settings = SETTINGS.model_copy(update={"steps": 60, "save_every": 20})
    learn(photographs, settings, tmp_path, "cpu")
    first, *_, last = records(tmp_path)
    assert last["descriptor"] < 0.8 * first["descriptor"] and last["matched"] > 1.2 * first["matched"]


def test_other_settings_do_not_go_on_with_a_run(photographs: list[Path], tmp_path: Path):
    learn(photographs, SETTINGS.model_copy(update={"steps": 4}), tmp_path, "cpu")
    with pytest.raises(DataError, match="other settings"):
        learn(photographs, SETTINGS, tmp_path, "cpu")


def test_what_is_no_photograph_is_left_out_and_said(photographs: list[Path], tmp_path: Path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"")
    assert len(read_photographs([*photographs, tmp_path / "broken.jpg"], SETTINGS)) == len(photographs)
    assert "broken.jpg" in capsys.readouterr().err
    with pytest.raises(DataError, match="none of 1 photographs"):
        read_photographs([tmp_path / "broken.jpg"], SETTINGS)


def script(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / "make_local_feature.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_the_script_makes_weights_that_the_local_feature_reads(photographs: list[Path], tmp_path: Path):
    options = ["--out", f"{tmp_path}/made.pt", "--workspace", f"{tmp_path}/work"]
    short = ["steps=2", "view_px=64", "batch_size=2", "copies=1"]
    made = script(str(photographs[0].parent), *options, *short)
    assert made.returncode == 0, made.stderr
    found = DayNight(DayNightSettings(weights=tmp_path / "made.pt", device="cpu")).extract(texture())
    assert found.descriptors.shape == (len(found), 64)


def test_the_script_says_what_it_cannot_use_in_one_line(photographs: list[Path], tmp_path: Path):
    where = ["--out", f"{tmp_path}/made.pt", "--workspace", f"{tmp_path}/work"]
    for arguments, told in (([str(photographs[0].parent), "step=2"], "step:"), ([f"{tmp_path}/none"], "none")):
        stopped = script(*arguments, *where)
        assert stopped.returncode == 2 and told in stopped.stderr and stopped.stderr.count("\n") == 1
    assert not (tmp_path / "made.pt").exists()
