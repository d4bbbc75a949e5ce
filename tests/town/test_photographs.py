"""Photographs in place of painted facades."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from lbr.cli import main
from lbr.errors import ConfigError, DataError
from lbr.town import Town, TownConfig, build_town, render_view, stage
from lbr.town.conditions import CONDITIONS
from lbr.town.design import FacadeDesign, design_facade
from lbr.town.photographs import choose_photographs, flat_design, photograph_facade
from lbr.town.plan import Plan, make_plan
from lbr.town.viewpoints import look, street_camera

SMALL = {"size": "tiny", "stretch_m": 1000, "texel_m": 0.05, "width": 64, "height": 48}
RED, BLUE = (40, 40, 220), (220, 40, 40)  # BGR


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(("BBB", "BSB", "BBB"), 7)


def write(path: Path, size: tuple[int, int] = (300, 240), grey: int = 150) -> None:
    noise = np.random.default_rng(grey).integers(-20, 20, (*size[::-1], 3))
    cv2.imwrite(str(path), (noise + grey).astype(np.uint8))


def halves(path: Path) -> None:
    """Left half red, right half blue, wide enough that its middle is cut out."""
    picture = np.full((300, 480, 3), RED, np.uint8)
    picture[:, 240:] = BLUE
    cv2.imwrite(str(path), picture)


def test_each_photograph_is_one_facade_and_twins_share_theirs(tmp_path: Path, plan: Plan):
    for k in range(len(plan.facades) + 3):
        write(tmp_path / f"{k}.png")
    choice = choose_photographs(tmp_path, plan, 7)
    own = [choice.paths[f.index] for f in plan.facades if f.twin_of is None]
    assert None not in own and len(set(own)) == len(own) and not choice.problems
    assert plan.twins and all(choice.paths[a - 1] == choice.paths[b - 1] for a, b in plan.twins)
    assert choice == choose_photographs(tmp_path, plan, 7) != choose_photographs(tmp_path, plan, 8)


def test_bad_photographs_are_told_one_line_each_and_left_out(tmp_path: Path, plan: Plan):
    write(tmp_path / "good.png")
    write(tmp_path / "night.png", grey=30)
    write(tmp_path / "stamp.png", size=(120, 300))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    choice = choose_photographs(tmp_path, plan, 7)
    told = {p.what: p.why for p in choice.problems}
    assert {p for p in choice.paths if p} == {tmp_path / "good.png"}
    assert "too dark (mean grey" in told["night.png"] and "smaller than 200 px" in told["stamp.png"]
    assert "broken.jpg" in told["broken.jpg"] and not any("\n" in why for why in told.values())
    assert "usable photographs 1, facades" in told[str(tmp_path)] and len(told) == 4


def test_nothing_to_use_is_one_clear_error(tmp_path: Path, plan: Plan):
    with pytest.raises(DataError, match="no such folder"):
        choose_photographs(tmp_path / "none", plan, 7)
    with pytest.raises(ConfigError, match=r"town\.textures=.*no photographs there"):
        choose_photographs(tmp_path, plan, 7)
    write(tmp_path / "night.png", grey=30)
    with pytest.raises(ConfigError, match=r"none of 1 photographs is of use \(night.png: .*too dark"):
        choose_photographs(tmp_path, plan, 7)


@pytest.mark.parametrize("size", [(600, 200), (400, 400), (300, 700)])
def test_a_photograph_is_cut_to_its_facade_never_stretched(tmp_path: Path, plan: Plan, size: tuple[int, int]):
    picture = np.full((*size[::-1], 3), 200, np.uint8)
    cv2.circle(picture, (size[0] // 2, size[1] - 90), 60, (90, 90, 90), -1)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    design = flat_design(design_facade(plan.facades[0]), tmp_path / "a.png")
    canvas = photograph_facade(tmp_path / "a.png", design, 0.0125)
    rows, cols = np.nonzero(canvas.colour[..., 0] < 145)
    assert np.ptp(rows) > 50 and np.ptp(rows) == pytest.approx(np.ptp(cols), rel=0.03)
    assert cols.mean() == pytest.approx(canvas.shape[1] / 2, abs=2)


def sheet(tmp_path: Path, design: FacadeDesign, walls: int, dark: int) -> np.ndarray:
    """Glass found in a wall of grey `walls` with a window, a pavement and an upper edge of grey `dark`."""
    picture = np.full((400, 600, 3), walls, np.uint8)
    picture[120:240, 250:350] = picture[380:] = picture[:12] = dark
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    return photograph_facade(tmp_path / "a.png", flat_design(design, tmp_path / "a.png"), 0.0125).glass


def test_windows_become_glass_and_walls_and_pavement_do_not(tmp_path: Path, plan: Plan):
    design = design_facade(plan.facades[0])
    glass = sheet(tmp_path, design, walls=180, dark=60)
    height, width = glass.shape
    rows, cols = np.nonzero(glass > 0.5)
    assert 0.02 < (glass > 0.5).mean() < 0.1
    assert rows.min() > 0.2 * height and rows.max() < 0.7 * height
    assert cols.min() > 0.3 * width and cols.max() < 0.7 * width
    assert not sheet(tmp_path, design, walls=120, dark=100).any()  # an even wall has no windows


@pytest.fixture(scope="module")
def photo_town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    folder = tmp_path_factory.mktemp("photographs")
    for k in range(8):
        halves(folder / f"{k}.png")
    return build_town(TownConfig(**SMALL, textures=folder))


def test_photographs_stand_upright_and_unmirrored_in_the_street(photo_town: Town):
    k = next(k for k, design in enumerate(photo_town.designs) if not design.openings and design.width > 6)
    facade = photo_town.plan.facades[k]
    centre = facade.to_world(np.array([facade.width / 2, 1.7, 7.0]))
    pose = look(centre, float(np.arctan2(*-facade.outward[1::-1])), 0.1)
    empty = dataclasses.replace(CONDITIONS["overcast"], crowd=0.0, summer=0.0, noise=0.0)
    rng = np.random.default_rng(0)
    view = render_view(stage(photo_town, empty, pose, rng), pose, street_camera(photo_town.config, "db"), rng)
    shown = view.instance_ids == facade.instance
    reddish = view.image[..., 0].astype(int) - view.image[..., 2]
    columns = np.arange(64)[None] + 0 * reddish
    assert shown.mean() > 0.2
    assert (reddish[shown & (columns < 28)] > 20).mean() > 0.8 and (reddish[shown & (columns > 36)] < -20).mean() > 0.8


def test_facades_without_a_photograph_are_painted(photo_town: Town):
    flat = [d for d in photo_town.designs if not d.openings]
    assert 8 <= len(flat) < len(photo_town.designs)  # twins share theirs
    assert all(5.4 < d.style.eave < 13.1 for d in flat)
    assert "usable photographs 8, facades" in photo_town.problems[-1].why


def test_the_stage_tells_what_it_left_out_and_sees_a_changed_folder(tmp_path: Path, capsys: pytest.CaptureFixture):
    folder, config = tmp_path / "photographs", Path(__file__).resolve().parents[2] / "configs" / "town-tiny.yaml"
    folder.mkdir()
    write(folder / "good.png")
    write(folder / "night.png", grey=30)
    given = [f"dataset.root={tmp_path / 'aachen_v1.1'}", f"town.textures={folder}", f"workspace={tmp_path / 'work'}"]
    given += ["town.num_db=1", "town.num_day=0", "town.num_night=0", "town.width=64", "town.height=48"]
    given += ["town.texel_m=0.1", "parallel.workers=1"]
    assert main(["town", "--config", str(config), *given]) == 1
    assert "night.png: left out as a facade: too dark" in "".join(capsys.readouterr())
    write(folder / "another.png")
    assert main(["town", "--config", str(config), *given]) == 2
    assert "textures" in capsys.readouterr().err
