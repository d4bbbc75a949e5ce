"""Photographs stored on their side: turned as EXIF says, unless intrinsics are given of stored pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from lbr.cli import main
from lbr.datasets import load_dataset
from lbr.datasets.folder import FolderSettings
from lbr.geometry.camera import Camera
from lbr.io.colmap import build_model, write_model
from lbr.io.features_file import FeatureFile
from lbr.io.images import read_image
from lbr.io.text_lists import write_query_list
from lbr.mapping.map import open_map
from lbr.pipeline.photographs import copy_photographs
from lbr.pipeline.results import read_localizations
from tests.synthetic import RenderedScene

EXIF = ("query/01.png", "query/night/new photo 1.b.png")  # queries without intrinsics


def store(path: Path, orientation: int, quarter_turns: int) -> None:
    """Write a photograph again with its pixels turned counter-clockwise, and an orientation in its EXIF."""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    Image.fromarray(np.rot90(read_image(path), quarter_turns).copy()).save(path, exif=tags)


@pytest.fixture
def sideways(own_scene: Path, scene: RenderedScene) -> Path:
    """All photographs on their side as phones store them, but the query with given intrinsics, whose tag is wrong."""
    for number, name in enumerate([*scene.db, *EXIF]):
        store(own_scene / "images" / name, *((6, 1), (8, 3), (3, 2))[number % 3])
    (given,) = set(scene.queries) - set(EXIF)
    store(own_scene / "images" / given, 6, 0)
    write_query_list(own_scene / "queries.txt", {**dict.fromkeys(EXIF), given: scene.camera})
    return own_scene


def test_photographs_on_their_side_are_mapped_and_localized_upright(
    sideways: Path, scene: RenderedScene, write_config: Callable, tmp_path: Path
):
    config = str(write_config(tmp_path, sideways))
    options = ["dataset.model=null", "reconstruction.name=sfm", "pairs.name=exhaustive", "dataset.reference=3D-models"]
    assert main(["run", "--config", config, *options]) == 0
    report = json.loads((tmp_path / "work/runs/default/report.json").read_text())
    (group,) = report["alignment"]["groups"]
    assert len(group["images"]) == 7 and max(group["rotation_errors_deg"]) < 1, "a turned photograph is 90 deg off"
    assert set(report["queries"]) == set(scene.queries)
    assert max(q["rotation_deg"] for q in report["queries"].values()) < 1
    assert max(q["position_m"] for q in report["queries"].values()) < 0.3
    assert {camera.size for camera in open_map(tmp_path / "work/map").cameras} == {(480, 360)}
    records = {r["query"]: r for r in read_localizations(tmp_path / "work/runs/default/localizations.jsonl")}
    sizes = {(r["camera"]["width"], r["camera"]["height"]) for r in records.values()}
    assert {r["camera"]["source"] for q, r in records.items() if q in EXIF} == {"map"}
    assert sizes == {(480, 360)} and {r["status"] for r in records.values()} == {"refined"}


def test_intrinsics_of_stored_pixels_leave_a_photograph_as_it_is(sideways: Path, scene: RenderedScene):
    """Those of upright pixels alone have it turned, as EXIF says; queries of unknown intrinsics are turned even so."""
    lying = {name for number, name in enumerate(scene.db) if number % 3 < 2}  # the others stand on their head
    (given,) = set(scene.queries) - set(EXIF)
    found = load_dataset(FolderSettings(root=sideways))
    assert found.turned == {*lying, *EXIF} and set(found.cameras) == set(scene.db) and found.problems == ()
    assert {found.images.size(name) for name in (*scene.db, *scene.queries)} == {scene.camera.size}
    stored = Camera(scene.camera.model, 360, 480, scene.camera.params, "given")
    write_model(
        sideways / "3D-models", build_model(dict.fromkeys(scene.db, stored), {n: scene.poses[n] for n in scene.db})
    )
    found = load_dataset(FolderSettings(root=sideways))
    assert found.turned == set(EXIF) and found.images.size(min(lying)) == (360, 480) and set(found.cameras) == lying
    free = load_dataset(FolderSettings(root=sideways, model=None))
    assert free.turned == {*scene.db, *EXIF} and given not in free.turned
    assert {camera.size for camera in free.cameras.values()} == {(480, 360)}
    assert load_dataset(FolderSettings(root=sideways, queries=None)).turned == set(scene.queries)


def test_a_model_of_upright_photographs_maps_those_that_are_stored_on_their_side(
    own_scene: Path, scene: RenderedScene, write_config: Callable, tmp_path: Path
):
    """As of a tool that obeys EXIF; the queries too."""
    for name in (*scene.db, *scene.queries):
        store(own_scene / "images" / name, 6, 1)
    assert main(["run", "--config", str(write_config(tmp_path, own_scene))]) == 0
    report = json.loads((tmp_path / "work/runs/default/report.json").read_text())
    assert set(report["queries"]) == set(scene.queries)
    assert max(q["position_m"] for q in report["queries"].values()) < 0.05
    assert {camera.size for camera in open_map(tmp_path / "work/map").cameras} == {(480, 360)}


def test_turning_a_photograph_makes_its_features_stale(
    own_scene: Path, scene: RenderedScene, write_config: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
):
    config = str(write_config(tmp_path, own_scene))
    assert main(["extract", "--config", config]) == 0
    store(own_scene / "images" / scene.db[0], 3, 2)
    with FeatureFile(tmp_path / "work/features-db.h5") as file:
        upright = file.read(scene.db[0]).keypoints
    assert main(["extract", "--config", config, "dataset.model=null"]) == 2
    assert "made from other images" in capsys.readouterr().err
    assert main(["extract", "--config", config, "--overwrite"]) == 0, "given intrinsics: as stored"
    with FeatureFile(tmp_path / "work/features-db.h5") as file:
        stored = np.array([480, 360]) - file.read(scene.db[0]).keypoints
    near = np.linalg.norm(stored[:, None] - upright, axis=2).min(axis=1)
    assert np.mean(near < 1) > 0.5, "the other way round"
    assert main(["extract", "--config", config, "dataset.model=null"]) == 2, "the same file, read in another way"


def test_copies_turned_upright_are_made_once(tmp_path: Path, sideways: Path):
    """A copy that is written again would begin the extraction anew that a killed `lbr extend` had begun."""
    name = next(iter(load_dataset(FolderSettings(root=sideways, queries=None)).turned))
    files = {name: sideways / "images" / name}
    copy_photographs(files, tmp_path, turn=files)
    first = (tmp_path / name).stat()
    copy_photographs(files, tmp_path, turn=files)
    again = (tmp_path / name).stat()
    assert (again.st_ino, again.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    assert again.st_mtime_ns == files[name].stat().st_mtime_ns != again.st_ctime_ns
    assert read_image(tmp_path / name, upright=False).shape == read_image(files[name], upright=True).shape
