"""`lbr locate` and the notebook's `Locator`: photographs that are no queries of the dataset."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from lbr.cli import main
from lbr.errors import DataError
from lbr.geometry.camera import guess_camera
from lbr.geometry.pose import pose_error
from lbr.geometry.similarity import Similarity
from lbr.io.images import read_image
from lbr.io.text_lists import write_pairs, write_query_list
from lbr.mapping.georeference import FILE, Georeference, write_georeferences
from lbr.pipeline.locating import Locator, photographs_at, sentence
from lbr.pipeline.results import poses_of, read_localizations
from lbr.pipeline.workspace import Workspace
from lbr.types import Localization, Status
from tests.io.test_exif import RGB, STORED, save
from tests.synthetic import PHOTOGRAPH, RenderedScene
from tests.thirds import CONFIG, LABELLED

UNTIMED = ("timings", "condition")


@pytest.fixture(scope="module")
def locator(mapped: Path) -> Locator:
    return Locator.open(mapped, LABELLED)


@pytest.fixture
def own(mapped: Path, tmp_path: Path, write_config: Callable) -> Path:
    shutil.copytree(mapped.parent / "work", tmp_path / "work")
    return write_config(tmp_path, mapped.parent / "scene", CONFIG)


def located(config: Path, *arguments: object) -> int:
    return main(["locate", "--config", str(config), *map(str, arguments), *LABELLED])


def untimed(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in UNTIMED}


def test_what_is_found_is_what_the_stages_find(mapped: Path, locator: Locator, scene: RenderedScene):
    """Instances, steps, matches, pose and its covariance, to the bit: only the times differ."""
    records = read_localizations(mapped.parent / "work/runs/instances/localizations.jsonl")
    assert {record["query"] for record in records} == set(scene.queries)
    for record in records:
        name = record["query"]
        found = locator.locate(scene.root / "images" / name, PHOTOGRAPH, name)
        again = json.loads(json.dumps(locator.record(found)))
        assert again["instances"] and again["steps"], "it was recognised and searched for"
        assert untimed(again) == untimed(record)
        assert {"extract", "recognise", "match"} <= again["timings"].keys()


def test_an_array_and_a_path_without_intrinsics_are_the_same_photograph(locator: Locator, scene: RenderedScene):
    """Of the camera that took the map's photographs, whose intrinsics were given."""
    path = scene.root / "images" / scene.queries[0]
    by_path, by_array = locator.locate(str(path), name="a"), locator.locate(read_image(path), name="a")
    assert untimed(locator.record(by_path)) == untimed(locator.record(by_array))
    assert by_path.estimate.camera.source == "map" and by_path.estimate.camera.params == PHOTOGRAPH.params
    assert by_path.notes[0].startswith("intrinsics given for 7 db images of the same size")
    assert locator.locate(path).query == path.name and locator.locate(read_image(path)).query == "photograph"


def test_a_photograph_is_turned_upright_unless_its_intrinsics_are_of_stored_pixels(
    locator: Locator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def described(_: Locator, image: np.ndarray, log: object) -> None:
        raise DataError(str(image.shape))

    monkeypatch.setattr(Locator, "_described", described)
    path = save(tmp_path / "a.png", STORED[6], {ExifTags.Base.Orientation: 6})
    assert locator.locate(path).reason == str(RGB.shape)
    height, width = STORED[6].shape[:2]
    assert locator.locate(path, guess_camera(width, height)).reason == str(STORED[6].shape)
    assert locator.locate(path, guess_camera(height, width)).reason == str(RGB.shape)


def test_of_a_camera_that_the_map_does_not_know_the_intrinsics_are_estimated(
    locator: Locator, scene: RenderedScene, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(locator.localizer, "shared", {})
    found = locator.locate(scene.root / "images" / scene.queries[0])
    assert found.estimate.camera.source == "guess" and "focal length not given" in found.notes[0]
    assert found.estimate.camera.focal[0] == pytest.approx(PHOTOGRAPH.focal[0], rel=0.02)
    assert pose_error(found.estimate.pose, scene.poses[scene.queries[0]])[0] < 0.3, "metres, at 6 m"


def test_a_search_by_a_list_goes_without_it(own: Path, scene: RenderedScene):
    write_pairs(own.parent / "pairs.txt", [(scene.queries[0], scene.db[0])])
    listed = f"candidates={{name: list, path: '{own.parent / 'pairs.txt'}'}}"
    found = Locator.open(own, [*LABELLED, listed]).locate(scene.root / "images" / scene.queries[1], PHOTOGRAPH)
    assert found.status is Status.REFINED and set(found.tried) == set(scene.db)


def test_a_map_without_instances(finished: Workspace, scene: RenderedScene, write_config: Callable, tmp_path: Path):
    shutil.copytree(finished.root, tmp_path / "work")
    locator = Locator.open(write_config(tmp_path, scene.root))
    found = locator.locate(scene.root / "images" / scene.queries[0], PHOTOGRAPH)
    assert found.status is Status.REFINED and not found.instances and "recognise" not in found.timings


# ---- the command line


def test_the_command_tells_each_photograph(mapped: Path, scene: RenderedScene, capsys: pytest.CaptureFixture):
    name = scene.queries[0]
    path = scene.root / "images" / name
    assert located(mapped, path) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{path}: refined at ") and " (1 sd); place 0; " in line and "after refinement" in line
    centre = [float(value) for value in line.split(" at ")[1].split(";")[0].split()]
    np.testing.assert_allclose(centre, scene.poses[name].centre, atol=0.3)


def test_records_of_a_list_with_intrinsics_and_of_a_folder(
    mapped: Path, scene: RenderedScene, tmp_path: Path, capsys: pytest.CaptureFixture
):
    folder = Path(shutil.copytree(scene.root / "images/query", tmp_path / "new"))
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    write_query_list(folder / "list.txt", dict.fromkeys(names, PHOTOGRAPH))
    assert located(mapped, folder / "list.txt", "--json") == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["query"] for record in records] == names
    for name, pose in poses_of(records).items():
        assert pose_error(pose, scene.poses[f"query/{name}"])[0] < 0.05, "metres"
    assert {record["camera"]["source"] for record in records} == {"given"}
    assert list(photographs_at([folder]).files) == [f"new/{name}" for name in names]


def test_what_cannot_be_read_is_told_and_the_rest_is_done(
    mapped: Path, scene: RenderedScene, tmp_path: Path, capsys: pytest.CaptureFixture
):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    Image.new("RGB", (480, 360), (90, 90, 90)).save(tmp_path / "empty.png")
    files = [tmp_path / "broken.jpg", tmp_path / "none.jpg", tmp_path / "empty.png"]
    assert located(mapped, *files, scene.root / "images" / scene.queries[0]) == 1
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [line.split(": ")[1].split(" at ")[0] for line in lines] == ["failed", "failed", "failed", "refined"]
    assert "no such image" in lines[1] and lines[2].endswith("no keypoints in the image")
    assert "3 problem(s); everything else is done" in said.err


@pytest.mark.parametrize("missing, wanted", [
    ("map", "run `lbr reconstruct`"), ("index", "run `lbr index`"), ("recognition.pt", "run `lbr train`"),
])  # fmt: skip
def test_what_is_not_there_yet_is_one_line(own: Path, missing: str, wanted: str, capsys: pytest.CaptureFixture):
    path = own.parent / "work" / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert located(own, "a.jpg") == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1 and wanted in said


def test_without_photographs_it_says_what_it_wants(mapped: Path, capsys: pytest.CaptureFixture):
    assert main(["locate", "--config", str(mapped), "seed=1"]) == 2
    assert "wants photographs" in capsys.readouterr().err


def test_a_network_or_a_local_feature_that_did_not_make_the_map_is_refused(own: Path):
    with pytest.raises(DataError, match=r"another local feature .*extractor.edge"):
        Locator.open(own, [*LABELLED, "extractor.edge_threshold=5"])
    with pytest.raises(DataError, match=r"extractor.sigma: 1.6, not 1.7"):
        Locator.open(own, [*LABELLED, "extractor.sigma=1.7", "extractor.max_keypoints=500"])
    assert Locator.open(own, [*LABELLED, "extractor.max_keypoints=500"]), "of queries alone"
    copy = shutil.copy(own.parent / "work/recognition.pt", own.parent / "other.pt")
    with pytest.raises(DataError, match="another network"):
        Locator.open(own, [*LABELLED, f"recognition.weights={copy}"])


def test_photographs_of_two_folders_of_one_name_are_all_located(tmp_path: Path):
    for day in ("monday", "tuesday"):
        for name in ("1.jpg", f"{day}.jpg"):
            (tmp_path / day / "photos").mkdir(parents=True, exist_ok=True)
            (tmp_path / day / "photos" / name).touch()
    files = photographs_at([tmp_path / "monday/photos", tmp_path / "tuesday/photos"]).files
    second = tmp_path / "tuesday/photos/1.jpg"
    assert set(files) == {"photos/1.jpg", "photos/monday.jpg", "photos/tuesday.jpg", second.as_posix()}
    assert files["photos/1.jpg"] == tmp_path / "monday/photos/1.jpg" and files[second.as_posix()] == second


# ---- in words


def test_a_sentence_on_earth_and_one_of_a_failure(mapped: Path, locator: Locator, scene: RenderedScene, own: Path):
    level = Similarity(1, np.eye(3), np.zeros(3))
    on_earth = Georeference(
        0, np.array([48.0, 8.0, 300.0]), level, np.zeros((7, 7)), np.zeros(3), (), (), np.zeros((1, 3)), True, True
    )
    write_georeferences(own.parent / "work/map" / FILE, [on_earth])
    there = Locator.open(own, LABELLED)
    record = there.record(there.locate(scene.root / "images" / scene.queries[0], PHOTOGRAPH))
    geo = record["geo"]
    assert f"; {geo['latitude']:.7f}, {geo['longitude']:.7f}, {geo['height']:.1f} m, heading " in sentence(record)
    of_model = {**record, "position_std": 0.01234, "position_std_m": None}
    assert "; 0.0123 units of the map, " in sentence(of_model)
    assert sentence(locator.record(Localization("a", Status.FAILED, "why"))) == "a: failed: why"
