import dataclasses
from typing import Any

import numpy as np

from lbr.geometry.camera import Camera, guess_camera
from lbr.localization.cameras import SharedCamera, shared_cameras, shared_with
from lbr.mapping.map import Map
from tests.synthetic import CAMERA, ExactWorld

PRIOR = guess_camera(640, 480)
LONG = Camera("SIMPLE_RADIAL", 640, 480, (900.0, 320.0, 240.0, 0.0))


def with_two_cameras(world: ExactWorld, source: str = "map", **changes: Any) -> Map:
    """Images 0, 1, 2 have CAMERA, 3 and 4 LONG; all say the same of their camera."""
    cameras = tuple(dataclasses.replace(camera, source=source) for camera in (CAMERA, LONG))
    scene = dataclasses.replace(world.map(), cameras=cameras, camera_index=np.array([0, 0, 0, 1, 1], np.int32))
    return dataclasses.replace(scene, **{"said": dict.fromkeys(scene.names, PRIOR), **changes})


def test_a_query_of_the_same_body_has_the_refined_intrinsics(world: ExactWorld):
    wide, tele = guess_camera(640, 480, 610, "Acme 5 mm"), guess_camera(640, 480, 880, "Acme 8 mm")
    said = dict(zip(world.poses, [wide] * 3 + [tele] * 2, strict=True))
    found = shared_cameras(with_two_cameras(world, said=said))
    assert found[wide][0].camera.params == CAMERA.params and found[wide][0].num == 3
    assert found[tele][0].camera.params == LONG.params and found[tele][0].num == 2
    assert found[wide][0].camera.source == "map" and found[wide][0].camera.is_known
    assert found[tele][0].note == "intrinsics as in the map, of 2 db images of the same camera"
    assert guess_camera(640, 480, 610, "Best 5 mm") not in found


def test_each_place_has_its_own_and_the_one_with_most_images_comes_first(world: ExactWorld):
    found = shared_cameras(with_two_cameras(world, place=np.array([1, 1, 1, 0, 0], np.int32)))[PRIOR]
    assert [(place, one.camera.params, one.num) for place, one in found.items()] == [
        (1, CAMERA.params, 3), (0, LONG.params, 2),
    ]  # fmt: skip


def test_intrinsics_of_two_places_are_told_of_all_their_images(world: ExactWorld):
    place = np.array([0, 0, 0, 1, 1], np.int32)
    scene = dataclasses.replace(world.map(), place=place, said=dict.fromkeys(world.poses, PRIOR))
    found = shared_cameras(scene)[PRIOR]
    assert [one.note.split(" of ")[0] for one in found.values()] == ["intrinsics given for 5 db images"] * 2


def test_of_several_in_one_place_that_of_most_images_counts(world: ExactWorld):
    found = shared_cameras(with_two_cameras(world))[PRIOR]
    assert list(found) == [0]
    assert found[0].camera.params == CAMERA.params and found[0].num == 3
    assert "3 db images of the same size (no EXIF tells which camera)" in found[0].note


def test_given_intrinsics_are_those_of_the_photographs_cameras_too_and_the_note_says_so(world: ExactWorld):
    prior = guess_camera(640, 480, 610, "Acme 5 mm")
    found = shared_cameras(with_two_cameras(world, "given", said=dict.fromkeys(world.poses, prior)))
    assert found[prior][0].camera.params == CAMERA.params and found[prior][0].camera.body == "Acme 5 mm"
    assert found[prior][0].note == "intrinsics given for 3 db images of the same camera"


def test_who_says_nothing_or_was_turned_counts_for_nobody(world: ExactWorld):
    turned = dict.fromkeys(world.poses, guess_camera(480, 640))
    assert shared_cameras(with_two_cameras(world, said={})) == {}
    assert shared_cameras(with_two_cameras(world, said=turned)) == {}


def test_a_resized_photograph_has_the_intrinsics_of_whole_ones_scaled():
    prior, known = guess_camera(640, 480), SharedCamera(dataclasses.replace(CAMERA, source="map"), 5)
    (found,) = shared_with({prior: {3: known}}, guess_camera(320, 240)).values()
    assert found.camera.params == CAMERA.scaled(320, 240).params and found.camera.source == "map"
    assert (
        found.note == "intrinsics as in the map, of 5 db images of the same shape (no EXIF tells which camera), resized"
    )
    assert shared_with({prior: {3: known}}, prior) == {3: known}


def test_of_another_shape_body_or_zoom_it_is_another_camera():
    known = SharedCamera(dataclasses.replace(CAMERA, source="map", body="Acme"), 5)
    shared = {guess_camera(640, 480, 610, "Acme"): {0: known}}
    (found,) = shared_with(shared, guess_camera(320, 240, 305, "Acme")).values()
    assert found.note == "intrinsics as in the map, of 5 db images of the same camera, resized"
    for other in (guess_camera(320, 200, 305, "Acme"), guess_camera(320, 240, 305, "Best"),
                  guess_camera(320, 240, 440, "Acme"), guess_camera(320, 240)):  # fmt: skip
        assert shared_with(shared, other) is None


def test_of_several_it_is_that_of_most_images():
    few, many = (SharedCamera(dataclasses.replace(LONG, source="map"), num) for num in (3, 9))
    shared = {guess_camera(1280, 960): {0: few}, guess_camera(640, 480): {0: many}}
    assert shared_with(shared, guess_camera(320, 240))[0].num == 9
