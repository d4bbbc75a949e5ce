"""Instance-wise matching against a plain loop, and what labels, right or wrong, do to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from lbr.matching import instancewise
from lbr.matching.instancewise import (
    InstanceWise,
    InstanceWiseSettings,
    _groups,
    match_by_instance,
    renamed,
    shared_instances,
)
from lbr.matching.nearest import Nearest, NearestSettings, match_descriptors
from lbr.types import LocalFeatures, Matches
from tests.matching.test_nearest import near_copies
from tests.matching.test_nearest import reference as plain
from tests.synthetic import unit_rows

Pairs = list[tuple[int, int]]


def features(descriptors: np.ndarray, labels: Any = None) -> LocalFeatures:
    num = len(descriptors)
    labels = None if labels is None else np.asarray(labels, np.int32)
    return LocalFeatures(np.zeros((num, 2), np.float32), np.ones(num, np.float32), descriptors, (640, 480), labels)


def two_images(num_a: int, num_b: int, instances: int, seed: int = 0, dtype: Any = np.float32) -> list[LocalFeatures]:
    """b at random; a are noisy copies of it. Labels at random, the background among them, and some on one side only."""
    rng = np.random.default_rng(seed)
    b = unit_rows(num_b, 24, rng)
    a = near_copies(num_a, b, rng) if num_b else unit_rows(num_a, 24, rng)
    return [
        features(rows.astype(dtype), rng.integers(low, low + instances, len(rows))) for rows, low in ((a, 0), (b, 1))
    ]


def reference(a: LocalFeatures, b: LocalFeatures, options: InstanceWiseSettings) -> Pairs:
    """Instance by instance in a loop, in double precision, then all that is unmatched, background or not."""
    found: Pairs = []
    for instance in range(1, 1 + max(a.labels.max(initial=0), b.labels.max(initial=0))):
        rows, columns = np.flatnonzero(a.labels == instance), np.flatnonzero(b.labels == instance)
        if min(len(rows), len(columns)) >= options.min_features:
            pairs = plain(a.descriptors[rows], b.descriptors[columns], options.within)
            found += [(int(rows[i]), int(columns[j])) for i, j in pairs]
    rows = np.setdiff1d(np.arange(len(a)), [i for i, _ in found])
    columns = np.setdiff1d(np.arange(len(b)), [j for _, j in found])
    if not len(columns):
        return found
    pairs = plain(a.descriptors[rows], b.descriptors[columns], options.across)
    return found + [(int(rows[i]), int(columns[j])) for i, j in pairs]


def as_pairs(found: Matches) -> Pairs:
    return [(int(i), int(j)) for i, j in found.indices]


SETTINGS: list[dict[str, Any]] = [
    {},
    {"within": {"mutual": True}, "across": {"mutual": True}},
    {"within": {"mutual": False}, "across": {"mutual": False}},
    {"within": {"ratio": 0.55}, "across": {"ratio": 0.7}},
    {"within": {"max_distance": 0.55}, "across": {"max_distance": 0.65}},
    {"within": {"mutual": False, "ratio": 0.6, "max_distance": 0.6}},
    {"min_features": 7},
]


@pytest.mark.parametrize("options", SETTINGS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float16], ids=["float32", "float16"])
@pytest.mark.parametrize("instances", [3, 60, 150])
def test_matches_are_those_of_a_plain_loop(options: dict, dtype: Any, instances: int):
    """3 instances: each matched in a product of its own; 60, 150: many in one, and more than one."""
    a, b = two_images(900, 290, instances, instances, dtype)
    chosen = InstanceWiseSettings.model_validate(options)
    found = InstanceWise(chosen).match(a, b)
    assert sorted(as_pairs(found)) == sorted(reference(a, b, chosen))
    cosines = np.einsum("nd,nd->n", *(np.float32(f.descriptors[i]) for f, i in zip((a, b), found.indices.T)))  # noqa: B905
    np.testing.assert_allclose(found.scores, cosines, atol=1e-5)
    assert found.indices.dtype == np.int32 and found.scores.dtype == np.float32


def test_each_setting_and_the_labels_change_something_here():
    """Else the comparison above would say little; and instances are grouped in every way."""
    a, b = two_images(900, 290, 60, 60)
    answers = [sorted(as_pairs(InstanceWise(InstanceWiseSettings.model_validate(o)).match(a, b))) for o in SETTINGS]
    answers.append(sorted(as_pairs(Nearest(NearestSettings(ratio=0.8)).match(a, b))))
    assert all(answers) and len({str(answer) for answer in answers}) == len(answers)
    for instances, groups in ((3, 2), (60, 4), (150, 4)):
        a, b = two_images(900, 290, instances, instances)
        found = _groups(a, shared_instances(a, b))
        assert [len(found), sum(map(len, found))] == [groups, len(shared_instances(a, b))]


@examples(deadline=None, max_examples=60)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 4), st.integers(0, 1000), st.sampled_from(SETTINGS[:2]))
def test_few_features_and_none(num_a: int, num_b: int, instances: int, seed: int, options: dict):
    a, b = two_images(num_a, num_b, instances, seed)
    chosen = InstanceWiseSettings.model_validate(options)
    found = InstanceWise(chosen).match(a, b)
    assert sorted(as_pairs(found)) == sorted(reference(a, b, chosen))
    assert found.indices.shape == (len(found), 2)
    for side in found.indices.T:
        assert len(np.unique(side)) == len(found), "mutual: each feature once"


@pytest.mark.parametrize("seed", range(3))
def test_each_feature_is_matched_once(seed: int):
    a, b = two_images(400, 300, 20, seed)
    noise = np.random.default_rng(seed).normal(size=b.descriptors.shape).astype(np.float32) * 0.15
    rows = (b.descriptors + noise) / np.linalg.norm(b.descriptors + noise, axis=1, keepdims=True)
    strange = features(rows, np.where(b.labels > 10, b.labels + 30, b.labels))
    matcher = InstanceWise(InstanceWiseSettings())
    assert as_pairs(matcher.match(strange, b)) != as_pairs(matcher.match_doubtful(strange, b)), "some are renamed"
    for found in (matcher.match(a, b), matcher.match_doubtful(strange, b)):
        assert len(found) > 50
        for side in found.indices.T:
            assert len(np.unique(side)) == len(found)


@pytest.mark.parametrize("unlabelled", ["a", "b", "both", "background"])
def test_without_labels_it_is_plain_matching(unlabelled: str):
    a, b = two_images(200, 200, 10)
    expected = Nearest(NearestSettings(ratio=0.7)).match(a, b)
    if unlabelled == "background":
        a = replace(a, labels=np.zeros_like(a.labels))
    a = replace(a, labels=None) if unlabelled in ("a", "both") else a
    b = replace(b, labels=None) if unlabelled in ("b", "both") else b
    found = InstanceWise(InstanceWiseSettings(across=NearestSettings(ratio=0.7))).match(a, b)
    assert found.indices.tobytes() == expected.indices.tobytes() and found.scores.tobytes() == expected.scores.tobytes()


def test_background_is_no_instance():
    a, b = two_images(50, 50, 4)
    assert 0 in a.labels and shared_instances(a, replace(b, labels=a.labels)).tolist() == [1, 2, 3]
    assert shared_instances(a, b, 1).tolist() == [1, 2, 3], "b has no background, a has no 4"


def test_an_instance_needs_enough_features_in_both_images():
    a = features(np.eye(6, dtype=np.float32), [1, 1, 2, 2, 2, 3])
    b = features(np.eye(6, dtype=np.float32), [1, 1, 1, 2, 3, 3])
    assert [shared_instances(a, b, n).tolist() for n in (1, 2, 3)] == [[1, 2, 3], [1], []]


def relabelled(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """The same labels, but this share of the instances is taken for another one, as a network does."""
    instances = np.unique(labels[labels > 0])
    wrong = rng.choice(instances, round(share * len(instances)), replace=False)
    names = np.arange(labels.max() + 1)
    names[wrong] = np.roll(wrong, 1)
    return names[labels].astype(np.int32)


@pytest.mark.parametrize("seed", range(3))
def test_wrong_labels_cost_little(seed: int):
    """30 % of the instances are taken for others: the second pass finds what the first could not."""
    rng = np.random.default_rng(seed)
    b = unit_rows(900, 64, rng)
    a = b + rng.normal(size=b.shape).astype(np.float32) * 0.05
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    truth = rng.integers(0, 20, 900).astype(np.int32)
    wrong = relabelled(truth, 0.3, rng)
    assert 0.2 < np.mean(wrong != truth) < 0.4
    order = rng.permutation(900)
    found = InstanceWise(InstanceWiseSettings()).match(features(a[order], wrong[order]), features(b, truth))
    right = order[found.indices[:, 0]] == found.indices[:, 1]
    assert right.sum() >= 0.95 * 900 and right.mean() > 0.98


def test_an_instance_under_a_strange_name_is_known_by_its_matches():
    """So noisy that most features stand out among those of their wall, but not among all."""
    rng = np.random.default_rng(0)
    walls = unit_rows(400, 64, rng)
    a = walls + rng.normal(size=walls.shape).astype(np.float32) * 0.15
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    truth = np.repeat([1, 2, 3, 0], 100)
    names = np.array([0, 9, 2, 8])  # the first and third are taken for walls that b does not show
    options = InstanceWiseSettings(within=NearestSettings(), across=NearestSettings(ratio=0.75), rename_matches=4)
    ours, theirs = features(a, names[truth]), features(walls, truth)
    by_name, doubtful = (m(ours, theirs) for m in (InstanceWise(options).match, InstanceWise(options).match_doubtful))
    right = [found.indices[found.indices[:, 0] == found.indices[:, 1], 0] for found in (by_name, doubtful)]
    num = [[np.count_nonzero(truth[rows] == wall) for wall in (1, 2, 3)] for rows in right]
    assert num[0][1] > 95 and max(num[0][0], num[0][2]) < 90 and min(num[1]) > 95
    for settings in (options.model_copy(update={"rename_matches": n}) for n in (None, 101)):
        same = InstanceWise(settings).match_doubtful(ours, theirs)
        assert as_pairs(same) == as_pairs(by_name)


def test_what_is_named_anew():
    b = features(unit_rows(12, 8, np.random.default_rng(0)), [1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0])
    pairs = np.stack([np.arange(12), np.arange(12)], 1).astype(np.int32)
    found = Matches(pairs, np.ones(12, np.float32))

    def labels(least: int, *of_a: int) -> list[int] | None:
        named = renamed(features(b.descriptors, of_a), b, found, least)
        return None if named is None else named.labels.tolist()

    assert labels(3, *[7] * 4, *[2] * 4, *[0] * 4) == [1] * 4 + [2] * 4 + [0] * 4
    assert labels(5, *[7] * 4, *[2] * 4, *[0] * 4) is None, "four matches of five"
    assert labels(3, *[2] * 4, *[1] * 4, *[0] * 4) is None, "b shows both: their names stay"
    assert labels(3, *[0] * 4, *[2] * 4, *[7] * 4) is None, "the background has no name to give or to be given"
    assert labels(2, 7, 7, 7, 0, 7, 7, 0, 0, *[0] * 4) == [1, 1, 1, 0, 1, 1, 0, 0] + [0] * 4, "most of its matches"
    assert renamed(features(b.descriptors), b, found, 1) is None


def test_an_instance_is_not_named_after_a_third_of_its_matches():
    b = features(unit_rows(6, 8, np.random.default_rng(0)), [1, 1, 2, 2, 3, 3])
    found = Matches(np.stack([np.arange(6), np.arange(6)], 1).astype(np.int32), np.ones(6, np.float32))
    assert renamed(features(b.descriptors, [7] * 6), b, found, 2) is None


@pytest.mark.parametrize("options", [{}, {"ratio": 0.6}, {"mutual": False}], ids=str)
@pytest.mark.parametrize("min_features", [1, 4])
def test_called_for_each_instance_or_all_at_once_is_the_same(options: dict, min_features: int):
    a, b = two_images(300, 280, 90, 5)
    same = NearestSettings(**options)
    at_once = InstanceWise(InstanceWiseSettings(within=same, across=same, min_features=min_features)).match(a, b)
    one_by_one = match_by_instance(a, b, Nearest(same).match, min_features)
    assert sorted(as_pairs(at_once)) == sorted(as_pairs(one_by_one))
    assert len(at_once) > len(shared_instances(a, b, min_features)) > 5


def test_a_learned_engine_sees_each_shared_instance_and_then_the_rest(monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[list[int], list[int]]] = []

    class Engine:
        def __init__(self, _: Any) -> None: ...

        def match(self, a: LocalFeatures, b: LocalFeatures) -> Matches:
            seen.append((a.labels.tolist(), b.labels.tolist()))
            return Nearest(NearestSettings(max_distance=0.1)).match(a, b)

    monkeypatch.setattr(instancewise, "LightGlueMatcher", Engine)
    rows = np.eye(5, dtype=np.float32)
    a, b = features(rows, [2, 2, 7, 0, 5]), features(rows[::-1].copy(), [3, 0, 7, 2, 7])
    matcher = InstanceWise(InstanceWiseSettings.model_validate({"engine": {"name": "lightglue"}}))
    assert as_pairs(matcher.match(a, b)) == [(1, 3), (2, 2), (0, 4), (3, 1), (4, 0)]
    assert seen == [([2, 2], [2]), ([7], [7, 7]), ([2, 0, 5], [3, 0, 7])]


# ---- the offset of nearest neighbours


@pytest.mark.parametrize("options", [{}, {"ratio": 0.6}, {"max_distance": 0.6}, {"mutual": False}], ids=str)
def test_an_offset_that_all_rows_have_changes_nothing(options: dict):
    a, b = (f.descriptors for f in two_images(120, 140, 1))
    expected = match_descriptors(a, b, NearestSettings(**options))
    lifted = [np.hstack([rows, np.full((len(rows), 1), 2, np.float32)]) for rows in (a, b)]
    found = match_descriptors(*lifted, NearestSettings(**options), offset=4.0)
    assert as_pairs(found) == as_pairs(expected)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_rows_below_the_offset_are_no_neighbours():
    """Row 0 may match column 0 alone, though column 1 is its copy; row 1 may match nothing."""
    codes = {"x": [2.0, 0.0, 0.0], "y": [0.0, 2.0, 0.0], "z": [0.0, 0.0, 2.0]}
    unit = np.eye(2, dtype=np.float32)
    a = np.float32([[*unit[0], *codes["x"]], [*unit[0], *codes["y"]]])
    b = np.float32([[*unit[1], *codes["x"]], [*unit[0], *codes["z"]]])
    for mutual in (True, False):
        found = match_descriptors(a, b, NearestSettings(mutual=mutual, ratio=0.9), offset=4.0)
        assert as_pairs(found) == [(0, 0)] and found.scores == pytest.approx([0.0])


@pytest.mark.parametrize("ratio", [0.5, 0.8])
@pytest.mark.parametrize("offset", [0.0, 4.0])
def test_the_only_neighbour_passes_the_ratio_however_far_it_is(ratio: float, offset: float):
    unit, code = np.eye(2, dtype=np.float32), [[offset**0.5]]
    a, b = np.hstack([unit[:1], code]), np.hstack([-unit[:1], code])
    assert as_pairs(match_descriptors(np.float32(a), np.float32(b), NearestSettings(ratio=ratio), offset)) == [(0, 0)]
