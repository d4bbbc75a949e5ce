import json

import cv2
import numpy as np
import pytest

from lbr.io.colmap import posed_cameras, read_model
from lbr.io.images import image_size, list_images
from lbr.io.text_lists import read_poses, read_query_list
from lbr.town import TownConfig, write_town

SMALL = {"size": "tiny", "width": 64, "height": 48, "texel_m": 0.1}


@pytest.fixture(scope="module")
def aachen(tmp_path_factory):
    root = tmp_path_factory.mktemp("aachen")
    config = TownConfig(**SMALL, num_db=3, num_sequence=2, num_day=1, num_night=1)
    return config, root, write_town(config, root)


@pytest.fixture(scope="module")
def robotcar(tmp_path_factory):
    root = tmp_path_factory.mktemp("robotcar")
    return root, write_town(TownConfig(**SMALL, layout="robotcar", num_stations=2, num_per_traverse=1), root)


def colour_ids(path):
    mask = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(int)
    return mask[..., 0] * 65536 + mask[..., 1] * 256 + mask[..., 2]


def read_vocabulary(dataset):
    lines = (dataset / "global_seg_instance" / "vocabulary.txt").read_text().splitlines()
    return [tuple(int(v) for v in line.split()) for line in lines]


def test_aachen_layout(aachen):
    _, root, summary = aachen
    dataset = root / "aachen_v1.1"
    assert summary.dataset == dataset and summary.num_images == summary.num_new == 7
    assert list_images(dataset / "images") == [
        "db/0001.jpg", "db/0002.jpg", "db/0003.jpg", "query/day/milestone/0001.jpg", "query/night/nexus5x/0001.jpg",
        "sequences/walk1/0001.jpg", "sequences/walk1/0002.jpg",
    ]  # fmt: skip
    cameras, poses = posed_cameras(read_model(dataset / "3D-models"))
    truth = read_poses(root / "ground_truth" / "poses.txt")
    assert set(cameras) == {n for n in list_images(dataset / "images") if not n.startswith("query")}
    for name, pose in poses.items():
        np.testing.assert_allclose(pose.matrix, truth[name].matrix, atol=1e-9)
        assert image_size(dataset / "images" / name) == cameras[name].size
    assert list_images(dataset / "stylized" / "images") == sorted(cameras)


def test_query_lists_hold_the_right_cameras(aachen):
    _, root, _ = aachen
    for part, model in (("day", "SIMPLE_RADIAL"), ("night", "OPENCV")):
        cameras, problems = read_query_list(
            root / "aachen_v1.1" / "queries" / f"{part}_time_queries_with_intrinsics.txt"
        )
        assert not problems and [c.model for c in cameras.values()] == [model]
        assert all((root / "aachen_v1.1" / "images" / name).exists() for name in cameras)


def test_masks_use_the_vocabulary(aachen):
    _, root, _ = aachen
    dataset = root / "aachen_v1.1"
    vocabulary = read_vocabulary(dataset)
    assert vocabulary[0] == (0, 0) and [label for _, label in vocabulary] == list(range(len(vocabulary)))
    known = {colour for colour, _ in vocabulary}
    masks = [
        p for base in (dataset / "global_seg_instance", root / "ground_truth" / "masks") for p in base.rglob("*.png")
    ]
    assert len(masks) == 7
    for path in masks:
        seen = set(np.unique(colour_ids(path)))
        assert seen <= known and len(seen) > 1


def test_depth_is_in_millimetres_of_the_photograph(aachen):
    _, root, _ = aachen
    for path in (root / "ground_truth" / "depth").rglob("*.png"):
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert depth.dtype == np.uint16 and depth.shape == (48, 64)
        assert 1500 < np.median(depth[depth > 0]) < 40000


def test_truth_names_instances_and_twins(aachen):
    _, root, summary = aachen
    instances = json.loads((root / "ground_truth" / "instances.json").read_text())
    assert [i["instance"] for i in instances] == list(range(1, summary.num_instances + 1))
    assert [i["colour"] for i in instances] == [c for c, _ in read_vocabulary(root / "aachen_v1.1")][1:]
    assert json.loads((root / "ground_truth" / "twins.json").read_text())


def test_a_second_run_takes_no_photograph_and_a_lost_one_comes_back_the_same(aachen):
    config, root, _ = aachen
    image = root / "aachen_v1.1" / "images" / "db" / "0002.jpg"
    before = image.read_bytes()
    assert write_town(config, root).num_new == 0
    image.unlink()
    assert write_town(config, root).num_new == 1
    assert image.read_bytes() == before


@pytest.mark.slow
def test_workers_change_nothing(aachen, tmp_path):
    config, root, _ = aachen
    write_town(config, tmp_path, workers=2)
    files = [p.relative_to(root) for p in root.rglob("*") if p.is_file()]
    assert len(files) > 30
    for file in files:
        assert (root / file).read_bytes() == (tmp_path / file).read_bytes(), file


def test_robotcar_layout(robotcar):
    root, summary = robotcar
    dataset = root / "RobotCar-Seasons"
    assert summary.num_images == 3 * (2 + 7)
    cameras, poses = posed_cameras(read_model(dataset / "3D-models" / "sfm-sift"))
    assert len(cameras) == 6 and {name.split("/")[0] for name in cameras} == {"overcast-reference"}
    for condition in ("dawn", "dusk", "night", "night-rain", "rain", "snow", "sun"):
        listed, problems = read_query_list(dataset / "queries" / f"{condition}_queries_with_intrinsics.txt")
        assert not problems and {name.split("/")[1] for name in listed} == {"left", "rear", "right"}
        assert all((dataset / "images" / name).exists() for name in listed)
    assert len(list_images(dataset / "stylized" / "overcast-reference")) == 6
    assert len(list((dataset / "global_seg_instance" / "overcast-reference" / "rear").glob("*.png"))) == 2


def test_extrinsics_relate_the_cameras_of_a_stop(robotcar):
    root, _ = robotcar
    dataset = root / "RobotCar-Seasons"
    _, poses = posed_cameras(read_model(dataset / "3D-models" / "sfm-sift"))
    stamp = sorted(name.split("/")[2] for name in poses)[0]
    vehicle = []
    for name in ("left", "rear", "right"):
        vehicle_from_camera = np.loadtxt(dataset / "extrinsics" / f"{name}_extrinsics.txt")
        world_from_camera = np.vstack([poses[f"overcast-reference/{name}/{stamp}"].inverse().matrix, [0, 0, 0, 1]])
        vehicle.append(world_from_camera @ np.linalg.inv(vehicle_from_camera))
    np.testing.assert_allclose(vehicle[0], vehicle[1], atol=1e-9)
    np.testing.assert_allclose(vehicle[0], vehicle[2], atol=1e-9)
    assert (dataset / "intrinsics" / "rear_intrinsics.txt").read_text().startswith("fx ")
