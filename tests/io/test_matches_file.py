from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbr.errors import DataError
from lbr.io.matches_file import (
    MatchFile,
    matches_from_arrays,
    matches_to_arrays,
    read_hloc_matches,
    write_hloc_matches,
    write_matches,
)
from lbr.types import Matches


def some_matches(num: int, seed: int = 0) -> Matches:
    rng = np.random.default_rng(seed)
    indices = np.stack([rng.permutation(50)[:num], rng.permutation(60)[:num]], 1).astype(np.int32)
    return Matches(indices[np.argsort(indices[:, 0])], rng.random(num).astype(np.float32))


def assert_same(a: Matches, b: Matches) -> None:
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-3)


names = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(st.dictionaries(names, st.integers(0, 20), max_size=4))
def test_arrays_round_trip(partners: dict[str, int]):
    matches = {name: some_matches(num, num) for name, num in partners.items()}
    found = matches_from_arrays(matches_to_arrays(matches))
    assert list(found) == list(matches)
    for name in matches:
        assert_same(found[name], matches[name])


def test_file_round_trip(tmp_path: Path):
    written = {
        "db/a 1.x.jpg": {"db/b.jpg": some_matches(9), "db/c c.jpg": some_matches(0)},
        "query/night/50%.jpg": {"db/a 1.x.jpg": some_matches(3, 1)},
    }
    write_matches(tmp_path / "m.h5", ((first, matches_to_arrays(found)) for first, found in written.items()))
    with MatchFile(tmp_path / "m.h5") as file:
        assert file.first_names() == sorted(written)
        for first, expected in written.items():
            assert list(file.read(first)) == list(expected)
            for second in expected:
                assert_same(file.read(first)[second], expected[second])
        assert file.read("db/b.jpg") == {}


def test_hlocs_layout_is_written(tmp_path: Path):
    write_hloc_matches(tmp_path / "m.h5", [(("db/a.jpg", "query/b.jpg"), some_matches(5))], {"db/a.jpg": 50})
    with h5py.File(tmp_path / "m.h5") as raw:
        partner = raw["db-a.jpg/query-b.jpg/matches0"][()]
    assert partner.shape == (50,) and (partner == -1).sum() == 45
    for i, j in some_matches(5).indices:
        assert partner[i] == j


def test_hlocs_layout_is_read_both_ways_round(tmp_path: Path):
    with h5py.File(tmp_path / "m.h5", "w") as raw:
        raw["db-a.jpg/db-b.jpg/matches0"] = np.array([-1, 2, -1, 0], np.int16)
    pairs = [("db/a.jpg", "db/b.jpg"), ("db/b.jpg", "db/a.jpg")]
    found = read_hloc_matches(tmp_path / "m.h5", pairs)
    assert found[pairs[0]].indices.tolist() == [[1, 2], [3, 0]]
    assert sorted(found[pairs[1]].indices.tolist()) == [[0, 3], [2, 1]]


def test_hloc_round_trip(tmp_path: Path):
    pair = ("db/a b.jpg", "query/c.d.jpg")
    write_hloc_matches(tmp_path / "m.h5", [(pair, some_matches(7))], {pair[0]: 50})
    assert_same(read_hloc_matches(tmp_path / "m.h5", [pair])[pair], some_matches(7))


def test_an_absent_hloc_pair_is_named(tmp_path: Path):
    write_hloc_matches(tmp_path / "m.h5", [(("a", "b"), some_matches(1))], {"a": 50})
    with pytest.raises(DataError, match="no matches of 'a' with 'c'"):
        read_hloc_matches(tmp_path / "m.h5", [("a", "c")])


@pytest.mark.parametrize("content", [b"", b"some text"])
def test_what_is_no_match_file_is_one_clear_line(tmp_path: Path, content: bytes):
    (tmp_path / "m.h5").write_bytes(content)
    with pytest.raises(DataError) as error:
        MatchFile(tmp_path / "m.h5")
    assert "\n" not in str(error.value)


def test_a_feature_file_is_no_match_file(tmp_path: Path):
    with h5py.File(tmp_path / "m.h5", "w") as raw:
        raw.attrs.update(format="lbr-features", version=1)
    with pytest.raises(DataError, match="is lbr-features version 1, wanted lbr-matches"):
        MatchFile(tmp_path / "m.h5")


def test_a_damaged_group_names_the_image(tmp_path: Path):
    write_matches(tmp_path / "m.h5", [("a", matches_to_arrays({"b": some_matches(4)}))])
    with h5py.File(tmp_path / "m.h5", "r+") as raw:
        del raw["a"]["offsets"]
    with MatchFile(tmp_path / "m.h5") as file, pytest.raises(DataError, match="matches of 'a' are unreadable"):
        file.read("a")
