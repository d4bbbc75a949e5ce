"""What is found in a user's folder, and the configuration that comes of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from lbr.config import load_config
from lbr.datasets import Dataset, load_dataset
from lbr.errors import ConfigError, DataError
from lbr.io.text_lists import read_poses
from lbr.pipeline.own import prepare, splits
from tests.synthetic import RenderedScene

BASE = Path(__file__).resolve().parents[2] / "configs" / "folder.yaml"


def made(photos: Path, workspace: Path, queries: Path | None = None) -> tuple[Dataset, Path, str]:
    path, told = prepare(photos, queries, workspace, BASE)
    return load_dataset(load_config(path).dataset), path, " | ".join(told)


@pytest.fixture
def plain(tmp_path: Path, scene: RenderedScene) -> Path:
    """Photographs as they come, in folders with spaces, and nothing else."""
    return Path(shutil.copytree(scene.root / "images/db", tmp_path / "my photos: 2026 #1"))


def test_our_layout_is_taken_as_it_is(tmp_path: Path, scene: RenderedScene):
    found, _, told = made(scene.root, tmp_path / "work")
    assert set(found.db_names) == set(scene.db) and found.poses is not None
    assert {q.name for q in found.queries} == set(scene.queries) and found.truth == scene.root / "gt.txt"
    assert found.stylized_root == tmp_path / "work/stylized"
    assert "7 photographs to map" in told and "poses from 3D-models" in told


def test_photographs_alone_are_reconstructed_and_one_of_eight_is_held_out(tmp_path: Path, plain: Path):
    for number in range(3):
        shutil.copy(next(plain.glob("*.png")), plain / f"more {number}.png")
    found, path, told = made(plain, tmp_path / "work")
    assert found.poses is None and len(found.db_names) == 9 and len(found.queries) == 1
    assert found.queries[0].name not in found.db_names and "1 photographs are held out" in told
    config = load_config(path)
    assert (config.reconstruction.name, config.pairs.name) == ("sfm", "exhaustive")


def test_held_out_photographs_have_the_models_poses_as_their_truth(
    tmp_path: Path, own_scene: Path, scene: RenderedScene
):
    shutil.rmtree(own_scene / "images/query")
    (own_scene / "queries.txt").unlink()
    found, _, _ = made(own_scene, tmp_path / "work")
    (query,) = found.queries
    assert query.name == sorted(scene.db)[4] and query.camera == scene.camera and found.truth is not None
    assert abs(read_poses(found.truth)[query.name].matrix - scene.poses[query.name].matrix).max() < 1e-12


def test_queries_elsewhere_are_linked(tmp_path: Path, scene: RenderedScene, plain: Path):
    queries = scene.root / "images/query"
    found, _, _ = made(plain, tmp_path / "work", queries)
    assert {q.name for q in found.queries} == set(scene.queries)
    assert all((found.image_root / name).is_file() for name in [*found.db_names, *(q.name for q in found.queries)])
    posed, _, _ = made(scene.root, tmp_path / "posed", queries)
    assert posed.poses is not None and posed.db_names == sorted(scene.db) and len(posed.queries) == len(found.queries)


def test_one_photograph_or_a_list_can_be_the_queries(tmp_path: Path, scene: RenderedScene, plain: Path):
    found, _, _ = made(plain, tmp_path / "one", next((scene.root / "images/query").glob("*.png")))
    assert len(found.queries) == 1
    listed, _, _ = made(scene.root, tmp_path / "listed", scene.root / "queries.txt")
    assert {q.name: q.camera for q in listed.queries} == dict.fromkeys(scene.queries, scene.camera)


def test_what_a_person_changed_in_the_configuration_stays(tmp_path: Path, scene: RenderedScene, plain: Path):
    _, path, _ = made(scene.root, tmp_path / "work")
    changed = {**yaml.safe_load(path.read_text()), "seed": 5}
    path.write_text(yaml.safe_dump(changed))
    _, path, told = made(scene.root, tmp_path / "work")
    assert load_config(path).seed == 5 and "as it is there" in told
    with pytest.raises(ConfigError, match="other photographs"):
        made(plain, tmp_path / "work")


def test_what_is_not_there_is_said(tmp_path: Path, plain: Path):
    (tmp_path / "empty").mkdir()
    for photos, queries, message in (
        (tmp_path / "none", None, "no such folder of photographs"),
        (tmp_path / "empty", None, "no photographs in it"),
        (plain, tmp_path / "none", "no such folder of queries"),
        (plain, tmp_path / "empty", "no photographs in it"),
    ):
        with pytest.raises(DataError, match=message):
            prepare(photos, queries, tmp_path / "work", BASE)


def test_paths_and_overrides_are_told_apart(tmp_path: Path):
    (tmp_path / "a=b").mkdir()
    paths, overrides = splits([str(tmp_path / "a=b"), "queries", "extractor.max_keypoints=1024"])
    assert (paths, overrides) == ([str(tmp_path / "a=b"), "queries"], ["extractor.max_keypoints=1024"])
