"""train and recognise through the command line, on coloured rectangles in the layout of Aachen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lbr.cli import main
from lbr.config import load_config
from lbr.geometry.camera import Camera
from lbr.io.colmap import build_model, write_model
from lbr.io.images import image_size
from lbr.io.labels import read_mask, read_vocabulary
from lbr.io.predictions_file import PredictionFile
from lbr.io.text_lists import write_query_list
from lbr.pipeline import recognition_scoring
from lbr.pipeline.stage import Context
from tests.recognition.squares import write_squares
from tests.synthetic import arc_poses

CAMERA = Camera("SIMPLE_RADIAL", 96, 64, (90.0, 48.0, 32.0, 0.0))
DB = [f"db/{i}.png" for i in range(6)]
QUERIES = ["query/day/6.png", "query/night/7.png"]
CONFIG = """
dataset: {{name: aachen, root: '{root}', ground_truth_labels: '{truth}'}}
workspace: work
parallel: {{workers: 1}}
recognition:
  input_size: [64, 64]
  network: {{name: pspf, encoder: resnet18, encoder_depth: 3, channels: 16, dropout: 0}}
  training: {{epochs: 2, batch_size: 3, holdout: 0.2, validate_every: 1, precision: float32, device: cpu}}
  prediction: {{device: cpu, precision: float32, top_k: 3}}
"""


def write_dataset(folder: Path) -> Path:
    """folder/aachen and the true label images of the queries beside it; the configuration's path."""
    root, truth = folder / "aachen", folder / "truth"
    for item, name in zip(write_squares(folder / "made", 8, (96, 64)), DB + QUERIES, strict=True):
        masks = root / "global_seg_instance" if name in DB else truth
        for source, target in ((item.images[0], root / "images" / name), (item.mask, masks / name)):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(source, target)
    poses = dict(zip(DB, arc_poses(6), strict=True))
    write_model(root / "3D-models", build_model(dict.fromkeys(DB, CAMERA), poses))
    write_query_list(root / "queries/day_with_intrinsics.txt", dict.fromkeys(QUERIES, CAMERA))
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(root=root, truth=truth))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset after train and recognise. Read-only: `own` is a copy."""
    config = write_dataset(tmp_path_factory.mktemp("squares"))
    assert run("train", config) == 0 and run("recognise", config) == 0
    return config


@pytest.fixture
def own(tmp_path: Path, whole: Path) -> Path:
    """The finished dataset, to be damaged: its images keep their times."""
    shutil.copytree(whole.parent, tmp_path / "own")
    config = tmp_path / "own/config.yaml"
    config.write_text(whole.read_text().replace(str(whole.parent), str(config.parent)))
    return config


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    return write_dataset(tmp_path)


def run(verb: str, config: Path, *more: str) -> int:
    return main([verb, "--config", str(config), *more])


def test_outputs(whole: Path):
    work = whole.parent / "work"
    vocabulary = read_vocabulary(work / "vocabulary.txt")
    assert vocabulary.colours.tolist() == [0, 0x0A141E, 0x0A1428, 0x14141E], "made from the masks"
    for file, names, ranks in (("predictions-db.h5", DB, 1), ("predictions-query.h5", QUERIES, 3)):
        with PredictionFile(work / file) as predictions:
            assert predictions.names == sorted(names)
            assert predictions.read(names[0]).ids.shape == (64, 64, ranks)
            assert predictions.read(names[0]).image_size == (96, 64)
    for name in DB + QUERIES:
        mask = read_mask(work / "recognition/masks" / name, vocabulary)
        assert mask.shape == (64, 96) and set(np.unique(mask)) <= {0, 1, 2, 3}
        assert image_size(work / "recognition/confidence" / name) == (64, 64), "a pixel for each cell"
        assert image_size((work / "recognition/pictures" / name).with_suffix(".jpg"))[0] > 96
    manifest = json.loads((work / "recognition.pt.manifest.json").read_text())
    assert [r["epoch"] for r in manifest["history"]] == [1, 2] and manifest["problems"] == []
    assert [p for p in work.rglob("*") if p.name.startswith(".")] == []


def test_scores_by_ranking_and_condition(whole: Path):
    scores = json.loads((whole.parent / "work/recognition.json").read_text())["scores"]
    assert set(scores) == {"evidence", "published"}
    for table in scores.values():
        assert set(table) == {"day", "night", "all"}
        assert [table[c]["num"] for c in ("day", "night", "all")] == [1, 1, 2] and len(table["all"]["first"]) == 5
    assert "| published | night |" in (whole.parent / "work/recognition.md").read_text()


def test_evaluate_has_the_scores_of_recognition(own: Path, capsys: pytest.CaptureFixture):
    """Also where no pose is known; what cannot be scored is a problem."""
    assert run("evaluate", own) == 0
    said = capsys.readouterr().out
    assert "recognition.json" in said and "Poses are not scored: the dataset has no true poses" in said
    assert "| evidence | day | 1 |" in said and "| published | night | 1 |" in said
    for name in QUERIES:
        (own.parent / "truth" / name).with_suffix(".png").write_bytes(b"no image")
    assert run("evaluate", own) == 1 and "scores of recognition: " in capsys.readouterr().err
    assert run("evaluate", own, "dataset.ground_truth_labels=null") == 2
    assert "there is nothing to evaluate with" in capsys.readouterr().err


def test_reuse_and_stale(own: Path, capsys: pytest.CaptureFixture):
    """A copy of the whole, elsewhere, is reused; what another image or setting would change is not."""
    for verb in ("train", "recognise"):
        assert run(verb, own) == 0
        assert "[reused]" in capsys.readouterr().out
    assert run("train", own, "recognition.training.epochs=3") == 2
    assert "recognition.training.epochs=2, now 3; pass --overwrite" in capsys.readouterr().err
    assert run("train", own, "recognition.training.workers=1") == 0, "how fast, not what"
    assert run("recognise", own, "recognition.prediction.top_k=2") == 2
    os.utime(own.parent / "aachen/images" / DB[0])
    assert run("train", own) == 2 and "was made from other images" in capsys.readouterr().err
    assert run("train", own, "--overwrite") == 0 and run("train", own) == 0


def test_two_processes_train_through_the_command_line(fresh: Path, capsys: pytest.CaptureFixture):
    """torchrun's two processes on gloo leave one checkpoint, which one process then finds as its own."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lbr", "train",
        "--config", str(fresh), "recognition.training.epochs=1", "recognition.training.batch_size=4",
        "recognition.training.max_minutes=9",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, cwd=fresh.parent, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("recognition.pt: 3 instances from 6 images, 1 epochs") == 1
    manifest = json.loads((fresh.parent / "work/recognition.pt.manifest.json").read_text())
    assert manifest["plan"]["epochs"] == 1 and 0 < manifest["plan"]["expected_minutes"] < 9
    assert len(manifest["history"]) == 1
    options = [
        "recognition.training.epochs=1", "recognition.training.batch_size=4", "recognition.training.max_minutes=9",
    ]  # fmt: skip
    assert run("train", fresh, *options) == 0 and "[reused]" in capsys.readouterr().out


def test_chunks_are_shared_by_processes(fresh: Path, capsys: pytest.CaptureFixture):
    options = ["recognition.training.epochs=2", "recognition.training.batch_size=4", "recognition.training.chunks=2"]
    assert run("train", fresh, *options) == 0
    assert capsys.readouterr().out.count("recognition.pt: 3 instances from 6 images, 2 epochs") == 1
    assert run("train", fresh, *options) == 0 and "[reused]" in capsys.readouterr().out


def test_a_missing_label_image_is_a_problem(fresh: Path, capsys: pytest.CaptureFixture):
    (fresh.parent / "aachen/global_seg_instance/db/0.png").unlink()
    assert run("train", fresh, "recognition.training.epochs=1") == 1
    assert "1 db images have no label image" in capsys.readouterr().err


@pytest.mark.parametrize("chunks", [1, 2])
def test_a_broken_photograph_is_a_problem(fresh: Path, capsys: pytest.CaptureFixture, chunks: int):
    """Its header says what a whole one's does. The other five are learned, in one process and in two."""
    path = fresh.parent / "aachen/images/db/0.png"
    path.write_bytes(path.read_bytes()[:-40])
    options = ["recognition.training.epochs=1", "recognition.training.batch_size=4"]
    assert run("train", fresh, *options, f"recognition.training.chunks={chunks}") == 1
    told = capsys.readouterr()
    assert "from 5 images" in told.out and f"db/0.png: {path}: broken image" in told.err
    assert run("train", fresh, *options, f"recognition.training.chunks={chunks}") == 1, "reused, and said again"
    assert f"{path}: broken image" in capsys.readouterr().err


def test_no_photograph_that_can_be_read(fresh: Path, capsys: pytest.CaptureFixture):
    for path in (fresh.parent / "aachen/images/db").iterdir():
        path.write_bytes(b"no image")
    assert run("train", fresh) == 2
    assert "none of the 6 labelled images can be read (first: db/0.png: " in capsys.readouterr().err


def test_no_label_images_at_all(fresh: Path, capsys: pytest.CaptureFixture):
    masks = fresh.parent / "aachen/global_seg_instance"
    shutil.rmtree(masks / "db")
    assert run("train", fresh) == 2 and "label image of none of the 6 db images" in capsys.readouterr().err
    shutil.rmtree(masks)
    assert run("train", fresh) == 2 and "set dataset.labels" in capsys.readouterr().err
    run("run", fresh)
    out = capsys.readouterr().out
    assert "train        skipped: the dataset has no label images" in out and "recognise    skipped" in out


def test_the_misspelt_folder(own: Path):
    root = own.parent / "aachen"
    (root / "global_seg_instance").rename(root / "gloabl_seg_instance")
    shutil.rmtree(own.parent / "work")
    assert run("train", own, "recognition.training.epochs=1") == 0


def test_a_broken_query_is_a_problem(own: Path, capsys: pytest.CaptureFixture):
    (own.parent / "aachen/images" / QUERIES[0]).write_bytes(b"no image")
    assert run("recognise", own, "--overwrite") == 1
    assert QUERIES[0] in capsys.readouterr().err
    with PredictionFile(own.parent / "work/predictions-query.h5") as found:
        assert found.names == QUERIES[1:]


def test_a_broken_true_label_image_is_a_problem(own: Path, capsys: pytest.CaptureFixture):
    """The other query is scored; where none can be, that is the problem."""
    truth = [(own.parent / "truth" / name).with_suffix(".png") for name in QUERIES]
    truth[0].write_bytes(b"no image")
    assert run("recognise", own, "--overwrite") == 1
    said = capsys.readouterr().err
    assert f"{QUERIES[0]}: not scored: {truth[0]}: not an image" in said and "1 problem(s)" in said
    kept = json.loads((own.parent / "work/recognition.json").read_text())
    assert set(kept["scores"]["evidence"]) == {"night"} and len(kept["problems"]) == 1
    truth[1].write_bytes(b"no image")
    assert run("recognise", own) == 2 and "not an image" in capsys.readouterr().err


def test_scores_are_kept_until_something_changes(own: Path, monkeypatch: pytest.MonkeyPatch):
    assert run("train", own, "--overwrite") == 0 and run("recognise", own, "--overwrite") == 0
    context = Context(load_config(own))
    kept = recognition_scoring.kept_scores(context)
    assert kept == recognition_scoring.recognition_scores(context)
    scored: list[Context] = []
    real = recognition_scoring.recognition_scores
    monkeypatch.setattr(recognition_scoring, "recognition_scores", lambda c: scored.append(c) or real(c))
    assert recognition_scoring.kept_scores(context) == kept and not scored, "read, not scored again"
    other = Context(load_config(own, ["recognition.ranking.power=1"]))
    recognition_scoring.kept_scores(other)
    assert scored == [other], "of another ranking: scored again"


def test_shards(own: Path, whole: Path):
    work = own.parent / "work"
    for name in ("predictions-db.h5", "predictions-query.h5"):
        (work / name).unlink()
        (work / f"{name}.manifest.json").unlink()
    for number in (1, 2):
        assert run("recognise", own, "--shard", f"{number}/2") == 0
        assert not (work / "predictions-db.h5").exists()
    assert run("recognise", own, "--overwrite") == 0
    with (
        PredictionFile(work / "predictions-query.h5") as a,
        PredictionFile(whole.parent / "work/predictions-query.h5") as b,
    ):
        for name in QUERIES:
            np.testing.assert_array_equal(a.read(name).ids, b.read(name).ids)


def test_weights_of_another_vocabulary_stop(own: Path, capsys: pytest.CaptureFixture):
    other = own.parent / "other.txt"
    other.write_text("0 0\n5 1\n")
    weights = own.parent / "work/recognition.pt"
    options = [f"dataset.vocabulary={other}", f"recognition.weights={weights}", f"workspace={own.parent / 'elsewhere'}"]
    assert run("recognise", own, *options) == 2
    said = capsys.readouterr().err
    assert "made for another vocabulary (4 instances, the data 2" in said and len(said.strip().splitlines()) == 1


def test_recognise_before_train_says_so(fresh: Path, capsys: pytest.CaptureFixture):
    assert run("recognise", fresh) == 2 and "run `lbr train` first" in capsys.readouterr().err


def test_a_network_is_reused_wherever_the_one_it_started_from_lies(own: Path, capsys: pytest.CaptureFixture):
    for folder in ("here", "there"):
        (own.parent / folder).mkdir()
        shutil.copy(own.parent / "work/recognition.pt", own.parent / folder / "start.pt")
    assert run("train", own, f"recognition.training.start_from={own.parent}/here/start.pt", "--overwrite") == 0
    capsys.readouterr()
    assert run("train", own, f"recognition.training.start_from={own.parent}/there/start.pt") == 0
    assert "[reused]" in capsys.readouterr().out
    assert run("train", own) == 2
    assert "start_from" in capsys.readouterr().err
