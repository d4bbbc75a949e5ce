"""The arrays of the renderer: float32, and vectors as planes, since numpy is several times faster on [3, N] than on
[N, 3]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def f32(values: ArrayLike) -> NDArray[np.float32]:
    """Numbers as float32, so that pictures stay in it."""
    return np.asarray(values, np.float32)


def planes(vectors: np.ndarray) -> np.ndarray:
    """Vectors [N, K] as [K, N], each component in one piece."""
    return np.ascontiguousarray(vectors.T)


def rows(vectors: np.ndarray) -> np.ndarray:
    """Vectors [K, N] as [N, K], as embree wants them."""
    return np.ascontiguousarray(vectors.T)


def dot(a: np.ndarray | Sequence[np.ndarray], b: np.ndarray) -> np.ndarray:
    """Scalar products [N] of vectors [K, N]."""
    out = a[0] * b[0]
    for x, y in zip(a[1:], b[1:], strict=True):
        out += x * y
    return out
