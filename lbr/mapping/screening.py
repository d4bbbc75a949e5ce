"""Pairs of photographs that show nothing in common, told before COLMAP verifies the rest.

Of the pairs that retrieval proposes many are such. COLMAP draws samples of their matches as long as it may, for each of
two models; a fundamental matrix, which has room for whatever either can fit, tells them in a twentieth of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import poselib

from lbr.mapping.database import Pair
from lbr.parallel import ParallelSettings, parallel_map

MAX_ERROR_PX = 4.0  # COLMAP's, for verification
LENIENCE = 0.9  # of the share asked for: of 351 pairs that COLMAP verified none had less, one of 2,000 trials
SAMPLING = {"max_epipolar_error": MAX_ERROR_PX, "success_prob": 0.999, "min_iterations": 100, "max_iterations": 2000}
FEWEST = 8  # matches: fewer tell nothing of a fundamental matrix


def without_chance_pairs(
    keypoints: Mapping[str, np.ndarray], matches: Mapping[Pair, np.ndarray], min_inlier_ratio: float, seed: int,
    parallel: ParallelSettings,
) -> dict[Pair, np.ndarray]:  # fmt: skip
    """The pairs of which a fundamental matrix fits nearly min_inlier_ratio of the matches, int [M, 2], or more, in
    their order. The same seed keeps the same pairs, whatever the workers."""
    share = partial(_share_that_fits, keypoints, matches, seed)
    pairs = list(matches)
    shares = dict(parallel_map(share, pairs, parallel.model_copy(update={"backend": "threads"}), "screen pairs"))
    return {pair: matches[pair] for pair in pairs if shares[pair] >= LENIENCE * min_inlier_ratio}


def _share_that_fits(
    keypoints: Mapping[str, np.ndarray], matches: Mapping[Pair, np.ndarray], seed: int, pair: Pair
) -> float:
    """0..1, of the matches of a pair; 1 where there are too few to tell."""
    indices = matches[pair]
    if len(indices) < FEWEST:
        return 1.0
    xy = (keypoints[name][indices[:, k]].astype(np.float64) for k, name in enumerate(pair))
    _, found = poselib.estimate_fundamental(*xy, {**SAMPLING, "seed": seed}, {})
    return float(found["num_inliers"]) / len(indices)
