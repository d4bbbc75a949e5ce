from __future__ import annotations

import numpy as np

from lbr.matching.descriptors import as_float32


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
