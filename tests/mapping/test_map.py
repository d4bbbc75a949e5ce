import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lbr.errors import DataError
from lbr.geometry.camera import guess_camera
from lbr.mapping.map import ARRAYS, Map, build_map, covisibility, open_map, write_map
from tests.synthetic import ExactWorld, unit_rows


@pytest.fixture(scope="module")
def partial(world: ExactWorld) -> tuple[Map, list[np.ndarray], np.ndarray]:
    """A map of a model in which a third of the keypoints, and all of the last image's, have no point."""
    model = world.model()
    index = model.point_index.copy()
    index[np.random.default_rng(0).random(len(index)) < 0.33] = -1
    index[model.offsets[-2] :] = -1
    descriptors = [unit_rows(n, 16, np.random.default_rng(i)) for i, n in enumerate(np.diff(model.offsets))]
    model = replace(model, point_index=index)
    return build_map(model, descriptors, {"name": "sift"}), descriptors, index


def test_only_keypoints_with_a_point_are_kept_each_with_its_own_descriptor(world: ExactWorld, partial: tuple):
    scene, descriptors, index = partial
    model = world.model()
    for i in range(len(scene)):
        rows = np.arange(model.offsets[i], model.offsets[i + 1])
        kept = index[rows] >= 0
        found = scene.features(i)
        np.testing.assert_array_equal(found.keypoints, model.keypoints[rows[kept]])
        np.testing.assert_array_equal(found.descriptors, descriptors[i][kept].astype(np.float16))
        np.testing.assert_array_equal(scene.point_index[scene.observations(i)], index[rows[kept]])
        assert found.image_size == world.camera.size


def test_an_image_without_points_stays_with_nothing_to_match(partial: tuple):
    scene = partial[0]
    assert len(scene) == 5 and len(scene.features(4)) == 0
    assert len(scene.covisible(4)[0]) == 0


def test_poses_cameras_and_track_lengths(world: ExactWorld, partial: tuple):
    scene, _, index = partial
    for name, pose in world.poses.items():
        np.testing.assert_array_equal(scene.pose(scene.index_of(name)).matrix, pose.matrix)
        assert scene.camera(scene.index_of(name)) == world.camera and name in scene
    np.testing.assert_array_equal(scene.track_lengths, np.bincount(index[index >= 0], minlength=len(world.points)))
    assert "db/9.png" not in scene
    with pytest.raises(DataError, match="the map has no image 'db/9.png'"):
        scene.index_of("db/9.png")


def test_covisibility_is_the_number_of_shared_points(partial: tuple):
    scene = partial[0]
    sets = [set(scene.point_index[scene.observations(i)].tolist()) for i in range(len(scene))]
    expected = np.array([[len(a & b) if a is not b else 0 for b in sets] for a in sets])
    np.testing.assert_array_equal(scene.covisibility.toarray(), expected)
    for i in range(len(scene)):
        others, counts = scene.covisible(i)
        order = sorted((j for j in range(len(scene)) if expected[i, j]), key=lambda j: (-expected[i, j], j))
        assert others.tolist() == order and counts.tolist() == [expected[i, j] for j in order]


def test_a_point_seen_twice_in_an_image_is_shared_once():
    shared = covisibility(np.array([0, 3, 5]), np.array([0, 0, 1, 0, 0]), 2)
    assert shared.toarray().tolist() == [[0, 1], [1, 0]]


def test_round_trip_through_a_folder(tmp_path: Path, partial: tuple):
    scene = partial[0]
    write_map(tmp_path / "map", scene)
    found = open_map(tmp_path / "map")
    assert (found.names, found.cameras, found.extractor) == (scene.names, scene.cameras, scene.extractor)
    for name in ARRAYS:
        if not name.startswith("covisible"):
            expected = getattr(scene, name)
            assert getattr(found, name).dtype == expected.dtype
            np.testing.assert_array_equal(getattr(found, name), expected)
    assert (found.covisibility != scene.covisibility).nnz == 0
    for i in range(len(scene)):
        np.testing.assert_array_equal(found.covisible(i)[0], scene.covisible(i)[0])


def test_an_open_map_stays_on_disk_and_cannot_be_written(tmp_path: Path, partial: tuple):
    write_map(tmp_path / "map", partial[0])
    found = open_map(tmp_path / "map")
    for array in (found.descriptors, found.points, found.keypoints, found.covisibility.data):
        assert isinstance(array, np.memmap) or isinstance(array.base, np.memmap)
        with pytest.raises(ValueError):
            array[:1] = 0
    assert found.descriptors.dtype == np.float16


def test_a_model_without_points_is_said(world: ExactWorld):
    model = replace(world.model(), points=np.zeros((0, 3)), point_index=np.full(len(world.model().point_index), -1))
    with pytest.raises(DataError, match="the model has no points"):
        build_map(model, [np.zeros((n, 4)) for n in np.diff(model.offsets)], {})


def test_descriptors_of_other_keypoints_are_said(world: ExactWorld):
    model = world.model()
    counts = np.diff(model.offsets)
    counts[1] -= 1
    with pytest.raises(DataError, match=r"db/1.png: \d+ descriptors for \d+ keypoints"):
        build_map(model, [np.zeros((n, 4)) for n in counts], {})


def damaged(tmp_path: Path, scene: Map) -> Path:
    write_map(tmp_path / "map", scene)
    return tmp_path / "map"


@pytest.mark.parametrize("name", ["descriptors", "poses", "covisible_indices"])
@pytest.mark.parametrize("damage", ["missing", "cut", "text"])
def test_a_broken_map_is_one_clear_line(tmp_path: Path, partial: tuple, name: str, damage: str):
    path = damaged(tmp_path, partial[0]) / f"{name}.npy"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100] if damage == "cut" else b"this is text")
    with pytest.raises(DataError, match="broken map.*reconstruct again") as error:
        open_map(tmp_path / "map")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "header", ["", '{"format": "lbr-map", "version": 2', "[]", '{"format": "lbr-map", "version": 2}']
)
def test_a_broken_header_is_one_clear_line(tmp_path: Path, partial: tuple, header: str):
    (damaged(tmp_path, partial[0]) / "map.json").write_text(header)
    with pytest.raises(DataError, match="map") as error:
        open_map(tmp_path / "map")
    assert "\n" not in str(error.value)


def test_what_photographs_say_of_their_cameras_survives_the_disk(tmp_path: Path, partial: tuple):
    names, exif = partial[0].names, guess_camera(640, 480, 610, "Acme 5 mm")
    said = {names[0]: exif, names[2]: exif, names[1]: guess_camera(640, 480)}
    cameras = tuple(replace(camera, source="map") for camera in partial[0].cameras)
    found = open_map(damaged(tmp_path, replace(partial[0], said=said, cameras=cameras)))
    assert found.said == said and found.cameras == cameras


def test_another_version_and_no_map_are_said(tmp_path: Path, partial: tuple):
    path = damaged(tmp_path, partial[0]) / "map.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    with pytest.raises(DataError, match="is lbr-map version 99, wanted lbr-map version 2"):
        open_map(tmp_path / "map")
    with pytest.raises(DataError, match="no map there"):
        open_map(tmp_path)
