"""Queries of a camera that nobody measured: who is taken for one camera, and which of two answers is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lbr.cli import main
from lbr.geometry.camera import Camera
from lbr.io.images import ImageFolder
from lbr.pipeline.calibrating import Again, LocalizeAgain, calibrated_text, with_cameras_of_queries
from lbr.pipeline.results import read_localizations
from lbr.types import Localization, PoseEstimate, Query, Status
from tests.localization.test_calibration import GUESS, TRUE, told
from tests.localization.test_pnp import POSE
from tests.synthetic import RenderedScene

WITHOUT = {"model": "SIMPLE_RADIAL", "width": 640, "height": 480, "params": [512, 320, 240, 0], "source": "map"}


def photograph(path: Path, body: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if body:
        exif[271], exif[272] = "Maker", body
        exif.get_ifd(0x8769)[0xA405] = 30
    Image.new("RGB", (640, 480)).save(path, exif=exif)


def records(names: list[str], own: bool = True) -> dict[str, dict[str, Any]]:
    made = {}
    for name, one in zip(names, told(len(names))[0], strict=True):
        told_of_it = {"params": list(one.camera.params), "source": "guess", "covariance": one.covariance.tolist()}
        camera = WITHOUT | told_of_it if own else WITHOUT
        made[name] = {"query": name, "status": "refined", "camera": camera, "counts": {}, "notes": []}
    return made


def again(root: Path, found: dict[str, dict], cameras: dict[str, Camera] | None = None) -> dict[str, Again]:
    queries = [Query(name, (cameras or {}).get(name)) for name in found]
    return with_cameras_of_queries(queries, found, ImageFolder(root))


def test_without_exif_queries_of_one_folder_are_of_one_camera(tmp_path: Path):
    names = [f"{folder}/{i}.jpg" for folder, num in (("a", 5), ("b", 2)) for i in range(num)]
    for name in names:
        photograph(tmp_path / name)
    found = again(tmp_path, records(names))
    assert [one.query.name for one in found.values()] == names[:5], "two tell nothing"
    assert {one.camera.source for one in found.values()} == {"queries"} and {one.num for one in found.values()} == {5}
    assert next(iter(found.values())).camera.focal[0] == pytest.approx(TRUE.focal[0], rel=0.02)
    assert calibrated_text(found) == "; 5 once more, with intrinsics of a camera that they told together"
    assert calibrated_text({}) == ""


def test_exif_tells_that_queries_of_several_folders_are_of_one_camera_and_those_of_one_are_not(tmp_path: Path):
    names = [f"{folder}/{i}.jpg" for i in range(4) for folder in "ab"]
    for k, name in enumerate(names):
        photograph(tmp_path / name, body="One" if k < 6 else "Other")
    found = again(tmp_path, records(names))
    assert [one.query.name for one in found.values()] == names[:6]
    assert {one.camera.body for one in found.values()} == {"Maker One"}


def test_a_weak_query_tells_nothing_but_is_localized_again(tmp_path: Path):
    names = [f"a/{i}.jpg" for i in range(6)]
    for name in names:
        photograph(tmp_path / name)
    found = records(names)
    found[names[0]]["status"] = found[names[1]]["status"] = "weak"
    one, *_ = (made := again(tmp_path, found)).values()
    assert len(made) == 6 and one.num == 4


def test_where_most_have_the_intrinsics_of_the_map_the_camera_is_the_maps(tmp_path: Path):
    own, other = [f"a/{i}.jpg" for i in range(4)], [f"a/m{i}.jpg" for i in range(4)]
    for name in own + other:
        photograph(tmp_path / name)
    assert not again(tmp_path, records(own) | records(other, own=False))
    assert len(again(tmp_path, records(own) | records(other[:3], own=False))) == 7


def test_queries_with_intrinsics_and_those_that_could_not_be_read_are_left_alone(tmp_path: Path):
    names = [f"a/{i}.jpg" for i in range(6)]
    for name in names[1:]:
        photograph(tmp_path / name)
    made = records(names)
    made[names[0]] |= {"status": "failed", "camera": None}
    assert [one.query.name for one in again(tmp_path, made, {names[1]: TRUE}).values()] == names[2:]


@dataclass
class Found:
    """In place of a `LocalizeQuery`: one answer for all."""

    status: str
    fit: int

    def with_camera(self, query: Query, camera: Camera, note: str) -> Localization:
        estimate = None if self.status == "failed" else PoseEstimate(POSE, np.ones(9, bool), None, camera)
        counts = {} if self.status == "failed" else {"fit": self.fit}
        return Localization(
            query.name, Status(self.status), "", estimate, camera, notes=(note,), counts=counts, timings={"pose": 0.5}
        )

    def line(self, query: Query, found: Localization) -> str:
        return json.dumps({"camera": {"source": "queries"}, "notes": found.notes, "timings": dict(found.timings)})


@pytest.mark.parametrize("before, fit, after, new_fit, taken", [
    ("refined", 100, "refined", 100, True), ("refined", 110, "refined", 100, True),
    ("refined", 120, "refined", 100, False), ("refined", 100, "weak", 200, False), ("weak", 200, "refined", 100, True),
    ("weak", 100, "weak", 100, True), ("weak", 120, "weak", 100, False), ("failed", None, "weak", 10, True),
    ("weak", 10, "failed", None, False), ("verified", 100, "refined", 90, True),
])  # fmt: skip
def test_the_answer_that_is_trusted_and_explains_more_is_kept(before, fit, after, new_fit, taken):
    record = {
        "query": "a.jpg", "status": before, "counts": {} if fit is None else {"fit": fit}, "notes": ["as it was"],
        "timings": {"pose": 1.0, "match": 2.0}, "camera": {"source": "guess"},
    }  # fmt: skip
    item = Again(Query("a.jpg"), record, GUESS, 7)
    line = json.loads(LocalizeAgain(Found(after, new_fit)).make(item)["line"].tobytes())  # type: ignore[arg-type]
    if taken:
        assert line["timings"] == {"pose": 1.5, "match": 2.0}, "both took their time"
        assert line["notes"] == [
            "intrinsics estimated from 7 queries of the same folder and size (no EXIF tells which camera)"
        ]
    else:
        assert line == record | {
            "notes": ["as it was", "intrinsics estimated from 7 queries explain less: they are not taken"]
        }


def test_photographs_of_an_unknown_camera_are_localized_with_what_they_tell_of_it(
    own_scene: Path, scene: RenderedScene, tmp_path: Path, write_config: Callable, capsys: pytest.CaptureFixture
):
    """All photographs cut to another size, so that they are not the map's: their axis is 10 px off the middle."""
    for name in [*scene.queries, *scene.db]:
        image = Image.open(own_scene / "images" / name)
        cut = own_scene / "images/query" / f"cut-{Path(name).name}"
        image.crop((0, 0, image.width, image.height - 20)).save(cut)
    for name in scene.queries:
        (own_scene / "images" / name).unlink()
    whole = next((own_scene / "images/query").glob("cut-*"))
    (own_scene / "images/query/broken.png").write_bytes(whole.read_bytes()[:2000])
    (own_scene / "queries.txt").unlink()
    config = ["--config", str(write_config(tmp_path, own_scene)), "dataset.queries=null", "dataset.ground_truth=null"]
    assert main(["run", *config]) == 1, "one of them is cut off"
    assert "; 10 once more, with intrinsics of a camera that they told together" in capsys.readouterr().out
    broken, *together = read_localizations(tmp_path / "work/runs/default/localizations.jsonl")
    assert broken["status"] == "failed"
    for record in together:
        assert record["status"] == "refined" and record["camera"]["source"] == "queries"
        assert record["camera"]["params"] == pytest.approx([450, 240, 180, 0.02], abs=4)
    assert main(["localize", *config, "run=alone", "localization.calibrate=false"]) == 1
    _, *alone = read_localizations(tmp_path / "work/runs/alone/localizations.jsonl")
    assert {record["camera"]["source"] for record in alone} == {"guess"}

    def worst(found: list[dict]) -> float:
        return max(abs(record["camera"]["params"][0] - 450) for record in found)

    assert worst(together) < worst(alone)
