import numpy as np

from lbr.town.coverage import NEAR, pool, probe, support
from lbr.town.viewpoints import Walk, look, rig_pose, street_camera, walk_shots


def test_look_has_its_axes_where_it_says():
    pose = look(np.array([1.0, 2, 3]), yaw=np.pi / 2, pitch=0.0)
    np.testing.assert_allclose(pose.centre, [1, 2, 3], atol=1e-12)
    np.testing.assert_allclose(pose.apply(np.array([[1.0, 12, 3]])), [[0, 0, 10]], atol=1e-12)  # north is ahead
    np.testing.assert_allclose(pose.apply(np.array([[2.0, 2, 3]])), [[1, 0, 0]], atol=1e-12)  # east is right
    np.testing.assert_allclose(pose.apply(np.array([[1.0, 2, 4]])), [[0, -1, 0]], atol=1e-12)  # up is -y
    assert look(np.zeros(3), 0.0, 0.3).R[2, 2] > 0  # pitched up


def test_rig_cameras_look_left_back_and_right_of_the_vehicle():
    for name, axis in (("left", [0, 1]), ("rear", [-1, 0]), ("right", [0, -1])):
        assert rig_pose(name).R[2, :2] @ axis > 0.98


def test_walk_passes_every_street(town):
    walk = Walk(town.plan.streets)
    point, _, half = walk.at(walk.length)
    np.testing.assert_allclose(point, town.plan.streets[-1].b)
    assert half == town.plan.streets[-1].half_width


def test_probe_sees_the_facade_before_it(town):
    facade = town.plan.facades[0]
    centre = facade.to_world(np.array([facade.width / 2, 1.7, 9.0]))
    pose = look(centre, float(np.arctan2(*-facade.outward[1::-1])), 0.05)
    seen = probe(town, pose, street_camera(town.config, "db"))
    assert np.bincount(seen.instance).argmax() == facade.instance
    assert seen.distance.min() > NEAR and len(np.unique(seen.spot)) > 10
    assert support(seen, pool([seen] * 4)) == seen.share == 4 * support(seen, pool([seen]))


def test_db_views_are_shared(town):
    shots = walk_shots(town, 40, "db", np.random.default_rng(0))
    seen = [probe(town, s.pose, s.camera) for s in shots]
    shares = [support(view, pool(seen[:k] + seen[k + 1 :])) for k, view in enumerate(seen)]
    assert np.median(shares) > 0.25
