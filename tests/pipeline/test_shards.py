"""Shards of a stage, one after another or at once, and the run that packs them, make the output of one run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lbr.cli import main
from lbr.errors import ConfigError
from lbr.features.sift import Sift
from lbr.pipeline.stage import Shard
from lbr.pipeline.workspace import Workspace, read_manifest
from tests.synthetic import RenderedScene


def assert_same(found: Workspace, wanted: Workspace) -> None:
    for a, b in zip(found.outputs, wanted.outputs, strict=True):
        if a == found.georeference:  # of the flow alone: no verb of this test makes it
            continue
        manifests = [{**(read_manifest(output) or {}), "seconds": 0} for output in (a, b)]
        assert manifests[0] == manifests[1]
    for a, b in ((getattr(w, name) for w in (found, wanted)) for name in ("db_features", "query_features", "matches")):
        assert a.read_bytes() == b.read_bytes()
    assert found.poses.read_bytes() == wanted.poses.read_bytes()
    timeless = [
        [{**json.loads(line), "timings": None} for line in w.localizations.read_text().splitlines()]
        for w in (found, wanted)
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize("count", [2, 5])
def test_shards_one_after_another(
    tmp_path: Path, scene: RenderedScene, finished: Workspace, write_config: Callable, capsys, count: int
):
    config, workspace = str(write_config(tmp_path, scene.root)), Workspace(tmp_path / "work")
    outputs = {"extract": workspace.db_features, "match": workspace.matches, "localize": workspace.localizations}
    then = {"extract": "pairs", "match": "reconstruct", "localize": "evaluate"}
    for verb, output in outputs.items():
        for number in range(1, count + 1):
            assert main([verb, "--config", config, "--shard", f"{number}/{count}"]) == 0
            assert not output.exists()
            assert f"shard {number}/{count}: " in capsys.readouterr().out
        assert main([verb, "--config", config]) == 0 and output.exists()
        assert main([then[verb], "--config", config]) == 0
    assert_same(workspace, finished)
    assert [p for p in workspace.root.rglob("*") if p.name.startswith(".")] == []


def test_shards_at_the_same_time(tmp_path: Path, scene: RenderedScene, finished: Workspace, write_config: Callable):
    config, workspace = str(write_config(tmp_path, scene.root)), Workspace(tmp_path / "work")
    for verb in ("extract", "pairs", "match", "reconstruct", "localize"):
        if verb not in ("pairs", "reconstruct"):
            command = [sys.executable, "-m", "lbr", verb, "--config", config, "parallel.workers=1", "--shard"]
            running = [subprocess.Popen([*command, f"{k}/2"], stdout=subprocess.DEVNULL) for k in (1, 2)]
            assert [process.wait() for process in running] == [0, 0]
        assert main([verb, "--config", config]) == 0
    assert_same(workspace, finished)


def test_the_packing_run_makes_only_what_is_missing(
    tmp_path: Path, scene: RenderedScene, finished: Workspace, write_config: Callable, monkeypatch: pytest.MonkeyPatch
):
    config, extract, extracted = str(write_config(tmp_path, scene.root)), Sift.extract, []
    assert main(["extract", "--config", config, "--shard", "1/3"]) == 0
    monkeypatch.setattr(Sift, "extract", lambda self, image: extracted.append(0) or extract(self, image))
    assert main(["extract", "--config", config]) == 0
    assert len(extracted) == 10 - 3 - 1, "of 7 db images the shard has 3, of 3 queries 1"
    assert Workspace(tmp_path / "work").db_features.read_bytes() == finished.db_features.read_bytes()


def test_a_problem_of_a_shard_is_in_the_packed_output_too(
    tmp_path: Path, own_scene: Path, write_config: Callable, capsys: pytest.CaptureFixture
):
    (own_scene / "images/db/00.png").write_text("this is text")
    config = str(write_config(tmp_path, own_scene))
    assert main(["extract", "--config", config, "--shard", "1/2"]) == 1
    assert "3 of its 4 items are done, 3 of 7 in all" in capsys.readouterr().out
    assert main(["extract", "--config", config, "--shard", "2/2"]) == 0
    capsys.readouterr()
    assert main(["extract", "--config", config]) == 1
    assert "db/00.png" in capsys.readouterr().err
    assert (read_manifest(tmp_path / "work/features-db.h5") or {})["problems"][0][0] == "db/00.png"


def test_a_shard_replaces_nothing_unasked_and_nothing_itself(
    tmp_path: Path, scene: RenderedScene, write_config: Callable, capsys: pytest.CaptureFixture
):
    config, features = str(write_config(tmp_path, scene.root)), tmp_path / "work/features-db.h5"
    assert main(["extract", "--config", config]) == 0
    before, other = features.read_bytes(), ["extract", "--config", config, "extractor.max_keypoints=50"]
    assert main([*other, "--shard", "1/2"]) == 2 and "pass --overwrite" in capsys.readouterr().err
    assert main([*other, "--shard", "1/2", "--overwrite"]) == 0 and features.read_bytes() == before
    assert main(["extract", "--config", config, "--shard", "1/2"]) == 0, "what is there is reused"
    assert "[reused]" in capsys.readouterr().out
    assert main([*other, "--overwrite"]) == 0 and features.read_bytes() != before


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "/2", "-1/2", "a/b", "1/2/3"])
def test_a_wrong_shard_is_said(text: str):
    with pytest.raises(ConfigError, match="wants i/n with i from 1 to n"):
        Shard.parse(text)


def test_every_item_is_in_one_shard():
    items = {name: name for name in "abcdefg"}
    shares = [Shard.parse(f"{k}/3").of(items) for k in (1, 2, 3)]
    assert [list(share) for share in shares] == [["a", "d", "g"], ["b", "e"], ["c", "f"]]
