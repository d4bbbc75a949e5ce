"""The one array type of the renderer."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def f32(values: ArrayLike) -> NDArray[np.float32]:
    """Numbers as float32, so that pictures stay in it."""
    return np.asarray(values, np.float32)
