"""A global descriptor of a photograph from its local features alone: no network, no training, any local feature.

VLAD (Jegou et al., CVPR 2010), each centre's part normalised by itself (Arandjelovic and Zisserman, CVPR 2013), so that
a facade of a hundred equal windows does not drown the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.cluster.vq import kmeans2

MAX_TRAINING = 60_000  # descriptors that choose the centres
SEEDS = 4_000  # of these, from which the first centres come: scipy's k-means++ is quadratic in the centres
LEAST_NORM = 1e-3  # a residual below it is rounding: it must not be blown up to one


def visual_words(descriptors: Sequence[np.ndarray], count: int, seed: int) -> np.ndarray:
    """Centres float32 [K, D] of the local descriptors [N_i, D] of many images, K = min(count, descriptors / 4).

    Raises ValueError when there is no descriptor at all.
    """
    rng = np.random.default_rng([seed, 11])
    share = max(1, MAX_TRAINING // max(1, len(descriptors)))
    sample = [d if len(d) <= share else d[np.sort(rng.choice(len(d), share, replace=False))] for d in descriptors]
    stacked = np.concatenate(sample).astype(np.float32) if sample else np.zeros((0, 0), np.float32)
    if not len(stacked):
        raise ValueError("no local descriptors to make visual words of")
    seeds = stacked[np.sort(rng.choice(len(stacked), min(SEEDS, len(stacked)), replace=False))]
    first, _ = kmeans2(seeds, max(1, min(count, len(seeds) // 4)), iter=1, minit="++", missing="warn", rng=rng)
    words, _ = kmeans2(stacked, first, iter=10, minit="matrix", missing="warn")
    return words.astype(np.float32)


def vlad(descriptors: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Local descriptors [N, D] and centres float32 [K, D] -> float32 [K * D], L2-normalised; zeros without any."""
    local = descriptors.astype(np.float32)
    if not len(local):
        return np.zeros(words.size, np.float32)
    distance = (words**2).sum(1) - 2 * local @ words.T  # squared, without what is the same for all centres
    nearest = distance.argmin(1)
    order = np.argsort(nearest, kind="stable")
    used, start = np.unique(nearest[order], return_index=True)
    parts = np.zeros_like(words)
    parts[used] = np.add.reduceat(local[order] - words[nearest[order]], start, axis=0)
    parts /= np.maximum(np.linalg.norm(parts, axis=1, keepdims=True), LEAST_NORM)
    flat = parts.ravel()
    return flat / max(float(np.linalg.norm(flat)), LEAST_NORM)


def global_descriptors(descriptors: Iterable[np.ndarray], words: np.ndarray) -> np.ndarray:
    """float32 [I, K * D] of the local descriptors of I images."""
    return np.stack([vlad(local, words) for local in descriptors])
