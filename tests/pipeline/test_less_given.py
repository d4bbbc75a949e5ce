"""Runs with less than everything: no truth, no query list, no intrinsics, no model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lbr.cli import main
from lbr.features.sift_daynight import of_sift
from lbr.geometry.camera import guess_camera
from lbr.geometry.pose import pose_error
from lbr.io.colmap import posed_cameras
from lbr.io.features_file import FeatureFile
from lbr.io.matches_file import MatchFile
from lbr.io.text_lists import read_poses
from lbr.mapping.map import open_map
from lbr.mapping.sfm import SfmSettings, structure_from_motion
from lbr.pipeline.results import read_localizations
from tests.mapping.test_sfm import check_against_truth
from tests.synthetic import RenderedScene, similarity

SFM = ["reconstruction.name=sfm", "pairs.name=exhaustive", "dataset.model=null"]


@pytest.fixture
def run(tmp_path: Path, own_scene: Path, write_config: Callable) -> Callable:
    config = write_config(tmp_path, own_scene)
    return lambda *arguments: main([arguments[0], "--config", str(config), *arguments[1:]])


def results(tmp_path: Path) -> dict[str, dict]:
    return {r["query"]: r for r in read_localizations(tmp_path / "work/runs/default/localizations.jsonl")}


def test_without_a_truth_nothing_is_scored(own_scene: Path, run: Callable, tmp_path: Path, capsys):
    (own_scene / "gt.txt").unlink()
    assert run("run") == 0
    assert "evaluate     skipped: the dataset has no true poses" in capsys.readouterr().out
    assert len(read_poses(tmp_path / "work/runs/default/poses.txt")) == 3
    assert run("evaluate") == 2
    assert "set dataset.ground_truth" in capsys.readouterr().err


def test_queries_that_leave_the_map_are_counted_at_the_start(
    own_scene: Path, run: Callable, scene: RenderedScene, capsys: pytest.CaptureFixture
):
    assert run("run", "--until", "extract") == 0
    assert "not mapped" not in capsys.readouterr().out
    (own_scene / "queries.txt").write_text(f"{min(scene.db)}\n")
    assert run("run", "--until", "extract", "--overwrite") == 0
    assert capsys.readouterr().out.startswith("1 of the photographs are queries, and not mapped\n")


def test_a_truth_of_other_queries_is_said(own_scene: Path, run: Callable, capsys: pytest.CaptureFixture):
    (own_scene / "gt.txt").write_text("other.png 1 0 0 0 0 0 0\n")
    assert run("run") == 1, "there is a report"
    assert "has the true pose of none of the 3 queries" in capsys.readouterr().err


def test_without_a_query_list_intrinsics_are_the_db_cameras_or_exifs_and_it_says_so(
    own_scene: Path, run: Callable, tmp_path: Path, scene: RenderedScene
):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 34  # mm on film of 36 mm: 453 px of 480
    Image.open(own_scene / "images/query/01.png").convert("RGB").save(
        own_scene / "images/query/01.jpg", exif=exif, quality=98
    )
    (own_scene / "queries.txt").unlink()
    assert run("run", "dataset.queries=null") == 0
    found = results(tmp_path)
    assert set(found) == {*scene.queries, "query/01.jpg"}
    assert found["query/01.jpg"]["notes"] == ["focal length not given: estimated from exif 453 px"]
    (note,) = found["query/01.png"]["notes"]
    assert note == "intrinsics given for 7 db images of the same size (no EXIF tells which camera)"
    for r in found.values():
        assert r["status"] == "refined" and r["camera"]["source"] in ("exif", "map")
        assert r["camera"]["params"][0] == pytest.approx(450, rel=0.03)
    for name, pose in read_poses(tmp_path / "work/runs/default/poses.txt").items():
        metres, radians = pose_error(pose, scene.poses[name.replace("jpg", "png")])
        assert metres < 0.2 and np.degrees(radians) < 0.5


def test_names_alone_in_the_query_list(own_scene: Path, run: Callable, tmp_path: Path, scene: RenderedScene):
    (own_scene / "queries.txt").write_text("".join(f"{name}\n" for name in scene.queries))
    assert run("run") == 0
    assert {r["camera"]["source"] for r in results(tmp_path).values()} == {"map"}


def test_without_queries_there_is_a_map(own_scene: Path, run: Callable, tmp_path: Path, capsys):
    shutil.rmtree(own_scene / "images/query")
    for verb in ("extract", "pairs", "match", "reconstruct"):
        assert run(verb, "dataset.queries=null") == 0
    assert len(open_map(tmp_path / "work/map")) == 7
    assert run("localize", "dataset.queries=null") == 2
    assert "no queries to localize" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["incremental", "global"])
def test_without_a_model_photographs_alone_make_the_map(
    own_scene: Path, run: Callable, tmp_path: Path, scene: RenderedScene, method: str
):
    """The map has a frame and a scale of its own; queries are localized in it."""
    shutil.rmtree(own_scene / "3D-models")
    (own_scene / "gt.txt").unlink()
    assert run("run", *SFM, f"reconstruction.method={method}") == 0
    world = open_map(tmp_path / "work/map")
    assert set(world.names) == set(scene.db), "also the one with spaces"
    poses = {name: world.pose(world.index_of(name)) for name in world.names}
    check_against_truth(scene, poses, metres=0.2, degrees=2.0)
    assert world.camera(0).focal[0] == pytest.approx(450, rel=0.05)
    scale, R, t = similarity(*(np.stack([p[n].centre for n in scene.db]) for p in (poses, scene.poses)))
    found = read_poses(tmp_path / "work/runs/default/poses.txt")
    for name in scene.queries:
        assert np.linalg.norm(scale * R @ found[name].centre + t - scene.poses[name].centre) < 0.2


def test_what_needs_a_model_says_so_without_one(own_scene: Path, run: Callable, capsys: pytest.CaptureFixture):
    assert run("run", "dataset.model=null") == 2
    assert "pairs.name=poses needs dataset.model; without one use pairs.name=exhaustive" in capsys.readouterr().err
    assert run("run", "dataset.model=null", "pairs.name=exhaustive") == 2
    assert "use reconstruction.name=sfm" in capsys.readouterr().err


def test_of_two_kinds_of_keypoints_sift_makes_the_poses_and_both_make_points(
    own_scene: Path, run: Callable, tmp_path: Path
):
    """What daynight matches joins places that look alike: it may add points, but has no say in where cameras are."""
    flow = [*SFM, "extractor.name=sift+daynight", "extractor.max_keypoints=1000", "matcher.ratio=0.88"]
    for verb in ("extract", "pairs", "match", "reconstruct"):
        assert run(verb, *flow) == 0
    scene, work = open_map(tmp_path / "work/map"), tmp_path / "work"
    sift = of_sift(np.asarray(scene.descriptors))
    assert 100 < sift.sum() < len(sift) - 100, "points of both kinds"
    poses = np.array(scene.poses)
    with FeatureFile(work / "features-db.h5") as features, MatchFile(work / "matches.h5") as matches:
        found = {name: features.read(name) for name in features.names}
        pairs = {(a, b): m.indices for a in matches.first_names() for b, m in matches.read(a).items()}
    by_sift = {(a, b): m[of_sift(found[a].descriptors)[m[:, 0]]] for (a, b), m in pairs.items()}
    cameras = {name: guess_camera(*one.image_size) for name, one in found.items()}
    keypoints = {name: one.keypoints for name, one in found.items()}
    (model,) = structure_from_motion(cameras, keypoints, by_sift, SfmSettings()).models
    np.testing.assert_allclose(poses, [p.matrix for _, p in sorted(posed_cameras(model)[1].items())], atol=1e-9)
    assert run("reconstruct", *flow, "reconstruction.poses_by=all", "--overwrite") == 0
    assert not np.allclose(open_map(work / "map").poses, poses, atol=1e-6)


def test_an_image_that_sfm_cannot_place_is_said(own_scene: Path, run: Callable, capsys: pytest.CaptureFixture):
    noise = np.random.default_rng(0).integers(0, 256, (360, 480, 3)).astype(np.uint8)
    Image.fromarray(noise).save(own_scene / "images/db/zz.png")
    assert run("run", *SFM, "dataset.ground_truth=null") == 1
    assert "problem: db/zz.png: not registered by structure from motion" in capsys.readouterr().err


def test_other_weights_under_the_same_name_make_features_stale(
    own_scene: Path, run: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
):
    import torch
    from kornia.feature import XFeat

    override = f"extractor={{name: xfeat, weights: {tmp_path}/x.pth, device: cpu, detection_threshold: 0}}"
    for seed, code in ((0, 0), (1, 2)):
        torch.manual_seed(seed)
        torch.save(XFeat().net.state_dict(), tmp_path / "x.pth")
        assert run("extract", override) == code
    assert "features-db.h5" in capsys.readouterr().err


def test_other_shipped_weights_make_features_stale(
    own_scene: Path, run: Callable, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    import torch

    from lbr.features import daynight
    from lbr.features.daynight_network import DayNightNetwork

    override = "extractor={name: daynight, device: cpu}"
    assert run("extract", override) == 0 == run("extract", override)
    torch.save(DayNightNetwork().state_dict(), tmp_path / "new.pt")
    monkeypatch.setattr(daynight, "SHIPPED", tmp_path / "new.pt")
    assert run("extract", override) == 2
    assert "features-db.h5" in capsys.readouterr().err
