"""Photographs added to a map and taken away again, through the command line, on the rendered scene."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lbr.cli import main
from lbr.config import load_config
from lbr.errors import DataError
from lbr.geometry.camera import Camera, guess_camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import build_model, write_model
from lbr.io.exif import camera_of_photograph
from lbr.io.features_file import FeatureFile
from lbr.io.labels import mask_path, read_mask, read_vocabulary, write_mask, write_vocabulary
from lbr.io.predictions_file import PredictionFile
from lbr.io.text_lists import read_poses, write_poses, write_query_list
from lbr.localization.cameras import shared_cameras
from lbr.mapping.changes import NewImage
from lbr.mapping.georeference import read_georeferences
from lbr.mapping.map import open_map, write_map
from lbr.matching import guidance
from lbr.pipeline import extending, growing, registering
from lbr.pipeline.locating import Locator
from lbr.pipeline.photographs import Photographs, find_photographs
from lbr.pipeline.stage import Context
from lbr.pipeline.workspace import Workspace, read_manifest
from lbr.recognition.prototypes import read_prototypes
from lbr.retrieval.index import open_index
from lbr.types import InstanceVocabulary
from tests.mapping.test_growth import assert_equal_maps
from tests.synthetic import PHOTOGRAPH, RenderedScene
from tests.thirds import CONFIG, LABELLED, true_mask

HELD = "db/06.png"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, scene: RenderedScene, write_config: Callable) -> Path:
    """A workspace of the scene without one db image, which waits in new/. Read-only: `own` is a copy."""
    folder = tmp_path_factory.mktemp("changes")
    shutil.copytree(scene.root, folder / "scene")
    poses = {n: p for n, p in scene.poses.items() if n in scene.db and n != HELD}
    assert HELD in scene.db and len(poses) == len(scene.db) - 1
    shutil.rmtree(folder / "scene/3D-models")
    write_model(folder / "scene/3D-models", build_model(dict.fromkeys(poses, PHOTOGRAPH), poses))
    (folder / "new").mkdir()
    shutil.move(folder / "scene/images" / HELD, folder / "new/06.png")
    write_query_list(folder / "new/list.txt", {"06.png": PHOTOGRAPH})
    write_poses(folder / "new/poses.txt", {"06.png": scene.poses[HELD]})
    assert main(["run", "--config", str(write_config(folder, folder / "scene"))]) == 0
    return folder


@pytest.fixture
def own(base: Path, tmp_path: Path) -> Path:
    shutil.copytree(base, tmp_path / "own")
    config = tmp_path / "own/config.yaml"
    config.write_text(config.read_text().replace(str(base), str(tmp_path / "own")))
    # the copy has other times: images are told apart by them
    for path in (base / "scene/images").rglob("*.png"):
        os.utime(tmp_path / "own" / path.relative_to(base), ns=(path.stat().st_mtime_ns,) * 2)
    return tmp_path / "own"


def run(own: Path, verb: str, *rest: str) -> int:
    return main([verb, "--config", str(own / "config.yaml"), *rest])


def extended(own: Path, *rest: str) -> int:
    return run(own, "extend", "--images", str(own / "new/list.txt"), *rest)


def work(own: Path) -> Workspace:
    return Workspace(own / "work")


@pytest.mark.parametrize("posed", [True, False])
def test_a_photograph_is_added_and_what_was_there_stays(
    own: Path, base: Path, scene: RenderedScene, posed: bool, capsys: pytest.CaptureFixture
):
    poses = ["--poses", str(own / "new/poses.txt")] if posed else []
    assert extended(own, *poses) == 0
    assert "1 images added" in capsys.readouterr().out
    before, after = open_map(work(base).map), open_map(work(own).map)
    assert after.names == tuple(sorted([*before.names, "06.png"]))
    np.testing.assert_array_equal(after.points[: len(before.points)], before.points)
    for i, name in enumerate(before.names):
        j = after.index_of(name)
        np.testing.assert_array_equal(after.poses[j], before.poses[i])
        count = len(before.features(i))
        for array in ("keypoints", "descriptors", "point_index"):
            new, old = getattr(after, array)[after.observations(j)], getattr(before, array)[before.observations(i)]
            np.testing.assert_array_equal(new[:count], old)
    added = after.index_of("06.png")
    assert len(after.features(added)) > 50
    error = after.pose(added).centre - scene.poses[HELD].centre
    assert np.linalg.norm(error) <= (1e-9 if posed else 0.05)  # patches are rendered at whole pixels
    assert (work(own).additions / "images/06.png").read_bytes() == (own / "new/06.png").read_bytes()
    with FeatureFile(work(own).db_features) as features:
        assert "06.png" in features
    assert not (work(own).root / ".extend").exists()


def test_an_added_photograph_stands_where_its_pose_was_adjusted_to(own: Path, monkeypatch: pytest.MonkeyPatch):
    adjusted = {}

    def shifted(posed: dict, _: object, matches: object, free: set, *others: object) -> dict:
        adjusted.update({name: Pose(posed[name][1].R, posed[name][1].t + [0, 0, 0.002]) for name in free})
        return dict(adjusted)

    monkeypatch.setattr(growing, "adjusted_poses", shifted)
    assert extended(own) == 0
    after = open_map(work(own).map)
    np.testing.assert_allclose(after.pose(after.index_of("06.png")).t, adjusted["06.png"].t)


def test_queries_of_a_camera_that_came_with_an_addition_have_its_intrinsics(own: Path, scene: RenderedScene):
    """And none once it is taken away."""
    exif = Image.Exif()
    exif[0x0110] = "Acme One"
    Image.open(own / "new/06.png").save(own / "new/06.png", exif=exif)
    said = camera_of_photograph(own / "new/06.png")
    assert said.body and said not in shared_cameras(open_map(work(own).map))
    assert extended(own) == 0
    found = shared_cameras(open_map(work(own).map))[said]
    assert found[0].camera.params == PHOTOGRAPH.params and found[0].given and found[0].num == 1
    assert run(own, "remove", "--images", "06.png") == 0
    assert said not in shared_cameras(open_map(work(own).map))


def test_an_addition_of_the_camera_of_the_map_has_the_intrinsics_that_were_given(own: Path):
    before = open_map(work(own).map)
    assert run(own, "extend", "--images", str(own / "new")) == 0
    after = open_map(work(own).map)
    assert after.names[-1] == "new/06.png" and after.cameras == before.cameras == (PHOTOGRAPH,)


def test_the_extended_map_is_used_by_the_next_run_and_said(own: Path, capsys: pytest.CaptureFixture):
    """Neither rebuilt in silence nor refused; only what was localized in the map before is stale."""
    assert extended(own) == 0
    names = open_map(work(own).map).names
    assert run(own, "run", "--until", "reconstruct") == 0
    told = capsys.readouterr().out
    assert "(changed since it was made: +1 images) [reused]" in told
    assert open_map(work(own).map).names == names
    assert run(own, "localize") == 2
    assert "was made from other map" in capsys.readouterr().err
    assert run(own, "localize", "run=after") == 0 and run(own, "localize", "--overwrite") == 0


def test_the_manifest_tells_what_was_done(own: Path, base: Path):
    before = read_manifest(work(base).map)
    assert extended(own) == 0 and run(own, "remove", "--images", "06.png") == 0
    manifest = read_manifest(work(own).map)
    assert manifest["made_as"] == before["identity"] != manifest["identity"]
    first, second = manifest["changes"]
    assert (first["verb"], first["names"], second["verb"], second["names"]) == (
        "extend", ["06.png"], "remove", ["06.png"],
    )  # fmt: skip
    assert set(first["inputs"]) == {"images", "poses"} and second["made"] == manifest["identity"]
    assert len({before["identity"], first["made"], second["made"]}) == 3
    assert "(changed since it was made: +1, -1 images)" in manifest["summary"]


def test_removing_what_was_added_gives_the_map_and_the_poses_before(own: Path, base: Path):
    assert extended(own) == 0
    assert run(own, "remove", "--images", "06.p*") == 0
    assert_equal_maps(open_map(work(own).map), open_map(work(base).map))
    assert run(own, "localize", "run=after") == 0
    after = Workspace(own / "work", "after").poses
    assert after.read_bytes() == work(base).poses.read_bytes()
    with FeatureFile(work(own).db_features) as features, FeatureFile(work(base).db_features) as first:
        assert features.names == first.names
        for name in first.names:
            np.testing.assert_array_equal(features.read(name).descriptors, first.read(name).descriptors)
    assert not list((work(own).additions / "images").rglob("*.png"))


def test_an_image_of_the_dataset_can_leave_and_come_back(own: Path, base: Path):
    name = "db/00.png"
    assert run(own, "remove", "--images", name, f"workspace={own / 'work'}") == 0
    assert name not in open_map(work(own).map).names
    (own / "list.txt").write_text(f"{name} {' '.join(_camera_line())}\n")
    assert run(own, "extend", "--images", str(own / "list.txt")) == 0
    after, before = open_map(work(own).map), open_map(work(base).map)
    assert after.names == before.names
    assert len(after.features(after.index_of(name))) > 0.8 * len(before.features(before.index_of(name)))
    with FeatureFile(work(own).db_features) as features:
        assert name in features


def _camera_line() -> list[str]:
    return [PHOTOGRAPH.model, *map(str, (PHOTOGRAPH.width, PHOTOGRAPH.height, *PHOTOGRAPH.params))]


def test_bad_photographs_are_listed_and_the_others_added(own: Path, capsys: pytest.CaptureFixture):
    """A broken one, one of elsewhere, one that is missing, one whose name is taken; each is one line."""
    new = own / "new"
    (new / "broken.png").write_bytes((new / "06.png").read_bytes()[:2000])
    noise = np.random.default_rng(0).integers(0, 256, (360, 480, 3), np.uint8)
    from lbr.io.images import write_image

    write_image(new / "elsewhere.png", noise)
    with (new / "list.txt").open("a") as file:
        for name in ("broken.png", "elsewhere.png", "missing.png", "db/00.png"):
            file.write(f"{name} {' '.join(_camera_line())}\n")
    assert extended(own) == 1
    told = capsys.readouterr().err
    assert f"problem: broken.png: {new / 'broken.png'}: " in told, "the user's file, not our copy of it"
    for line in ("broken.png: ", "elsewhere.png: not localized in the map", "missing.png: ", "db/00.png: the map has"):
        assert told.count(f"problem: {line}") == 1, told
    assert "4 problem(s)" in told
    assert "06.png" in open_map(work(own).map).names
    assert [p[0] for p in read_manifest(work(own).map)["problems"]]


@pytest.fixture
def along_lines(own: Path) -> Callable[..., int]:
    """`own` with a map of its own whose photographs were matched along epipolar lines, to be extended."""
    config = own / "config.yaml"
    config.write_text(f"{config.read_text()}matcher: {{guided: {{}}}}\nworkspace: {own}/guided\n".replace(
        "workspace: work\n", ""
    ))  # fmt: skip
    assert run(own, "run", "--until", "reconstruct") == 0
    return lambda: extended(own, "--poses", str(own / "new/poses.txt"))


def test_what_is_added_is_matched_along_lines_where_the_map_is(
    own: Path, along_lines: Callable[..., int], monkeypatch: pytest.MonkeyPatch
):
    """Among look-alike patches the ratio test leaves out what lies near no other one's line."""
    from lbr.pipeline import growing

    def count(guided: bool) -> int:
        monkeypatch.setattr(growing, "guidance", lambda matcher: guidance(matcher) if guided else None)
        kept = shutil.copytree(own / "guided", own / "kept", dirs_exist_ok=True)
        assert along_lines() == 0
        scene = open_map(own / "guided/map")
        seen = len(scene.features(scene.index_of("06.png")))
        shutil.rmtree(own / "guided")
        shutil.move(kept, own / "guided")
        return seen

    assert count(True) > 1.1 * count(False) > 50


@pytest.mark.parametrize("matched", ["plainly", "along lines"])
def test_a_pose_that_no_match_agrees_with_is_left_out(
    own: Path, scene: RenderedScene, capsys: pytest.CaptureFixture, matched: str, request: pytest.FixtureRequest
):
    """A pose that is wrong finds matches along its lines as well: those that tell know nothing of it."""
    if matched == "along lines":
        request.getfixturevalue("along_lines")
    elsewhere = Pose(scene.poses["db/00.png"].R, scene.poses["db/00.png"].t + [0.3, 0.2, 0.0])
    write_poses(own / "new/poses.txt", {"06.png": elsewhere})
    assert extended(own, "--poses", str(own / "new/poses.txt")) == 2
    assert "agrees with the matches of no other image" in capsys.readouterr().err


def test_names_that_the_map_has_are_problems_also_with_another_suffix(tmp_path: Path):
    """The label image of b.jpg would be that of b.png; one is found to be located, where none is asked for."""
    for name in ("a.png", "b.jpg", "c.heic", "c.jpg"):
        (tmp_path / "new" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "new" / name).touch()
    found = find_photographs(tmp_path / "images", tmp_path / "new", None, {"new/a.png", "new/b.png"})
    assert list(found.files) == ["new/c.heic"]
    assert {problem.what: problem.why for problem in found.problems} == {
        "new/a.png": "the map has an image of that name already",
        "new/b.jpg": "differs from new/b.png in its suffix alone",
        "new/c.jpg": "differs from new/c.heic in its suffix alone",
    }
    assert len(find_photographs(tmp_path / "images", tmp_path / "new", None, None).files) == 4


def test_a_photograph_of_another_size_than_its_camera_is_a_problem(tmp_path: Path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 48)).save(tmp_path / name)
    write_query_list(tmp_path / "list.txt", {"a.png": guess_camera(64, 48), "b.png": guess_camera(128, 96)})
    found = find_photographs(tmp_path / "images", tmp_path / "list.txt", None, None)
    assert list(found.files) == ["a.png"]
    assert [str(problem) for problem in found.problems] == ["b.png: the image is 64x48, its camera 128x96"]


@pytest.mark.parametrize(
    "case", ["none localized", "none there", "no map", "no intrinsics", "stale map", "other feature", "not recognised"]
)
def test_what_cannot_be_is_said_and_the_map_stays(own: Path, case: str, capsys: pytest.CaptureFixture):
    from lbr.io.images import write_image

    wanted, more, code = "", [], 2
    if case == "none localized":
        write_image(own / "new/06.png", np.zeros((360, 480, 3), np.uint8))
        wanted = "not one of 1 photographs could be added"
    elif case == "none there":
        (own / "new/06.png").unlink()
        wanted = "no photograph to add (first: 06.png"
    elif case == "no map":
        shutil.rmtree(work(own).map)
        wanted = "not there yet; run `lbr reconstruct` first"
    elif case == "no intrinsics":
        (own / "new/list.txt").write_text("06.png\n")
        more, wanted = ["--poses", str(own / "new/poses.txt")], "a pose without intrinsics"
    elif case == "not recognised":
        more, wanted = ["candidates.name=progressive"], "predictions-db.h5: not there yet; run `lbr recognise` first"
    elif case == "other feature":
        more, wanted = ["extractor.contrast_threshold=0.07"], "made with another local feature than the configuration"
    else:
        more, wanted = ["reconstruction.min_matches=20"], "was made with reconstruction.min_matches=15, now 20"
    before = None if case == "no map" else read_manifest(work(own).map)
    assert extended(own, *more) == code
    assert wanted in capsys.readouterr().err
    if before:
        assert read_manifest(work(own).map) == before and "06.png" not in open_map(work(own).map).names


def test_one_photograph_by_its_path(own: Path):
    """Named, as those of a folder, after the folder it lies in."""
    assert run(own, "extend", "--images", str(own / "new/06.png")) == 0
    assert "new/06.png" in open_map(work(own).map).names


def test_a_photograph_goes_to_the_place_it_was_localized_in(own: Path, capsys: pytest.CaptureFixture):
    """All images of the map are of its second place here; poses from outside could be of either."""
    folder = work(own).map
    second = open_map(folder)
    shutil.rmtree(folder)
    write_map(folder, replace(second, place=np.ones(len(second), np.int32), units="model"))
    assert extended(own, "--poses", str(own / "new/poses.txt")) == 2
    assert "the map has 2 places, each in a frame of its own" in capsys.readouterr().err
    assert extended(own) == 0
    after = open_map(folder)
    assert "06.png" in after and set(after.place.tolist()) == {1} and after.units == "model"
    assert len(after.features(after.index_of("06.png"))) > 50


def test_poses_of_two_places_are_not_compared(own: Path, scene: RenderedScene):
    """Of two places whose cameras stand at the same spots, a new image is matched with those of its own alone."""
    from lbr.pipeline.extension import Extension
    from lbr.pipeline.growing import _pairs

    whole = open_map(work(own).map)
    apart = replace(whole, place=(np.arange(len(whole)) % 2).astype(np.int32))
    context = Context(load_config(own / "config.yaml"))
    new = {
        "new.png": NewImage(PHOTOGRAPH, scene.poses[HELD], 1),
        "other.png": NewImage(PHOTOGRAPH, scene.poses[HELD], 0),
    }
    pairs = _pairs(Extension(context, Photographs({}, {}), work(own)), apart, new)
    beside = {name: {a if b == name else b for a, b in pairs if name in (a, b)} for name in new}
    assert beside["new.png"] == {n for n, p in zip(apart.names, apart.place, strict=True) if p == 1}
    assert beside["other.png"] == {n for n, p in zip(apart.names, apart.place, strict=True) if p == 0}


def positions_of_map(own: Path, base: Path) -> str:
    """The override that names positions on earth of all images of the map."""
    scene = open_map(work(base).map)
    lines = [
        f"{n} {47 + c[1] / 111_195:.9f} {8 + c[0] / 75_800:.9f}"
        for n, c in zip(scene.names, scene.centres, strict=True)
    ]
    (own / "positions.txt").write_text("\n".join(lines))
    return f"georeference.positions={own / 'positions.txt'}"


def test_a_map_that_lies_on_earth_does_so_when_it_is_changed(own: Path, base: Path):
    """Also where only the dataset's photographs have positions: the frame stays."""
    listed = positions_of_map(own, base)
    assert run(own, "georeference", listed, "--overwrite") == 0
    first = read_georeferences(work(own).map)[0]
    assert extended(own, listed) == 0
    assert read_georeferences(work(own).map)[0].origin == pytest.approx(first.origin)
    assert run(own, "georeference", listed) == 0 and run(own, "remove", "--images", "06.png", listed) == 0
    assert read_georeferences(work(own).map)[0].origin == pytest.approx(first.origin)


@pytest.mark.parametrize("mended_by", ["georeference", "remove"])
def test_killed_before_it_lies_on_earth_again_a_changed_map_says_so(
    own: Path, base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, mended_by: str
):
    listed = positions_of_map(own, base)
    assert run(own, "georeference", listed, "--overwrite") == 0

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(extending, "remake", killed)
        extended(own, listed)
    assert run(own, "localize", listed, "--overwrite") == 2
    assert "georeference.json: not made again since the map was changed; run" in capsys.readouterr().err
    with pytest.raises(DataError, match="not made again since the map was changed"):
        Locator.open(own / "config.yaml", [listed])
    assert run(own, mended_by, listed, *(["--images", "06.png"] if mended_by == "remove" else [])) == 0
    assert read_georeferences(work(own).map)
    assert run(own, "localize", listed, "--overwrite") == 0


def test_unknown_names_are_problems_and_all_is_an_error(own: Path, capsys: pytest.CaptureFixture):
    names = open_map(work(own).map).names
    assert run(own, "remove", "--images", "db/00.png", "nowhere.png", "x*") == 1
    told = capsys.readouterr().err
    assert "problem: nowhere.png: the map has no such image" in told and "problem: x*: " in told
    assert open_map(work(own).map).names == tuple(n for n in names if n != "db/00.png")
    assert run(own, "remove", "--images", "nowhere.png") == 2
    assert run(own, "remove", "--images", "*") == 2
    assert f"all {len(names) - 1} images of the map would go" in capsys.readouterr().err
    (own / "list.txt").write_text("db/03.png\ndb/04.png\n")
    if "db/04.png" in names:
        assert run(own, "remove", "--images", str(own / "list.txt")) == 0


def test_a_map_made_anew_says_that_its_changes_are_lost(own: Path, capsys: pytest.CaptureFixture):
    assert extended(own) == 0
    assert run(own, "reconstruct", "reconstruction.min_matches=20", "--overwrite") == 1
    assert "without its changes (extend of 1 images)" in capsys.readouterr().err
    assert "06.png" not in open_map(work(own).map).names
    assert "changes" not in read_manifest(work(own).map)


@pytest.fixture
def left_of_arc(tmp_path: Path, scene: RenderedScene, write_config: Callable) -> tuple[list[str], list[str]]:
    """The map has the left of the arc; the right finds its place next to what was added before it. The arguments of
    `lbr extend`, and what the map has."""
    shutil.copytree(scene.root, tmp_path / "scene")
    names = sorted(scene.poses, key=lambda n: scene.poses[n].centre[0])
    kept, new = names[:3], names[3:]
    shutil.rmtree(tmp_path / "scene/3D-models")
    write_model(
        tmp_path / "scene/3D-models", build_model(dict.fromkeys(kept, PHOTOGRAPH), {n: scene.poses[n] for n in kept})
    )
    write_query_list(tmp_path / "list.txt", dict.fromkeys(new, PHOTOGRAPH))
    write_query_list(tmp_path / "scene/queries.txt", {n: PHOTOGRAPH for n in scene.queries if n in new})  # not mapped
    config = write_config(tmp_path, tmp_path / "scene", "localization: {verification: {min_inliers: 70}}\n")
    assert main(["run", "--config", str(config), "--until", "reconstruct"]) == 0
    return ["extend", "--config", str(config), "--images", str(tmp_path / "list.txt")], kept


def test_photographs_that_see_only_each_other_are_added_in_rounds(
    tmp_path: Path, scene: RenderedScene, left_of_arc: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch
):
    call, kept = left_of_arc
    rounds, really = [], extending.register

    def counting(work, scene, waiting, beside=None, quick=False):
        found = really(work, scene, waiting, beside, quick)
        rounds.append(set(found[0]))
        return found

    monkeypatch.setattr(extending, "register", counting)
    code = main(call)
    after = open_map(tmp_path / "work/map")
    grown = [r for r in rounds if r]
    assert len(grown) >= 2, "at once: the test shows nothing"
    assert set().union(*grown) == set(after.names) - set(kept)
    assert code == (0 if len(after) == len(scene.poses) else 1)
    for name in set(after.names) - set(kept):
        assert np.linalg.norm(after.pose(after.index_of(name)).centre - scene.poses[name].centre) < 0.15, "drift"


def test_what_a_quick_look_does_not_find_is_searched_for_in_all_of_the_map(
    own: Path, scene: RenderedScene, monkeypatch: pytest.MonkeyPatch
):
    for module in (extending, registering):
        monkeypatch.setattr(module, "QUICK_IMAGES", 0)
    looks, really = [], extending.register

    def looking(work, growing, waiting, beside=None, quick=False):
        found = really(work, growing, waiting, beside, quick)
        looks.append((quick, beside is None, len(waiting), len(found[0])))
        return found

    monkeypatch.setattr(extending, "register", looking)
    for name in scene.queries:
        shutil.copy(scene.root / "images" / name, own / Path(name).name)
    write_query_list(own / "queries.txt", dict.fromkeys([Path(name).name for name in scene.queries], PHOTOGRAPH))
    assert run(own, "extend", "--images", str(own / "queries.txt")) == 0
    everyone = len(scene.queries)
    assert looks[:2] == [(True, True, everyone, 0), (False, True, everyone, everyone)]


def test_a_photograph_that_a_later_round_loses_is_left_out_and_said(
    tmp_path: Path, left_of_arc: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):  # fmt: skip
    """As when it moves away from its points, once more photographs tell where it is."""
    really, first = growing.grow, []

    def losing(views, points, matches, limits):
        growth, new = really(views, points, matches, limits), [name for name, view in views.items() if view.new]
        if first and first[0] in views:
            stays = growth.views != list(views).index(first[0])
            growth = replace(
                growth, views=growth.views[stays], keypoints=growth.keypoints[stays],
                point_index=growth.point_index[stays],
            )  # fmt: skip
        first.extend(new)
        return growth

    monkeypatch.setattr(growing, "grow", losing)
    assert main(left_of_arc[0]) == 1
    after, said = open_map(tmp_path / "work/map"), capsys.readouterr()
    assert first[0] not in after and len(after) > len(left_of_arc[1])
    assert f"{first[0]}: {extending.ALONE}" in said.out + said.err


def test_photographs_of_an_unknown_camera_are_added_with_what_they_tell_of_it_together(
    base: Path, own: Path, scene: RenderedScene
):
    """Cut to another size, so that they are not the map's: their axis is 10 px off the middle."""
    (own / "cut").mkdir()
    names = [*scene.queries, *scene.db[::2]]
    for name in names:
        image = Image.open(scene.root / "images" / name)
        image.crop((0, 0, image.width, image.height - 20)).save(own / "cut" / Path(name).name)

    def cameras(*rest: str) -> list[Camera]:
        shutil.rmtree(own / "work")
        shutil.copytree(base / "work", own / "work")
        assert run(own, "extend", "--images", str(own / "cut"), *rest) == 0
        found = open_map(work(own).map)
        return [found.camera(found.index_of(f"cut/{Path(name).name}")) for name in names]

    together, alone = cameras(), cameras("localization.calibrate=false")
    assert len(together) >= 3 and len({camera.params for camera in together}) == 1
    assert together[0].params == pytest.approx([450, 240, 180, 0.02], abs=4)
    assert abs(together[0].focal[0] - 450) < max(abs(camera.focal[0] - 450) for camera in alone)


class Killed(BaseException):
    """As a SIGKILL would, for all that is on disk."""


@pytest.mark.parametrize("verb", ["extend", "remove"])
def test_killed_after_any_renaming_the_map_is_the_old_or_the_new_one(
    base: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
):
    """Whatever is on disk at that moment: the map opens whole, a run uses it, and the same verb ends the work."""
    if verb == "remove":
        assert extended(own) == 0
    verbs = ["--images", str(own / "new/list.txt")] if verb == "extend" else ["--images", "06.png"]
    old, taken, really = open_map(work(own).map).names, [], os.replace

    def replace(source: Path, target: Path) -> None:
        really(source, target)
        if ".parts" not in str(target) and "images" not in str(target):
            taken.append(Path(shutil.copytree(own / "work", tmp_path / f"taken{len(taken):02d}")))

    monkeypatch.setattr(os, "replace", replace)
    assert run(own, verb, *verbs) == 0
    monkeypatch.undo()
    new = open_map(work(own).map).names
    assert len(taken) >= 4 and old != new
    seen = set()
    for copy in taken:
        at = f"workspace={copy}"
        assert run(own, "run", "--until", "reconstruct", at) == 0
        names = open_map(copy / "map").names
        seen.add(names)
        assert names in (old, new)
        assert json.loads((copy / "map.manifest.json").read_text()).get("changes", []) != [] or names == old
        if names == old:
            assert run(own, verb, *verbs, at) == 0
        assert_equal_maps(open_map(copy / "map"), open_map(work(own).map))
        assert not [p for p in copy.iterdir() if p.name in (".extend", "map.next", "map.previous")]
    assert seen == {old, new}


def test_a_second_extension_and_the_first_one_removed(own: Path, scene: RenderedScene):
    """Queries become images of the map; points that the first addition made go with it, those of the second stay."""
    assert extended(own) == 0
    lines = [line for line in (own / "scene/queries.txt").read_text().splitlines() if line]
    (own / "list.txt").write_text("\n".join(lines) + "\n")
    assert run(own, "extend", "--images", str(own / "list.txt")) == 0
    both = open_map(work(own).map)
    assert set(scene.queries) <= set(both.names)
    assert run(own, "remove", "--images", "06.png") == 0
    after = open_map(work(own).map)
    assert set(after.names) == set(both.names) - {"06.png"}
    views = np.repeat(np.arange(len(after)), np.diff(after.offsets))
    pairs = np.unique(np.stack([after.point_index, views], 1), axis=0)
    assert np.bincount(pairs[:, 0]).min() >= 2
    additions = read_manifest(work(own).map)["additions"]
    assert [a["names"] for a in additions] == [[], sorted(scene.queries)]
    poses = read_poses(own / "scene/gt.txt")
    for name in scene.queries:
        assert np.linalg.norm(after.pose(after.index_of(name)).centre - poses[name].centre) < 0.05


SURE = [*LABELLED, "labelling={min_confidence: 0.999}"]  # so little trained a network names nothing then


@pytest.fixture
def recognised(own: Path, scene: RenderedScene) -> Path:
    """The workspace of `base` with label images of the left and the right third: the middle is nobody's.

    Its network is trained for a moment only: what counts is what goes where.
    """
    shutil.rmtree(own / "work/runs")
    masks = own / "scene/global_seg_instance"
    known = InstanceVocabulary(np.array([0, 0x0A141E, 0x14141E]), np.arange(3, dtype=np.int32))
    for name in sorted(set(scene.db) - {HELD}):
        write_mask(mask_path(masks, name), np.array([0, 1, 0, 2])[true_mask(scene, name)], known)
    write_vocabulary(masks / "vocabulary.txt", known)
    config = own / "config.yaml"
    config.write_text(config.read_text() + CONFIG)
    assert run(own, "run", "--until", "index", *LABELLED) == 0
    return own


def test_additions_are_recognised_indexed_searched_and_learned(
    recognised: Path, scene: RenderedScene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    """What nobody names in the added image is made one new instance (that walls are found is tested elsewhere).

    Label images, predictions, index and vocabulary take it in; the next run uses all of it; a prototype stands for it
    until the network is trained again; and it goes when the image goes.
    """
    own, before = recognised, open_index(work(recognised).index)
    from lbr.pipeline import additions

    monkeypatch.setattr(
        additions,
        "_new_instances",
        lambda *args: {name: (mask == 0).astype(np.int32) for name, mask in args[-1].items()},
    )
    capsys.readouterr()
    assert run(own, "extend", *SURE, "--images", str(own / "new/list.txt")) == 0
    assert "1 new instances" in capsys.readouterr().out
    vocabulary = read_vocabulary(work(own).additions / "vocabulary.txt")
    assert vocabulary.num_classes == 4 and len(set(vocabulary.colours.tolist())) == 4
    mask = read_mask(work(own).additions / "labels/06.png", vocabulary)
    assert mask.shape == (PHOTOGRAPH.height, PHOTOGRAPH.width) and 3 in mask
    index, grown = open_index(work(own).index), open_map(work(own).map)
    assert index.names == grown.names == tuple(sorted([*before.names, "06.png"]))
    assert index.num_classes == 4 and [index.names[i] for i in index.images_of(3)[0]] == ["06.png"]
    with PredictionFile(work(own).db_predictions) as file:
        assert set(file.names) == set(grown.names)

    assert read_prototypes(work(own).prototypes).classes.tolist() == [3]
    assert Locator.open(own / "config.yaml", SURE).locate(own / "new/06.png").instances, "needs them, and has them"

    assert run(own, "recognise", *SURE) == 2, "the queries were recognised without the new instance"
    assert "was made from other prototypes.npz; pass --overwrite" in capsys.readouterr().err
    assert run(own, "run", "--overwrite", "--from", "recognise", "--until", "localize", *SURE) == 0
    told = capsys.readouterr().out
    assert told.count("[reused]") == 7 and "+1 images" in told
    assert run(own, "train", *SURE) == 0
    assert "1 images added since are not learned" in capsys.readouterr().out

    assert run(own, "train", "--overwrite", *SURE) == 0
    assert "3 instances from 7 images" in capsys.readouterr().out
    assert run(own, "recognise", "--overwrite", *SURE) == 0
    with PredictionFile(work(own).db_predictions) as file:
        assert set(file.names) == set(grown.names) and len(file.read("06.png").presence) == 4

    assert run(own, "index", "--overwrite", *SURE) == 0
    assert run(own, "remove", "--images", "06.png", *SURE) == 0
    again = open_index(work(own).index)
    assert again.names == before.names and again.num_classes == before.num_classes
    np.testing.assert_array_equal(again.shares, before.shares)
    assert not (work(own).additions / "labels/06.png").exists()
