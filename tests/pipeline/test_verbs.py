"""Every verb end to end, through the command line's own entry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lbr.cli import STAGES, main
from lbr.config import load_config
from lbr.features.daynight import DayNightSettings
from lbr.geometry.pose import pose_error
from lbr.io.features_file import FeatureFile
from lbr.io.matches_file import MatchFile
from lbr.io.text_lists import read_pairs, read_poses
from lbr.mapping.map import open_map
from lbr.pipeline.results import read_localizations
from lbr.pipeline.workspace import Workspace, read_manifest
from tests.synthetic import RenderedScene

OF_INSTANCES = (
    "train",
    "recognise",
    "label",
    "index",
)  # the scene has no label images: tests/pipeline/test_recognition.py
OUTPUTS = {
    "extract": ("features-db.h5", "features-query.h5"),
    "pairs": ("pairs-mapping.txt",),
    "match": ("matches.h5",),
    "reconstruct": ("sfm", "map"),
    "georeference": ("map/georeference.json",),
    "localize": ("runs/default/localizations.jsonl", "runs/default/poses.txt"),
    "evaluate": ("runs/default/report.json", "runs/default/report.md"),
    "report": ("runs/default/report.html",),
}


@pytest.fixture
def config(tmp_path: Path, scene: RenderedScene, write_config: Callable) -> Path:
    return write_config(tmp_path, scene.root)


@pytest.fixture
def copied(tmp_path: Path, scene: RenderedScene, finished: Workspace, write_config: Callable) -> Path:
    """A configuration whose workspace is a finished one."""
    shutil.copytree(finished.root, tmp_path / "work")
    return write_config(tmp_path, scene.root)


def poses_text(workspace: Path, run: str = "default") -> str:
    return (workspace / "runs" / run / "poses.txt").read_text()


def test_the_verbs_one_after_another(config: Path, finished: Workspace, capsys: pytest.CaptureFixture):
    work = config.parent / "work"
    assert [verb for verb in STAGES if verb not in OF_INSTANCES] == list(OUTPUTS)
    for verb, outputs in OUTPUTS.items():
        assert not any((work / output).exists() for output in outputs)
        assert main([verb, "--config", str(config)]) == 0
        assert all((work / output).exists() for output in outputs)
        assert outputs[-1].split(".")[0] in capsys.readouterr().out or verb == "localize"
    assert poses_text(work) == finished.poses.read_text(), "the same as of `run`"


@pytest.mark.parametrize("verb", ["match", "reconstruct", "localize", "evaluate"])
def test_a_verb_before_its_time_says_what_to_run_first(config: Path, verb: str, capsys: pytest.CaptureFixture):
    assert main([verb, "--config", str(config)]) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1 and said.startswith(f"lbr {verb}: ")
    assert ("run `lbr" in said) or verb == "evaluate"


def test_all_queries_are_found_where_they_are(scene: RenderedScene, finished: Workspace):
    """The renderer rounds to whole pixels: 0.3 px of noise, at 6 m and f = 450."""
    found = read_poses(finished.poses)
    assert set(found) == set(scene.queries)
    for name, pose in found.items():
        metres, radians = pose_error(pose, scene.poses[name])
        assert metres < 0.03 and radians < 0.005
    records = read_localizations(finished.localizations)
    assert {r["status"] for r in records} == {"refined"}
    assert [r["query"] for r in records] == scene.queries, "in the order of the list"
    assert {r["query"]: r["condition"] for r in records}["query/night/new photo 1.b.png"] == "night"
    for r in records:
        assert r["num_inliers"] >= 40 and len(r["covariance"]) == 6 and 0 < r["position_std_m"] < 0.05
        assert set(r["tried"]) == set(scene.db) and r["notes"] == []


def test_outputs_hold_what_they_should(scene: RenderedScene, finished: Workspace):
    with FeatureFile(finished.db_features) as db, FeatureFile(finished.query_features) as query:
        assert db.names == sorted(scene.db) and query.names == sorted(scene.queries)
        assert json.loads(db.extractor)["name"] == "sift"
    pairs = read_pairs(finished.pairs)
    assert {name for pair in pairs for name in pair} == set(scene.db)
    with MatchFile(finished.matches) as matches:
        assert {(a, b) for a in matches.first_names() for b in matches.read(a)} == set(pairs)
    assert set(open_map(finished.map).names) == set(scene.db)


def test_nothing_temporary_is_left(finished: Workspace):
    assert [p for p in finished.root.rglob("*") if p.name.startswith(".") or p.suffix == ".tmp"] == []


def test_the_report_has_the_errors_of_each_query(scene: RenderedScene, finished: Workspace):
    report = json.loads(finished.report.read_text())
    truth = {name: scene.poses[name] for name in scene.queries}
    for name, pose in read_poses(finished.poses).items():
        assert report["queries"][name]["position_m"] == pytest.approx(pose_error(pose, truth[name])[0], abs=1e-9)
    assert set(report["scores"]) == {"all", "night", "other"} and report["scores"]["all"]["recall"] == [100.0] * 3
    assert report["statuses"] == {"refined": 3}
    assert "| night | 1 |" in finished.report.with_suffix(".md").read_text()


def test_manifests_say_what_each_output_was_made_of(finished: Workspace):
    manifest = json.loads((finished.root / "map.manifest.json").read_text())
    assert manifest["stage"] == "reconstruct" and manifest["config"]["reconstruction"]["name"] == "triangulation"
    features = json.loads((finished.root / "features-db.h5.manifest.json").read_text())
    assert manifest["inputs"]["features-db.h5"] == features["identity"]
    assert manifest["versions"]["pycolmap"] and manifest["seconds"] >= 0 and manifest["problems"] == []


def test_a_second_run_reuses_everything_and_says_so(copied: Path, capsys: pytest.CaptureFixture):
    before = {
        p: p.stat().st_mtime_ns for p in (copied.parent / "work").rglob("*") if p.is_file() and "report" not in p.name
    }
    assert main(["run", "--config", str(copied)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.split(" ")[0] in STAGES]
    assert sorted(line.split()[0] for line in lines if " skipped: " in line) == sorted(OF_INSTANCES)
    made = [line for line in lines if " skipped: " not in line]
    assert len(made) == 9
    assert all(line.endswith("[reused]") for line in made if not line.startswith(("evaluate", "report")))
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_changed_setting_is_stale_and_named(copied: Path, capsys: pytest.CaptureFixture):
    for verb, override, said in (
        ("extract", "extractor.max_keypoints=300", "extractor.max_keypoints=4096, now 300"),
        ("match", "matcher.ratio=0.7", "matcher.ratio="),
        ("localize", "localization.pnp.max_error_px=3", "localization.pnp.max_error_px=12.0, now 3.0"),
        ("reconstruct", "seed=9", "seed=0, now 9"),
    ):
        assert main([verb, "--config", str(copied), override]) == 2
        error = capsys.readouterr().err.strip()
        assert said in error and "pass --overwrite" in error and len(error.splitlines()) == 1
    assert main(["run", "--config", str(copied)]) == 0, "nothing was touched"


def test_an_output_of_before_there_was_a_key_is_stale_and_says_so(copied: Path, capsys: pytest.CaptureFixture):
    """Also where the new key has no value, as `matcher.guided` has not by default."""
    path = copied.parent / "work/matches.h5.manifest.json"
    made = json.loads(path.read_text())
    del made["config"]["matcher"]["guided"]
    path.write_text(json.dumps(made | {"identity": "0" * 16}))
    assert main(["match", "--config", str(copied)]) == 2
    assert "was made when there was no matcher.guided; pass --overwrite" in capsys.readouterr().err


def test_overwrite_makes_it_anew_and_what_follows_is_stale(copied: Path, capsys: pytest.CaptureFixture):
    assert main(["match", "--config", str(copied), "matcher.ratio=0.7", "--overwrite"]) == 0
    assert "[reused]" not in capsys.readouterr().out
    assert main(["reconstruct", "--config", str(copied), "matcher.ratio=0.7"]) == 2
    assert "was made from other matches.h5" in capsys.readouterr().err
    assert main(["run", "--config", str(copied), "matcher.ratio=0.7", "--overwrite"]) == 0
    assert main(["run", "--config", str(copied), "matcher.ratio=0.7"]) == 0


def test_thresholds_of_localization_touch_nothing_upstream(copied: Path, capsys: pytest.CaptureFixture):
    overrides = ["localization.pnp.max_error_px=6", "localization.refinement.enabled=false", "run=plain"]
    assert main(["run", "--config", str(copied), *overrides]) == 0
    out = capsys.readouterr().out
    assert out.count("[reused]") == 6 and "3 verified" in out


def test_two_runs_are_compared_query_by_query(copied: Path, capsys: pytest.CaptureFixture):
    plain = ["--config", str(copied), "localization.refinement.enabled=false", "run=plain"]
    assert main(["localize", *plain]) == 0
    capsys.readouterr()
    assert main(["evaluate", *plain, "--compare-with", "default"]) == 0
    assert "plain against default, 3 queries in both" in capsys.readouterr().out
    assert main(["evaluate", *plain, "--compare-with", "nothing"]) == 2
    assert "nothing" in capsys.readouterr().err


def test_true_poses_of_none_of_the_queries_are_a_problem_and_the_report_follows(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    (tmp_path / "other.txt").write_text("b.png 1 0 0 0 0 0 0\n")
    truth = f"dataset.ground_truth={tmp_path / 'other.txt'}"
    assert main(["evaluate", "--config", str(copied), truth]) == 2
    (tmp_path / "work/runs/default/report.html").unlink()
    assert main(["run", "--config", str(copied), truth]) == 1
    said = f"{tmp_path / 'other.txt'}: has the true pose of none of the 3 queries"
    assert f"problem: evaluate: {said}" in capsys.readouterr().err
    assert said in (tmp_path / "work/runs/default/report.html").read_text()


@pytest.mark.parametrize("folder", ["db", "query"])
def test_an_input_that_changed_is_noticed(
    tmp_path: Path, own_scene: Path, finished: Workspace, write_config, capsys, folder: str
):
    shutil.copytree(finished.root, tmp_path / "work")
    config = write_config(tmp_path, own_scene)
    picture = next((own_scene / "images" / folder).glob("*.png"))
    picture.write_bytes(picture.read_bytes() + b" ")
    assert main(["run", "--config", str(config)]) == 2
    said = capsys.readouterr().err
    assert "was made from other images" in said
    assert ("`lbr extend` adds photographs" in said) == (folder == "db"), "queries are not added to the map"


def test_the_configuration_is_printed_and_reads_back(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["config", "--config", str(config), "seed=5"]) == 0
    again = tmp_path / "elsewhere" / "again.yaml"
    again.parent.mkdir()
    again.write_text(capsys.readouterr().out)
    assert load_config(again) == load_config(config, ["seed=5"])


def test_overrides_may_stand_behind_an_option(config: Path):
    assert main(["extract", "--config", str(config), "--overwrite", "extractor.max_keypoints=50"]) == 0
    with FeatureFile(config.parent / "work/features-db.h5") as features:
        assert {len(features.read(name)) for name in features.names} == {50}


@pytest.mark.parametrize("pairs", ["poses", "exhaustive", "list"])
def test_every_way_to_choose_pairs(copied: Path, tmp_path: Path, pairs: str, scene: RenderedScene, capsys):
    override = [f"pairs.name={pairs}"]
    if pairs == "list":
        (tmp_path / "pairs.txt").write_text(
            f"{scene.db[0]}\t{scene.db[1]}\n{scene.db[2]}\t{scene.db[3]}\ndb/x.png db/y.png\n"
            f"{scene.db[1]}\t{scene.db[0]}\n{scene.db[0]}\t{scene.db[0]}\n"  # the other way, and with itself
        )
        override = [f"pairs={{name: list, path: {tmp_path}/pairs.txt}}"]
    code = main(["pairs", "--config", str(copied), *override, "--overwrite"])
    found = read_pairs(copied.parent / "work" / "pairs-mapping.txt")
    assert set(found) <= {(a, b) for a in scene.db for b in scene.db}
    assert len(found) == {"poses": 21, "exhaustive": 21, "list": 2}[pairs]
    assert code == (1 if pairs == "list" else 0)
    assert ("1 pairs name unknown db images" in capsys.readouterr().err) == (pairs == "list")


def test_pairs_of_covisibility(
    tmp_path: Path, own_scene: Path, scene: RenderedScene, finished: Workspace, write_config
):
    """The reference model has points: of its 7 images, all share some."""
    shutil.rmtree(own_scene / "3D-models")
    shutil.copytree(finished.sfm, own_scene / "3D-models")
    config = write_config(tmp_path, own_scene)
    assert main(["pairs", "--config", str(config), "pairs={name: covisibility, num_neighbours: 1}"]) == 0
    found, shared = read_pairs(tmp_path / "work" / "pairs-mapping.txt"), open_map(finished.map).covisibility.toarray()
    names = open_map(finished.map).names
    best = {tuple(sorted((names[i], names[row.argmax()]))) for i, row in enumerate(shared)}
    assert {tuple(sorted(pair)) for pair in found} == best and len(best) < 21


def test_pairs_of_covisibility_of_a_model_without_points_are_said(config: Path, capsys: pytest.CaptureFixture):
    assert main(["pairs", "--config", str(config), "pairs.name=covisibility"]) == 2
    assert "has no points, so no covisibility" in capsys.readouterr().err


def test_candidates_of_a_list(copied: Path, tmp_path: Path, scene: RenderedScene, capsys: pytest.CaptureFixture):
    """A query that the list leaves out is a problem, and the others are localized."""
    lines = [f"{query}\t{db}\n" for query in scene.queries[:2] for db in scene.db[:3]]
    (tmp_path / "candidates.txt").write_text("".join(lines))
    override = f"candidates={{name: list, path: {tmp_path}/candidates.txt}}"
    assert main(["localize", "--config", str(copied), override, "run=listed"]) == 1
    assert f"problem: {scene.queries[2]}: " in capsys.readouterr().err
    records = read_localizations(copied.parent / "work/runs/listed/localizations.jsonl")
    assert [r["status"] for r in records] == ["refined", "refined", "failed"]
    assert [set(r["tried"]) for r in records] == [set(scene.db[:3]), set(scene.db[:3]), set()]
    assert "has no candidates in" in records[2]["reason"]
    assert set(read_poses(copied.parent / "work/runs/listed/poses.txt")) == set(scene.queries[:2])


def test_where_a_file_lies_that_a_setting_names_changes_nothing_what_it_holds_does(
    copied: Path, tmp_path: Path, scene: RenderedScene, capsys: pytest.CaptureFixture
):
    """Another checkout, or another machine, has its weights and lists elsewhere."""
    for folder, db in (("here", scene.db[1]), ("there", scene.db[1]), ("other", scene.db[2])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pairs.txt").write_text(f"{scene.db[0]}\t{db}\n")
    command = ["pairs", "--config", str(copied)]
    assert main([*command, f"pairs={{name: list, path: {tmp_path}/here/pairs.txt}}", "--overwrite"]) == 0
    assert main([*command, f"pairs={{name: list, path: {tmp_path}/there/pairs.txt}}"]) == 0
    assert "[reused]" in capsys.readouterr().out
    manifest = read_manifest(copied.parent / "work/pairs-mapping.txt")
    assert manifest["config"]["pairs"]["path"] == f"{tmp_path}/here/pairs.txt", "it tells where it lay"
    assert main([*command, f"pairs={{name: list, path: {tmp_path}/other/pairs.txt}}"]) == 2
    assert "was made from other list" in capsys.readouterr().err


def test_an_output_of_before_folders_were_left_out_of_its_identity_is_reused(
    copied: Path, capsys: pytest.CaptureFixture
):
    manifest = copied.parent / "work/pairs-mapping.txt.manifest.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"identity": "another"}))
    assert main(["pairs", "--config", str(copied)]) == 0
    assert "[reused]" in capsys.readouterr().out
    manifest.write_text(json.dumps(told | {"identity": "another", "stage": "match"}))
    assert main(["pairs", "--config", str(copied)]) == 2
    assert "was made by another stage" in capsys.readouterr().err


def test_features_tell_where_the_weights_of_their_local_feature_lie(config: Path, tmp_path: Path):
    """A map keeps it: what opens one makes its extractor of that (`Localizer.localize`)."""
    weights = Path(shutil.copy(DayNightSettings().shipped, tmp_path / "own.pt"))
    assert (
        main(["extract", "--config", str(config), f"extractor={{name: daynight, weights: {weights}, device: cpu}}"])
        == 0
    )
    with FeatureFile(config.parent / "work/features-db.h5") as features:
        assert json.loads(features.extractor)["weights"] == str(weights)
