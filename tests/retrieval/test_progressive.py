from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from lbr.retrieval.index import InstanceIndex, build_index
from lbr.retrieval.progressive import (
    ProgressiveCandidates,
    image_likeness,
    instance_overlap,
    instances_shown,
    progressive_search,
)
from lbr.types import Candidates, RecognisedInstances

NOTHING = np.zeros(0, np.float32)


def index_of(shares: dict[str, dict[int, float]], cosines: dict[str, float] | None = None, classes: int = 10):
    """An index whose global features have these cosines with (1, 0)."""
    features = {name: np.array([c, np.sqrt(1 - c * c)], np.float32) for name, c in (cosines or {}).items()}
    return build_index(shares, features, classes, 0.0)


def query_of(instances: dict[int, float], feature: Any = (1, 0)) -> RecognisedInstances:
    """Instances in their order, with the areas that they fill."""
    return RecognisedInstances(
        np.array(list(instances), np.int32), np.linspace(1, 0.5, len(instances)),
        np.array(list(instances.values()), np.float64), np.float32(feature),
    )  # fmt: skip


def options(**given: Any) -> ProgressiveCandidates:
    return ProgressiveCandidates.model_validate({"overlap": 0.0, **given})


def search(index: InstanceIndex, query: RecognisedInstances, listed: tuple = (), **given: Any) -> list[tuple]:
    return [(step.source, "".join(step.names)) for step in progressive_search(index, query, options(**given), listed)]


ALIKE = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6, "e": 0.5, "f": 0.4}
STREET = index_of(
    {"a": {1: 0.5}, "b": {1: 0.2, 2: 0.2}, "c": {2: 0.5}, "d": {1: 0.3, 2: 0.3}, "e": {1: 0.1}, "f": {3: 0.5}}, ALIKE
)


def test_instance_by_instance_the_most_alike_first_then_all_that_is_left():
    found = search(STREET, query_of({2: 0.3, 1: 0.2}), images_per_step=2)
    assert found == [("instance 2", "bc"), ("instance 1", "ad"), ("global", "ef")]
    found = search(STREET, query_of({1: 0.3, 2: 0.2}), images_per_step=3)
    assert found == [("instance 1", "abd"), ("instance 2", "c"), ("global", "ef")]


def test_behind_an_instance_comes_what_looks_like_it():
    twins = replace(STREET, alike=np.array([[3, 1], [1, 2]], np.int32))
    steps = list(progressive_search(twins, query_of({1: 0.3, 2: 0.2}), options(images_per_step=2)))
    assert [(s.source, "".join(s.names)) for s in steps] == [
        ("instance 1", "ab"), ("look-alike 3 of 1", "f"), ("instance 2", "cd"), ("global", "e"),
    ]  # fmt: skip
    assert steps[0].alike == steps[1].alike == {1, 2, 3}
    assert steps[1].evidence == steps[0].evidence > steps[2].evidence, "the network gives a twin none of its own"
    assert [s for s, _ in search(twins, query_of({1: 0.3}), look_alikes=False)] == ["instance 1", "global"]


def test_what_stands_beside_an_instance_tells_it_from_its_twin():
    """The query shows 1 (of which 3 is the twin) beside 4, as the images of 3 do; what is beside 1 is 2."""
    twins = replace(
        index_of({"a": {1: 0.5, 2: 0.4}, "b": {1: 0.9}, "f": {3: 0.5, 4: 0.3}, "g": {5: 0.5}}),
        alike=np.array([[1, 3]], np.int32),
    )
    query = query_of({1: 0.6, 4: 0.3, 5: 0.1}, NOTHING)
    steps = list(progressive_search(twins, query, options(fallback="none")))
    assert [(s.source, s.instance, s.twin, s.look_alike) for s in steps] == [
        ("instance 1", 1, 3, False), ("look-alike 3 of 1", 3, 1, True), ("instance 5", 5, 0, False),
    ]  # fmt: skip
    assert [s.advantage for s in steps] == pytest.approx([-0.3, 0.3, 0.0]), "0.6 of it is shown by both"
    assert instances_shown(twins, query).tolist() == pytest.approx([0.6, 0.6, 0.9, 0.1])
    assert [s.shown for s in steps] == [pytest.approx((0.6, 0.6)), pytest.approx((0.9,)), pytest.approx((0.1,))]
    assert not any(s.twin or s.advantage for s in progressive_search(twins, query, options(look_alikes=False)))
    assert instances_shown(twins, query_of({9: 0.4}, NOTHING)).tolist() == [0] * 4, "an instance without images"
    assert instances_shown(twins, query_of({}, NOTHING)) is None


def test_behind_a_step_comes_what_looks_like_anything_that_its_images_show():
    """1 has no twin, but 2, which stands beside it, has 3, and 5 is that of 4; what fills most of the images is first.

    What is shown beside the twins counts for nothing, nor do images that were given before."""
    row = {"a": {1: 0.5, 2: 0.3}, "b": {1: 0.4, 4: 0.1}, "f": {3: 0.5}, "g": {3: 0.2}, "h": {5: 0.5}, "i": {6: 0.5}}
    twins = replace(index_of(row, dict.fromkeys(row, 0.5)), alike=np.array([[4, 5], [2, 3]], np.int32))
    steps = list(progressive_search(twins, query_of({1: 0.6, 3: 0.2}), options(images_per_step=3)))
    assert [(s.source, "".join(s.names), "".join(s.doubts), s.evidence) for s in steps[:2]] == [
        ("instance 1", "ab", "", 0.6), ("look-alikes of what stands there: 3, 5", "fgh", "ab", 0.6),
    ]  # fmt: skip
    assert [(s.source, "".join(s.names)) for s in steps[2:]] == [("instance 3", "fg"), ("global", "hi")]
    assert twins.alike_to_shown(np.array([0, 1])) == [3, 5] and twins.alike_to_shown(np.array([0, 2])) == []
    assert not any(s.doubts for s in progressive_search(twins, query_of({1: 0.6}), options(look_alikes=False)))


def test_an_image_with_next_to_no_labels_says_nothing_of_what_was_recognised():
    sparse = index_of({"a": {1: 0.5}, "b": {2: 0.1}, "c": {2: 0.05}, "d": {}})
    (_, fallback) = progressive_search(sparse, query_of({1: 0.6}, NOTHING), options(fallback_per_step=9))
    told = dict(zip(fallback.names, fallback.shown, strict=True))
    assert told["b"] == 0.0 and np.isnan([told["c"], told["d"]]).all()


def test_an_instance_whose_images_were_all_compared_makes_no_step():
    found = search(STREET, query_of({1: 0.3, 2: 0.2, 3: 0.1}), images_per_step=4)
    assert found == [("instance 1", "abde"), ("instance 2", "c"), ("instance 3", "f")]


def test_scores_are_the_likeness():
    steps = list(progressive_search(STREET, query_of({2: 0.3}), options(images_per_step=2)))
    assert [s for step in steps[:2] for s in step.scores] == pytest.approx([0.8, 0.7, 0.9, 0.6], abs=1e-3)


def test_evidence_is_how_surely_how_much_is_of_the_instance():
    """Their order is by how surely alone."""
    steps = progressive_search(STREET, query_of({2: 0.2, 1: 0.6}), options(images_per_step=2))
    assert [step.evidence for step in steps] == [0.2, 0.5 * 0.6, 0.0]  # the last is of the fallback


def test_a_step_is_made_when_it_is_asked_for():
    steps = progressive_search(STREET, query_of({1: 0.3}), options())
    assert isinstance(steps, Iterator) and isinstance(next(steps), Candidates)


@pytest.mark.parametrize("budget, compared", [(1, "b"), (2, "bc"), (3, "bca"), (200, "bcad")])
def test_the_budget_of_images(budget: int, compared: str):
    """Of the instances' images; the fallback has its own."""
    found = search(STREET, query_of({2: 0.3, 1: 0.2}), images_per_step=2, max_images=budget, fallback="none")
    assert "".join(names for _, names in found) == compared


def test_the_budget_of_instances():
    query = query_of({2: 0.3, 1: 0.2, 3: 0.1})
    for number, last in ((0, []), (1, ["instance 2"]), (2, ["instance 2", "instance 1"])):
        assert [s for s, _ in search(STREET, query, max_instances=number, fallback="none")] == last


def test_instances_of_little_evidence_are_left_to_the_fallback():
    query = query_of({2: 0.15, 1: 0.4, 3: 0.12})  # evidence 0.15, 0.75 * 0.4, 0.5 * 0.12
    for least, tried in ((0.1, "213"), (0.3, "21"), (0.6, "1"), (1.0, "1")):
        found = search(STREET, query, images_per_step=2, min_evidence=least)
        assert [source for source, _ in found if source != "global"] == [f"instance {i}" for i in tried]
        assert "f" in "".join(names for _, names in found), "an image of instance 3: by the fallback, if not by it"


def test_images_unlike_the_query_are_dropped_everywhere():
    found = search(STREET, query_of({1: 0.3}), min_cosine=0.55)
    assert found == [("instance 1", "abd"), ("global", "c")]
    listed = search(STREET, query_of({3: 0.3}), ("e", "d"), min_cosine=0.55, fallback="list")
    assert listed == [("list", "d")]


def test_without_a_feature_nothing_is_unlike():
    found = search(STREET, query_of({1: 0.3}, NOTHING), min_cosine=0.95, images_per_step=6, fallback="none")
    assert found == [("instance 1", "abde")], "in the index's order"
    bare = index_of({"a": {1: 0.5}, "b": {1: 0.4}})
    assert search(bare, query_of({1: 0.3}), min_cosine=0.95) == [("instance 1", "ab")]


def test_an_image_of_three_of_the_instances_leads_one_of_one():
    """Though the other shows the one instance larger, and looks as alike as a whole."""
    shares = {"one": {1: 0.6}, "three": {1: 0.2, 2: 0.2, 3: 0.2}, "others": {1: 0.3, 8: 0.3}}
    index = index_of(shares, dict.fromkeys(shares, 0.7))
    query = query_of({1: 0.25, 2: 0.2, 3: 0.2})
    steps = list(progressive_search(index, query, options(overlap=1.0, fallback="none")))
    assert [step.names for step in steps] == [("three", "one", "others")]
    alone = list(progressive_search(index, query, options(overlap=0.0, fallback="none")))
    assert alone[0].names == ("one", "others", "three"), "the cosines are equal, so the order of names"


def test_the_overlap_is_bhattacharyyas():
    index = index_of({"same": {1: 0.4, 2: 0.1}, "half": {1: 0.4, 7: 0.4}, "none": {5: 0.9}, "empty": {}})
    found = dict(zip(index.names, instance_overlap(index, query_of({1: 0.8, 2: 0.2})), strict=True))
    assert found["same"] == pytest.approx(1.0, abs=1e-6) and found["none"] == found["empty"] == 0
    assert found["half"] == pytest.approx(np.sqrt(0.8 * 0.4) / np.sqrt(1.0 * 0.8), abs=1e-6)


def test_likeness_is_the_weighted_sum():
    index = index_of({"a": {1: 0.4}, "b": {5: 0.4}}, {"a": 0.5, "b": 0.25})
    found = image_likeness(index, query_of({1: 0.3}), options(feature=2.0, overlap=3.0))
    assert found == pytest.approx([2 * 0.5 + 3, 2 * 0.25], abs=2e-3)


def test_fallback_global_is_bounded_and_in_steps():
    found = search(STREET, query_of({3: 0.3}), images_per_step=2, fallback_images=3)
    assert found == [("instance 3", "f"), ("global", "ab"), ("global", "c")]
    assert search(STREET, query_of({3: 0.3}), fallback_images=0) == [("instance 3", "f")]


def test_fallback_global_goes_by_the_features_alone_where_there_are_any():
    """The instances were tried before, and were no help."""
    shares = {"f": {3: 0.5}, "shares": {4: 0.5}, "alike": {5: 0.5}}
    query = query_of({3: 0.3, 4: 0.3})
    options = {"overlap": 1.0, "images_per_step": 1, "max_instances": 1}
    found = search(index_of(shares, {"f": 0.9, "shares": 0.5, "alike": 0.8}), query, **options)
    assert found == [("instance 3", "f"), ("global", "alike"), ("global", "shares")]
    without = search(index_of(shares), query_of({3: 0.3, 4: 0.3}, NOTHING), **options)
    assert without == [("instance 3", "f"), ("global", "shares"), ("global", "alike")]


def test_fallback_list_keeps_its_order_and_leaves_out_what_was_compared():
    listed = ("e", "unknown", "f", "a", "c")
    found = search(STREET, query_of({3: 0.3}), listed, images_per_step=2, fallback="list")
    assert found == [("instance 3", "f"), ("list", "ea"), ("list", "c")]
    assert search(STREET, query_of({3: 0.3}), listed, fallback="list", fallback_images=1)[1:] == [("list", "e")]
    assert search(STREET, query_of({3: 0.3}), (), fallback="list") == [("instance 3", "f")]


def test_a_list_that_names_an_image_twice_gives_it_once():
    assert search(STREET, query_of({3: 0.3}), ("a", "b", "a"), fallback="list")[1:] == [("list", "ab")]


def test_fallback_none_ends_there():
    assert search(STREET, query_of({3: 0.3}), ("a",), fallback="none") == [("instance 3", "f")]


def test_nothing_recognised_and_no_feature_is_one_step_of_all_images():
    assert search(STREET, query_of({}, NOTHING)) == [("exhaustive", "abcdef")]
    assert search(STREET, query_of({}, NOTHING), fallback="none") == []
    assert search(STREET, query_of({}, NOTHING), ("d", "b"), fallback="list") == [("list", "db")]


def test_nothing_recognised_but_a_feature_is_a_global_search():
    assert search(STREET, query_of({}), images_per_step=4) == [("global", "abcd"), ("global", "ef")]


def test_instances_that_the_index_does_not_know():
    """More classes than the index has, or in no db image: no step, and no error."""
    query = query_of({10: 0.5, 4: 0.3, 60000: 0.2, 3: 0.1})
    assert search(STREET, query, overlap=1.0, fallback="none") == [("instance 3", "f")]
    assert search(STREET, query_of({10: 0.5}), overlap=1.0, fallback="none") == []


@examples(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 10**6), images=st.integers(1, 25), instances=st.integers(0, 8), per_step=st.integers(1, 6),
    budget=st.integers(1, 12), max_instances=st.integers(0, 8), fallback=st.sampled_from(["global", "list", "none"]),
    fallback_images=st.integers(0, 10), min_cosine=st.sampled_from([-1.0, 0.0, 0.5]),
)  # fmt: skip
def test_no_image_twice_and_no_budget_exceeded(
    seed: int, images: int, instances: int, per_step: int, budget: int, max_instances: int, fallback: str,
    fallback_images: int, min_cosine: float,
):  # fmt: skip
    rng = np.random.default_rng(seed)
    names = [f"db/{i:02d}.png" for i in range(images)]
    shares = {n: {int(v): float(rng.random()) for v in rng.integers(1, 9, rng.integers(1, 5))} for n in names}
    cosines = {name: float(rng.uniform(-0.99, 0.99)) for name in names}
    index = index_of(shares, cosines, classes=9)
    shown = rng.permutation(np.arange(1, 12))[:instances]
    query = query_of({int(v): float(rng.random()) for v in shown})
    chosen = options(
        images_per_step=per_step, max_images=budget, max_instances=max_instances, fallback=fallback, overlap=0.5,
        fallback_images=fallback_images, min_cosine=min_cosine,
    )  # fmt: skip
    steps = list(progressive_search(index, query, chosen, rng.choice([*names, "unknown"], 12).tolist()))
    compared = [name for step in steps for name in step.names]
    assert len(compared) == len(set(compared)) and set(compared) <= set(names)
    assert all(1 <= len(step.names) <= per_step for step in steps)
    assert all(cosines[name] > min_cosine - 1e-2 for name in compared)
    by_instance = [step for step in steps if step.source.startswith("instance ")]
    assert steps[: len(by_instance)] == by_instance and {s.source for s in steps[len(by_instance) :]} <= {fallback}
    assert [int(s.source.split()[1]) for s in by_instance] == [
        v for v in shown[:max_instances] if f"instance {v}" in {s.source for s in by_instance}
    ]
    for step in by_instance:
        assert all(int(step.source.split()[1]) in shares[name] for name in step.names)
    assert sum(len(step.names) for step in by_instance) <= budget
    assert sum(len(step.names) for step in steps[len(by_instance) :]) <= fallback_images
    for step in by_instance if fallback == "list" else steps:
        assert list(step.scores) == sorted(step.scores, reverse=True)
