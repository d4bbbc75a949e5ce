import shutil
from pathlib import Path

import pytest
from PIL import Image

from lbr.datasets import load_dataset
from lbr.datasets.folder import FolderSettings
from lbr.datasets.reading import listed_queries
from lbr.errors import DataError
from lbr.geometry.camera import guess_camera
from lbr.io.colmap import build_model, write_model
from lbr.io.text_lists import write_query_list
from tests.synthetic import CAMERA, PHOTOGRAPH, RenderedScene


def load(root: Path, **options):
    return load_dataset(FolderSettings(root=root, **options))


def test_a_whole_dataset(scene: RenderedScene):
    found = load(scene.root)
    assert found.db_names == sorted(scene.db) and len(found.poses) == 7
    assert {q.name: q.camera for q in found.queries} == dict.fromkeys(scene.queries, scene.camera)
    assert {q.name: q.condition for q in found.queries}["query/night/new photo 1.b.png"] == "night"
    assert found.truth == scene.root / "gt.txt" and found.problems == ()
    for name in scene.db:
        assert abs(found.poses[name].matrix - scene.poses[name].matrix).max() < 1e-12


def test_without_a_query_list_every_image_of_the_query_folder_is_one(scene: RenderedScene):
    found = load(scene.root, queries=None)
    assert [q.name for q in found.queries] == sorted(scene.queries)
    assert {q.camera for q in found.queries} == {None}


def test_queries_in_no_folder_of_a_condition_are_no_total(own_scene: Path):
    """Beside others they are 'other': the scores' 'all' is of all conditions together."""
    shutil.rmtree(own_scene / "images/query")
    for name in ("a.png", "night/b.png"):
        (own_scene / "images/query" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 48)).save(own_scene / "images/query" / name)
    assert [q.condition for q in load(own_scene, queries=None).queries] == ["other", "night"]
    shutil.rmtree(own_scene / "images/query/night")
    assert [q.condition for q in load(own_scene, queries=None).queries] == ["all"]


def test_queries_of_several_lists_come_in_their_order(tmp_path: Path):
    """The first list that has a query says its camera, too."""
    write_query_list(tmp_path / "day.txt", {"query/1.jpg": CAMERA, "query/2.jpg": CAMERA})
    write_query_list(tmp_path / "night.txt", {"query/2.jpg": PHOTOGRAPH, "query/3.jpg": PHOTOGRAPH})
    found = listed_queries([tmp_path / "day.txt", tmp_path / "night.txt"], [])
    assert [(q.name, q.camera) for q in found] == [
        ("query/1.jpg", CAMERA), ("query/2.jpg", CAMERA), ("query/3.jpg", PHOTOGRAPH)
    ]  # fmt: skip


def test_without_a_query_folder_there_are_no_queries(scene: RenderedScene):
    assert load(scene.root, queries=None, query_folder=Path("none")).queries == ()


def test_without_a_truth_there_is_none(own_scene: Path):
    (own_scene / "gt.txt").unlink()
    assert load(own_scene).truth is None and load(own_scene, ground_truth=None).truth is None
    assert load(own_scene).problems == ()


def test_a_truth_that_is_named_and_not_there_is_a_problem(own_scene: Path):
    found = load(own_scene, ground_truth=Path("poses.txt"))
    assert found.truth is None
    assert [p.what for p in found.problems] == [str(own_scene / "poses.txt")]
    assert "relative to dataset.root" in found.problems[0].why


def test_photographs_that_are_queries_are_not_mapped_and_it_is_said(own_scene: Path, scene: RenderedScene):
    first = min(scene.db)
    (own_scene / "queries.txt").write_text(f"{first}\n{scene.queries[0]}\n")
    found = load(own_scene)
    assert first not in found.cameras and first not in found.poses and len(found.cameras) == len(scene.db) - 1
    assert found.remarks == ("1 of the photographs are queries, and not mapped",) and found.problems == ()
    (own_scene / "queries.txt").write_text(f"{scene.queries[0]}\n")
    assert load(own_scene).remarks == ()


def test_without_a_model_cameras_are_guessed_or_from_exif(own_scene: Path):
    picture = Image.open(own_scene / "images/db/00.png").convert("RGB")
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 36
    picture.save(own_scene / "images/db/exif.jpg", exif=exif)
    (own_scene / "images/db/text.jpg").write_text("no image")
    found = load(own_scene, model=None)
    assert found.poses is None and found.model_files == []
    assert (found.cameras["db/00.png"].source, found.cameras["db/00.png"].focal[0]) == ("guess", 1.2 * 480)
    assert (found.cameras["db/exif.jpg"].source, found.cameras["db/exif.jpg"].focal[0]) == ("exif", 480)
    assert [p.what for p in found.problems] == ["db/text.jpg"] and "db/text.jpg" not in found.cameras


@pytest.mark.parametrize("model", [None, "3D-models"])
def test_one_photograph_in_two_formats_is_mapped_once(own_scene: Path, scene: RenderedScene, model: str | None):
    """They would share a label image; a telephone leaves IMG_1.heic and IMG_1.jpg."""
    Image.open(own_scene / "images/db/00.png").convert("RGB").save(own_scene / "images/db/00.jpg")
    names = [*scene.db, "db/00.jpg"]
    poses = {name: scene.poses[name.replace(".jpg", ".png")] for name in names}
    write_model(own_scene / "3D-models", build_model(dict.fromkeys(names, PHOTOGRAPH), poses))
    found = load(own_scene, model=model)
    twins = {"db/00.png", "db/00.jpg"}
    (problem,), (kept,) = found.problems, twins & found.cameras.keys()
    assert {problem.what} == twins - {kept} and problem.why == f"left out: differs from {kept} in its suffix alone"
    assert found.poses is None or found.poses.keys() == found.cameras.keys()


def test_photographs_that_were_resized_have_their_cameras_scaled_and_it_is_said(own_scene: Path, scene: RenderedScene):
    """As `images_2` beside `images`; of another shape than the camera is none."""
    smaller, wrong, *others = sorted(scene.db)
    for name, size in ((smaller, (240, 180)), (wrong, (320, 180))):
        picture = Image.open(own_scene / "images" / name)
        picture.resize(size).save(own_scene / "images" / name)
    found = load(own_scene)
    assert found.cameras == {smaller: scene.camera.scaled(240, 180), **dict.fromkeys(others, scene.camera)}
    assert found.poses.keys() == found.cameras.keys()
    resized = f"1 of 7 photographs were resized ({smaller} is 240x180, its camera 480x360); their intrinsics are scaled"
    shape = f"{wrong}: is 320x180, its camera 480x360, which is another shape; left out"
    assert {str(problem) for problem in found.problems} == {f"cameras: {resized}", shape}


def test_photographs_say_of_their_cameras_what_they_say_also_where_a_model_gives_them(own_scene: Path):
    """A query of the same camera says the same. Of a photograph that cannot be read nothing is said."""
    names = load(own_scene).db_names
    (own_scene / "images" / names[0]).write_text("no image")
    found = load(own_scene)
    said = found.said_cameras
    assert said.keys() == found.cameras.keys() - {names[0]} and {c.source for c in found.cameras.values()} == {"given"}
    assert set(said.values()) == {guess_camera(480, 360)}


def test_images_of_the_model_that_are_missing_are_one_problem(own_scene: Path):
    for name in ("00.png", "06.png"):
        (own_scene / "images/db" / name).unlink()
    found = load(own_scene)
    assert len(found.cameras) == len(found.poses) == 5
    assert (
        len(found.problems) == 1 and "2 of 7 images" in str(found.problems[0]) and "db/00.png" in str(found.problems[0])
    )


def test_a_model_none_of_whose_images_is_there_is_said(own_scene: Path):
    shutil.rmtree(own_scene / "images/db")
    with pytest.raises(DataError, match=r"none of the 7 images of .* is there \(first: db/00.png\)"):
        load(own_scene)


def test_wrong_lines_of_the_query_list_are_problems(own_scene: Path):
    with (own_scene / "queries.txt").open("a") as file:
        file.write("query/x.png PINHOL 640 480 1 2 3 4\n")
    found = load(own_scene)
    assert len(found.queries) == 3
    assert len(found.problems) == 1 and "PINHOL" in str(found.problems[0])


@pytest.mark.parametrize("missing", ["images", "3D-models", "queries.txt"])
def test_what_is_missing_is_named(own_scene: Path, missing: str):
    path = own_scene / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError, match=missing):
        load(own_scene)


def test_an_empty_folder_of_images_is_said(tmp_path: Path):
    (tmp_path / "images" / "db").mkdir(parents=True)
    with pytest.raises(DataError, match="no images to map"):
        load(tmp_path, model=None, queries=None)


def test_a_reconstructed_query_is_no_query(own_scene: Path):
    """db_folder may be all of images/; without a folder of queries in it nothing is left to localize."""
    found = load(own_scene, model=None, db_folder=Path("."), query_folder=Path("none"), queries=None)
    assert len(found.cameras) == 10 and found.queries == ()


def test_held_out_photographs_are_queries_with_the_models_cameras(tmp_path: Path, scene: RenderedScene):
    held = sorted(scene.db)[1:3]
    (tmp_path / "held.txt").write_text("".join(f"{name}\n" for name in held))
    found = load(scene.root, held_out=tmp_path / "held.txt")
    assert found.db_names == [name for name in sorted(scene.db) if name not in held]
    assert set(found.poses) == set(found.db_names)
    assert {q.name: q.camera for q in found.queries if q.name in held} == dict.fromkeys(held, scene.camera)
    without = load(scene.root, held_out=tmp_path / "held.txt", model=None, queries=None)
    assert without.db_names == found.db_names
    assert {q.camera for q in without.queries if q.name in held} == {None}


@pytest.mark.parametrize(
    ("lines", "message"), [(["db/none.png"], "none.png is not one of the 7"), (None, "no such list"), ("all", "all 7")]
)
def test_a_wrong_list_of_held_out_photographs_is_said(tmp_path: Path, scene: RenderedScene, lines, message: str):
    path = tmp_path / "held.txt"
    if lines is not None:
        path.write_text("\n".join(sorted(scene.db) if lines == "all" else lines))
    with pytest.raises(DataError, match=message):
        load(scene.root, held_out=path)


def test_queries_below_the_photographs_are_not_mapped(own_scene: Path):
    (own_scene / "images").rename(own_scene / "moved")
    for picture in (own_scene / "moved/db").iterdir():
        picture.rename(own_scene / "moved" / picture.name)
    (own_scene / "moved/db").rmdir()
    found = load(own_scene, images=Path("moved"), model=None, queries=None)
    assert found.db_names and not any(name.startswith("query/") for name in found.db_names)
    assert all(q.name.startswith("query/") for q in found.queries)
