"""Aachen Day-Night and RobotCar-Seasons: the spellings of their archives, and what is missing said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lbr.datasets.aachen import AachenSettings, load_aachen
from lbr.datasets.robotcar import RobotCarSettings, load_robotcar
from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import build_model, write_model
from lbr.io.images import write_image
from lbr.io.text_lists import write_query_list

CAMERA = Camera("PINHOLE", 40, 30, (35.0, 35.0, 20.0, 15.0))


def write_images(root: Path, names: list[str]) -> None:
    for name in names:
        write_image(root / name, np.full((30, 40, 3), len(name), np.uint8))


def model(folder: Path, names: list[str]) -> None:
    write_model(folder, build_model(dict.fromkeys(names, CAMERA), dict.fromkeys(names, Pose.identity())))


def aachen(root: Path, images: str = "images/images_upright", model_at: str = "3D-models", labels: str = "") -> None:
    names = ["db/1.jpg", "sequences/nexus4_sequences/sequence_1/f 001.jpg"]
    night = "query/night/nexus5x/IMG 1.jpg"
    write_images(root / images, [*names, night, "query/day/milestone/2.jpg"])
    model(root / model_at, names)
    write_query_list(root / "queries/night_time_queries_with_intrinsics.txt", {night: CAMERA})
    write_query_list(root / "queries/day_time_queries_with_intrinsics.txt", {"query/day/milestone/2.jpg": CAMERA})
    if labels:
        (root / labels / "db").mkdir(parents=True)


@pytest.mark.parametrize("images", ["images/images_upright", "images"])
@pytest.mark.parametrize("model_at", ["3D-models", "3D-models/sfm-sift", "3D-models/aachen_v_1_1"])
@pytest.mark.parametrize("labels", ["global_seg_instance", "gloabl_seg_instance"])
def test_aachen_by_any_of_its_spellings(tmp_path: Path, images: str, model_at: str, labels: str):
    aachen(tmp_path, images, model_at, labels)
    found = load_aachen(AachenSettings(root=tmp_path))
    assert found.problems == () and found.image_root == tmp_path / images and found.model == tmp_path / model_at
    assert found.db_names == ["db/1.jpg", "sequences/nexus4_sequences/sequence_1/f 001.jpg"]
    assert {q.name: (q.condition, q.camera) for q in found.queries} == {
        "query/day/milestone/2.jpg": ("day", CAMERA), "query/night/nexus5x/IMG 1.jpg": ("night", CAMERA),
    }  # fmt: skip
    assert found.labels.masks == tmp_path / labels
    assert found.result_name("query/night/nexus5x/IMG 1.jpg") == "IMG 1.jpg"


def test_a_query_of_two_lists_has_the_camera_of_the_first(tmp_path: Path):
    aachen(tmp_path)
    both = ["query/day/milestone/2.jpg", "query/night/nexus5x/IMG 1.jpg"]
    other = Camera("PINHOLE", 40, 30, (50.0, 50.0, 20.0, 15.0))
    write_query_list(tmp_path / "queries/night_time_queries_with_intrinsics.txt", dict.fromkeys(both, other))
    found = load_aachen(AachenSettings(root=tmp_path)).queries
    assert len(found) == 2 and {q.name: q.camera for q in found} == dict(zip(both, (CAMERA, other), strict=True))


def test_what_aachen_lacks_is_said(tmp_path: Path):
    aachen(tmp_path)
    for lists in (tmp_path / "queries").iterdir():
        lists.unlink()
    with pytest.raises(DataError, match=r"_with_intrinsics.txt: no query list; see the README"):
        load_aachen(AachenSettings(root=tmp_path))
    with pytest.raises(DataError, match=r"no images of Aachen: looked for images/images_upright, images; set dataset"):
        load_aachen(AachenSettings(root=tmp_path / "elsewhere"))
    (tmp_path / "bare/images").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no COLMAP model .* in 3D-models, 3D-models/sfm-sift"):
        load_aachen(AachenSettings(root=tmp_path / "bare"))


def robotcar(root: Path, model_at: str = "3D-models/sfm-sift") -> None:
    names = [f"overcast-reference/{side}/10.jpg" for side in ("left", "rear", "right")]
    write_images(root / "images", [*names, "night/rear/77.jpg", "night/left/77.jpg", "dusk/rear/78.jpg"])
    model(root / model_at, names)


@pytest.mark.parametrize("model_at", ["3D-models/sfm-sift", "3D-models", "3D-models/all-merged"])
def test_robotcar_by_any_of_its_spellings(tmp_path: Path, model_at: str):
    """The rear camera alone, as published; without a list every other traverse, with the drive's intrinsics."""
    robotcar(tmp_path, model_at)
    found = load_robotcar(RobotCarSettings(root=tmp_path))
    assert found.problems == () and found.db_names == ["overcast-reference/rear/10.jpg"]
    assert {q.name: (q.condition, q.camera) for q in found.queries} == {
        "night/rear/77.jpg": ("night", CAMERA), "dusk/rear/78.jpg": ("dusk", CAMERA),
    }  # fmt: skip
    assert found.result_name("night/rear/77.jpg") == "rear/77.jpg"


def test_robotcar_of_several_cameras_says_which_stand_in_no_rig(tmp_path: Path):
    robotcar(tmp_path)
    (tmp_path / "extrinsics").mkdir()
    np.savetxt(tmp_path / "extrinsics/rear_extrinsics.txt", np.eye(4))
    found = load_robotcar(RobotCarSettings(root=tmp_path, cameras=("left", "rear")))
    assert {q.name for q in found.queries} == {"night/rear/77.jpg", "night/left/77.jpg", "dusk/rear/78.jpg"}
    assert [q.name for q in found.queries if q.place] == ["dusk/rear/78.jpg", "night/rear/77.jpg"]
    assert len(found.problems) == 1 and "the camera 'left' stands in no rig" in found.problems[0].why
    with pytest.raises(DataError, match=r"has no image of the cameras right"):
        model(tmp_path / "3D-models/sfm-sift", ["overcast-reference/rear/10.jpg"])
        load_robotcar(RobotCarSettings(root=tmp_path, cameras=("right",)))
