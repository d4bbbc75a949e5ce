"""Views added to a map: what is there keeps every bit, what comes is true, and taking it away gives the map before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lbr.errors import DataError
from lbr.geometry.camera import guess_camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import project
from lbr.mapping.changes import Addition, NewImage, NewObservations, points_of_keypoints, with_images, without_images
from lbr.mapping.growth import Growth, View, grow
from lbr.mapping.map import Map, build_map
from lbr.mapping.triangulation import TriangulationSettings, verify_pairs
from lbr.matching.nearest import Nearest, NearestSettings
from lbr.types import LocalFeatures
from tests.synthetic import ExactWorld

SETTINGS = TriangulationSettings()
MATCHER = Nearest(NearestSettings(mutual=True))


class Case:
    """Of the world's 6 images the first `old` are a map; of its points every third is not in it, though seen."""

    def __init__(self, old: int = 4, noise_px: float = 0.0) -> None:
        self.world = ExactWorld.make(num_images=6)
        names = list(self.world.poses)
        self.old, self.new = names[:old], names[old:]
        self.features: dict[str, LocalFeatures] = {
            name: self.world.features(pose, noise_px, seed=i) for i, (name, pose) in enumerate(self.world.poses.items())
        }
        self.scene = self._map()

    def true_points(self, name: str) -> np.ndarray:
        """int [N]: which of the world's points each keypoint is of."""
        return MATCHER.match(self.features[name], _points_as_features(self.world)).indices[:, 1]

    def _map(self) -> Map:
        whole = self.world.model()
        mapped = np.cumsum(np.arange(len(self.world.points)) % 3 > 0) - 1
        mapped[::3] = -1
        found = [self.true_points(name) for name in self.old]
        sizes = [len(f) for f in found]
        model = replace(
            whole, names=tuple(self.old), cameras=whole.cameras[: len(self.old)], poses=whole.poses[: len(self.old)],
            offsets=np.concatenate([[0], np.cumsum(sizes)]),
            keypoints=np.concatenate([self.features[n].keypoints for n in self.old]),
            point_index=mapped[np.concatenate(found)].astype(np.int32),
            points=self.world.points[mapped >= 0], point_errors=np.zeros((mapped >= 0).sum(), np.float32),
        )  # fmt: skip
        return build_map(model, [self.features[n].descriptors for n in self.old], {})

    def views(self) -> dict[str, View]:
        views = {}
        for name, pose in self.world.poses.items():
            features, old = self.features[name], name in self.old
            points = points_of_keypoints(self.scene, name, features) if old else np.full(len(features), -1)
            views[name] = View(self.world.camera, pose, features.keypoints, points, not old)
        return views

    def grown(self, settings: TriangulationSettings = SETTINGS, wrong: float = 0.0) -> Growth:
        names = list(self.world.poses)
        pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if b in self.new]
        matches = [(p, MATCHER.match(self.features[p[0]], self.features[p[1]])) for p in pairs]
        verified = verify_pairs(
            dict.fromkeys(names, self.world.camera), self.world.poses,
            {n: f.keypoints for n, f in self.features.items()}, iter(matches), settings,
        )  # fmt: skip
        if wrong:
            rng = np.random.default_rng(0)
            for indices in verified.values():
                bad = rng.random(len(indices)) < wrong
                indices[bad, 1] = rng.permutation(indices[bad, 1])
        return grow(self.views(), self.scene.points, verified, settings)

    def extended(self, growth: Growth) -> Map:
        names = np.array(list(self.world.poses))[growth.views]
        pairs = list(zip(names.tolist(), growth.keypoints.tolist(), strict=True))
        seen = NewObservations(
            names, np.array([self.features[n].keypoints[k] for n, k in pairs]),
            np.array([self.features[n].descriptors[k] for n, k in pairs]), growth.point_index,
        )  # fmt: skip
        return with_images(self.scene, self.images, growth.points, seen)

    @property
    def images(self) -> dict[str, NewImage]:
        return {name: NewImage(self.world.camera, self.world.poses[name]) for name in self.new}


def _points_as_features(world: ExactWorld) -> LocalFeatures:
    count = len(world.points)
    return LocalFeatures(np.zeros((count, 2), np.float32), np.ones(count, np.float32), world.descriptors, (9, 9))


@pytest.fixture(scope="module")
def exact() -> Case:
    return Case()


def assert_equal_maps(a: Map, b: Map) -> None:
    assert (a.names, a.cameras, a.units) == (b.names, b.cameras, b.units)
    for array in ("camera_index", "poses", "place", "offsets", "keypoints", "descriptors", "point_index", "points",
                  "track_lengths"):  # fmt: skip
        np.testing.assert_array_equal(getattr(a, array), getattr(b, array), array)
    assert (a.covisibility != b.covisibility).nnz == 0
    np.testing.assert_allclose(a.point_errors, b.point_errors, atol=1e-4)


def test_keypoints_are_found_again_in_the_map(exact: Case):
    for name in exact.old:
        points = points_of_keypoints(exact.scene, name, exact.features[name])
        np.testing.assert_array_equal(
            points[points >= 0], exact.scene.point_index[exact.scene.observations(exact.scene.index_of(name))]
        )
    strange = replace(exact.features[exact.old[0]], descriptors=exact.features[exact.old[0]].descriptors + 0.1)
    assert (points_of_keypoints(exact.scene, exact.old[0], strange) == -1).all()
    nothing = strange.select(np.zeros(0, int))
    assert len(points_of_keypoints(exact.scene, exact.old[0], nothing)) == 0


def test_exact_views_see_the_maps_points_and_add_the_others(exact: Case):
    """Every point that a new view shows is observed; every new point is where it is in the world."""
    growth, names, count = exact.grown(), list(exact.world.poses), len(exact.scene.points)
    in_map = exact.world.points[np.arange(len(exact.world.points)) % 3 > 0]
    positions = np.concatenate([in_map, growth.points])
    for view, name in enumerate(names):
        own = growth.views == view
        true = exact.world.points[exact.true_points(name)[growth.keypoints[own]]]
        np.testing.assert_allclose(positions[growth.point_index[own]], true, atol=1e-4)
        if name in exact.new:
            assert own.sum() == len(exact.features[name]), "all of them: there are no errors"
        else:
            assert (growth.point_index[own] >= count).all(), "old views see more of new points only"


def test_what_was_there_keeps_every_bit(exact: Case):
    growth, before = exact.grown(), exact.scene
    after = exact.extended(growth)
    np.testing.assert_array_equal(after.points[: len(before.points)], before.points)
    for name in exact.old:
        i, j = before.index_of(name), after.index_of(name)
        np.testing.assert_array_equal(after.poses[j], before.poses[i])
        count = before.offsets[i + 1] - before.offsets[i]
        for array in ("keypoints", "descriptors", "point_index"):
            new, old = (getattr(m, array)[m.observations(k)] for m, k in ((after, j), (before, i)))
            np.testing.assert_array_equal(new[:count], old)
    lengths = np.bincount(after.point_index, minlength=len(after.points))
    np.testing.assert_array_equal(after.track_lengths, lengths)
    assert 0 < after.point_errors.max() < 0.01
    with pytest.raises(ValueError, match="already"):
        with_images(after, exact.images, np.zeros((0, 3)), _nothing())


def _nothing() -> NewObservations:
    return NewObservations(np.zeros(0, str), np.zeros((0, 2)), np.zeros((0, 32)), np.zeros(0, int))


def test_taking_the_added_images_away_gives_the_map_before(exact: Case):
    growth = exact.grown()
    added = Addition(tuple(exact.new), len(growth.points))
    again, left = without_images(exact.extended(growth), exact.new, [added])
    assert_equal_maps(again, exact.scene)
    assert left == (Addition((), 0),)


def test_some_of_the_added_images_leave_points_that_the_others_see(exact: Case):
    growth = exact.grown()
    smaller, (left,) = without_images(
        exact.extended(growth), exact.new[:1], [Addition(tuple(exact.new), len(growth.points))]
    )
    assert left.names == tuple(exact.new[1:]) and 0 < left.num_points <= len(growth.points)
    assert len(smaller.points) == len(exact.scene.points) + left.num_points
    assert smaller.track_lengths.min() >= 2


def test_images_of_the_first_map_can_be_removed_too():
    case = Case()
    smaller, _ = without_images(case.scene, case.old[:2])
    assert smaller.names == tuple(case.old[2:])
    views = np.repeat(np.arange(2), np.diff(smaller.offsets))
    seen_by = [len(np.unique(views[smaller.point_index == p])) for p in range(len(smaller.points))]
    assert set(seen_by) == {2}
    kept = {tuple(p) for p in smaller.points}
    assert kept <= {tuple(p) for p in case.scene.points}
    with pytest.raises(DataError, match="all 4 images"):
        without_images(case.scene, case.old)
    with pytest.raises(DataError, match="no point would be left"):
        without_images(case.scene, case.old[:3])


def test_places_units_and_what_photographs_say_of_their_camera_stay_what_they_are(exact: Case):
    """Images go to the place they are of; a place that loses all of its images leaves no number behind."""
    said = {exact.old[0]: guess_camera(640, 480, 600, "Acme")}
    apart = replace(exact.scene, place=np.array([0, 0, 1, 1], np.int32), units="model", said=said)
    images = {name: NewImage(exact.world.camera, exact.world.poses[name], 1) for name in exact.new}
    after = with_images(apart, images, np.zeros((0, 3)), _nothing())
    assert after.said == said
    assert after.units == "model" and [int(after.place[after.index_of(n)]) for n in exact.old] == [0, 0, 1, 1]
    assert [int(after.place[after.index_of(n)]) for n in exact.new] == [1, 1]
    without, _ = without_images(after, exact.old[:1])
    assert without.units == "model" and without.place.tolist() == [0, 1, 1, 1, 1]
    second, _ = without_images(after, exact.old[:2])
    assert second.num_places == 1 and second.place.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_noise_and_false_matches_leave_points_true_to_centimetres(wrong: float):
    case = Case(noise_px=0.5)
    growth = case.grown(wrong=wrong)
    expected = Case().grown()
    assert len(growth.points) >= (0.85 if wrong else 0.95) * len(expected.points)
    names, count, off = list(case.world.poses), len(case.scene.points), []
    for view, name in enumerate(names):
        own = (growth.views == view) & (growth.point_index >= count)
        true = case.world.points[case.true_points(name)[growth.keypoints[own]]]
        off.append(np.linalg.norm(growth.points[growth.point_index[own] - count] - true, axis=1))
    assert np.median(np.concatenate(off)) < 0.02
    assert (np.concatenate(off) < 0.1).mean() > (0.9 if wrong else 0.97)


def test_limits_count(exact: Case):
    wide = exact.grown(TriangulationSettings(min_triangulation_angle_deg=24))
    assert 0 < len(wide.points) < len(exact.grown().points)
    assert len(exact.grown(TriangulationSettings(min_triangulation_angle_deg=60)).points) == 0


def test_without_matches_nothing_grows(exact: Case):
    growth = grow(exact.views(), exact.scene.points, {}, SETTINGS)
    assert len(growth.points) == len(growth.views) == 0
    after = with_images(exact.scene, exact.images, growth.points, _nothing())
    assert len(after) == 6 and np.diff(after.offsets)[after.index_of(exact.new[0])] == 0


def attached(nodes: list[float], matches: dict[tuple[str, str], list[tuple[int, int]]]) -> dict[int, int]:
    """The map's point that each keypoint of a new view gets. The map has two points, seen by `left` and `right` (its
    keypoints 0 and 1), that lie 4 px apart in the new view; `nodes`: its keypoints, in pixels from the first."""
    camera = guess_camera(640, 480)
    points = np.array([[0.0, 0.0, 5.0], [0.0, 4 * 5.0 / camera.focal[0], 5.0]])
    poses = {
        name: Pose(np.eye(3), np.array([-x, 0.0, 0.0])) for name, x in (("left", -1.0), ("right", 1.0), ("new", 0.0))
    }

    def seen(name: str) -> np.ndarray:
        return project(camera, poses[name], points)

    views = {
        name: View(camera, poses[name], seen(name).astype(np.float32), np.arange(2), False)
        for name in ("left", "right")
    }
    at = seen("new")[:1] + np.array([[0.0, y] for y in nodes])
    views["new"] = View(camera, poses["new"], at.astype(np.float32), np.full(len(nodes), -1), True)
    pairs = {pair: np.array(found) for pair, found in matches.items()}
    grown = grow(views, points, pairs, TriangulationSettings(max_reprojection_error_px=4.0))
    assert len(grown.points) == 0 and set(grown.views.tolist()) <= {2}
    return dict(zip(grown.keypoints.tolist(), grown.point_index.tolist(), strict=True))


def test_most_partners_decide_which_point_a_keypoint_has_then_the_least_error():
    nearer_to_second = [3.0]
    both = {("new", "left"): [(0, 0), (0, 1)]}
    assert attached(nearer_to_second, both) == {0: 1}, "as many for each: the second is 1 px off, the first 3"
    assert attached(nearer_to_second, {**both, ("new", "right"): [(0, 0)]}) == {0: 0}, "two of three"
    assert attached([-1.0], {("new", "left"): [(0, 1)]}) == {}, "5 px off"


def test_a_view_sees_a_point_once():
    matches = {("new", "left"): [(0, 0), (1, 0)]}
    assert attached([2.0, 1.0], matches) == {1: 0}, "the better of two keypoints"
    assert attached([2.0, 1.0], {**matches, ("new", "right"): [(0, 0)]}) == {0: 0}, "that of more partners"
