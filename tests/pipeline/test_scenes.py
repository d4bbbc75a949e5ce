"""The town, its stylised copies and the whole pipeline on it, in both layouts, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lbr.cli import main
from lbr.config import load_config
from lbr.datasets import load_dataset
from lbr.geometry.pose import Pose, pose_error
from lbr.io.images import image_size, list_images
from lbr.io.text_lists import read_poses

CONFIG = str(Path(__file__).resolve().parents[2] / "configs" / "town.yaml")
# Without recognition, which tests/pipeline/test_scripts.py runs on the same town.
PLAIN = (
    "candidates.name=exhaustive", "localization.matcher.name=nearest", "localization.matcher.ratio=0.8",
    "labelling.favour_instances=false",
)  # fmt: skip
FOLDERS = {"aachen": "aachen_v1.1", "robotcar": "RobotCar-Seasons"}


def arguments(root: Path, layout: str) -> list[str]:
    return [
        f"dataset.name={layout}", f"dataset.root={root / FOLDERS[layout]}", f"workspace={root / 'work'}",
        f"dataset.ground_truth={root}/ground_truth/poses.txt", "town.size=tiny", f"town.layout={layout}",
        f"dataset.ground_truth_labels={root}/ground_truth/masks", *PLAIN,
    ]  # fmt: skip


@pytest.fixture(scope="module", params=list(FOLDERS))
def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    root = tmp_path_factory.mktemp(request.param)
    given = arguments(root, request.param)
    assert main(["town", "--config", CONFIG, *given]) == 0
    return root, given


def test_a_town_runs_through_the_whole_pipeline(town: tuple[Path, list[str]]):
    root, given = town
    code = main(["run", "--from", "extract", "--config", CONFIG, *given])
    assert code in (0, 1)  # 1: an image of so few may have no point
    report = json.loads((root / "work/runs/default/report.json").read_text())
    assert report["scores"]["all"]["localized"] >= 1
    assert (root / "work/runs/default/report.html").stat().st_size > 10_000
    names = [line.split()[0] for line in (root / "work/runs/default/poses.txt").read_text().splitlines()]
    assert len(names) == len(set(names)) == report["scores"]["all"]["localized"]
    if given[0].endswith("robotcar"):
        assert all(name.count("/") == 1 for name in names), "rear/<base name>"
    else:  # the town's night has the base names of its day
        assert all(name.startswith(("query/day/", "query/night/")) or "/" not in name for name in names)


def test_stylised_copies_stand_beside_the_originals(town: tuple[Path, list[str]]):
    root, given = town
    assert main(["stylize", "--config", CONFIG, *given]) == 0
    config = load_config(Path(CONFIG), given)
    images = config.dataset.root / "images"
    prefix = "overcast-reference" if given[0].endswith("robotcar") else "."
    for variant in config.stylization.variants:
        copies = list_images(config.dataset.root / "stylized" / variant)
        assert copies
        for name in copies:
            assert image_size(config.dataset.root / "stylized" / variant / name) == image_size(images / prefix / name)


def test_a_town_is_reused_and_another_one_is_refused(town: tuple[Path, list[str]], capsys: pytest.CaptureFixture):
    _, given = town
    assert main(["town", "--config", CONFIG, *given]) == 0 and "[reused]" in capsys.readouterr().out
    assert main(["town", "--config", CONFIG, *given, "town.seed=8"]) == 2
    assert "town.seed=7, now 8" in capsys.readouterr().err


def test_a_town_goes_into_a_folder_of_its_layout(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["town", "--config", CONFIG, f"dataset.root={tmp_path / 'elsewhere'}", "town.size=tiny"]) == 2
    assert "aachen_v1.1" in capsys.readouterr().err


def test_three_cameras_of_a_moment_are_localized_as_one(town: tuple[Path, list[str]], capsys: pytest.CaptureFixture):
    root, given = town
    rig = [g for g in given if not g.startswith("workspace=")] + [f"workspace={root / 'rig'}", "localization.rig=true"]
    if given[0].endswith("aachen"):
        assert main(["run", "--from", "extract", "--config", CONFIG, *rig]) == 2
        assert "no query stands in a rig" in capsys.readouterr().err
        return
    removed = next((root / FOLDERS["robotcar"] / "images" / "dusk" / "left").iterdir())
    hidden = removed.rename(removed.with_suffix(".hidden"))
    try:
        code = main(["run", "--from", "extract", "--config", CONFIG, *rig, "dataset.cameras=[left,rear,right]"])
    finally:
        hidden.rename(removed)
    assert code in (0, 1)
    lines = (root / "rig/runs/default/localizations.jsonl").read_text().splitlines()
    records = {record["query"]: record for record in map(json.loads, lines)}
    assert list(records) == [
        q.name for q in load_dataset(load_config(Path(CONFIG), [*rig[:-1], CAMERAS]).dataset).queries
    ]
    lost = records[f"dusk/left/{removed.name}"]
    assert lost["status"] == "failed" and removed.name in lost["reason"]
    beside = records[f"dusk/rear/{removed.name}"]
    assert any("could not be used" in note for note in beside["notes"])
    truth = read_poses(root / "ground_truth/poses.txt")
    _same_rig(records, truth, [n for n, r in records.items() if r["pose"]])


CAMERAS = "dataset.cameras=[left,rear,right]"


def _same_rig(records: dict, truth: dict[str, Pose], posed: list[str]) -> None:
    """Wherever two cameras of a moment have a pose, they stand to each other as the true ones do."""
    compared = 0
    for name in posed:
        other = name.replace("/rear/", "/right/")
        if "/rear/" in name and other in posed:
            a, b = (Pose.from_quaternion(records[n]["pose"]["qvec"], records[n]["pose"]["tvec"]) for n in (name, other))
            assert max(pose_error(b @ a.inverse(), truth[other] @ truth[name].inverse())) < 1e-6
            compared += 1
    assert compared
