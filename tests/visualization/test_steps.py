"""The list of a search's steps in the report."""

from __future__ import annotations

from typing import Any

from lbr.visualization.steps import MAX_STEPS, search_list

COLOURS = {7: (10, 200, 30), 9: (250, 40, 60)}


def step(source: str, instance: int = 0, outcome: str = "4 inliers, too few") -> dict[str, Any]:
    return {"source": source, "instance": instance, "names": ["db/a.jpg"], "inliers": 4, "outcome": outcome}


def test_a_step_of_an_instance_has_its_colour_and_a_look_alike_that_of_what_it_looks_for():
    found = search_list([step("instance 7", 7), step("look-alike 9 of 7", 9), step("global")], COLOURS)
    items = found.split("<li")[1:]
    assert ["#0ac81e" in item for item in items] == [True, False, False]
    assert ["#fa283c" in item for item in items] == [False, True, False]
    assert "look-alike 9 of 7" in items[1] and "global" in items[2]


def test_what_was_accepted_tells_its_inliers():
    found = search_list([step("instance 7", 7), step("instance 9", 9, "accepted")], COLOURS)
    assert "a.jpg: 4 inliers, too few" in found and "a.jpg: accepted, 4 inliers" in found


def test_of_many_steps_those_before_the_last_are_a_count():
    found = search_list([step(f"instance {i}", i) for i in range(1, MAX_STEPS + 5)], None)
    assert "4 more steps" in found and found.count("<li") == MAX_STEPS + 1
    assert f"instance {MAX_STEPS + 4}" in found and f"instance {MAX_STEPS}<" not in found


def test_one_step_over_everything_is_no_search():
    assert search_list([step("exhaustive")], COLOURS) == "" == search_list([], COLOURS)
