import numpy as np
import pytest

from lbr.errors import ConfigError
from lbr.town.config import PRESETS, TownConfig
from lbr.town.design import design_facade
from lbr.town.plan import make_plan, offset_polygon

SQUARE = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])


def demo_plan(seed=7):
    return make_plan(PRESETS["demo"]["blocks"], seed)


def test_offset_moves_each_side_by_its_distance():
    moved = offset_polygon(SQUARE, np.array([1.0, 2, 3, 4]))
    np.testing.assert_allclose(moved, [[-4, -1], [12, -1], [12, 13], [-4, 13]])


def test_demo_has_the_promised_buildings_and_squares():
    plan = demo_plan()
    assert plan.num_buildings >= 32
    assert len(plan.squares) == 2
    corner_houses = np.bincount([f.building for f in plan.facades])
    assert (corner_houses == 2).any() and corner_houses.max() == 2


def test_colours_are_distinct_and_some_are_near():
    ids = [f.colour_id for f in demo_plan().facades]
    rgb = np.array([[i >> 16, i >> 8 & 255, i & 255] for i in ids])
    gaps = np.abs(rgb[:, None] - rgb[None]).sum(2) + 1000 * np.eye(len(ids), dtype=int)
    assert len(set(ids)) == len(ids) and min(ids) > 0
    assert gaps.min() == 10


def test_facades_face_a_street():
    plan = demo_plan()
    axes = np.array([(1 - t) * s.a + t * s.b for s in plan.streets for t in np.linspace(0, 1, 20)])
    for facade in plan.facades:
        middle = (facade.start + facade.end) / 2
        nearest = axes[np.linalg.norm(axes - middle, axis=1).argmin()]
        assert (nearest - middle) @ facade.outward[:2] > 3
        assert np.isclose(np.cross(facade.right, [0, 0, 1]) @ facade.outward, 1)


def test_to_world_puts_the_corners_on_the_plan():
    facade = demo_plan().facades[5]
    np.testing.assert_allclose(facade.to_world(np.array([facade.width, 2.0, 0])), [*facade.end, 2.0], atol=1e-9)


def test_twins_share_a_design_stretched_to_their_lots():
    plan = demo_plan()
    assert plan.twins
    for a, b in plan.twins:
        first, second = (plan.facades[i - 1] for i in (a, b))
        one, two = design_facade(first), design_facade(second)
        assert one.style == two.style
        assert [o.kind for o in one.openings] == [o.kind for o in two.openings]
        assert abs(first.width - second.width) < 1.0
        assert np.linalg.norm(first.start - second.start) > 20


def test_openings_lie_inside_their_wall():
    for facade in demo_plan().facades:
        for opening in design_facade(facade).openings:
            s0, h0, s1, h1 = opening.box
            assert 0 <= s0 < s1 <= facade.width and 0 <= h0 < h1


def test_plan_depends_on_the_seed_alone():
    first, second, other = demo_plan(), demo_plan(), demo_plan(8)
    assert [f.colour_id for f in first.facades] == [f.colour_id for f in second.facades]
    np.testing.assert_array_equal(first.outline, second.outline)
    assert not np.array_equal(first.outline, other.outline)


@pytest.mark.parametrize("blocks", [("BB", "BB"), ("BBB", "BXB", "BBB"), ("BBB", "BB", "BBB")])
def test_a_bad_map_is_refused(blocks):
    with pytest.raises(ConfigError, match="town.blocks"):
        TownConfig(blocks=blocks).resolved()


def test_unknown_keys_are_refused():
    with pytest.raises(ValueError, match="num_dbs"):
        TownConfig(num_dbs=3)
