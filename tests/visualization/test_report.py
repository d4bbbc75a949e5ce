import copy
import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from lbr.errors import DataError
from lbr.evaluation import pose_errors, score_by_condition
from lbr.geometry.pose import Pose
from lbr.io.images import ImageFolder
from lbr.io.text_lists import Problem
from lbr.types import LocalFeatures
from lbr.visualization.entries import entries_of
from lbr.visualization.report import ReportInputs, report_html, write_report
from tests.synthetic import CAMERA, ExactWorld, arc_poses, blobs, visible

STRANGE = 'query/<script>alert("1")</script> & ü.png'
THRESHOLDS = ((0.25, 2.0), (0.5, 5.0), (5.0, 10.0))


class Page(HTMLParser):
    """The text and the attributes of a page; fails where tags do not nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("img", "meta", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def record_of(name: str, pose: Pose | None, status: str, condition: str = "day") -> dict:
    """A line of localizations.jsonl as it comes back from JSON."""
    camera = {"model": CAMERA.model, "width": 640, "height": 480, "params": list(CAMERA.params), "source": "given"}
    record = {
        "query": name, "condition": condition, "status": status, "reason": f"a reason for {status}", "notes": [],
        "reference": None, "counts": {"candidates": 5}, "timings": {"match": 0.2, "pose": 0.03},
        "tried": ["db/0.png", "db/1.png", "db/2.png"], "camera": camera, "pose": None,
    }  # fmt: skip
    if pose is not None:
        record |= {
            "pose": {"qvec": pose.quaternion.tolist(), "tvec": pose.t.tolist()}, "reference": "db/1.png",
            "num_inliers": 90, "covariance": (np.eye(6) * 1e-5).tolist(), "position_std_m": 0.01,
            "rotation_std_deg": 0.1,
        }  # fmt: skip
    return json.loads(json.dumps(record))


@pytest.fixture(scope="module")
def inputs(world: ExactWorld, tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    """Six queries: two good, one wrong though refined, one weak, one failed, one whose photograph is broken."""
    root = tmp_path_factory.mktemp("images")
    truth = dict(zip([STRANGE, "query/b.png", "query/wrong.png", "query/weak.png", "query/failed.png",
                      "query/broken.png"], arc_poses(6, 3.0, seed=4), strict=True))  # fmt: skip
    for name, pose in {**world.poses, **truth}.items():
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        picture = blobs(CAMERA.size, visible(CAMERA, pose, world.points)[0], 2.0)
        (root / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    (root / "query/broken.png").write_text("no picture")
    off = {"query/wrong.png": [8.0, 0, 0], "query/weak.png": [0, 0, 2.0], "query/b.png": [0.02, 0, 0]}
    status = {"query/weak.png": "weak", "query/failed.png": "failed"}
    poses = {name: Pose(p.R, p.t + off.get(name, [0.01, 0, 0])) for name, p in truth.items() if "failed" not in name}
    records = [
        record_of(name, poses.get(name), status.get(name, "refined"), "night" if "f" in name else "day")
        for name in truth
    ]
    errors = pose_errors(poses, truth)
    scores = score_by_condition(errors, {r["query"]: r["condition"] for r in records}, THRESHOLDS)
    return ReportInputs(
        "A run & more", records, world.map(), ImageFolder(root), lambda name: world.features(truth[name], 0.3),
        truth, errors, scores, THRESHOLDS, {"extract": 12.0, "match": 3.0},
        (Problem("query/broken.png", "broken <image>"),),
        {"machine": "two cores"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(inputs: ReportInputs) -> str:
    return report_html(inputs)


def without_pictures(page: str) -> str:
    return " ".join(part for part in page.replace('"', " ").split() if not part.startswith("data:image/"))


def test_the_page_is_well_formed_needs_nothing_else_and_runs_nothing(page: str):
    parsed = Page(page)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert "http:" not in page and "https:" not in page and "url(" not in page and "@import" not in page
    for key, value in parsed.attributes:
        assert not key.startswith("on")
        if key in ("src", "href"):
            assert value is not None and value.startswith("data:image/")


def test_every_query_is_there_with_status_reason_and_error(inputs: ReportInputs, page: str):
    words = Page(page).text
    for record in inputs.records:
        assert record["query"] in words and record["reason"] in words
    assert "<script>" not in page and "broken &lt;image&gt;" in page
    for said in (
        "two cores",
        "1.0 cm",
        "8.00 m",
        "no pose",
        "A run & more",
        "broken <image>",
        "12.0 s",
        "(1.0 × the stated",
    ):
        assert said in words, said


def test_no_number_is_nan_or_infinite(page: str):
    words = without_pictures(page).lower()
    assert "nan" not in words and "infinity" not in words
    assert " inf" not in words


def test_the_worst_come_first(inputs: ReportInputs, page: str):
    names = [entry.name for entry in entries_of(inputs)]
    assert names[:4] == ["query/wrong.png", "query/failed.png", "query/weak.png", "query/b.png"]
    assert sorted(names[4:]) == [STRANGE, "query/broken.png"]
    headlines = page[page.index("worst first") :]
    places = [headlines.index(f">{name}</span>") for name in names[:4]]
    assert places == sorted(places)
    assert "called refined or verified are off by more than 5 m or 10°" in page


def test_how_many_poses_are_of_the_first_instance_is_told_where_instances_were_tried(inputs: ReportInputs, page: str):
    told = replace(inputs, search={"compared": 4, "trusted": 5, "first_instance": 3, "one_step": 2})
    words = Page(report_html(told)).text
    assert "3 of 5 poses to be trusted are of the first instance tried" in " ".join(words.split())
    assert "first instance" not in Page(page).text


def test_a_broken_photograph_is_a_grey_field_with_its_reason(page: str):
    assert 'class="blank">query/broken.png: not an image' in page


def test_a_failed_query_is_compared_with_the_db_image_nearest_to_its_truth(page: str):
    words = Page(page).text
    assert "the db image nearest to the truth" in words and "At the true pose, " in words


def test_the_others_are_rows_and_the_best_is_shown_for_comparison(inputs: ReportInputs):
    page = report_html(replace(inputs, num_expanded=2))
    assert page.count('class="card"') == 4 and page.count('class="row"') == 2
    assert page.count("<details") == page.count('class="card"') + page.count('class="row"') + 1
    words = Page(page).text
    assert all(record["query"] in words for record in inputs.records)
    assert report_html(replace(inputs, num_expanded=0)).count('class="row"') == 6


def test_without_truth_the_stated_uncertainty_orders_and_nothing_is_scored(inputs: ReportInputs):
    records = copy.deepcopy(list(inputs.records))
    records[1]["position_std_m"] = 0.5
    blind = replace(inputs, records=records, truth=None, errors=None, scores=None)
    assert [e.name for e in entries_of(blind)][:3] == ["query/failed.png", "query/weak.png", "query/b.png"]
    words = Page(report_html(blind)).text
    assert "median stated std" in words and "error against truth" not in words and "recall" not in words.lower()


def unreadable(name: str) -> LocalFeatures:
    raise DataError(f"{name}: no features")


@pytest.mark.parametrize(
    "damage",
    [
        lambda r: r | {"covariance": None, "position_std_m": None, "rotation_std_deg": None},
        lambda r: r | {"covariance": [[float("nan")] * 6] * 6, "position_std_m": float("nan")},
        lambda r: r | {"reference": "db/not in the map.png", "camera": None},
        lambda r: r | {"timings": {}, "tried": [], "notes": ["a <note>"], "reason": ""},
        lambda r: r | ({"pose": {"qvec": [0, 0, 0, 0], "tvec": [0, 0, 0]}} if r["pose"] else {}),
        lambda r: r | ({"pose": {**r["pose"], "tvec": [float("inf"), 0, 0]}} if r["pose"] else {}),
        lambda r: r | {"camera": {**r["camera"], "model": "NO_SUCH"}},
    ],
    ids=["no covariance", "nan", "unknown reference", "empty", "no rotation", "infinite", "unknown camera"],
)
def test_odd_records_make_a_page_all_the_same(inputs: ReportInputs, damage: Callable):
    records = [damage(copy.deepcopy(record)) for record in inputs.records]
    page = report_html(replace(inputs, records=records))
    words = without_pictures(page).lower()
    Page(page)
    assert ">nan" not in words and " nan" not in words and " inf " not in words


@pytest.mark.parametrize(
    "source, said",
    [("given", "px"), ("map", "(as of the map's photographs)"), ("guess", "(estimated with the pose)"), ("x", "(x)")],
)
def test_where_intrinsics_come_from_is_said(inputs: ReportInputs, source: str, said: str):
    records = [record | {"camera": {**record["camera"], "source": source}} for record in inputs.records]
    words = Page(report_html(replace(inputs, records=records))).text
    focal = CAMERA.focal[0]
    assert f"640 × 480, focal length {focal:.0f} px" + ("" if source == "given" else f" {said}") in words
    assert ("estimated with the pose" in words) == (source == "guess")


@pytest.mark.parametrize(
    "change",
    [
        {"features": lambda name: None},
        {"features": unreadable},
        {"records": (), "truth": None, "errors": None, "scores": None},
        {"stage_seconds": {}, "facts": {}, "problems": ()},
        {"images": ImageFolder(Path("/nowhere"))},
    ],
    ids=["no features", "unreadable features", "no queries", "no facts", "no photographs"],
)
def test_what_is_missing_does_not_stop_the_report(inputs: ReportInputs, change: dict):
    Page(report_html(replace(inputs, **change)))


def test_the_file_appears_whole_and_keeps_to_its_size(inputs: ReportInputs, tmp_path: Path):
    many = [dict(record, query=record["query"]) for _ in range(4) for record in inputs.records]
    path = write_report(tmp_path / "runs/a/report.html", replace(inputs, records=many, max_bytes=1_000_000))
    assert path.stat().st_size < 1_000_000
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
