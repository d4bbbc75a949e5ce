"""Corrections of a list of instances by a person."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lbr.errors import DataError
from lbr.mapping.instances.edits import Edit, apply_edits, edited_list, read_edits

PATH = Path("edits.yaml")


def write(folder: Path, text: str) -> Path:
    path = folder / "edits.yaml"
    path.write_text(text)
    return path


def test_merge_drop_and_rename():
    edits = [
        Edit(1, "Town hall"),
        Edit(2, merge_into=1),
        Edit(3, drop=True),
        Edit(5, merge_into=2),
        Edit(4, name="gone", drop=True),
    ]
    table, names = apply_edits(6, edits, PATH)
    assert table.tolist() == [0, 1, 1, 0, 0, 1, 6] and names == {1: "Town hall"}
    assert apply_edits(2, [], PATH)[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "edits, message",
    [
        ([Edit(7, drop=True)], "there is no instance 7; ids are 1 to 6"),
        ([Edit(1, merge_into=0)], "there is no instance 0"),
        ([Edit(1, "a"), Edit(1, "b")], "instance 1 stands twice"),
        ([Edit(1, merge_into=2), Edit(2, merge_into=1)], "merged in a circle"),
        ([Edit(3, merge_into=3)], "merged in a circle"),
        ([Edit(1, merge_into=2), Edit(2, drop=True)], "merged into 2, which is dropped"),
        ([Edit(k, drop=True) for k in range(1, 7)], "drops every instance"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_line(edits: list[Edit], message: str):
    with pytest.raises(DataError, match=message) as error:
        apply_edits(6, edits, PATH)
    assert "\n" not in str(error.value)


def test_the_list_that_is_written_is_read_back_edited(tmp_path: Path):
    told = {"name": None, "colour": "#aabbcc", "images": 3, "area": 0.1, "points": 9, "drop": False, "merge_into": None}
    rows = [{"id": 1, **told}, {"id": 2, **told}]
    text = edited_list("0123abcd", rows, "Help.\nMore of it.")
    assert text.startswith("# Help.\n# More of it.\n") and yaml.safe_load(text)["instances"] == rows
    path = write(tmp_path, text)
    assert read_edits(path, "0123abcd") == [], "as it was found"
    path.write_text(text.replace("name: null", "name: Am Brunnen", 1).replace("drop: false", "drop: true"))
    assert read_edits(path, "0123abcd") == [Edit(1, "Am Brunnen", drop=True), Edit(2, drop=True)]
    with pytest.raises(DataError, match="is for the instances 0123abcd, but those found now are ffff"):
        read_edits(path, "ffff")


@pytest.mark.parametrize(
    "text, message",
    [
        ("instances: [{id: 1, drop: maybe}]", "drop is true or false"),
        ("instances: [{id: one}]", "id and merge_into are numbers"),
        ("instances: [{id: 1, merge_into: '2'}]", "id and merge_into are numbers"),
        ("instances: [{id: 1, merge: 2}]", "unknown key 'merge'"),
        ("instances: 5", "wanted a list"),
        ("instances: [3]", "wanted a list"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_list_is_one_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(DataError, match=message) as error:
        read_edits(write(tmp_path, text), "x")
    assert "\n" not in str(error.value)


def test_no_list_no_corrections(tmp_path: Path):
    assert read_edits(tmp_path / "edits.yaml", "x") == [] and read_edits(write(tmp_path, ""), "x") == []
    assert read_edits(write(tmp_path, "- {id: 2, merge_into: 1}"), "x") == [Edit(2, merge_into=1)]
