"""New instances in photographs that are added to a map, on a street with known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from lbr.config import load_config
from lbr.mapping.map import Map
from lbr.pipeline.additions import _new_instances
from lbr.pipeline.stage import Context
from tests.pipeline.test_labelling import STREET, place
from tests.street import map_of

ADDED = tuple(name for name in STREET.poses if (STREET.photograph(name)[1] == 3).mean() > 0.1)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return Context(load_config(place(tmp_path_factory.mktemp("additions"), STREET.map())))


@pytest.fixture(scope="module")
def grown() -> tuple[Map, np.ndarray]:
    """The map with the additions, and the true house of each of its points."""
    scene, (points, labels) = STREET.map(), STREET.points()
    return scene, labels[cKDTree(points).query(scene.points)[1]]


def found(context: Context, grown: Map, known: np.ndarray, shown: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return _new_instances(context, context.images, grown, known, shown)


def nothing() -> dict[str, np.ndarray]:
    return {name: np.zeros((120, 160), np.int32) for name in ADDED}


def test_the_house_that_the_map_did_not_have_is_one_new_instance(context: Context, grown: tuple[Map, np.ndarray]):
    scene, true = grown
    assert len(ADDED) >= 3
    ids = found(context, scene, true != 3, nothing())
    assert set(ids) == set(ADDED) and {int(i.max()) for i in ids.values()} == {1}
    for name in ADDED:
        house = STREET.photograph(name)[1][::2, ::2] == 3
        assert np.mean(house[ids[name] == 1]) > 0.93 and np.mean(ids[name][house] == 1) > 0.8


def test_what_is_shown_already_stays(context: Context, grown: tuple[Map, np.ndarray]):
    """Where an instance was recognised, none is made; one of which next to nothing is left is none."""
    scene, true = grown
    left = {name: np.where(np.arange(160) < 80, 7, 0) * np.ones((120, 1), np.int32) for name in ADDED}
    ids = found(context, scene, true != 3, left)
    assert ids and not any((ids[name] > 0)[left[name] > 0].any() for name in ids)
    everywhere = {name: np.full((120, 160), 7, np.int32) for name in ADDED}
    assert found(context, scene, true != 3, everywhere) == {}


def test_where_all_is_known_nothing_is_new(context: Context, grown: tuple[Map, np.ndarray]):
    assert found(context, grown[0], np.ones(len(grown[1]), bool), nothing()) == {}


def test_a_map_of_too_few_points_has_nothing_new(context: Context):
    few = STREET.model()
    kept = few.point_index < 8
    counts = np.add.reduceat(kept, few.offsets[:-1])
    few = replace(
        few, offsets=np.concatenate([[0], np.cumsum(counts)]), keypoints=few.keypoints[kept],
        point_index=few.point_index[kept], points=few.points[:8], point_errors=few.point_errors[:8],
    )  # fmt: skip
    assert found(context, map_of([few]), np.zeros(8, bool), nothing()) == {}
