"""The evaluate stage on results written by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lbr.evaluation import EvaluationSettings
from lbr.geometry.consensus import AlignedGroup
from lbr.geometry.pose import Pose
from lbr.geometry.similarity import Similarity
from lbr.io.files import write_text
from lbr.io.text_lists import write_poses
from lbr.pipeline.aligning import Alignment
from lbr.pipeline.localization import result_names
from lbr.pipeline.results import localization_to_json
from lbr.pipeline.scoring import compare_runs, evaluate
from lbr.pipeline.workspace import Workspace
from lbr.types import Localization, PoseEstimate, SearchStep, Status
from tests.synthetic import CAMERA


def refined(name: str, std_m: float | None, status: Status = Status.REFINED) -> Localization:
    """At the origin, its position known to std_m."""
    covariance = None if std_m is None else np.diag([1e-6] * 3 + [std_m**2 / 3] * 3)
    estimate = PoseEstimate(Pose.identity(), np.ones(20, bool), covariance, CAMERA)
    return Localization(name, status, "because", estimate, CAMERA, reference="db.jpg", place=0)


def evaluated(
    folder: Path, *results: Localization, units: float | None = 1.0, alignment: Alignment | None = None
) -> tuple[dict, str]:
    """report.json and the text of results whose true positions are all 6 cm off theirs."""
    workspace = Workspace(folder, "default")
    workspace.localizations.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(localization_to_json(result, metres_per_unit=units)) for result in results]
    workspace.localizations.write_text("\n".join(lines))
    write_poses(folder / "gt.txt", {r.query: Pose(np.eye(3), np.array([0.06, 0, 0])) for r in results})
    path, text, _ = evaluate(workspace, folder / "gt.txt", EvaluationSettings(), alignment)
    return json.loads(path.read_text()), text


def test_errors_beside_what_was_stated(tmp_path: Path):
    """Of the refined poses that state it: 6 cm with 2, 4 and 6 cm stated."""
    results = [refined("a", 0.02), refined("b", 0.04), refined("c", 0.06)]
    others = [refined("d", None), refined("e", 0.001, Status.WEAK), Localization("f", Status.FAILED, "because")]
    report, text = evaluated(tmp_path, *results, *others)
    assert report["error_over_stated_std"] == {"num": 3, "median": pytest.approx(1.5)}
    assert "Position errors of 3 refined poses: 1.50 times the stated standard deviation" in text
    assert "within twice of it 67%" in text


def test_the_report_has_the_median_error_in_centimetres_and_how_many_images_were_compared(tmp_path: Path):
    report, text = evaluated(tmp_path, replace(refined("a", 0.02), tried=("x", "y", "z")))
    assert "| 6.00 cm, 0.000 deg |" in text and report["search"] == {"compared": 3, "mean_compared": 3}
    assert "Images compared per query: 3 at the median, 3.0 at the mean.\n" in text


def test_which_poses_are_of_the_first_instance_tried(tmp_path: Path):
    one, other = (SearchStep(f"instance {i}", (image,), 9, 9, 9, "told", i) for i, image in ((1, "db.jpg"), (2, "x")))
    everything = SearchStep("global", ("db.jpg",), 9, 9, 9, "accepted")
    steps = {
        "alone": [one], "and confirmed": [one, other], "another": [other, one], "without": [everything],
    }  # fmt: skip
    results = [replace(refined(name, 0.02), steps=tuple(taken)) for name, taken in steps.items()]
    weak = replace(refined("weak", 0.02, Status.WEAK), steps=(one,))
    report, text = evaluated(tmp_path, *results, weak, Localization("failed", Status.FAILED, "because"))
    assert {key: report["search"][key] for key in ("trusted", "first_instance", "one_step")} == {
        "trusted": 4, "first_instance": 2, "one_step": 1,
    }  # fmt: skip
    assert "Of 4 poses to be trusted 2 are of the first instance tried, 1 of which took no other step." in text


def test_what_is_stated_of_a_rotation_is_in_degrees():
    stated = localization_to_json(refined("a", 0.02))["rotation_std_deg"]
    assert stated == pytest.approx(np.degrees(np.sqrt(3e-6)))


def test_of_two_runs_the_second_is_compared_with_the_first(tmp_path: Path):
    before, after = Workspace(tmp_path, "before"), Workspace(tmp_path, "after")
    for run, off in ((before, 0.06), (after, 0.02)):
        found = refined("a", 0.02)
        moved = replace(found, estimate=replace(found.estimate, pose=Pose(np.eye(3), np.array([off, 0, 0]))))
        write_text(run.localizations, json.dumps(localization_to_json(moved)))
    write_poses(tmp_path / "gt.txt", {"a": Pose.identity()})
    text = compare_runs(before, after, tmp_path / "gt.txt", EvaluationSettings())
    assert text.startswith("after against before, 1 queries in both: nearer in 1, farther in 0 ")
    assert "median difference -4.00 cm" in text


def test_nothing_is_said_of_what_was_not_stated_in_metres(tmp_path: Path):
    report, text = evaluated(tmp_path, refined("a", 0.02), units=None)
    assert "error_over_stated_std" not in report and "stated" not in text


def test_what_is_stated_in_units_of_the_map_is_told_by_its_alignment(tmp_path: Path):
    """One unit is two metres, by the larger group of its place: 2 cm stated are 4."""
    larger, smaller = (
        AlignedGroup(names, Similarity(scale, np.eye(3), np.zeros(3)), np.zeros(1), np.radians([3.0]))
        for names, scale in ((("db.jpg",), 2.0), (("other.jpg",), 7.0))
    )
    alignment = Alignment((larger, smaller), (0, 0), (), 0)
    report, text = evaluated(tmp_path, refined("a", 0.02), units=None, alignment=alignment)
    assert [group["rotation_errors_deg"] for group in report["alignment"]["groups"]] == [[pytest.approx(3)]] * 2
    assert report["error_over_stated_std"] == {"num": 1, "median": pytest.approx(1.5)}
    assert "what the map itself is off by is not in it" in text


def test_queries_with_one_short_name_keep_their_whole_ones():
    """A line of poses.txt for each, also where a day's and a night's photograph are called the same."""
    names = ["query/day/a.jpg", "query/night/a.jpg", "query/night/b.jpg"]
    found = result_names(names, lambda name: name.split("/")[-1])
    assert found == {names[0]: names[0], names[1]: names[1], names[2]: "b.jpg"}
