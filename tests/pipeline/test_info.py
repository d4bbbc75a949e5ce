from pathlib import Path

import numpy as np
import pytest

from lbr.cli import main
from lbr.features.daynight import SHIPPED
from lbr.io.features_file import write_hloc_features
from lbr.io.labels import write_mask, write_vocabulary
from lbr.io.predictions_file import prediction_to_arrays, write_predictions
from lbr.pipeline.workspace import Workspace
from lbr.retrieval.index import build_index, write_index
from lbr.types import InstancePrediction, InstanceVocabulary
from tests.io.test_features_file import features
from tests.synthetic import RenderedScene


def info(path: Path, capsys: pytest.CaptureFixture) -> str:
    assert main(["info", str(path)]) == 0
    return capsys.readouterr().out


def test_of_a_map_with_its_size_by_part(finished: Workspace, capsys: pytest.CaptureFixture):
    said = info(finished.map, capsys)
    assert "map of 7 images, 1 cameras, local feature sift" in said
    assert "descriptors" in said and "21 pairs of images share points" in said
    sizes = [float(line.split()[0]) for line in said.splitlines() if line.startswith("  ")]
    assert sum(sizes) == pytest.approx(sum(p.stat().st_size for p in finished.map.iterdir()) / 1e6, abs=0.02)


def test_of_features(finished: Workspace, capsys: pytest.CaptureFixture):
    said = info(finished.db_features, capsys)
    assert "features of 7 images (ours)" in said and "128 x float16" in said and '"name": "sift"' in said


def test_of_hlocs_features(tmp_path: Path, capsys: pytest.CaptureFixture):
    write_hloc_features(tmp_path / "f.h5", [("a.jpg", features(40))])
    assert "features of 1 images (hloc's), 40 keypoints" in info(tmp_path / "f.h5", capsys)


def test_of_matches(finished: Workspace, capsys: pytest.CaptureFixture):
    assert "matches of 21 pairs" in info(finished.matches, capsys)


def test_of_a_model(finished: Workspace, scene: RenderedScene, capsys: pytest.CaptureFixture):
    assert "num_images = 7" in info(finished.sfm, capsys)
    assert "num_points3D = 0" in info(scene.root / "3D-models", capsys)


def test_of_results(finished: Workspace, scene: RenderedScene, capsys: pytest.CaptureFixture):
    said = info(finished.localizations, capsys)
    assert said.startswith("3 queries: 3 refined") and all(name in said for name in scene.queries)


@pytest.mark.parametrize("content", [None, b"", b"text"])
@pytest.mark.parametrize("name", ["x.h5", "x.jsonl", "x.txt"])
def test_of_nothing_known_is_one_clear_line(tmp_path: Path, name: str, content: bytes | None, capsys):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code = main(["info", str(tmp_path / name)])
    out = capsys.readouterr()
    if (name, content) == ("x.jsonl", b""):
        assert code == 0 and "0 queries" in out.out
    else:
        assert code == 2 and name in out.err and len(out.err.strip().splitlines()) == 1


def test_of_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["info", str(tmp_path)]) == 2
    assert "no usable COLMAP model" in capsys.readouterr().err


def test_of_a_workspace_and_a_run(finished: Workspace, capsys: pytest.CaptureFixture):
    said = info(finished.root, capsys).splitlines()
    assert any(line.split()[:2] == ["extract", "features-db.h5:"] for line in said) and said[-1] == "runs: default"
    assert info(finished.run_folder, capsys).startswith("3 queries: 3 refined")


def test_of_lists(finished: Workspace, scene: RenderedScene, capsys: pytest.CaptureFixture):
    assert "list of 3 queries, 3 of them with intrinsics; 0 lines" in info(scene.root / "queries.txt", capsys)
    assert "list of 3 poses" in info(finished.poses, capsys)
    assert "list of 21 pairs\nmade by `lbr pairs`" in info(finished.pairs, capsys)


def test_of_a_checkpoint(capsys: pytest.CaptureFixture):
    said = info(SHIPPED.with_name("town-aachen.pt"), capsys)
    assert "network deeplabv3p on resnet18, 48 instances" in said and "held_out_accuracy" in said


def test_of_what_recognition_made(tmp_path: Path, capsys: pytest.CaptureFixture):
    """Predictions, label images, an index."""
    prediction = InstancePrediction(
        np.ones((4, 6, 2), np.int32), np.full((4, 6, 2), 0.5, np.float32), np.zeros(3, np.float32),
        np.ones(8, np.float32), (60, 40),
    )  # fmt: skip
    write_predictions(tmp_path / "p.h5", [("a.jpg", prediction_to_arrays(prediction))], "digest")
    said = info(tmp_path / "p.h5", capsys)
    assert "predictions of 1 images, 2 instances, 2 ranks on 6x4 cells, global feature of 8" in said
    vocabulary = InstanceVocabulary(np.array([0, 255, 65280]), np.array([0, 1, 2]))
    write_mask(tmp_path / "labels/a.png", np.array([[0, 1]]), vocabulary)
    write_vocabulary(tmp_path / "labels/vocabulary.txt", vocabulary)
    assert "1 images, labelled with 2 instances" in info(tmp_path / "labels", capsys)
    write_index(tmp_path / "index", build_index({"a.jpg": {1: 0.5}, "b.jpg": {1: 0.2, 2: 0.7}}, {}, 3, 0.0))
    assert "index of 2 instances in 2 images, an instance in 1 to 2" in info(tmp_path / "index", capsys)
