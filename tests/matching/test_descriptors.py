from __future__ import annotations

import numpy as np
import pytest

from lbr.features.sift_daynight import beside_sift
from lbr.matching.descriptors import as_float32, by_kind
from tests.synthetic import unit_rows


def test_every_finite_number_of_float16_is_converted_exactly():
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].reshape(-1, 2)
    found = as_float32(finite)
    assert found.dtype == np.float32 and found.shape == finite.shape
    assert np.array_equal(found.view(np.uint32), finite.astype(np.float32).view(np.uint32)), "to the bit, -0 too"


def test_what_is_not_finite_stays_so():
    broken = np.array([[np.nan, 1.0], [np.inf, -np.inf]], np.float16)
    assert np.array_equal(as_float32(broken), broken.astype(np.float32), equal_nan=True)
    assert as_float32(np.array([[65504, -65504]], np.float16)).tolist() == [[65504.0, -65504.0]]


def test_what_is_there_is_not_copied_and_nothing_is_written_to():
    single = np.ones((3, 4), np.float32)
    assert as_float32(single) is single
    half = np.ones((3, 4), np.float16)
    half.flags.writeable = False
    as_float32(half)[:] = 5
    assert (half == 1).all()


def test_parts_of_an_array_and_nothing():
    half = np.arange(24, dtype=np.float16).reshape(4, 6)
    assert np.array_equal(as_float32(half[::2, 1:4]), half[::2, 1:4].astype(np.float32))
    assert as_float32(np.zeros((0, 128), np.float16)).shape == (0, 128)
    assert as_float32(np.arange(4.0)).dtype == np.float32


def of_kinds(first: int, second: int, seed: int = 0) -> np.ndarray:
    """Descriptors [first + second, 128] as of SIFT and as of DayNight beside it."""
    rng = np.random.default_rng(seed)
    return np.concatenate([np.abs(unit_rows(first, 128, rng)), beside_sift(unit_rows(second, 64, rng))])


def test_two_kinds_are_told_apart():
    a, b = of_kinds(3, 4)[::-1], of_kinds(2, 5, seed=1)
    (ours, theirs), (others, their_others) = by_kind(a, b)
    assert ours.tolist() == [4, 5, 6] and theirs.tolist() == [0, 1]
    assert others.tolist() == [0, 1, 2, 3] and their_others.tolist() == [2, 3, 4, 5, 6]
    labelled = by_kind(*(np.hstack([d, np.full((len(d), 1), 2, np.float32)]) for d in (a, b)))
    assert labelled[0][0].tolist() == ours.tolist(), "with the coordinate of a label"


@pytest.mark.parametrize(
    "a, b", [((5, 0), (5, 0)), ((0, 5), (0, 5)), ((0, 5), (5, 0)), ((5, 5), (5, 1)), ((5, 5), (0, 5))]
)
def test_one_kind_alone_is_compared_as_a_whole(a: tuple[int, int], b: tuple[int, int]):
    """And so is one that has hardly anything to be compared with: no second neighbour."""
    assert by_kind(of_kinds(*a), of_kinds(*b, seed=1)) is None
