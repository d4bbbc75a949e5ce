"""Photographs of anywhere as a place to learn, and what recognition starts from because of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lbr.datasets.folder import FolderSettings, load_folder
from lbr.errors import DataError
from lbr.io.images import image_size
from lbr.io.labels import mask_path, read_mask, read_vocabulary
from lbr.learning.album import write_album
from lbr.recognition.checkpoints import load_checkpoint, start_from
from lbr.recognition.network import make_network
from tests.learning.test_views import texture

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders of three photographs of the same names, and one that is none."""
    found = [tmp_path_factory.mktemp(country) / "town" for country in ("swiss", "russian")]
    for folder in found:
        folder.mkdir()
    for k in range(6):
        cv2.imwrite(str(found[k % 2] / f"{k // 2}.png"), texture(k))
    (found[0] / "broken.jpg").write_bytes(b"")
    return found


def test_each_photograph_is_an_instance_of_a_dataset(folders: list[Path], tmp_path: Path, capsys):
    write_album(folders, tmp_path, 100)
    assert "broken.jpg" in capsys.readouterr().err
    dataset = load_folder(FolderSettings(root=tmp_path, model=None, queries=None))
    assert len(dataset.db_names) == 6 and not dataset.problems and not dataset.queries
    masks = dataset.labels.masks
    assert masks is not None and dataset.labels.vocabulary is not None
    vocabulary = read_vocabulary(dataset.labels.vocabulary)
    found = []
    for name in dataset.db_names:
        mask = read_mask(mask_path(masks, name), vocabulary)
        assert mask.shape[::-1] == image_size(tmp_path / "images" / name)
        found.append(np.unique(mask).tolist())
    assert sorted(found) == [[k] for k in range(1, 7)]


def test_some_are_drawn_and_the_same_again(folders: list[Path], tmp_path: Path):
    for name in ("one", "again"):
        write_album(folders, tmp_path / name, 4)
    names = [sorted(p.name for p in (tmp_path / name / "images" / "db").iterdir()) for name in ("one", "again")]
    assert names[0] == names[1] and len(names[0]) == 4


def test_an_album_is_kept_and_not_taken_for_another(folders: list[Path], tmp_path: Path):
    write_album(folders, tmp_path, 4)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")}
    write_album(folders, tmp_path, 4)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jpg")} == before
    for others, count in ((folders, 5), (folders[:1], 4)):
        with pytest.raises(DataError, match="has 4 photographs of .*: remove it, or set another dataset.root"):
            write_album(others, tmp_path, count)


def test_one_photograph_is_told_from_no_other(folders: list[Path], tmp_path: Path):
    with pytest.raises(DataError, match="1 of 7 photographs can be read, two are wanted"):
        write_album(folders, tmp_path, 1)


def script(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / "make_encoder.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def test_the_script_makes_weights_that_a_training_starts_from(folders: list[Path], tmp_path: Path):
    where = [f"dataset.root={tmp_path}/album", f"workspace={tmp_path}/work", "--out", f"{tmp_path}/made.pt"]
    short = ["recognition.input_size=[64,64]", "recognition.training.epochs=1", "recognition.training.batch_size=4"]
    made = script(*map(str, folders), *where, *short)
    assert made.returncode == 0, made.stderr
    shipped, learned = (load_checkpoint(tmp_path / name) for name in ("made.pt", "work/recognition.pt"))
    assert shipped.vocabulary.num_classes == 1
    network = make_network(shipped.settings, 3)
    start_from(network, shipped.settings, tmp_path / "made.pt")
    for part in ("encoder", "decoder"):
        for name, tensor in getattr(network, part).state_dict().items():
            own = getattr(learned.network, part).state_dict()[name]
            assert torch.allclose(tensor.float(), own.float(), rtol=1e-3, atol=1e-4), name


def test_the_script_says_what_it_cannot_use_in_one_line(tmp_path: Path):
    stopped = script(f"{tmp_path}/none", f"dataset.root={tmp_path}/album", f"workspace={tmp_path}/work")
    assert stopped.returncode == 2 and "no such folder of images" in stopped.stderr and stopped.stderr.count("\n") == 1
