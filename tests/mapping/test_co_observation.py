"""What images see of each other, by points set where the answer is known: one camera, its cells 20 pixels wide."""

from __future__ import annotations

import numpy as np

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap_arrays import ModelArrays
from lbr.mapping.co_observation import co_observation

CAMERA = Camera("PINHOLE", 480, 360, (400.0, 400.0, 240.0, 180.0))
OWN = [(x, y) for x in range(0, 480, 20) for y in range(0, 360, 20)]  # corners of all cells


def point_at(corner: tuple[int, int], depth: float, shift: float = 8.0) -> np.ndarray:
    """A point that projects `shift` pixels into the cell of this corner."""
    x, y = corner
    return np.array([(x + shift - 240) / 400 * depth, (y + shift - 180) / 400 * depth, depth])


def model(*images: list[np.ndarray], camera: Camera = CAMERA) -> ModelArrays:
    """Images of one pose, each with the points that it sees; equal points are one point."""
    points, rows = np.unique(np.round(np.concatenate(images), 9), axis=0, return_inverse=True)
    offsets = np.concatenate([[0], np.cumsum([len(image) for image in images])])
    names = tuple(f"{i}.png" for i in range(len(images)))
    return ModelArrays(
        names, (camera,) * len(images), (Pose.identity(),) * len(images), offsets,
        np.zeros((offsets[-1], 2), np.float32), rows.ravel().astype(np.int32), points,
        np.zeros(len(points), np.float32),
    )  # fmt: skip


def wall(depth: float, cells: list[tuple[int, int]] = OWN, shift: float = 8.0) -> list[np.ndarray]:
    """Two points in each cell."""
    return [point_at(c, depth, s) for c in cells for s in (shift, shift + 2)]


def test_points_before_level_with_and_behind_what_an_image_sees():
    found = co_observation(
        model(wall(10.0), wall(7.0, OWN[:40], 3.0) + wall(10.0, OWN[100:130], 3.0) + wall(20.0, OWN[200:250], 3.0))
    )
    assert found.before[0, 1] == 40 and found.level[0, 1] == 30 and found.shared[0, 1] == 0
    assert found.points[0, 1] == 0 and found.points[0, 0] == 2 * len(OWN)


def test_the_other_way_round_what_stands_before_is_what_is_behind():
    """The second image sees the far wall through the near one, so for it the near one stands in free space."""
    found = co_observation(model(wall(10.0, OWN[:40]), wall(20.0, OWN[:40], 3.0)))
    assert found.before[1, 0] == 40 and found.before[0, 1] == 0
    assert found.level[0, 1] == found.level[1, 0] == 0


def test_shared_points_count_once_a_cell_and_are_not_level_or_before():
    both = wall(10.0, OWN[:50])
    found = co_observation(model(both, both))
    assert found.shared[0, 1] == found.shared[1, 0] == 50 and found.points[0, 1] == 100
    assert not found.level.any() and not found.before.any() and not np.diag(found.shared).any()


def test_one_point_alone_tells_nothing():
    lone = [point_at(c, 7.0, 3.0) for c in OWN[::7]]
    assert not co_observation(model(wall(10.0), lone)).before[0].any()


def test_where_an_image_sees_nothing_it_tells_nothing():
    found = co_observation(model(wall(10.0, OWN[:20]), wall(7.0, OWN[100:140])))
    assert not found.before.any() and not found.level.any()


def test_what_stands_before_a_neighbouring_cell_is_no_contradiction():
    """A lamp post that an image sees at the rim of a cell is there for the next cell as well."""
    post = [c for c in OWN if c[0] == 200]
    beside = [c for c in OWN if c[0] == 220]
    found = co_observation(model(wall(10.0) + wall(5.0, post, 14.0), wall(5.0, beside, 1.0)))
    assert not found.before[0].any()


def test_points_beside_the_image_are_not_folded_into_it():
    """At 2.2 focal lengths off the axis r (1 + k r^2) is 0.07 again, in the middle of the image."""
    folding = Camera("SIMPLE_RADIAL", 480, 360, (400.0, 240.0, 180.0, -0.2))
    beside = [np.array([2.2 * 5, 0.01 * i, 5.0]) for i in range(40)]
    middle = [c for c in OWN if 200 <= c[0] < 300 and 140 <= c[1] < 240]
    assert not co_observation(model(wall(10.0, middle), beside, camera=folding)).before[0].any()
