import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lbr.errors import DataError
from lbr.geometry.camera import guess_camera
from lbr.geometry.pose import Pose, pose_error
from lbr.geometry.similarity import Similarity
from lbr.io.colmap import build_model, posed_cameras, project, read_model, read_models, write_models
from lbr.io.colmap_arrays import model_arrays
from lbr.localization.localizer import Localizer
from lbr.mapping.map import Map, build_map, open_map, write_map
from lbr.mapping.places import in_one_frame, join_places, part_of
from lbr.mapping.sfm import SfmSettings, _disjoint, structure_from_motion
from tests.mapping.test_sfm import matched  # noqa: F401  (a fixture)
from tests.synthetic import (
    CAMERA,
    ExactWorld,
    RenderedScene,
    arc_poses,
    box_points,
    colmap_model,
    random_rotation,
    visible,
)  # fmt: skip

SECOND = Pose.from_quaternion([0.3, 0.5, -0.2, 0.8], [3.0, -7.0, 11.0])  # the frame of the second place


def renamed(world: ExactWorld, name: str) -> ExactWorld:
    poses = {f"{name.format(i)}": pose for i, pose in enumerate(world.poses.values())}
    return dataclasses.replace(world, poses=poses)


@pytest.fixture(scope="module")
def worlds() -> list[ExactWorld]:
    """Two places, whose images' names interleave: a0 b0 a1 ...; the second is smaller and its points are others."""
    return [renamed(ExactWorld.make(200, 5, 1), "{}a.png"), renamed(ExactWorld.make(150, 4, 2), "{}b.png")]


@pytest.fixture(scope="module")
def two_places(worlds: list[ExactWorld]) -> Map:
    arrays, place = join_places([world.model() for world in worlds])
    seen = {n: visible(w.camera, pose, w.points)[1] for w in worlds for n, pose in w.poses.items()}
    of = {n: w for w in worlds for n in w.poses}
    return build_map(arrays, [of[n].descriptors[seen[n]] for n in arrays.names], {}, place, "model")


def test_images_are_sorted_and_keep_their_observations_and_points(worlds: list[ExactWorld], two_places: Map):
    assert list(two_places.names) == sorted([*worlds[0].poses, *worlds[1].poses])
    assert two_places.place.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0] and two_places.num_places == 2
    for number, world in enumerate(worlds):
        for name, pose in world.poses.items():
            image = two_places.index_of(name)
            xy, seen = visible(world.camera, pose, world.points)
            np.testing.assert_array_equal(two_places.features(image).keypoints, xy.astype(np.float32))
            np.testing.assert_array_equal(
                two_places.points[two_places.point_index[two_places.observations(image)]], world.points[seen]
            )
            np.testing.assert_array_equal(two_places.pose(image).matrix, pose.matrix)
        assert [two_places.names[i] for i in two_places.images_of(number)] == list(world.poses)


def test_places_in_one_frame_are_seen_as_before(worlds: list[ExactWorld], two_places: Map):
    rng = np.random.default_rng(4)
    frames = {k: Similarity(2.0 + k, random_rotation(rng), rng.normal(size=3) * 100) for k in (0, 1)}
    moved = in_one_frame(two_places, frames)
    assert moved.units == "metres" and two_places.units == "model"
    for place, world in enumerate(worlds):
        for name, pose in world.poses.items():
            image = moved.index_of(name)
            np.testing.assert_allclose(moved.centres[image], frames[place].apply(pose.centre))
            rows = moved.observations(image)
            seen = project(world.camera, moved.pose(image), moved.points[moved.point_index[rows]])
            np.testing.assert_allclose(seen, moved.keypoints[rows], atol=1e-3)


def test_a_part_is_the_map_of_its_images(worlds: list[ExactWorld], two_places: Map):
    """A place taken out of the map is the place by itself; of some images, tracks and covisibility are theirs alone."""
    for number, world in enumerate(worlds):
        part, points = part_of(two_places, two_places.images_of(number))
        alone = build_map(world.model(), [two_places.features(two_places.index_of(n)).descriptors for n in world.poses],
                          {}, units="model")  # fmt: skip
        assert part.names == alone.names and part.units == "model" and set(part.place.tolist()) == {number}
        for array in ("poses", "offsets", "keypoints", "descriptors"):
            np.testing.assert_array_equal(getattr(part, array), getattr(alone, array), array)
        assert (part.covisibility != alone.covisibility).nnz == 0
        np.testing.assert_array_equal(points, two_places.points_of(number))
        np.testing.assert_array_equal(part.points[part.point_index], alone.points[alone.point_index])
        np.testing.assert_array_equal(
            part.track_lengths[part.point_index], alone.track_lengths[alone.point_index], "seen by all of its images"
        )
    pair, points = part_of(two_places, np.array([0, 2]))
    assert pair.names == (two_places.names[0], two_places.names[2]) and pair.track_lengths.max() == 2
    shared = np.intersect1d(*(two_places.point_index[two_places.observations(i)] for i in (0, 2)))
    np.testing.assert_array_equal(points[pair.track_lengths == 2], shared)
    assert pair.covisibility[0, 1] == len(shared)
    assert part_of(two_places, np.arange(len(two_places)))[0] is two_places


def test_nothing_links_two_places(two_places: Map):
    assert two_places.covisibility[two_places.place == 0][:, two_places.place == 1].nnz == 0
    assert two_places.covisibility[two_places.place == 1][:, two_places.place == 1].nnz == 12
    assert not set(two_places.points_of(0)) & set(two_places.points_of(1))


def test_a_query_is_localized_in_its_place_and_says_which(worlds: list[ExactWorld], two_places: Map):
    localizer = Localizer(two_places)
    for number, world in enumerate(worlds):
        truth = arc_poses(9, seed=5)[4]
        result = localizer.localize_features(world.features(truth), world.camera)
        assert result.status == "refined" and result.place == number
        assert result.reference in world.poses
        metres, radians = pose_error(result.estimate.pose, truth)
        assert metres < 1e-4 and radians < 1e-5


def test_an_unknown_focal_length_is_estimated_in_each_place(worlds: list[ExactWorld], two_places: Map):
    localizer, truth = Localizer(two_places), arc_poses(9, seed=5)[4]
    for number, world in enumerate(worlds):
        result = localizer.localize_features(world.features(truth), guess_camera(640, 480))
        assert result.status == "refined" and result.place == number
        assert result.camera.focal[0] == pytest.approx(600, rel=0.02), "guessed 768; without the distortion"
        assert pose_error(result.estimate.pose, truth)[0] < 0.1


def test_one_model_stays_as_it_is(worlds: list[ExactWorld]):
    model = worlds[0].model()
    joined, place = join_places([model])
    assert joined is model and place.tolist() == [0] * 5


def test_an_image_in_two_models_is_refused(worlds: list[ExactWorld]):
    with pytest.raises(ValueError, match="belongs to one place"):
        join_places([worlds[0].model(), worlds[0].model()])


def test_places_and_units_survive_the_disk(tmp_path: Path, two_places: Map):
    write_map(tmp_path / "map", two_places)
    found = open_map(tmp_path / "map")
    assert found.place.dtype == np.int32 and found.units == "model"
    np.testing.assert_array_equal(found.place, two_places.place)


def test_places_of_another_number_of_images_are_broken(tmp_path: Path, world: ExactWorld):
    write_map(tmp_path / "map", world.map())
    np.save(tmp_path / "map/place.npy", np.zeros(3, np.int32))
    with pytest.raises(DataError, match="place.npy is not of its 5 images"):
        open_map(tmp_path / "map")


def test_the_first_model_lies_where_a_single_one_would(tmp_path: Path):
    cameras = {f"{i}.png": CAMERA for i in range(4)}
    models = [build_model({n: cameras[n] for n in names}, dict.fromkeys(cameras, SECOND))
              for names in (["0.png", "1.png"], ["2.png"], ["3.png"])]  # fmt: skip
    write_models(tmp_path / "sfm", models)
    assert [m.num_reg_images() for m in read_models(tmp_path / "sfm")] == [2, 1, 1]
    assert read_model(tmp_path / "sfm").num_reg_images() == 2
    write_models(tmp_path / "sfm", models[:1])
    assert len(read_models(tmp_path / "sfm")) == 1


def test_an_image_that_two_models_share_stays_in_the_larger():
    names = [f"{i}.png" for i in range(8)]
    poses = dict(zip(names, arc_poses(8), strict=True))
    large = colmap_model(CAMERA, {n: poses[n] for n in names[:5]}, box_points(50))
    small = colmap_model(CAMERA, {n: poses[n] for n in names[4:]}, box_points(50))
    first, second = _disjoint([small, large], 3)
    assert set(posed_cameras(first)[1]) == set(names[:5]) and set(posed_cameras(second)[1]) == set(names[5:])
    arrays, place = join_places([model_arrays(first), model_arrays(second)])
    assert arrays.names == tuple(names) and place.tolist() == [0] * 5 + [1] * 3
    assert len(_disjoint([small, large], 4)) == 1, "three are left of the smaller one"


def test_photographs_of_two_places_give_two_models(scene: RenderedScene, matched: tuple):  # noqa: F811
    """The same place twice under other names, not matched with each other; two images fewer the second time."""
    keypoints, matches = matched
    other = {name: f"other/{name}" for name in scene.db[:5]}
    keypoints = {**keypoints, **{new: keypoints[name] for name, new in other.items()}}
    again = {(other[a], other[b]): m for (a, b), m in matches.items() if {a, b} <= other.keys()}
    cameras = dict.fromkeys(keypoints, scene.camera)
    models = structure_from_motion(cameras, keypoints, {**matches, **again}, SfmSettings()).models
    assert [set(posed_cameras(model)[1]) for model in models] == [set(scene.db), set(other.values())]
