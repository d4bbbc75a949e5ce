"""Evaluation of maps in frames of their own: aligned to reference poses of db images, group by group."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lbr.cli import main
from lbr.errors import DataError
from lbr.evaluation import AlignmentSettings
from lbr.geometry.pose import Pose, pose_error
from lbr.geometry.similarity import Similarity
from lbr.io.text_lists import write_poses
from lbr.mapping.map import Map
from lbr.pipeline.aligning import align_map
from tests.mapping.test_places import two_places, worlds  # noqa: F401  (fixtures)
from tests.synthetic import ExactWorld, RenderedScene, arc_poses, random_rotation

SFM = ["reconstruction.name=sfm", "pairs.name=exhaustive", "dataset.model=null"]


@pytest.fixture(scope="module")
def true_frames() -> list[Similarity]:
    """Where the two places truly are: 1 km apart, each with its own scale."""
    rng = np.random.default_rng(9)
    return [Similarity(3.0, random_rotation(rng), np.zeros(3)), Similarity(5.0, random_rotation(rng), np.full(3, 1e3))]


@pytest.fixture(scope="module")
def reference(worlds: list[ExactWorld], true_frames: list[Similarity]) -> dict[str, Pose]:  # noqa: F811
    return {n: f.move(p) for w, f in zip(worlds, true_frames, strict=True) for n, p in w.poses.items()}


def record(query: str, reference: str | None, pose: Pose | None) -> dict:
    stored = pose and {"qvec": pose.quaternion.tolist(), "tvec": pose.t.tolist()}
    return {"query": query, "reference": reference, "pose": stored}


def test_each_place_is_aligned_on_its_own(two_places: Map, reference, true_frames):  # noqa: F811
    found = align_map(two_places, reference, AlignmentSettings())
    assert found.places == (0, 1) and found.outside == () and found.unknown == 0
    assert [g.similarity.scale for g in found.groups] == pytest.approx([3, 5])
    assert found.metres_per_unit(1) == pytest.approx(5) and found.metres_per_unit(2) is None


def test_a_query_is_aligned_by_the_group_of_its_reference(two_places: Map, reference, true_frames):  # noqa: F811
    found, pose = align_map(two_places, reference, AlignmentSettings()), arc_poses(9, seed=5)[4]
    records = [record("first", "0a.png", pose), record("second", "1b.png", pose), record("none", None, None)]
    moved = found.estimates(records)
    assert set(moved) == {"first", "second"} and found.num_outside(records) == 0
    for name, frame in zip(("first", "second"), true_frames, strict=True):
        metres, radians = pose_error(moved[name], frame.move(pose))
        assert metres < 1e-6 and radians < 1e-8
    truth = {"first": moved["first"], "second": moved["second"], "none": true_frames[1].move(pose)}
    back = found.in_map(records, truth, reference)
    assert {name: place for name, (place, _) in back.items()} == {"first": 0, "second": 1, "none": 1}
    for _, drawn in back.values():
        assert pose_error(drawn, pose)[0] < 1e-6


def test_a_query_found_by_an_image_that_fits_no_group_counts_as_missed(two_places: Map, reference):  # noqa: F811
    wrong = {**reference, "0a.png": reference["1b.png"]}
    found = align_map(two_places, wrong, AlignmentSettings())
    assert found.outside == ("0a.png",)
    records = [record("q", "0a.png", arc_poses(3)[0])]
    assert found.estimates(records) == {} and found.num_outside(records) == 1
    assert "1 db images fit no group, 0 have no reference pose" in found.describe()[-1]


def test_an_image_turned_from_its_reference_pose_fits_no_group(two_places: Map, reference):  # noqa: F811
    turn = Pose.from_quaternion([np.cos(0.1), np.sin(0.1), 0, 0], [0, 0, 0])  # 11 degrees
    turned = {**reference, "0a.png": turn @ reference["0a.png"]}
    assert align_map(two_places, turned, AlignmentSettings()).outside == ("0a.png",)


def test_too_few_reference_poses_are_said(two_places: Map, reference):  # noqa: F811
    few = {name: reference[name] for name in ("0a.png", "1a.png")}
    with pytest.raises(DataError, match="2 of its 9 db images have a reference pose, and no 3 of one place agree"):
        align_map(two_places, few, AlignmentSettings())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, scene: RenderedScene, write_config: Callable) -> Path:
    """The folder of a run on photographs without poses: scene/, config.yaml, work/; not evaluated, no report."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(scene.root, folder / "scene")
    assert main(["run", "--config", str(write_config(folder, folder / "scene")), *SFM, "--until", "localize"]) == 0
    return folder


def run(folder: Path, verb: str, *options: str) -> int:
    return main([verb, "--config", str(folder / "config.yaml"), *SFM, *options])


def test_a_run_from_photographs_alone_is_scored_in_metres(alone: Path, capsys: pytest.CaptureFixture):
    for verb in ("evaluate", "report"):
        assert run(alone, verb, "dataset.reference=3D-models") == 0
    report = json.loads((alone / "work/runs/default/report.json").read_text())
    (group,) = report["alignment"]["groups"]
    assert len(group["images"]) == 7 and report["alignment"]["outside"] == []
    assert max(q["position_m"] for q in report["queries"].values()) < 0.2, "of 6 m to the scene"
    assert max(q["rotation_deg"] for q in report["queries"].values()) < 1
    assert "group 1: 7 db images of place 0" in capsys.readouterr().out
    page = (alone / "work/runs/default/report.html").read_text()
    assert "Aligned to reference poses: group 1: 7 db images" in page and "units of the model" not in page


def test_without_reference_poses_the_report_speaks_of_units_and_never_of_metres(
    alone: Path, capsys: pytest.CaptureFixture
):
    assert run(alone, "run", "--from", "evaluate") == 0
    assert "no pose of a db image is known to align it with" in capsys.readouterr().out
    page = (alone / "work/runs/default/report.html").read_text()
    assert "lengths are in units of the model" in page and " units of the model<" in page
    for unit in (" cm", " mm", " m<", " m "):
        assert unit not in page, unit
    assert run(alone, "evaluate") == 2
    assert "set dataset.reference to a COLMAP model" in capsys.readouterr().err


def test_db_images_in_the_file_of_true_poses_serve_as_reference(alone: Path, scene: RenderedScene, tmp_path: Path):
    write_poses(tmp_path / "all.txt", scene.poses)
    assert run(alone, "evaluate", f"dataset.ground_truth={tmp_path}/all.txt") == 0
    report = json.loads((alone / "work/runs/default/report.json").read_text())
    assert len(report["queries"]) == 3 and len(report["alignment"]["groups"][0]["images"]) == 7
