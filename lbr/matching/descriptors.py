"""Descriptors as they are compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lbr.types import LocalFeatures

SIGN_AND_NUMBER = np.int32(-0x70000001)  # 0x8fffffff: without what the sign leaves in the bits of the exponent
BIAS = np.float32(2.0**112)  # the exponents of float16 and float32 begin 112 apart
INFINITE = 2.0**16  # what infinity and nan of float16 would become, or more


def as_float32(descriptors: np.ndarray) -> np.ndarray:
    """float32 [N, D] of float16 descriptors, as files and maps hold them, exactly; others by a plain cast.

    The bits are moved to where float32 has them: numpy's own conversion, which those that are not finite are left to,
    takes several times as long.
    """
    if descriptors.dtype != np.float16:
        return descriptors.astype(np.float32, copy=False)
    bits = descriptors.view(np.int16).astype(np.int32)  # the sign is spread to the left
    bits <<= 13
    bits &= SIGN_AND_NUMBER
    numbers = bits.view(np.float32)
    numbers *= BIAS
    finite = not numbers.size or max(numbers.max(), -numbers.min()) < INFINITE
    return numbers if finite else descriptors.astype(np.float32)


def by_kind(a: np.ndarray, b: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
    """Of rows float32 [N, D] and [M, D] of two kinds that have nothing in common, for each kind int [K] of a and int
    [L] of b, to be compared apart: half the work. None where there is one kind alone, or hardly one of it in b.

    Of the one kind no number is negative (SIFT's), all others point away from these (`features/sift_daynight.py`).
    """
    in_a, in_b = a.min(axis=1) >= 0, b.min(axis=1) >= 0
    first, second = ((np.flatnonzero(in_a == kind), np.flatnonzero(in_b == kind)) for kind in (True, False))
    both = min(len(first[0]), len(second[0])) > 0 and min(len(first[1]), len(second[1])) > 1
    return (first, second) if both else None


def with_float32(features: LocalFeatures) -> LocalFeatures:
    """The features with descriptors `as_float32`, so that many comparisons convert them once."""
    return replace(features, descriptors=as_float32(features.descriptors))
