"""What is found in a user's folder, and the configuration that comes of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from lbr.cli import main
from lbr.config import load_config
from lbr.datasets import Dataset, load_dataset
from lbr.errors import ConfigError, DataError
from lbr.io.colmap import build_model, write_model
from lbr.io.files import remove
from lbr.io.images import write_image
from lbr.io.text_lists import read_poses
from lbr.pipeline.own import HELD_OUT, prepare, splits
from lbr.pipeline.results import read_localizations
from lbr.pipeline.workspace import Workspace
from tests.notebook import run_notebook
from tests.street import CAMERA, Street, row
from tests.synthetic import RenderedScene

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def made(photos: Path, workspace: Path, queries: Path | None = None) -> tuple[Dataset, Path, str]:
    path, told = prepare(photos, queries, workspace)
    return load_dataset(load_config(path).dataset), path, " | ".join(told)


def another(photo: Path, path: Path) -> None:
    """A photograph that is no copy: the picture is the same, the file is not."""
    path.write_bytes(photo.read_bytes() + path.name.encode())


@pytest.fixture
def plain(tmp_path: Path, scene: RenderedScene) -> Path:
    """Photographs as they come, in folders with spaces, and nothing else."""
    return Path(shutil.copytree(scene.root / "images/db", tmp_path / "my photos: 2026 #1"))


def test_our_layout_is_taken_as_it_is(tmp_path: Path, scene: RenderedScene):
    found, _, told = made(scene.root, tmp_path / "work")
    assert set(found.db_names) == set(scene.db) and found.poses is not None
    assert {q.name for q in found.queries} == set(scene.queries) and found.truth == scene.root / "gt.txt"
    assert found.stylized_root == tmp_path / "work/stylized"
    assert "7 photographs to map" in told and "poses from 3D-models" in told


def test_photographs_alone_are_reconstructed_and_one_of_eight_is_held_out(tmp_path: Path, plain: Path):
    for number in range(3):
        another(plain / "00.png", plain / f"more {number}.png")
    found, path, told = made(plain, tmp_path / "work")
    assert found.poses is None and len(found.db_names) == 9 and len(found.queries) == 1
    assert found.queries[0].name not in found.db_names and "1 photographs are held out" in told
    config = load_config(path)
    assert (config.reconstruction.name, config.pairs.name) == ("sfm", "exhaustive")


def test_one_photograph_in_two_formats_is_neither_mapped_twice_nor_held_out(tmp_path: Path, plain: Path):
    for path in sorted(plain.glob("*.png")):
        shutil.copy(path, path.with_suffix(".jpg"))
    found, _, told = made(plain, tmp_path / "work")
    assert len(found.db_names) + len(found.queries) == len(found.problems) == 7


def test_copies_are_left_out_and_said(tmp_path: Path, plain: Path):
    """Two of one file, and a link: they have no baseline, and a map that begins with them has no scale."""
    shutil.copy(plain / "03.png", plain / "copy.png")
    (plain / "link.png").symlink_to(plain / "03.png")
    found, _, told = made(plain, tmp_path / "work")
    assert len(found.db_names) + len(found.queries) == 7 and "7 photographs to map" in told
    copies = {problem.what: problem.why for problem in found.problems}
    assert copies == dict.fromkeys(["copy.png", "link.png"], "left out: a copy of 03.png")


def test_a_workspace_that_is_copied_works_in_its_own_folder(tmp_path: Path, plain: Path):
    _, path, _ = made(plain, tmp_path / "work")
    copied = Path(shutil.copytree(path.parent, tmp_path / "copy"))
    assert load_config(copied / "config.yaml").workspace == copied
    _, path, _ = made(plain, copied)
    assert path.parent == copied
    (copied / "config.yaml").write_text(path.read_text().replace("workspace: .", f"workspace: {tmp_path / 'work'}"))
    with pytest.raises(ConfigError, match=f"works in {tmp_path / 'work'}, not in the folder it lies in"):
        made(plain, copied)


def test_poses_of_held_out_photographs_that_were_moved_are_said(tmp_path: Path, own_scene: Path):
    for given in ("queries.txt", "gt.txt", "images/query"):
        remove(own_scene / given)
    _, path, _ = made(own_scene, tmp_path / "work")
    moved = path.parent.rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match="was moved: dataset.ground_truth is .*work/held-out-poses.txt there"):
        made(own_scene, moved)


def test_a_workspace_among_the_photographs_is_refused(tmp_path: Path, plain: Path, scene: RenderedScene):
    """What is made there would be photographs to map the next time."""
    for workspace in (plain, plain / "work"):
        with pytest.raises(ConfigError, match="lies among the photographs"):
            made(plain, workspace)
    assert not (plain / "config.yaml").exists()
    assert main(["own", ""]) == 2


def test_settings_of_the_command_stay_in_the_configuration(tmp_path: Path, plain: Path):
    given = ["extractor.max_keypoints=600", "recognition.training.max_minutes=0.5", "candidates.name=exhaustive"]
    path, _ = prepare(plain, None, tmp_path / "work", overrides=given)
    config = load_config(path)
    assert config == load_config(path, given) and config.extractor.max_keypoints == 600
    assert "of this command alone" in prepare(plain, None, tmp_path / "work", overrides=["seed=4"])[1][-1]
    assert load_config(path) == config
    with pytest.raises(ConfigError, match="unknown key"):
        prepare(plain, None, tmp_path / "other", overrides=["nothing=4"])
    passing = ["dataset.reference=3D-models", f"workspace={tmp_path}"]  # or the file would be of something else
    for _ in range(2):
        path, told = prepare(plain, None, tmp_path / "again", overrides=[*passing, "seed=4"])
        assert load_config(path).seed == 4 and load_config(path).dataset.reference is None
        assert all(text in told[-1] for text in passing) and load_config(path).workspace == tmp_path / "again"
    remove(tmp_path / "other")
    assert not (tmp_path / "other/config.yaml").exists()


def test_photographs_that_come_later_change_nothing_of_what_is_held_out(tmp_path: Path, plain: Path):
    found, path, _ = made(plain, tmp_path / "work")
    for number in range(5):
        another(plain / "00.png", plain / f"a {number}.png")  # before all others, in their order
    again, _, _ = made(plain, tmp_path / "work")
    assert again.queries == found.queries and len(again.db_names) == len(found.db_names) + 5
    chosen = sorted(found.db_names)[:2]
    (path.parent / HELD_OUT).write_text("\n".join([*chosen, "gone.png"]))
    by_hand, _, told = made(plain, tmp_path / "work")
    assert [query.name for query in by_hand.queries] == chosen and "2 photographs are held out" in told


def test_a_workspace_that_is_refused_stays_as_it_is(tmp_path: Path, scene: RenderedScene, plain: Path):
    """About other photographs, or these with other queries: neither its links nor its list are touched."""
    elsewhere, queries = tmp_path / "elsewhere", scene.root / "images/query"
    shutil.copytree(plain, elsewhere)
    (elsewhere / "one more.png").write_bytes(next(plain.glob("*.png")).read_bytes())
    made(plain, tmp_path / "held")
    made(plain, tmp_path / "linked", queries)
    for workspace, photos, asked, why in (
        ("held", elsewhere, None, "other photographs"),
        ("held", plain, queries, "with other queries; name another --workspace, or localize yours in its map"),
        ("linked", elsewhere, queries, "other photographs"),
        ("linked", plain, None, "with other queries"),
    ):
        before = contents(tmp_path / workspace)
        with pytest.raises(ConfigError, match=why):
            made(photos, tmp_path / workspace, asked)
        assert contents(tmp_path / workspace) == before


def contents(folder: Path) -> dict[str, str]:
    """What files say, and where links lead."""
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return {str(path): str(path.readlink()) if path.is_symlink() else path.read_text() for path in paths}


def test_held_out_photographs_have_the_models_poses_as_their_truth(
    tmp_path: Path, own_scene: Path, scene: RenderedScene
):
    shutil.rmtree(own_scene / "images/query")
    (own_scene / "queries.txt").unlink()
    found, _, _ = made(own_scene, tmp_path / "work")
    (query,) = found.queries
    assert query.name == sorted(scene.db)[4] and query.camera == scene.camera and found.truth is not None
    assert abs(read_poses(found.truth)[query.name].matrix - scene.poses[query.name].matrix).max() < 1e-12


def test_queries_elsewhere_are_linked(tmp_path: Path, scene: RenderedScene, plain: Path):
    queries = scene.root / "images/query"
    found, _, _ = made(plain, tmp_path / "work", queries)
    assert {q.name for q in found.queries} == set(scene.queries)
    assert all((found.image_root / name).is_file() for name in [*found.db_names, *(q.name for q in found.queries)])
    posed, _, _ = made(scene.root, tmp_path / "posed", queries)
    assert posed.poses is not None and posed.db_names == sorted(scene.db) and len(posed.queries) == len(found.queries)


def test_one_photograph_or_a_list_can_be_the_queries(tmp_path: Path, scene: RenderedScene, plain: Path):
    found, _, _ = made(plain, tmp_path / "one", next((scene.root / "images/query").glob("*.png")))
    assert len(found.queries) == 1
    listed, _, _ = made(scene.root, tmp_path / "listed", scene.root / "queries.txt")
    assert {q.name: q.camera for q in listed.queries} == dict.fromkeys(scene.queries, scene.camera)


@pytest.mark.parametrize("what", ["folder", "photograph", "list"])
def test_queries_among_the_photographs_are_not_mapped(tmp_path: Path, plain: Path, what: str):
    """They would be found by themselves."""
    (plain / "today").mkdir()
    shutil.move(plain / "03.png", plain / "today/03.png")
    (tmp_path / "list.txt").write_text("today/03.png\n")
    queries = {"folder": plain / "today", "photograph": plain / "today/03.png", "list": tmp_path / "list.txt"}[what]
    found, _, told = made(plain, tmp_path / "work", queries)
    assert [q.name.rpartition("/")[2] for q in found.queries] == ["03.png"]
    assert len(found.db_names) == 6 and not any("03.png" in name for name in found.db_names)
    assert "6 photographs to map" in told and "1 of the photographs are queries, and not mapped" in told


def test_a_folder_of_queries_below_the_photographs_is_not_counted_among_them(tmp_path: Path, plain: Path):
    (plain / "query").mkdir()
    shutil.move(plain / "03.png", plain / "query/03.png")
    found, _, told = made(plain, tmp_path / "work")
    assert len(found.db_names) == 6 and "6 photographs to map" in told


def test_photographs_that_are_all_queries_leave_none_to_map(tmp_path: Path, plain: Path):
    path, _ = prepare(plain, plain, tmp_path / "work")
    with pytest.raises(DataError, match="all of its photographs are queries"):
        load_dataset(load_config(path).dataset)


def test_a_photograph_that_cannot_be_read_is_not_held_out(tmp_path: Path, plain: Path):
    for number in range(3):
        another(plain / "00.png", plain / f"more {number}.png")
    (plain / "04.png").write_bytes(b"")  # the one of eight
    found, _, told = made(plain, tmp_path / "work")
    assert [problem.what for problem in found.problems] == ["04.png"] and "9 photographs to map" in told
    assert len(found.db_names) == 8 and len(found.queries) == 1


def test_true_poses_beside_the_queries_are_by_their_own_names(tmp_path: Path, plain: Path):
    other = tmp_path / "today"
    other.mkdir()
    shutil.move(plain / "03.png", other / "03.png")
    (other / "gt.txt").write_text("03.png 1 0 0 0 1 2 3\nnonsense\n")
    found, _, told = made(plain, tmp_path / "work", other)
    assert list(read_poses(found.truth)) == [q.name for q in found.queries] == ["query/03.png"]
    assert "true poses of 1 queries" in told and "gt.txt:2: not a pose" in told


def test_what_a_person_changed_in_the_configuration_stays(tmp_path: Path, scene: RenderedScene, plain: Path):
    _, path, _ = made(scene.root, tmp_path / "work")
    changed = {**yaml.safe_load(path.read_text()), "seed": 5}
    path.write_text(yaml.safe_dump(changed))
    _, path, told = made(scene.root, tmp_path / "work")
    assert load_config(path).seed == 5 and "as it is there" in told
    with pytest.raises(ConfigError, match="other photographs"):
        made(plain, tmp_path / "work")


def test_files_that_are_not_looked_at_are_said(tmp_path: Path, plain: Path):
    for name in ("a.dng", "b.DNG", "film.mov", "README", ".hidden"):
        (plain / name).touch()
    told = made(plain, tmp_path / "work")[2]
    assert "left alone, as no photographs that are read here: 2 .dng, 1 .mov, 1 without a suffix |" in told


def test_it_starts_from_the_file_that_is_named(tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch):
    """As it is named: from the folder where the command is given. One that is there is not silently kept instead."""
    monkeypatch.chdir(CONFIGS.parent)
    path, _ = prepare(plain, None, tmp_path / "other", Path("configs/folder.yaml"))
    monkeypatch.chdir(tmp_path)
    assert load_config(path).extractor.name == "sift+daynight"
    assert prepare(plain, None, tmp_path / "other")[0] == path, "nothing named: what is there is gone on with"
    with pytest.raises(ConfigError, match=r"starts from .*folder.yaml, not from .*folder-sift.yaml; name another"):
        prepare(plain, None, tmp_path / "other", CONFIGS / "folder-sift.yaml")


def test_what_is_not_there_is_said(tmp_path: Path, plain: Path):
    (tmp_path / "empty").mkdir()
    for photos, queries, message in (
        (tmp_path / "none", None, "no such folder of photographs"),
        (tmp_path / "empty", None, "no photographs in it"),
        (plain, tmp_path / "none", "no such folder of queries"),
        (plain, tmp_path / "empty", "no photographs in it"),
    ):
        with pytest.raises(DataError, match=message):
            prepare(photos, queries, tmp_path / "work")


def test_paths_and_overrides_are_told_apart(tmp_path: Path):
    (tmp_path / "a=b").mkdir()
    paths, overrides = splits([str(tmp_path / "a=b"), "queries", "extractor.max_keypoints=1024"])
    assert (paths, overrides) == ([str(tmp_path / "a=b"), "queries"], ["extractor.max_keypoints=1024"])


SHORT = (
    "recognition.training.epochs=6", "recognition.training.max_minutes=null", "parallel.workers=1",
    "recognition.input_size=[96,96]",
)  # fmt: skip


def write_street(folder: Path) -> Street:
    """Photographs of a street with their poses, nothing else."""
    street = row(12)
    for name in street.poses:
        write_image(folder / "images" / name, street.photograph(name)[0], quality=95)
    write_model(folder / "sparse/0", build_model(dict.fromkeys(street.poses, CAMERA), street.poses))
    return street


def test_from_a_folder_to_a_report_in_one_command(tmp_path: Path, capsys: pytest.CaptureFixture):
    """Labels, training, map, and poses of those held out."""
    street, work = write_street(tmp_path / "photos"), tmp_path / "work"
    command = ["own", str(tmp_path / "photos"), "--workspace", str(work), *SHORT]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "12 photographs to map" in told and "with poses from sparse/0" in told and "minutes on this machine" in told
    workspace = Workspace(work)
    (record,) = [r for r in read_localizations(workspace.localizations) if r["query"] == sorted(street.poses)[4]]
    assert record["status"] in ("refined", "verified") and record["steps"][-1]["outcome"] == "accepted"
    found = read_poses(workspace.poses)[record["query"]]
    assert np.linalg.norm(found.centre - street.poses[record["query"]].centre) < 0.1  # metres, 10 m from the facades
    assert (work / "runs/default/report.html").is_file() and (work / "labels/instances.html").is_file()
    assert main(command) == 0
    assert capsys.readouterr().out.count("[reused]") >= 10, "the same command goes on from what is there"


def test_the_notebook_does_the_same_step_by_step(tmp_path: Path):
    write_street(tmp_path / "photos")
    paths = {"LBR_PHOTOS": str(tmp_path / "photos"), "LBR_WORKSPACE": str(tmp_path / "work")}
    told = run_notebook("own_photographs", {**paths, "LBR_OVERRIDES": " ".join(SHORT)})
    assert "12 photographs to map" in told and "instances from" in told and "photographs compared (" in told
    assert "refine: " in told, "the last cell localizes one photograph by itself"
