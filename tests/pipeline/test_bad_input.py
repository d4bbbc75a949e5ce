"""Bad input: each one clear line, and the rest goes on (issue 2, point 6)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lbr.cli import main
from lbr.io.text_lists import read_poses, write_query_list
from lbr.pipeline.results import read_localizations
from lbr.pipeline.workspace import Workspace
from tests.synthetic import RenderedScene

FIRST = "query/01.png"


@pytest.fixture
def run(tmp_path: Path, own_scene: Path, write_config: Callable, capsys: pytest.CaptureFixture) -> Callable:
    """Runs a verb on the damaged scene: exit code, lines of problems, and the results by query."""
    config = write_config(tmp_path, own_scene)

    def runs(verb: str = "run", *overrides: str) -> tuple[int, list[str], dict]:
        code = main([verb, "--config", str(config), *overrides])
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("problem:", "lbr "))]
        results = tmp_path / "work/runs/default/localizations.jsonl"
        records = read_localizations(results) if results.is_file() else []
        return code, said, {r["query"]: r for r in records}

    return runs


@pytest.fixture
def done(tmp_path: Path, finished: Workspace) -> Path:
    """The workspace as a run on the undamaged scene leaves it."""
    return Path(shutil.copytree(finished.root, tmp_path / "work"))


def convert(path: Path, convert: Callable[[np.ndarray], np.ndarray]) -> None:
    Image.fromarray(convert(np.asarray(Image.open(path).convert("RGB")))).save(path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "missing"])
def test_images_that_cannot_be_read(own_scene: Path, run: Callable, scene: RenderedScene, damage: str):
    """One to map and one to localize: two lines, and everything else is done."""
    for name in ("db/00.png", FIRST):
        path = own_scene / "images" / name
        if damage == "truncated":
            truncate(path)
        elif damage == "missing":
            path.unlink()
        else:
            path.write_text("this is text" if damage == "text" else "")
    code, said, results = run()
    assert code == 1
    assert len(said) == 2 and all("db/00.png" in said[0] for _ in said) and FIRST in said[1]
    assert results[FIRST]["status"] == "failed" and FIRST in results[FIRST]["reason"]
    assert [results[name]["status"] for name in scene.queries if name != FIRST] == ["refined"] * 2
    assert run()[:2] == (code, said), "a run that reuses everything says the same"


@pytest.mark.parametrize(
    "kind",
    {
        "grey": lambda rgb: rgb[..., 0],
        "sixteen bits": lambda rgb: (rgb[..., 0].astype(np.uint16) << 8) + 3,
        "rgba": lambda rgb: np.dstack([rgb, np.full(rgb.shape[:2], 9, np.uint8)]),
    }.items(),
    ids=lambda item: item[0],
)
def test_images_of_other_kinds_are_no_problem(own_scene: Path, run: Callable, kind: tuple):
    for name in ("db/00.png", FIRST):
        convert(own_scene / "images" / name, kind[1])
    code, said, results = run()
    assert (code, said) == (0, [])
    assert results[FIRST]["status"] == "refined"


def test_a_jpeg_is_localized_and_a_truncated_one_is_said(own_scene: Path, run: Callable):
    images = own_scene / "images"
    Image.open(images / FIRST).convert("RGB").save(images / "query/01.jpg", quality=95)
    shutil.copy(images / "query/01.jpg", images / "query/cut.jpg")
    truncate(images / "query/cut.jpg")
    lines = (own_scene / "queries.txt").read_text().splitlines()
    more = [lines[0].replace("01.png", name) for name in ("01.jpg", "cut.jpg")]
    (own_scene / "queries.txt").write_text("\n".join([*lines, *more]))
    code, said, results = run()
    assert code == 1 and len(said) == 1 and "query/cut.jpg" in said[0] and "broken image" in said[0]
    assert results["query/01.jpg"]["status"] == "refined" and results["query/cut.jpg"]["status"] == "failed"


def test_a_query_absent_from_the_features(
    tmp_path: Path, scene: RenderedScene, finished: Workspace, write_config, capsys
):
    """Its list was longer when localize ran than when extract did."""
    from lbr.io.features_file import FeatureFile, write_features

    shutil.copytree(finished.root, tmp_path / "work")
    with FeatureFile(finished.query_features) as file:
        write_features(tmp_path / "work/features-query.h5", [(n, file.read(n)) for n in file.names if n != FIRST])
    config = write_config(tmp_path, scene.root)
    assert main(["localize", "--config", str(config), "run=again"]) in (0, 1)
    records = {r["query"]: r for r in read_localizations(tmp_path / "work/runs/again/localizations.jsonl")}
    assert records[FIRST]["status"] == "failed" and f"no features of '{FIRST}'" in records[FIRST]["reason"]
    assert set(read_poses(tmp_path / "work/runs/again/poses.txt")) == set(scene.queries) - {FIRST}


def wrong_line(own_scene: Path) -> None:
    lines = (own_scene / "queries.txt").read_text().splitlines()
    lines[0] = lines[0].replace("SIMPLE_RADIAL", "SIMPLE_RADICAL")
    (own_scene / "queries.txt").write_text("\n".join(lines))


def test_a_query_list_with_a_wrong_camera_model(own_scene: Path, run: Callable, scene: RenderedScene):
    wrong_line(own_scene)
    code, said, results = run()
    assert code == 1 and len(said) == 1
    assert "queries.txt:1" in said[0] and "unknown camera model 'SIMPLE_RADICAL'" in said[0]
    assert [results[n]["status"] for n in scene.queries[1:]] == ["refined"] * 2


@pytest.mark.usefixtures("done")
def test_a_list_that_went_wrong_later_is_said(own_scene: Path, run: Callable):
    """Also when the features of the db images, made before, are reused."""
    with (own_scene / "queries.txt").open("a") as file:
        file.write("query/new.png PINHOL 1 2 3 4 5 6\n")
    code, said, _ = run()
    assert code == 1 and len(said) == 1 and "unknown camera model 'PINHOL'" in said[0]


def test_a_list_that_was_put_right_is_no_problem_any_more(own_scene: Path, run: Callable, scene: RenderedScene):
    wrong_line(own_scene)
    assert run()[0] == 1
    shutil.copy(scene.root / "queries.txt", own_scene / "queries.txt")
    code, said, results = run("run", "--overwrite")
    assert (code, said) == (0, []) and len(results) == 3


@pytest.mark.usefixtures("done")
def test_a_wrong_line_of_the_truth_is_a_problem_and_the_rest_is_scored(own_scene: Path, run: Callable, tmp_path: Path):
    lines = (own_scene / "gt.txt").read_text().splitlines()
    (own_scene / "gt.txt").write_text("\n".join([f"{lines[0]}x", *lines[1:]]))
    code, said, results = run("run")
    assert code == 1 and len(said) == 1 and "gt.txt:1: not a pose" in said[0]
    scores = json.loads((tmp_path / "work/runs/default/report.json").read_text())["scores"]
    assert sum(s["num"] for c, s in scores.items() if c == "all" or len(scores) == 1) == len(results) - 1


@pytest.mark.usefixtures("done")
def test_a_query_of_another_size_than_its_list_says_is_a_problem(own_scene: Path, run: Callable, scene: RenderedScene):
    camera = scene.camera
    cameras = dict.fromkeys(scene.queries, camera) | {FIRST: replace(camera, width=camera.width + 2)}
    write_query_list(own_scene / "queries.txt", cameras)
    code, said, results = run("localize", "run=other")
    assert code == 1 and len(said) == 1 and f"{FIRST}: the image is " in said[0] and "correct the query list" in said[0]


@pytest.mark.usefixtures("done")
def test_localize_alone_says_what_is_wrong_with_the_list(own_scene: Path, run: Callable):
    with (own_scene / "queries.txt").open("a") as file:
        file.write("query/new.png PINHOL 1 2 3 4 5 6\n")
    code, said, _ = run("localize", "run=other")
    assert code == 1 and "PINHOL" in said[0]


def test_an_empty_query_list_is_a_problem_and_the_map_is_made(own_scene: Path, run: Callable, tmp_path: Path):
    (own_scene / "queries.txt").write_text("# none yet\n")
    code, said, results = run()
    assert code == 1 and len(said) == 1 and "queries.txt: the list is empty" in said[0] and not results
    assert list(tmp_path.rglob("map.json"))


def test_localizing_an_empty_query_list_is_refused(own_scene: Path, run: Callable):
    (own_scene / "queries.txt").write_text("# none yet\n")
    code, said, _ = run("localize")
    assert code == 2 and "no queries to localize" in said[0]


def test_a_model_whose_images_are_missing(own_scene: Path, run: Callable):
    shutil.rmtree(own_scene / "images/db")
    code, said, _ = run()
    assert code == 2 and len(said) == 1 and "none of the 7 images" in said[0]


def test_a_model_some_of_whose_images_are_missing(own_scene: Path, run: Callable, scene: RenderedScene):
    for name in ("00", "06"):
        (own_scene / f"images/db/{name}.png").unlink()
    code, said, results = run()
    assert code == 1 and len(said) == 1 and "2 of 7 images" in said[0]
    assert {r["status"] for r in results.values()} == {"refined"}


@pytest.mark.parametrize("file", ["features-db.h5", "matches.h5"])
def test_a_truncated_h5(done: Path, run: Callable, file: str):
    truncate(done / file)
    shutil.rmtree(done / "map")
    code, said, _ = run("reconstruct")
    assert code == 2 and len(said) == 1
    assert file in said[0] and "not a whole h5 file" in said[0] and "delete it and make it again" in said[0]
    (done / file).unlink()
    assert run()[0] == 0, "what it says to do helps"


def test_a_truncated_feature_file_of_queries(done: Path, run: Callable):
    truncate(done / "features-query.h5")
    code, said, _ = run("localize", "run=other")
    assert code == 2 and len(said) == 1 and "features-query.h5" in said[0], "not three queries that failed"


@pytest.mark.parametrize("file", ["map.json", "descriptors.npy"])
def test_a_broken_map(done: Path, run: Callable, file: str):
    truncate(done / "map" / file)
    code, said, _ = run("localize", "run=other")
    assert code == 2 and len(said) == 1 and "map" in said[0]


def test_a_broken_manifest(done: Path, run: Callable):
    truncate(done / "map.manifest.json")
    code, said, _ = run("localize", "run=other")
    assert code == 2 and len(said) == 1 and "map.manifest.json: broken" in said[0]


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there(run: Callable, device: str):
    code, said, _ = run("extract", f"extractor={{name: daynight, device: {device}}}")
    assert code == 2 and len(said) == 1 and f"device: {device} is not to be had" in said[0]


@pytest.mark.usefixtures("done")
def test_a_missing_list_of_candidates(tmp_path: Path, run: Callable):
    code, said, _ = run("localize", "run=other", f"candidates={{name: list, path: {tmp_path}/none.txt}}")
    assert code == 2 and len(said) == 1 and "none.txt: no such file" in said[0]


def test_a_missing_list_of_pairs(tmp_path: Path, run: Callable):
    code, said, _ = run("pairs", f"pairs={{name: list, path: {tmp_path}/none.txt}}")
    assert code == 2 and len(said) == 1 and "none.txt: no such file" in said[0]


@pytest.mark.parametrize("where", ["nowhere", "same place"])
def test_a_query_of_another_place_is_not_localised_and_says_so(own_scene: Path, run: Callable, where: str):
    noise = np.random.default_rng(0).integers(0, 256, (360, 480, 3)).astype(np.uint8)
    Image.fromarray(noise if where == "nowhere" else np.full_like(noise, 99)).save(own_scene / "images" / FIRST)
    code, _, results = run()
    assert code == 0 and results[FIRST]["status"] in ("failed", "weak") and results[FIRST]["pose"] is None
    expected = "no keypoints in the image" if where == "same place" else "no pose: of 7 db images"
    assert expected in results[FIRST]["reason"]


def test_a_db_image_without_points_is_said(own_scene: Path, run: Callable):
    Image.fromarray(np.full((360, 480, 3), 99, np.uint8)).save(own_scene / "images/db/00.png")
    code, said, results = run()
    assert code == 1 and said == ["problem: db/00.png: no 3D point is seen in it: no query can be localized by it"]
    assert {r["status"] for r in results.values()} == {"refined"}


def test_no_db_image_that_can_be_read(own_scene: Path, run: Callable):
    for path in (own_scene / "images/db").iterdir():
        path.write_text("text")
    code, said, _ = run()
    assert code == 2 and "not one of 7 images could be read" in said[-1]


def test_wrong_poses_make_no_map_and_say_so(own_scene: Path, run: Callable, scene: RenderedScene):
    from lbr.io.colmap import build_model, write_model

    shuffled = dict(zip(scene.db, [scene.poses[n] for n in scene.db[::-1]], strict=True))
    write_model(own_scene / "3D-models", build_model(dict.fromkeys(scene.db, scene.camera), shuffled))
    code, said, _ = run("run", "pairs.name=exhaustive", "reconstruction.max_epipolar_error_px=0.05")
    assert code == 2 and len(said) == 1 and "poses" in said[0]
