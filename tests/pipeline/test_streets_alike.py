"""`lbr reconstruct` of photographs of two streets with a house that is alike, from nothing but the photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lbr.cli import main
from lbr.io.images import write_image
from lbr.mapping.map import open_map
from tests.mapping.test_false_joins import STEPPED, STRAIGHT
from tests.street import Street, walk

CONFIG = Path(__file__).parents[2] / "configs/folder.yaml"


@pytest.fixture
def run(tmp_path: Path) -> Callable:
    """Photographs a.. of the straight street and b.. of the stepped one, matched; a verb with further arguments."""
    for letter, facades in (("a", STRAIGHT), ("b", STEPPED)):
        street = Street(facades, walk(9, (4, -11), (28, -11)))
        for name in street.poses:
            write_image(tmp_path / "images" / name.replace("db/", f"db/{letter}"), street.photograph(name)[0])
    flow = [
        f"dataset.root={tmp_path}", "dataset.model=null", "dataset.queries=null", f"workspace={tmp_path}/work",
        "pairs.name=exhaustive",
        "extractor={name: sift, max_keypoints: 600}", "matcher.ratio=0.85",
        "reconstruction={name: sfm, min_matches: 50}",
    ]  # fmt: skip

    def verb(name: str, *arguments: str) -> int:
        return main([name, "--config", str(CONFIG), *flow, *arguments])

    assert [verb(name) for name in ("extract", "pairs", "match")] == [0, 0, 0]
    return verb


def test_streets_with_a_house_alike_are_two_places(run: Callable, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert run("reconstruct") == 0
    scene = open_map(tmp_path / "work/map")
    assert len(scene) == 18
    places = [{scene.names[i][3] for i in scene.images_of(place)} for place in range(scene.num_places)]
    assert sorted(places, key=min) == [{"a"}, {"b"}]
    assert "pairs of photographs are alike but not of one place, and were left out" in capsys.readouterr().out


def test_a_false_join_that_is_left_is_a_problem(run: Callable, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert run("reconstruct", "reconstruction.false_joins.rounds=0") == 1
    assert open_map(tmp_path / "work/map").num_places == 1
    assert "images look through walls that others see: places that look alike were joined" in capsys.readouterr().err
