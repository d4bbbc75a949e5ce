"""Db images matched along their epipolar lines, through the command line, on the rendered scene."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lbr.cli import main
from lbr.io.colmap import build_model, write_model
from lbr.io.matches_file import MatchFile
from lbr.mapping.map import open_map
from tests.synthetic import PHOTOGRAPH, RenderedScene

PLAIN, GUIDED = "matcher={name: nearest, ratio: 0.85}", "matcher={name: nearest, ratio: 0.85, guided: {}}"


def test_guided_matching_makes_a_map_of_more_points(
    tmp_path: Path, scene: RenderedScene, write_config: Callable, capsys: pytest.CaptureFixture
):
    config = ["--config", str(write_config(tmp_path, scene.root)), "--until", "reconstruct"]
    assert main(["run", *config, PLAIN]) == 0
    assert "epipolar" not in capsys.readouterr().out
    assert main(["run", *config, GUIDED, f"workspace={tmp_path}/guided"]) == 0
    assert ", along epipolar lines" in capsys.readouterr().out
    plain, guided = open_map(tmp_path / "work/map"), open_map(tmp_path / "guided/map")
    assert len(guided.points) > len(plain.points) and len(guided.keypoints) > len(plain.keypoints)
    assert np.median(guided.point_errors) < 1.0, "px"


def test_matches_are_made_anew_when_the_poses_are_others(
    tmp_path: Path, own_scene: Path, scene: RenderedScene, write_config: Callable, capsys: pytest.CaptureFixture
):
    config = ["--config", str(write_config(tmp_path, own_scene)), GUIDED, "--until", "match"]
    assert main(["run", *config]) == 0
    poses = {n: p for n, p in scene.poses.items() if n in scene.db}
    poses[scene.db[0]] = poses[scene.db[1]]
    shutil.rmtree(own_scene / "3D-models")
    write_model(own_scene / "3D-models", build_model(dict.fromkeys(poses, PHOTOGRAPH), poses))
    capsys.readouterr()
    assert main(["run", *config]) == 2
    assert "model" in capsys.readouterr().err


@pytest.mark.parametrize("without", [["dataset.model=null"], []])
def test_where_poses_are_to_be_found_it_is_said_that_matching_is_not_guided(
    tmp_path: Path, scene: RenderedScene, write_config: Callable, without: list[str], capsys: pytest.CaptureFixture
):
    """Also where a model is there, which structure from motion does not look at."""
    config = ["--config", str(write_config(tmp_path, scene.root)), "--until", "match", "pairs.name=exhaustive"]
    assert main(["run", *config, "reconstruction.name=sfm", GUIDED, *without]) == 0
    assert ", not guided, as there are no poses yet" in capsys.readouterr().out
    assert main(["run", *config, "reconstruction.name=sfm", PLAIN, *without, f"workspace={tmp_path}/plain"]) == 0
    with MatchFile(tmp_path / "work/matches.h5") as found, MatchFile(tmp_path / "plain/matches.h5") as plain:
        assert found.first_names() == plain.first_names()
        for first in plain.first_names():
            of_found, of_plain = ({b: len(m) for b, m in file.read(first).items()} for file in (found, plain))
            assert of_found == of_plain


def test_the_poses_of_structure_from_motion_guide_a_second_matching(
    tmp_path: Path, scene: RenderedScene, write_config: Callable
):
    """The poses stay as they were; points are added."""
    config = ["--config", str(write_config(tmp_path, scene.root)), "--until", "reconstruct", "pairs.name=exhaustive"]
    sfm = ["reconstruction.name=sfm", "dataset.model=null"]
    assert main(["run", *config, *sfm, PLAIN]) == 0
    assert main(["run", *config, *sfm, GUIDED, f"workspace={tmp_path}/guided"]) == 0
    plain, guided = open_map(tmp_path / "work/map"), open_map(tmp_path / "guided/map")
    assert guided.names == plain.names and len(guided.points) > len(plain.points)
    np.testing.assert_allclose(guided.poses, plain.poses, atol=1e-12)
