import dataclasses

import cv2
import numpy as np
import pytest

from lbr.geometry.camera import Camera
from lbr.geometry.pixels import from_centre_origin
from lbr.geometry.pose import Pose
from lbr.io.colmap import cam_from_img, project
from lbr.town import TownConfig, build_town, photograph, render_view, stage
from lbr.town.atlas import AtlasBuilder
from lbr.town.conditions import CONDITIONS
from lbr.town.mesh import Cover, MeshBuilder
from lbr.town.render import pixel_rays
from lbr.town.viewpoints import Shot, look, query_shots, street_camera, walk_shots
from lbr.town.world import make_layer

CAMERAS = [
    street_camera(build, kind)
    for kind in ("db", "milestone", "nexus5x")
    for build in [type("S", (), {"width": 128, "height": 96})]
]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def shot(town):
    return walk_shots(town, 4, "db", rng())[1]


def quiet(town, pose):
    """An overcast scene without movable things."""
    empty = dataclasses.replace(CONDITIONS["overcast"], crowd=0.0, summer=0.0)
    return stage(town, empty, pose, rng(1))


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: c.model)
def test_depth_and_ids_are_those_of_the_pixel_centres(town, shot, camera):
    view = render_view(quiet(town, shot.pose), shot.pose, camera, rng())
    rows, cols = np.nonzero(view.instance_ids)
    centres = np.stack([cols, rows], 1) + 0.5
    rays = np.column_stack([cam_from_img(camera, centres), np.ones(len(centres))])
    world = shot.pose.inverse().apply(rays * view.depth[rows, cols, None])
    assert np.abs(project(camera, shot.pose, world) - centres).max() < 0.01
    off_wall = []
    for instance in np.unique(view.instance_ids[rows, cols]):
        facade = town.plan.facades[instance - 1]
        local = (world[view.instance_ids[rows, cols] == instance] - [*facade.start, 0]) @ np.stack(
            [facade.right, facade.outward], 1
        )
        assert local[:, 0].min() > -0.01 and local[:, 0].max() < facade.width + 0.01
        off_wall.append(np.abs(local[:, 1]))
    assert np.quantile(np.concatenate(off_wall), 0.3) < 1e-3  # most of a facade is its plain wall


def test_known_points_of_the_plan_are_where_the_picture_has_them(town, shot):
    camera = shot.camera
    view = render_view(quiet(town, shot.pose), shot.pose, camera, rng())
    hits = 0
    for facade in town.plan.facades:
        point = facade.to_world(np.array([[0.2, 2.9, 0.0]]))
        if shot.pose.apply(point)[0, 2] < 1:
            continue
        xy = project(camera, shot.pose, point)[0]
        if not ((xy > 1) & (xy < np.array(camera.size) - 1)).all():
            continue
        col, row = np.floor(xy).astype(int)
        if abs(view.depth[row, col] - shot.pose.apply(point)[0, 2]) < 0.1:
            hits += 1
            assert view.instance_ids[row, col] == facade.instance
    assert hits


def board_town(town):
    """The town replaced by one checkerboard, 4 m wide with squares of 0.5 m, in the plane y = 10."""
    squares = (np.indices((8, 8)).sum(0) % 2).repeat(50, 0).repeat(50, 1)[..., None] * np.full(3, 200.0) + 30
    atlas, builder = AtlasBuilder(width=1024), MeshBuilder()
    cover = Cover(atlas.add(squares, wrap=False), 100.0)
    patch = builder.patch(cover, np.array([[1.0, 0, 0], [0, 0, -1.0]]), np.array([-2.0, 10, 4]))
    builder.quads(np.array([[(-2, 10, 0), (2, 10, 0), (2, 10, 4), (-2, 10, 4)]]), patch)
    empty = make_layer(MeshBuilder().build())
    return dataclasses.replace(town, atlas=atlas.build(), static=make_layer(builder.build()), leaves=empty)


def test_painted_points_reproject_to_a_few_hundredths_of_a_pixel(town):
    camera = Camera("SIMPLE_RADIAL", 320, 240, (300, 161, 118, -0.05))
    pose = look(np.array([0.7, 2.0, 1.7]), np.radians(97), np.radians(3), np.radians(4))
    clear = dataclasses.replace(CONDITIONS["overcast"], crowd=0.0, summer=0.0, noise=0.0, haze=0.0)
    view = render_view(stage(board_town(town), clear, pose, rng(1)), pose, camera, rng())
    inner = np.linspace(-1.5, 1.5, 7)
    known = project(camera, pose, np.array([[x, 10, z + 2] for x in inner for z in inner]))
    grey = cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY)
    start = np.float32(known - 0.5)[:, None]
    found = cv2.cornerSubPix(grey, start.copy(), (6, 6), (-1, -1), (3, 60, 1e-4))[:, 0]
    error = from_centre_origin(found) - known
    assert np.abs(error).max() < 0.15 and np.abs(error).mean() < 0.08 and np.abs(error.mean(0)).max() < 0.03


def test_pixel_rays_hit_the_centres():
    rays = pixel_rays(Camera("PINHOLE", 4, 2, (2, 2, 2, 1)))
    np.testing.assert_allclose(rays[0, 0], [-0.75, -0.25])


@pytest.mark.parametrize("name", sorted(CONDITIONS))
def test_every_condition_renders(town, shot, name):
    view = photograph(town, dataclasses.replace(shot, condition=name, name=f"{name}.jpg"))
    assert view.image.shape == (96, 128, 3) and view.image.dtype == np.uint8
    assert view.instance_ids.shape == view.depth.shape == (96, 128)
    assert 8 < view.image.mean() < 235 and view.image.std() > 15
    assert (view.instance_ids > 0).mean() > 0.2


def test_night_is_dark_above_and_lit_below(town, shot):
    day, night = (photograph(town, dataclasses.replace(shot, condition=c)) for c in ("overcast", "night"))
    sky = (day.depth == 0) & (night.depth == 0)
    assert night.image.mean() < 0.75 * day.image.mean()
    assert night.image[sky].mean() < 60 < day.image[sky].mean()
    assert np.quantile(night.image, 0.99) > 180


def test_things_that_move_hide_facades_and_are_background(town, shot):
    crowded = dataclasses.replace(CONDITIONS["overcast"], crowd=6.0)
    busy = render_view(stage(town, crowded, shot.pose, rng(1)), shot.pose, shot.camera, rng())
    still = render_view(quiet(town, shot.pose), shot.pose, shot.camera, rng())
    nearer = busy.depth < still.depth - 0.05
    assert nearer.sum() > 30
    assert not busy.instance_ids[nearer & (still.instance_ids > 0) & (busy.depth > 0)].any()


def test_photographs_repeat_bit_for_bit(town, shot):
    again = build_town(dataclasses_config(town))
    first, second = photograph(town, shot), photograph(again, shot)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.depth, second.depth)


def dataclasses_config(town):
    return TownConfig(size="tiny", **{k: v for k, v in dataclasses.asdict(town.config).items()})


def test_queries_leave_the_path_of_the_db(town):
    day = query_shots(town, 6, "query/day/milestone", "milestone", rng(5))
    night = query_shots(town, 2, "query/night/nexus5x", "nexus5x", rng(5))
    assert {s.condition for s in day} <= {"overcast", "sun"} and {s.condition for s in night} == {"night"}
    assert {s.camera.model for s in day + night} == {"SIMPLE_RADIAL", "OPENCV"}
    assert isinstance(day[0], Shot) and isinstance(day[0].pose, Pose)
    assert np.ptp([s.pose.centre[2] for s in day]) > 0.1
