import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from lbr.geometry.gravity import estimate_up, ground_of
from lbr.geometry.pose import Pose
from lbr.types import PoseEstimate
from lbr.visualization.ground import MapPlan, ellipse, plan_of
from lbr.visualization.markup import standalone
from lbr.visualization.plan import (
    PlanQuery,
    Window,
    density_picture,
    draw_close_up,
    draw_overview,
    draw_plan,
    window_around,
)
from tests.synthetic import CAMERA, ExactWorld, look_at, random_rotation


def photographs(num: int, pitch_deg: float, spread_deg: float, seed: int = 0) -> np.ndarray:
    """cam_from_world rotations [num, 3, 3] of level cameras in a world with z up that look up by `pitch_deg`."""
    rng = np.random.default_rng(seed)
    turn, tilt = np.radians(rng.uniform(-spread_deg, spread_deg, num)), np.radians(pitch_deg)
    z = np.stack([np.cos(turn) * np.cos(tilt), np.sin(turn) * np.cos(tilt), np.full(num, np.sin(tilt))], -1)
    x = np.stack([np.sin(turn), -np.cos(turn), np.zeros(num)], -1)
    return np.stack([x, np.cross(z, x), z], 1)


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


@pytest.mark.parametrize(("pitch", "spread", "allowed"), [(0, 180, 0.01), (0, 5, 0.01), (25, 180, 2.0), (25, 60, 2.0)])
def test_up_is_found_from_level_cameras_even_when_all_look_upwards(pitch, spread, allowed):
    world = random_rotation(np.random.default_rng(1))  # the world need not be z up
    up = estimate_up(photographs(60, pitch, spread) @ world.T)
    assert angle_deg(up, world[:, 2]) < allowed


def test_photographs_held_on_their_side_do_not_tilt_the_ground():
    rotations = photographs(40, 0, 180)
    aside = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    rotations[:12] = aside @ rotations[:12]
    assert angle_deg(estimate_up(rotations), np.array([0, 0, 1.0])) < 0.5


def test_the_ground_keeps_x_right_and_y_up_of_a_world_with_z_up():
    ground = ground_of(photographs(20, 0, 180))
    np.testing.assert_allclose(ground.axes, [[1, 0, 0], [0, 1, 0]], atol=1e-6)
    tilted = ground_of(photographs(20, 10, 180) @ random_rotation(np.random.default_rng(3)).T)
    np.testing.assert_allclose(np.cross(*tilted.axes), tilted.up, atol=1e-9)
    np.testing.assert_allclose(tilted.axes @ tilted.up, 0, atol=1e-9)


def test_a_camera_of_a_world_with_y_down_looks_where_it_should(world: ExactWorld):
    plan = plan_of(world.map())
    np.testing.assert_allclose(plan.ground.up, [0, -1, 0], atol=0.05)
    middle = plan.ground.flat(np.zeros(3))
    ahead = (middle - plan.cameras) / np.linalg.norm(middle - plan.cameras, axis=1, keepdims=True)
    assert ((ahead * plan.directions).sum(axis=1) > 0.95).all()


def test_the_ellipse_has_the_axes_of_the_covariance():
    turn = np.radians(30)
    R = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    axes, directions = ellipse(R @ np.diag([0.09, 0.01]) @ R.T, sigmas=2)
    np.testing.assert_allclose(axes, [0.6, 0.2])
    np.testing.assert_allclose(np.abs(directions @ R), np.eye(2), atol=1e-12)


def test_the_close_up_draws_the_projected_covariance_of_the_position():
    pose = look_at(np.array([1.0, 0.0, -4.0]), np.zeros(3))
    position = pose.R.T @ np.diag([0.04, 0.25, 0.01]) @ pose.R  # 20 cm to the side, 50 cm in height, 10 cm ahead
    covariance = np.zeros((6, 6))
    covariance[3:, 3:] = pose.R @ position @ pose.R.T
    estimate = PoseEstimate(pose, np.zeros(0, bool), covariance, CAMERA)
    plan = MapPlan(ground_of(pose.R[None]), np.zeros((0, 2)), np.zeros((1, 2)), np.ones((1, 2)))
    found = estimate.position_covariance
    np.testing.assert_allclose(found, position, atol=1e-12)
    axes, directions = ellipse(plan.ground.axes @ found @ plan.ground.axes.T)
    np.testing.assert_allclose(axes, [0.4, 0.2], rtol=1e-3)
    ahead = plan.ground.flat(pose.R[2])
    assert abs(directions[1] @ ahead) == pytest.approx(1, abs=1e-3)
    ElementTree.fromstring(standalone(draw_close_up(plan, PlanQuery(pose, found))))


def test_a_window_places_metres_with_north_up():
    window = Window(np.array([10.0, 5.0]), 20.0, (400, 200))
    assert window.scale == 10
    np.testing.assert_allclose(window.place(np.array([[10, 5], [30, 5], [10, 15]])), [[200, 100], [400, 100], [200, 0]])
    assert window.holds(np.array([[29.0, 5], [31, 5], [10, 16]])).tolist() == [True, False, False]
    held = Window.around(np.array([[0, 0], [1, 8.0]]), (400, 200))
    assert held.holds(np.array([[0, 0], [1, 8.0]])).all()


def test_density_is_dark_where_the_points_are():
    window = Window(np.zeros(2), 10.0, (100, 50))
    points = np.random.default_rng(0).normal(size=(500, 2)) * 0.3 + [5, 2]
    picture = density_picture(points, window).astype(int)
    assert picture.shape == (50, 100, 3)
    assert picture[15, 75].sum() < picture[40, 10].sum() - 100
    assert (density_picture(np.zeros((0, 2)), window) > 240).all()


@pytest.mark.parametrize("far", [0.0, 1e6])
def test_plans_are_svg_without_infinities_wherever_the_estimate_is(world: ExactWorld, far: float):
    scene = world.map()
    plan = plan_of(scene)
    truth = world.poses["db/2.png"]
    estimate = Pose(truth.R, truth.t + [far, 0, 0.02])
    query = PlanQuery(estimate, np.eye(3) * 1e-4, truth, 1)
    window = window_around(plan, query, scene.points)
    assert window.half_width < 50 and window.holds(plan.ground.flat(truth.centre))
    drawn = [
        draw_plan(plan, query, window),
        draw_close_up(plan, query),
        draw_overview(plan, [estimate.centre, truth.centre], ["#ff0000", "#00ff00"]),
    ]
    for picture in drawn:
        ElementTree.fromstring(standalone(picture))
        marks = re.sub('base64,[^"]*', "", picture)
        assert "nan" not in marks and "inf" not in marks
        assert re.search(r">\d+ (mm|cm|m|km)</text>", marks)  # the scale bar
    assert ("km away" in drawn[0]) == (far > 0)


def test_a_close_up_needs_an_estimate(world: ExactWorld):
    with pytest.raises(ValueError, match="estimate"):
        draw_close_up(plan_of(world.map()), PlanQuery())
