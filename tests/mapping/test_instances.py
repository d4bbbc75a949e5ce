"""Instances of a street with known truth: walls, cuts, pieces, pixels."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.gravity import ground_of, refine_up
from lbr.geometry.pose import Pose
from lbr.mapping.instances import FacadeInstances, KMeansInstances
from lbr.mapping.instances.cloud import Cloud, cloud_of
from lbr.mapping.instances.find import Found, Scene, canvases, find_clusters, find_facades, prepare, task_of
from lbr.mapping.instances.openings import without_openings
from lbr.mapping.instances.pieces import Piece, is_bare, is_empty, joined, occupied, shares_of_view, within
from lbr.mapping.instances.pixels import guided, label_pixels
from lbr.mapping.instances.splitting import cut
from lbr.mapping.instances.texture import Canvas, Texture, detailed, paint, squareness
from lbr.mapping.instances.views import View, level_pose, view_of
from lbr.mapping.instances.walls import Wall, find_walls
from tests.street import CAMERA, Facade, Street, corner, row, walk


def facades_of(street: Street, settings: FacadeInstances) -> tuple[Scene, Found]:
    scene = prepare(street.map(), 0)
    names = list(street.poses)

    def view(image: int):
        return view_of(street.photograph(names[image])[0], CAMERA, level_pose(scene.map, image, scene.ground))

    painted = [(wall, canvas, paint(wall, canvas, parts, view)) for wall, canvas, parts in canvases(scene)]
    return scene, find_facades(scene, painted, settings)


def ids_of(street: Street, scene: Scene, found: Found, image: int) -> tuple[np.ndarray, np.ndarray]:
    """(ids found, true labels) of the pixels of one photograph."""
    photograph, true = street.photograph(list(street.poses)[image])
    task = task_of(scene, found, image)
    view = view_of(photograph, CAMERA, task.pose)
    return label_pixels(view, task.pieces, task.keypoints, task.labels, CAMERA.size, task.unseen), true


def scores(street: Street, scene: Scene, found: Found, images: range) -> tuple[float, float, list[set[int]]]:
    """(share of the labelled pixels that lie in the facade of their id, share of the facades' pixels that are
    labelled, the ids that hold a tenth of each facade)."""
    pairs = np.zeros((4, found.num + 1))
    for image in images:
        ids, true = ids_of(street, scene, found, image)
        np.add.at(pairs, (true.ravel(), ids.ravel().astype(int)), 1)
    inside = pairs[1:, 1:].max(axis=0).sum()
    of_facades = [set((1 + np.flatnonzero(r[1:] > 0.1 * r[1:].sum())).tolist()) for r in pairs[1:] if r.sum()]
    return inside / pairs[:, 1:].sum(), pairs[1:, 1:].sum() / pairs[1:].sum(), of_facades


@pytest.fixture(scope="module")
def street() -> Street:
    return row()


@pytest.fixture(scope="module")
def made(street: Street) -> tuple[Scene, Found]:
    return facades_of(street, FacadeInstances())


def test_walls_make_up_upright():
    rng = np.random.default_rng(0)
    turn = np.radians(rng.uniform(0, 360, 40))
    normals = np.column_stack([np.cos(turn), np.sin(turn), rng.normal(0, 0.01, 40)])
    tilted = Rotation.from_euler("xy", [3, -2], degrees=True).apply([0, 0, 1.0])  # what the cameras said
    roofs = np.tile([0.6, 0, 0.8], (10, 1))
    up = refine_up(tilted, np.vstack([normals, roofs]), np.ones(50))
    assert np.degrees(np.arccos(up @ [0, 0, 1])) < 0.4
    alike = refine_up(tilted, np.tile([0, 1.0, 0], (5, 1)), np.ones(5))
    assert abs(alike[1]) < 0.005 and alike[0] == pytest.approx(tilted[0], abs=0.005), "what they do not tell stays"
    np.testing.assert_array_equal(refine_up(tilted, roofs, np.ones(10)), tilted)


@pytest.mark.parametrize("noise_m", [0.0, 0.04])
def test_two_facades_at_a_corner_are_two_walls(noise_m: float):
    street = corner()
    street = Street(street.facades, street.poses, noise_m=noise_m)
    scene = street.map()
    cloud = cloud_of(scene, ground_of(np.asarray(scene.poses)[:, :, :3]))
    walls = find_walls(cloud, 0)
    assert len(walls) == 2
    for wall, (normal, place) in zip(
        sorted(walls, key=lambda w: w.outward[0]), [((-1, 0), 12), ((0, -1), 0)], strict=True
    ):
        assert wall.outward @ np.array(normal) > np.cos(np.radians(1.0))
        assert wall.origin @ np.abs(normal) == pytest.approx(place, abs=0.05)
    corner_free = np.abs(cloud.xyz[:, :2] - [12, 0]).max(axis=1) > 0.5
    on = (cloud.xyz[:, 2] > 0.4) & corner_free
    held = np.zeros(len(cloud), bool)
    held[np.concatenate([wall.points for wall in walls])] = True
    assert held[on].mean() > 0.97


def test_a_row_is_cut_at_its_gap_and_where_its_colour_changes(street: Street, made: tuple[Scene, Found]):
    scene, found = made
    assert len(scene.walls) == 2, "a gap of 5 m parts two walls, one colour border does not"
    edges = {
        round(
            float(
                (
                    piece.wall.origin
                    + (piece.canvas.left + k * piece.canvas.size[0] * piece.canvas.cell) * piece.wall.along
                )[0]
            ),
            1,
        )
        for _, piece in found.pieces
        for k in (0, 1)
    }
    for border in (0, 9, 18, 23, 31):
        assert min(abs(edge - border) for edge in edges) < 0.6, border
    _, true = street.points()
    assert found.num <= 5 and true.max() == 3


def test_pixels_follow_the_facades(street: Street, made: tuple[Scene, Found]):
    scene, found = made
    purity, coverage, ids = scores(street, scene, found, range(12))
    assert purity > 0.95 and coverage > 0.95
    assert all(not a & b for a in ids for b in ids if a is not b), "no instance is in two facades"
    sky_and_ground = []
    for image in range(12):
        labelled, true = ids_of(street, scene, found, image)
        sky_and_ground.append(np.mean(labelled[true == 0] > 0))
    assert np.mean(sky_and_ground) < 0.05


def test_a_wall_is_not_where_photographs_look_through_it():
    """Two houses of one colour, 1.2 m apart, are one wall and one piece; between them the next street is seen."""
    houses = [Facade((0, 0), (5, 0), (170, 90, 80), 1), Facade((6.2, 0), (11.2, 0), (170, 90, 80), 1)]
    behind = Facade((-4, 7), (16, 7), (100, 120, 170), 2)
    _, found = facades_of(Street([*houses, behind], walk(12, (1, -11), (11, -11))), FacadeInstances())
    (piece,) = [piece for _, piece in found.pieces if abs(piece.wall.origin[1]) < 1]
    east, _, up = np.moveaxis(piece.canvas.cells(piece.wall, 0, piece.canvas.size[0]), -1, 0)
    within = (up > 1) & (up < 6)
    gap, on_houses = within & (np.abs(east - 5.6) < 0.4), within & (np.abs(east - 5.6) > 1.1) & (np.abs(east - 5.6) < 5)
    assert gap.sum() > 500 and piece.shown[gap].mean() < 0.1 and piece.shown[on_houses].mean() > 0.98


def test_a_plane_that_photographs_look_through_is_no_facade(made: tuple[Scene, Found]):
    scene, found = made
    piece = found.pieces[0][1]
    nearer = replace(piece.wall, origin=piece.wall.origin + 2 * piece.wall.outward)  # over the pavement
    kept = without_openings(scene.map, scene.ground, scene.cloud, [replace(piece, wall=nearer), piece])
    assert [one.wall for one in kept] == [piece.wall] and kept[0].shown.mean() > 0.9
    assert without_openings(scene.map, scene.ground, scene.cloud, []) == []


@pytest.mark.parametrize(("depth", "is_kept"), [(0.3, False), (0.0, True)], ids=["trees", "rubble"])
def test_a_row_of_trees_is_no_facade_and_a_wall_of_rubble_is_one(depth: float, is_kept: bool):
    """Neither has edges of a direction; the points of the one keep to its plane."""
    rough = Facade((12, 0), (21, 0), (70, 90, 60), 2, leaves=True, depth=depth)
    street = Street([Facade((0, 0), (9, 0), (170, 90, 80), 1), rough], walk(12, (2, -11), (20, -11)))
    found_there = [
        [k for k in range(1, found.num + 1) if (scene.map.points[found.labels == k, 0] > 11).mean() > 0.5]
        for settings in (FacadeInstances(), FacadeInstances(min_square=0.0))
        for scene, found in [facades_of(street, settings)]
    ]
    assert bool(found_there[0]) == is_kept and found_there[1], "a plane of points like any other, but for its edges"


def test_the_sky_behind_wires_is_no_facade(made: tuple[Scene, Found]):
    """A piece like any other, but that much of it is flat, and far from its points; bare plaster has points on it."""
    _, found = made
    piece, flat, few = found.pieces[0][1], np.full_like(found.pieces[0][1].lab, 70), FacadeInstances()
    flat[::60] = 30
    assert detailed(flat[..., 0]).mean() < 0.35 and detailed(piece.lab[..., 0])[piece.shown].mean() > 0.8
    wires = replace(
        piece, lab=flat, support=np.where(np.arange(len(flat))[:, None] % 60 < 5, 0.0, 1.0) + 0 * piece.support
    )
    plaster = replace(piece, lab=flat, support=np.zeros_like(piece.support))
    assert [is_empty(one, few) for one in (piece, wires, plaster)] == [False, True, False]
    assert is_empty(replace(piece, shown=np.zeros_like(piece.shown)), few)


def test_pieces_of_which_too_little_is_told_are_left_out(street: Street, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lbr.mapping.instances.find.is_empty", lambda *_: True)
    with pytest.raises(DataError, match="level and upright edges and detail, .*min_square, min_told"):
        facades_of(street, FacadeInstances())


def supported(piece: Piece, columns: slice, step: int = 4) -> Piece:
    """The same with points in these columns alone, in every row: its support as the distance from them (0.1 m cells,
    10 m away), along the wall."""
    at = np.arange(piece.canvas.size[0])
    distance = np.abs(at[:, None] - at[columns][::step]).min(axis=1) * 0.01
    return replace(piece, support=np.broadcast_to(distance, piece.support.shape).astype(np.float32))


@pytest.mark.parametrize(
    ("columns", "bare"),
    [
        (slice(0, 40), False),  # all over it
        (slice(0, 18), False),  # half of it, what a point tells of around it with it
        (slice(0, 8), True),  # a third
        (slice(16, 24), True),  # half of it, but in one column: a lamp
    ],
)
def test_a_piece_that_its_points_hardly_make_up_is_bare(columns: slice, bare: bool):
    piece = supported(of_wall(0.0, 0.0, 4.0, 8.0, 8.0), columns)
    assert is_bare(piece, FacadeInstances()) == bare
    assert not is_bare(piece, FacadeInstances(min_covered=0.0))


def test_a_narrow_piece_that_is_full_is_not_bare():
    assert not is_bare(supported(of_wall(0.0, 0.0, 1.2, 8.0, 8.0), slice(0, 12)), FacadeInstances())


def test_bare_pieces_are_left_out_with_their_layers(street: Street, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lbr.mapping.instances.find.is_bare", lambda *_: True)
    with pytest.raises(DataError, match="points all over, .*min_covered"):
        facades_of(street, FacadeInstances())


@pytest.mark.parametrize("drawn_out", [1, 4])
def test_edges_of_windows_are_square_and_leaves_are_not(drawn_out: int):
    """Also where a wall is seen from the side, as a picture that is drawn out along it."""
    rng = np.random.default_rng(0)
    leaves = cv2.GaussianBlur(rng.normal(128, 200, (160, 160)).astype(np.float32), (0, 0), 2.0)
    wall = np.full((160, 160), 180, np.float32)
    for top, left in rng.integers(10, 130, (20, 2)):
        wall[top : top + 20, left : left + 14] = rng.uniform(30, 120)
    told = np.ones((160, 160 * drawn_out), bool)
    wide = [cv2.resize(picture, told.shape[::-1], interpolation=cv2.INTER_LINEAR) for picture in (leaves, wall)]
    assert squareness(wide[0], told) == pytest.approx(1 / 3, abs=0.04)
    assert squareness(wide[1] + rng.normal(0, 1, told.shape), told) > 0.6


def test_a_bare_wall_tells_nothing_of_its_edges():
    told = np.ones((80, 80), bool)
    assert np.isnan(squareness(np.full((80, 80), 200.0), told))
    assert np.isnan(squareness(np.random.default_rng(0).normal(100, 30, (80, 80)), ~told))


def painted(*parts: tuple[int, tuple[int, int, int]], ivy: tuple[int, int] | None = None) -> Texture:
    """A wall 160 cells high of parts (columns, RGB), each a little rough, with leaves over the columns `ivy`."""
    rng = np.random.default_rng(3)
    rgb = np.concatenate([np.full((160, width, 3), colour, np.float64) for width, colour in parts], axis=1)
    rgb += rng.normal(0, 4, rgb.shape)
    if ivy:
        leaves = rng.random((160, ivy[1] - ivy[0])) < 0.9
        rgb[:, ivy[0] : ivy[1]][leaves] = (40, 90, 30)
    lab = cv2.cvtColor(np.clip(rgb, 0, 255).astype(np.uint8), cv2.COLOR_RGB2LAB)
    return Texture(lab, np.ones(lab.shape[:2], np.float32), np.ones(lab.shape[:2], np.uint8))


BROWN, RED, MINT = (150, 120, 95), (160, 60, 60), (130, 185, 150)


def test_ivy_does_not_cut_a_house_in_two():
    settings = FacadeInstances()
    for wall in (painted((150, BROWN), (150, RED)), painted((150, BROWN), (150, RED), ivy=(30, 65))):
        parts = cut(wall, (50, 240), settings.price, settings.alike)
        assert len(parts) == 2 and abs(parts[0][1] - 150) <= 5


@pytest.mark.parametrize(
    ("parts", "edges"),
    [
        pytest.param([(25, RED), (150, BROWN)], [25], id="at the left"),
        pytest.param([(150, BROWN), (25, RED)], [150], id="at the right"),
        pytest.param([(25, RED), (150, BROWN), (25, RED)], [25, 175], id="at both"),
    ],
)
def test_a_strip_of_the_house_beside_is_cut_off(parts: list[tuple], edges: list[int]):
    """The first and the last part may be narrower than the least width; others may not."""
    settings = FacadeInstances()
    found = cut(painted(*parts), (50, 240), settings.price, settings.alike)
    assert len(found) == len(edges) + 1
    np.testing.assert_allclose([last for _, last in found[:-1]], edges, atol=5)
    between = painted((100, BROWN), (25, RED), (100, BROWN))
    assert all(last - first >= 50 for first, last in cut(between, (50, 240), settings.price, settings.alike))


def test_a_wall_that_is_painted_green_is_a_house():
    settings = FacadeInstances()
    parts = cut(painted((120, BROWN), (120, MINT)), (50, 240), settings.price, settings.alike)
    assert len(parts) == 2 and abs(parts[0][1] - 120) <= 5


def test_a_piece_ends_near_its_points():
    """Beside them and below: what lies further is the next street, or the pavement."""
    wall = Wall(np.zeros(2), np.array([0.0, -1.0]), np.arange(500), (0.0, 20.0), reach=10.0)
    canvas = Canvas(left=0.0, top=8.0, cell=0.05, size=(400, 170))
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(5, 15, 500), np.zeros(500), rng.uniform(0.0, 7, 500)], axis=1)
    first, last, top, bottom = occupied(canvas, wall, points, (0, 400))
    assert 100 - 13 < first < 100 and 300 < last < 300 + 13
    assert canvas.row(7) - 8 < top < canvas.row(7) and canvas.row(0) - 5 < bottom <= canvas.row(0)
    assert occupied(canvas, wall, points, (120, 280))[:2] == (120, 280), "a cut comes first"
    high = points + np.array([0, 0, 3.0])
    assert occupied(canvas, wall, high, (0, 400))[3] == 160, "not far over where the wall begins"


def test_a_piece_ends_where_the_roof_goes_back():
    wall = Wall(np.zeros(2), np.array([0.0, -1.0]), np.arange(500), (0.0, 20.0), reach=10.0)
    canvas = Canvas(left=0.0, top=9.0, cell=0.05, size=(400, 180))
    rng = np.random.default_rng(0)
    z = rng.uniform(0, 7.5, 500)
    roof = np.maximum(z - 6.5, 0) / 2  # behind the plane: as far as a point may be and still be the wall's
    points = np.stack([rng.uniform(5, 15, 500), roof, z], axis=1)
    top = occupied(canvas, wall, points, (0, 400))[2]
    assert canvas.row(6.5 + 0.6) <= top <= canvas.row(6.5), "no more of it than the tolerance"
    behind = points + np.array([0, 0.3, 0])
    assert occupied(canvas, wall, behind, (0, 400))[2] <= canvas.row(7.4), "a wall that lies behind is told as it is"


def of_wall(y: float, left: float, width: float, top: float, height: float) -> Piece:
    """A piece that faces a camera south of it, of cells of 0.1 m whose picture tells where they are."""
    wall = Wall(np.array([0.0, y]), np.array([0.0, -1.0]), np.arange(20), (left, left + width), reach=10.0)
    rows, columns = round(height / 0.1), round(width / 0.1)
    shape = rows, columns
    lab = np.dstack([*np.indices(shape), np.zeros(shape)]).astype(np.uint8)
    return Piece(wall, Canvas(left, top, 0.1, (columns, rows)), lab, np.ones(shape, bool), np.zeros(shape, np.float32),
                 wall.points, np.arange(4))  # fmt: skip


def seen_in(images: int, piece: Piece, points: np.ndarray) -> Piece:
    return replace(piece, images=np.arange(images), points=points)


@pytest.mark.parametrize(
    ("left", "depth", "outward", "images", "num", "part"),
    [
        pytest.param(1.0, 0.4, (0.0, -1.0), 5, 95, True, id="half of a front"),
        pytest.param(2.0, 1.0, (0.0, -1.0), 5, 20, True, id="balcony"),
        pytest.param(5.0, 0.4, (0.0, -1.0), 5, 95, False, id="next house"),
        pytest.param(1.0, 4.0, (0.0, -1.0), 5, 95, False, id="house across the yard"),
        pytest.param(1.0, 0.4, (1.0, 0.0), 5, 95, False, id="side of it"),
        pytest.param(1.0, 0.4, (0.0, -1.0), 9, 95, False, id="seen without it"),
    ],
)
def test_what_stands_before_a_wall_and_is_never_seen_without_it_is_a_part_of_it(
    left: float, depth: float, outward: tuple[float, float], images: int, num: int, part: bool
):
    """Of nearly as many points, too: half of a front that is not quite a plane is a wall of its own."""
    rng = np.random.default_rng(0)
    xyz = np.concatenate([
        np.stack([rng.uniform(0, 6, 100), np.zeros(100), rng.uniform(0, 9, 100)], axis=1),
        np.stack([rng.uniform(left, left + 6, num), np.full(num, -depth), rng.uniform(0, 9, num)], axis=1),
    ])  # fmt: skip
    cloud = Cloud(np.arange(len(xyz)), xyz, *(np.zeros(len(xyz)) for _ in range(4)))
    house = seen_in(5, of_wall(0.0, 0.0, 6.0, 10.0, 10.0), np.arange(100))
    other = seen_in(images, of_wall(-depth, left, 6.0, 10.0, 10.0), np.arange(100, 100 + num))
    other = replace(other, wall=replace(other.wall, outward=np.array(outward)))
    for pieces, roots in (([house, other], [0, 0]), ([other, house], [1, 1])):
        assert joined(cloud, pieces) == (roots if part else [0, 1])


def test_a_layer_is_of_its_piece_as_far_as_it_is_over_it():
    """Eaves of a whole row, of which most points are over one of its houses: 0.6 m beside that they end."""
    house, eaves = of_wall(0.0, 0.0, 6.0, 10.0, 10.0), of_wall(1.5, -11.0, 20.0, 14.0, 6.0)
    part = within(eaves, house)
    assert part is not None and part.points is eaves.points and part.wall is eaves.wall
    assert part.canvas.left == pytest.approx(-0.6) and part.canvas.size == (72, 26)
    assert part.canvas.top == pytest.approx(10.6)
    np.testing.assert_array_equal(part.lab[0, 0, :2], [34, 104])
    assert part.shown.shape == part.support.shape == (26, 72)
    balcony = of_wall(-1.0, 2.0, 2.0, 6.0, 3.0)
    whole = within(balcony, house)
    assert whole is not None and whole.canvas.size == balcony.canvas.size, "one that stands before it stays"
    assert within(of_wall(0.0, 20.0, 3.0, 10.0, 5.0), house) is None


def test_a_car_that_stands_in_one_photograph_is_background(street: Street, made: tuple[Scene, Found]):
    ids, _ = ids_of(street, *made, 2)
    bare = Street(street.facades[:-1], street.poses)
    with_car, without = (s.photograph(list(s.poses)[2])[0].astype(int) for s in (street, bare))
    car = (np.abs(with_car - without).sum(axis=-1) > 0) & (bare.photograph(list(bare.poses)[2])[1] > 0)
    assert car.sum() > 800 and np.mean(ids[car] == 0) > 0.7
    undisturbed, _ = ids_of(bare, *made, 2)
    assert np.mean(undisturbed[car] > 0) > 0.85, "it is the photograph that tells"


def looking(x: float, y: float, yaw_deg: float) -> Pose:
    """cam_from_world of a camera 1.6 m high that looks level, `yaw_deg` east of north."""
    east, north = np.sin(np.radians(yaw_deg)), np.cos(np.radians(yaw_deg))
    R = np.array([[north, -east, 0], [0, 0, -1], [east, north, 0]])
    return Pose(R, -R @ np.array([x, y, 1.6]))


def test_a_photograph_is_asked_for_the_pieces_before_it_whatever_points_it_shares(made: tuple[Scene, Found]):
    scene, found = made
    unseen = Found(np.zeros_like(found.labels), found.num, found.pieces)
    before = [{number for number, _ in task_of(scene, unseen, image).pieces} for image in range(12)]
    assert set.union(*before) == set(range(1, found.num + 1)) and any(len(ids) < found.num for ids in before)
    assert [task_of(scene, unseen, image).unseen for image in range(12)] == before
    assert not any(task_of(scene, found, image).unseen for image in range(12)), "all are seen by a covisible image"
    pieces = [piece for _, piece in found.pieces]
    level = scene.ground.level_from_world
    shares = {}
    for place in ((4.5, -11, 0), (4.5, -44, 0), (4.5, -11, 180), (4.5, 11, 180), (4.5, -0.2, 0)):
        pose = looking(*place)
        shares[place] = shares_of_view(found.outlines, CAMERA, Pose(pose.R @ level.T, pose.t))
    near, far, turned, behind, touching = shares.values()
    assert 0.3 < near.max() < 1
    areas = np.array([np.prod(piece.canvas.size) * piece.canvas.cell**2 for piece in pieces])
    np.testing.assert_allclose(far, areas * (230 / 44) ** 2 / (320 * 240), rtol=0.1)
    assert not turned.any() and not behind.any() and not touching.any()


def test_a_view_of_a_large_photograph_has_its_camera_made_smaller():
    large = Camera("PINHOLE", 1280, 960, (920.0, 920.0, 640.0, 480.0))
    view = view_of(np.zeros((960, 1280, 3), np.uint8), large, Pose.identity())
    height, width = view.lab.shape[:2]
    assert width < 1280 and view.camera.size == (width, height)
    np.testing.assert_allclose(view.project(np.array([[0.0, 0, 5]])), [[width / 2, height / 2]], atol=1e-6)


def test_what_is_seen_from_far_off_is_told_by_its_coarse_picture():
    """Bricks that no pixel resolves: the picture of the wall is compared as the photograph has it, not cell by cell."""
    rng, step, distance = np.random.default_rng(0), 4, 46.0
    cell = distance / CAMERA.params[0] / step
    bricks = np.clip(rng.normal(128, 60, (120, 240)), 0, 255).astype(np.uint8)
    lab = np.dstack([bricks, np.full((120, 240, 2), 128, np.uint8)])
    wall = Wall(np.zeros(2), np.array([0.0, -1.0]), np.arange(20), (-6.0, 6.0), reach=10.0)
    canvas = Canvas(-120 * cell, 1.6 + 60 * cell, cell, (240, 120))
    piece = Piece(wall, canvas, lab, np.ones((120, 240), bool), np.full((120, 240), 0.2, np.float32), wall.points,
                  np.arange(4))  # fmt: skip
    photograph = np.full((240, 320, 3), 128, np.float32)
    photograph[105:135, 130:190, 0] = cv2.resize(bricks, (60, 30), interpolation=cv2.INTER_AREA)
    view = View(photograph, CAMERA, looking(0, -distance, 0))
    no_points = np.zeros((0, 2)), np.zeros(0, np.int64), CAMERA.size
    for unseen in ((), {3}):
        ids = label_pixels(view, [(3, piece)], *no_points, unseen)
        assert np.mean(ids[107:133, 132:188] == 3) > 0.95
        assert np.mean(ids[:100] == 3) == 0 and np.mean(ids[:, :120] == 3) == 0


def test_a_bare_wall_is_not_taken_for_a_piece_that_no_point_tells_of(street: Street, made: tuple[Scene, Found]):
    """The piece may stand hidden behind it."""
    scene, found = made
    task = task_of(scene, found, 5)
    no_points = np.zeros((0, 2)), np.zeros(0, np.int64), CAMERA.size
    photograph, true = street.photograph(list(street.poses)[5])
    bare = photograph.copy()
    bare[true > 0] = photograph[true > 0].mean(axis=0)
    for picture, shown in ((photograph, True), (bare, False)):
        ids = label_pixels(view_of(picture, CAMERA, task.pose), task.pieces, *no_points, {n for n, _ in task.pieces})
        assert (np.mean(ids[true > 0] > 0) > 0.8) == shown and (shown or not ids.any())
    assert label_pixels(view_of(bare, CAMERA, task.pose), task.pieces, *no_points).any(), "where points tell of them"


def test_poses_and_points_a_little_off():
    rng = np.random.default_rng(1)
    true = row().poses
    given = {
        name: Pose(
            Rotation.from_rotvec(rng.normal(0, np.radians(0.15), 3)).as_matrix() @ p.R, p.t + rng.normal(0, 0.04, 3)
        )
        for name, p in true.items()
    }
    street = row(noise_m=0.04, noise_px=1.0, given=given)
    scene, found = facades_of(street, FacadeInstances())
    purity, coverage, ids = scores(street, scene, found, range(0, 12, 2))
    assert purity > 0.92 and coverage > 0.9 and all(not a & b for a in ids for b in ids if a is not b)


def test_ten_images_are_enough():
    street = row(10)
    scene, found = facades_of(street, FacadeInstances())
    _, coverage, _ = scores(street, scene, found, range(10))
    assert 3 <= found.num <= 5 and coverage > 0.85
    with pytest.raises(DataError, match="seen in 11 images"):
        facades_of(street, FacadeInstances(min_images=11))


def test_how_many_images_are_a_handful():
    assert [FacadeInstances().images_needed(n) for n in (10, 150, 10_000)] == [3, 4, 6]
    assert KMeansInstances(min_images=2).images_needed(500) == 2


def test_a_map_without_points_to_speak_of_is_refused():
    street = row(points_per_m2=0.01)
    scene = street.map()
    with pytest.raises(DataError, match="too few to find instances in"):
        cloud_of(scene, ground_of(np.asarray(scene.poses)[:, :, :3]))


def test_points_of_too_few_images_tell_of_no_instance(street: Street):
    scene = street.map()
    ground = ground_of(np.asarray(scene.poses)[:, :, :3])
    tracks = np.asarray(scene.track_lengths)
    assert tracks[cloud_of(scene, ground).index].min() < 5 == tracks[cloud_of(scene, ground, 5).index].min()
    assert tracks[prepare(scene, 0, 5).cloud.index].min() == 5
    with pytest.raises(DataError, match=r"are of use \(seen in 100 images or more"):
        prepare(scene, 0, 100)


@pytest.mark.filterwarnings("error")
def test_a_wall_that_no_photograph_shows_is_cut_without_a_complaint():
    unseen = Texture(np.zeros((64, 200, 3), np.uint8), np.full((2, 200), np.nan), np.zeros((64, 200), np.uint8))
    assert cut(unseen, (40, 120), 1.0, 21.0)[-1][1] == 200


def test_clusters_are_found_again_and_lie_together(street: Street, made: tuple[Scene, Found]):
    scene, _ = made
    settings = KMeansInstances(num=3)
    found = find_clusters(scene, settings, 7)
    np.testing.assert_array_equal(found.labels, find_clusters(scene, settings, 7).labels)
    east = scene.ground.flat(scene.map.points)[:, 0]
    spans = [np.ptp(east[found.labels == k]) for k in range(1, found.num + 1)]
    assert found.num == 3 and max(spans) < 20


def test_the_guided_filter_keeps_edges():
    rng = np.random.default_rng(0)
    guide = np.zeros((60, 80), np.float32)
    guide[:, 40:] = 120
    values = np.where(guide > 0, 1.0, -1.0) + rng.normal(0, 0.7, guide.shape)
    smooth = guided(guide, values)
    assert np.mean(np.sign(smooth) == np.where(guide > 0, 1, -1)) > 0.995
    assert np.std(smooth[:, 50:]) < 0.15
