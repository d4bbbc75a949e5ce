from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lbr.errors import DataError
from lbr.retrieval.index import InstanceIndex, build_index, open_index, shares_of_mask, write_index
from tests.synthetic import unit_rows

SHARES = {"db/b.png": {2: 0.3, 5: 0.002}, "db/a.png": {7: 0.1, 1: 0.5, 2: 0.003}, "db/empty.png": {}}
FEATURES = dict(zip(SHARES, unit_rows(3, 16, np.random.default_rng(0)), strict=True))


@pytest.fixture
def index() -> InstanceIndex:
    return build_index(SHARES, FEATURES, 8, 0.003)


@pytest.fixture
def folder(tmp_path: Path, index: InstanceIndex) -> Path:
    write_index(tmp_path / "index", index)
    return tmp_path / "index"


def listed(index: InstanceIndex, instance: int) -> dict[str, float]:
    images, shares = index.images_of(instance)
    return {index.names[i]: round(float(s), 6) for i, s in zip(images, shares, strict=True)}


def test_what_is_in_it(index: InstanceIndex):
    assert index.names == ("db/a.png", "db/b.png", "db/empty.png") and len(index) == 3, "sorted"
    assert index.offsets.tolist() == [0, 3, 4, 4] and index.instances.tolist() == [1, 2, 7, 2]
    assert index.areas.toarray()[0].tolist() == pytest.approx([0, 0.5, 0.003, 0, 0, 0, 0, 0.1])
    assert index.features.dtype == np.float16 and index.shares.dtype == np.float32
    for name, row in zip(index.names, index.features, strict=True):
        np.testing.assert_allclose(row, FEATURES[name], atol=1e-3)


def test_what_looks_alike_is_kept_and_told_both_ways(tmp_path: Path):
    pairs = np.array([[2, 7], [1, 2], [3, 7]], np.int32)
    write_index(tmp_path / "index", build_index(SHARES, FEATURES, 8, 0.003, pairs))
    found = open_index(tmp_path / "index")
    assert [found.alike_to(k) for k in (1, 2, 3, 7, 5)] == [2, 7, 7, 2, None], "the most alike, if any"


def test_images_of_an_instance(index: InstanceIndex):
    assert listed(index, 2) == {"db/a.png": 0.003, "db/b.png": 0.3}
    assert listed(index, 7) == {"db/a.png": 0.1}


@pytest.mark.parametrize("instance", [-2, -1, 3, 5, 8, 10**6])
def test_an_instance_that_no_image_shows(index: InstanceIndex, instance: int):
    """5 is too small in its image, 3 in none; the others are no classes of the network."""
    images, shares = index.images_of(instance)
    assert images.shape == shares.shape == (0,) and images.dtype == np.int64


def test_the_least_share_decides_what_is_looked_for():
    found = [build_index(SHARES, FEATURES, 8, least).instances.tolist() for least in (0.0, 0.0031, 0.2)]
    assert found == [[1, 2, 7, 2, 5], [1, 7, 2], [1, 2]]


def test_the_background_is_no_instance():
    assert build_index({"a": {0: 0.9, 1: 0.1}}, {}, 2, 0.0).instances.tolist() == [1]


def test_without_global_features():
    assert build_index(SHARES, {}, 8, 0.0).features.shape == (3, 0)


def test_missing_features_are_named():
    some = {name: row for name, row in FEATURES.items() if name != "db/b.png"}
    with pytest.raises(DataError, match=r"1 db images have no global feature \(first: db/b.png\); recognise again"):
        build_index(SHARES, some, 8, 0.0)


@pytest.mark.parametrize("shares", [{}, {"a": {}, "b": {}}, {"a": {0: 1.0}}, {"a": {3: 0.001}}])
def test_an_index_of_nothing_is_refused(shares: dict):
    with pytest.raises(DataError, match=f"not one of {len(shares)} db images shows an instance"):
        build_index(shares, {}, 8, 0.003)


def test_round_trip(folder: Path, index: InstanceIndex):
    again = open_index(folder)
    assert again.names == index.names and again.num_classes == 8
    for name in ("offsets", "instances", "shares", "features"):
        np.testing.assert_array_equal(getattr(again, name), getattr(index, name))
        assert getattr(again, name).dtype == getattr(index, name).dtype
        assert isinstance(getattr(again, name), np.memmap), "read when asked for, not before"
    assert listed(again, 2) == listed(index, 2)
    assert [p for p in folder.parent.iterdir() if p != folder] == []


def test_written_over_an_older_one(folder: Path):
    write_index(folder, build_index({"c": {1: 1.0}}, {}, 2, 0.0))
    assert open_index(folder).names == ("c",)


def test_not_there_says_what_to_run(tmp_path: Path):
    with pytest.raises(DataError, match="no instance index there; run `lbr index` first"):
        open_index(tmp_path)


BREAK = {
    "an array is missing": lambda folder: (folder / "shares.npy").unlink(),
    "an array is cut": lambda folder: (folder / "offsets.npy").write_bytes((folder / "offsets.npy").read_bytes()[:90]),
    "an array is text": lambda folder: (folder / "features.npy").write_text("no array"),
    "the header is cut": lambda folder: (folder / "index.json").write_text('{"format": "lbr-ind'),
    "the header is a list": lambda folder: (folder / "index.json").write_text("[]"),
    "the header is no text": lambda folder: (folder / "index.json").write_bytes(b"\xff\xfe\x00"),
    "the names are missing": lambda folder: change(folder, names=None),
}


def change(folder: Path, **values: object) -> None:
    header = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**header, **values}))


@pytest.mark.parametrize("how", BREAK)
def test_a_broken_one_is_one_clear_line(folder: Path, how: str):
    BREAK[how](folder)
    with pytest.raises(DataError) as error:
        open_index(folder)
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


def test_one_of_another_version_says_which(folder: Path):
    change(folder, version=9)
    with pytest.raises(DataError, match="is lbr-index version 9, wanted lbr-index version 2"):
        open_index(folder)


def test_shares_of_a_mask():
    mask = np.array([[0, 0, 3, 3], [0, 3, 1, 0]])
    assert shares_of_mask(mask) == {1: 0.125, 3: 0.375}
    assert shares_of_mask(np.zeros((4, 4), np.uint16)) == {}
