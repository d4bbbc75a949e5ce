from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from lbr.errors import DataError
from lbr.geometry.geodetic import enu_from_geodetic, geodetic_from_enu
from lbr.geometry.pose import Pose, rotation_angle
from lbr.geometry.similarity import Similarity
from lbr.io.exif import GpsPosition
from lbr.mapping.georeference import FILE, Georeference, read_georeferences, write_georeferences
from lbr.mapping.georeferencing import GeoreferenceSettings, georeference
from lbr.mapping.map import Map
from tests.synthetic import CAMERA, random_rotation

ORIGIN = np.array([47.05, 8.31, 436.0])
SETTINGS = GeoreferenceSettings()


def street(num: int, wide: float, seed: int = 0, pitch_deg: float = 0.0) -> dict[str, Pose]:
    """cam_from_enu of upright photographs along 60 m of a street that is `wide` metres wide, looking all around."""
    rng, found = np.random.default_rng(seed), {}
    for i in range(num):
        turn, pitch = rng.uniform(0, 2 * np.pi), np.radians(pitch_deg + rng.normal())
        z = np.array([np.sin(turn) * np.cos(pitch), np.cos(turn) * np.cos(pitch), np.sin(pitch)])
        x = np.array([np.cos(turn), -np.sin(turn), 0])
        R = np.stack([x, np.cross(z, x), z])
        centre = np.array([60 * i / num, 30 * i / num, 1.6]) + rng.uniform(-1, 1, 3) * [wide, wide, wide / 8]
        found[f"{i:02d}.jpg"] = Pose(R, -R @ centre)
    return found


def map_of(poses: dict[str, Pose], enu_from_map: Similarity, place: np.ndarray | None = None) -> Map:
    """A map without points whose frame is related to east, north, up by a similarity."""
    moved = [enu_from_map.inverse().move(pose) for pose in poses.values()]
    nothing, num = np.zeros(0, np.int32), len(poses)
    return Map(
        tuple(poses), (CAMERA,), np.zeros(num, np.int32), np.stack([p.matrix for p in moved]),
        np.zeros(num + 1, np.int64), np.zeros((0, 2), np.float32), np.zeros((0, 8), np.float16), nothing,
        np.zeros((0, 3)), np.zeros(0, np.float32), nothing, sparse.csr_matrix((num, num), dtype=np.int32),
        units="model", place=np.zeros(0, np.int32) if place is None else place,
    )  # fmt: skip


def measured(
    poses: dict[str, Pose], std_m: float, seed: int = 0, heights: bool = True, wrong: int = 0
) -> dict[str, GpsPosition]:
    """GPS of the photographs, with noise; the first `wrong` of them 40 to 200 m off."""
    rng, found = np.random.default_rng(seed), {}
    for number, (name, pose) in enumerate(poses.items()):
        enu = pose.centre + rng.normal(size=3) * std_m
        if number < wrong:
            enu += rng.uniform(40, 200, 3) * rng.choice([-1, 1], 3)
        latitude, longitude, height = geodetic_from_enu(enu, ORIGIN)
        heading = np.degrees(np.arctan2(pose.R[2, 0], pose.R[2, 1])) % 360
        found[name] = GpsPosition(latitude, longitude, height if heights else None, heading)
    return found


FRAME = Similarity(4.0, random_rotation(np.random.default_rng(5)), np.array([10.0, -20.0, 5.0]))


def errors(found: Georeference, poses: dict[str, Pose], scene: Map) -> tuple[np.ndarray, np.ndarray]:
    """Of the georeferenced db cameras: metres [I] and degrees [I]."""
    metres, degrees = [], []
    for image, pose in enumerate(poses.values()):
        moved = found.similarity.move(scene.pose(image))
        shift = geodetic_from_enu(moved.centre, found.origin)
        metres.append(np.linalg.norm(enu_from_geodetic(shift, ORIGIN) - pose.centre))
        degrees.append(np.degrees(rotation_angle(moved.R @ pose.R.T)))
    return np.array(metres), np.array(degrees)


def test_another_origin_means_the_same_place_on_earth():
    poses = street(12, 8)
    scene = map_of(poses, FRAME)
    found = georeference(scene, 0, measured(poses, 0.5), SETTINGS)
    other = np.array([47.08, 8.25, 510.0])  # 6 km away
    points = np.random.default_rng(1).normal(size=(20, 3)) * 50
    here = geodetic_from_enu(found.similarity.apply(points), found.origin)
    there = geodetic_from_enu(found.enu_at(other).apply(points), other)
    np.testing.assert_allclose(enu_from_geodetic(there, ORIGIN), enu_from_geodetic(here, ORIGIN), atol=1e-6)
    np.testing.assert_allclose(found.enu_at(found.origin).apply(points), found.similarity.apply(points), atol=1e-6)


def test_exact_positions_place_the_map_exactly():
    poses = street(12, 8)
    scene = map_of(poses, FRAME)
    found = georeference(scene, 0, measured(poses, 0), SETTINGS)
    metres, degrees = errors(found, poses, scene)
    assert metres.max() < 1e-3 and degrees.max() < 0.02, "the tangent planes of two origins differ by as much"
    assert found.similarity.scale == pytest.approx(4, rel=1e-5) and found.outliers == ()
    assert found.horizontal_rms_m < 1e-3 and found.compass_deg == pytest.approx(0, abs=0.02)


def test_noisy_positions_with_a_quarter_wrong():
    """2 m of noise, 8 of 30 are 40 m off and more."""
    poses = street(30, 8)
    scene = map_of(poses, FRAME)
    found = georeference(scene, 0, measured(poses, 2, wrong=8), SETTINGS)
    metres, degrees = errors(found, poses, scene)
    assert set(found.outliers) == set(list(poses)[:8])
    assert metres.max() < 4 and degrees.max() < 6
    assert found.similarity.scale == pytest.approx(4, rel=0.1)
    assert 1.5 < found.horizontal_rms_m < 4


def test_a_height_may_be_off_twice_as_far_and_one_that_is_not_known_is_never_off():
    poses = street(30, 8)
    high = poses["02.jpg"]
    poses["02.jpg"] = Pose(high.R, -high.R @ (high.centre + [0, 0, 40]))
    positions = measured(poses, 0)
    for name, rise in (("00.jpg", 25), ("01.jpg", 15)):
        positions[name] = replace(positions[name], height=positions[name].height + rise)
    positions["02.jpg"] = replace(positions["02.jpg"], height=None)
    assert georeference(map_of(poses, FRAME), 0, positions, SETTINGS).outliers == ("00.jpg",)


def test_a_straight_track_is_kept_level_by_gravity():
    """Positions on a line say nothing of the roll about it; the cameras are upright to a degree."""
    poses = street(20, 0)
    scene = map_of(poses, FRAME)
    found = georeference(scene, 0, measured(poses, 0.5), SETTINGS)
    assert found.uses_gravity
    assert errors(found, poses, scene)[1].max() < 2
    up = np.array([np.linalg.inv(FRAME.R)[:, 2]])
    assert np.degrees(np.arccos((found.similarity.R @ up[0])[2])) < 1.5


def test_the_roll_about_a_straight_track_is_as_sure_as_gravity():
    poses = street(20, 0)
    found = georeference(map_of(poses, FRAME), 0, measured(poses, 0.5), SETTINGS)
    roll = np.sqrt(np.linalg.eigvalsh(found.covariance[:2, :2]).max())
    assert np.degrees(roll) == pytest.approx(2, rel=0.1)


def test_positions_that_fix_the_tilt_are_believed_where_cameras_all_look_down():
    """A drone's photographs: their upright is no gravity. Wide, with heights that differ."""
    rng, poses = np.random.default_rng(1), {}
    tilted = Pose.from_quaternion([0.8, 0.6, 0, 0], [0, 0, 0]).R  # 74 degrees
    for i, (name, pose) in enumerate(street(30, 30).items()):
        R, centre = pose.R @ tilted, pose.centre + [0, 0, 20 * (i % 3)]
        poses[name] = Pose(R, -R @ centre)
    scene = map_of(poses, FRAME)
    found = georeference(scene, 0, measured(poses, 1, seed=int(rng.integers(9))), SETTINGS)
    assert not found.uses_gravity
    metres, degrees = errors(found, poses, scene)
    assert metres.max() < 3 and degrees.max() < 3


def test_positions_without_heights_give_none():
    poses = street(12, 8)
    found = georeference(map_of(poses, FRAME), 0, measured(poses, 1, heights=False), SETTINGS)
    assert not found.has_heights and found.vertical_rms_m is None
    told = found.locate(map_of(poses, FRAME).pose(0), np.eye(3) * 1e-6, np.eye(3) * 1e-8)
    assert told.height is None and told.vertical_std_m is None and told.horizontal_std_m is not None


@pytest.mark.parametrize(
    "known", [slice(None, None, 2), slice(12), slice(0)], ids=["every second", "lower half", "none"]
)
def test_heights_that_are_not_known_tilt_nothing(known: slice, tmp_path: Path):
    """A street that climbs 9 m, exact positions: what lacks a height is not where the others are in the middle."""
    poses = {n: Pose(p.R, -p.R @ (p.centre + [0, 0, 0.15 * p.centre[0]])) for n, p in street(24, 8).items()}
    scene, positions = map_of(poses, FRAME), measured(poses, 0)
    with_height = list(poses)[known]
    some = {n: gps if n in with_height else replace(gps, height=None) for n, gps in positions.items()}
    found = georeference(scene, 0, some, SETTINGS)
    assert not found.outliers and errors(found, poses, scene)[1].max() < 0.5
    told = found.locate(scene.pose(23), np.eye(3) * 1e-8, np.eye(3) * 1e-8).height
    assert told == (pytest.approx(positions["23.jpg"].height, abs=0.05) if with_height else None)
    write_georeferences(tmp_path / FILE, [found])
    (again,) = read_georeferences(tmp_path).values()
    np.testing.assert_array_equal(np.isnan(again.residuals[:, 2]), [n not in with_height for n in poses])
    assert again.vertical_rms_m == found.vertical_rms_m


def test_the_stated_accuracy_of_heights_covers_the_errors_where_half_have_none():
    """Over 40 draws: the normalised squared error of the height at the upper end has a mean of 1 within 0.6."""
    poses = street(24, 8)
    scene, squared = map_of(poses, FRAME), []
    for seed in range(40):
        gps = measured(poses, 1, seed)
        some = {n: replace(g, height=None) if i >= 12 else g for i, (n, g) in enumerate(gps.items())}
        found = georeference(scene, 0, some, SETTINGS)
        at = enu_from_geodetic(geodetic_from_enu(poses["23.jpg"].centre, ORIGIN), found.origin)
        squared.append((found.similarity.move(scene.pose(23)).centre - at)[2] ** 2 / found.accuracy(at)[2, 2])
    assert 0.4 < np.mean(squared) < 1.6


@pytest.mark.parametrize(
    ("num", "wide", "std", "wrong", "message"),
    [
        (2, 8, 1, 0, "2 of its 2 db images have a position, 3 wanted"),
        (10, 8, 1, 7, "of 10 positions agree with the map within 10 m"),
    ],
)
def test_what_cannot_be_placed_says_why(num: int, wide: float, std: float, wrong: int, message: str):
    poses = street(num, wide)
    with pytest.raises(DataError, match=message):
        georeference(map_of(poses, FRAME), 0, measured(poses, std, wrong=wrong), SETTINGS)


def test_positions_closer_together_than_their_noise_tell_no_scale():
    poses = {n: Pose(p.R, p.R @ p.R.T @ p.t * 0.01) for n, p in street(8, 8).items()}
    with pytest.raises(DataError, match="the scale is unsure by"):
        georeference(map_of(poses, FRAME), 0, measured(poses, 3), SETTINGS)


def test_a_scale_less_sure_than_its_limit_is_refused():
    poses = street(12, 8)
    scene, positions = map_of(poses, FRAME), measured(poses, 2)
    std = float(georeference(scene, 0, positions, SETTINGS).covariance[6, 6]) ** 0.5
    with pytest.raises(DataError, match="the scale is unsure by"):
        georeference(scene, 0, positions, SETTINGS.model_copy(update={"max_scale_std": std / 1.5}))


def test_the_stated_accuracy_covers_the_errors():
    """Over 40 draws of the noise: normalised squared errors of a camera's position and heading have the mean of their
    degrees of freedom (3 and 1) within half of it."""
    poses = street(15, 10)
    scene, squared, turned = map_of(poses, FRAME), [], []
    for seed in range(40):
        found = georeference(scene, 0, measured(poses, 2, seed=seed), SETTINGS)
        truth, moved = poses["03.jpg"], found.similarity.move(scene.pose(3))
        at = enu_from_geodetic(geodetic_from_enu(truth.centre, ORIGIN), found.origin)
        error = moved.centre - at
        squared.append(error @ np.linalg.solve(found.accuracy(at), error))
        told = found.locate(scene.pose(3), np.zeros((3, 3)), np.zeros((3, 3)))
        off = (told.heading_deg - np.degrees(np.arctan2(truth.R[2, 0], truth.R[2, 1])) + 180) % 360 - 180
        turned.append((off / told.heading_std_deg) ** 2)
    assert 1.5 < np.mean(squared) < 4.5
    assert 0.5 < np.mean(turned) < 1.5


def test_a_pose_on_earth():
    """The camera of a photograph that looks 30 degrees east of north, 100 m north of the origin; uncertainties add."""
    turn = np.radians(30)
    z, x = np.array([np.sin(turn), np.cos(turn), 0]), np.array([np.cos(turn), -np.sin(turn), 0])
    R = np.stack([x, np.cross(z, x), z])
    pose = Pose(R, -R @ np.array([0, 100.0, 1.5]))
    covariance = np.diag([0, 0, 1e-4, 0.25, 0.25, 1.0, 0])
    found = Georeference(
        0, ORIGIN, FRAME, covariance, np.array([0, 100.0, 1.5]), (), (), np.zeros((0, 3)), True, True
    )  # fmt: skip
    in_map = FRAME.inverse().move(pose)
    told = found.locate(in_map, np.eye(3) * 0.01, np.diag([0.0, 4e-4, 0.0]))
    expected = geodetic_from_enu(np.array([0, 100.0, 1.5]), ORIGIN)
    np.testing.assert_allclose([told.latitude, told.longitude, told.height], expected, atol=1e-9)
    assert told.heading_deg == pytest.approx(30, abs=1e-3)
    assert told.horizontal_std_m == pytest.approx(np.sqrt(2 * (0.25 + 16 * 0.01)))
    assert told.vertical_std_m == pytest.approx(np.sqrt(1 + 16 * 0.01))
    assert told.heading_std_deg == pytest.approx(np.degrees(np.sqrt(1e-4 + 4e-4)))
    assert found.locate(in_map).horizontal_std_m is None


def test_an_unsure_scale_makes_a_place_unsure_by_its_distance():
    covariance = np.diag([0, 0, 0, 0, 0, 0, 1e-4])
    found = Georeference(0, ORIGIN, FRAME, covariance, np.zeros(3), (), (), np.zeros((0, 3)), True, True)
    np.testing.assert_allclose(found.accuracy(np.array([100.0, 0, 0])), np.diag([1.0, 0, 0]))


def test_heading_counts_from_the_north_where_the_camera_stands():
    """50 km east of the origin the meridian is turned by about 50 km / R * tan(latitude) = 0.48 degrees."""
    R = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # looks north at the origin
    found = Georeference(0, ORIGIN, Similarity(1, np.eye(3), np.zeros(3)), np.zeros((7, 7)), np.zeros(3), (), (),
                         np.zeros((0, 3)), True, True)  # fmt: skip
    heading = found.locate(Pose(R, -R @ np.array([5e4, 0, 0]))).heading_deg
    assert heading == pytest.approx(np.degrees(5e4 / 6.378e6 * np.tan(np.radians(47.05))), rel=0.02)


def test_through_the_disk(tmp_path: Path):
    poses = street(12, 8)
    scene = map_of(poses, FRAME)
    found = georeference(scene, 0, measured(poses, 1, wrong=2), SETTINGS)
    write_georeferences(tmp_path / FILE, [found, replace(found, place=3)])
    read = read_georeferences(tmp_path)
    assert list(read) == [0, 3] and read[0].outliers == found.outliers
    assert read[0].locate(scene.pose(4), np.eye(3), np.eye(3)) == found.locate(scene.pose(4), np.eye(3), np.eye(3))
    assert read_georeferences(tmp_path / "none") == {}
    (tmp_path / FILE).write_text('{"format": "lbr-georeference"}')
    with pytest.raises(DataError, match="broken"):
        read_georeferences(tmp_path)


def test_each_place_is_placed_by_its_own_positions():
    first, second = street(8, 8), {f"b{n}": p for n, p in street(6, 8, 3).items()}
    near, far = map_of(first, FRAME), map_of(second, Similarity(2.0, np.eye(3), np.zeros(3)))
    together = replace(
        map_of({**first, **second}, FRAME), poses=np.concatenate([near.poses, far.poses]),
        place=np.array([0] * 8 + [1] * 6, np.int32),
    )  # fmt: skip
    positions = {**measured(first, 0), **measured(second, 0)}
    assert georeference(together, 0, positions, SETTINGS).similarity.scale == pytest.approx(4, rel=1e-4)
    assert georeference(together, 1, positions, SETTINGS).similarity.scale == pytest.approx(2, rel=1e-4)
