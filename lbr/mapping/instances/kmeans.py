"""The baseline: k-means of the points in the ground plane."""

from __future__ import annotations

import numpy as np
from scipy.cluster.vq import kmeans2

from lbr.mapping.instances.cloud import Cloud


def cluster_points(cloud: Cloud, num: int, seed: int) -> np.ndarray:
    """int32 [N]: the cluster of each point of the cloud, from 1 (k-means++, Lloyd's rounds)."""
    plan = cloud.xyz[:, :2] - cloud.xyz[:, :2].mean(axis=0)
    num = min(num, len(plan))
    _, labels = kmeans2(plan, num, iter=30, minit="++", rng=np.random.default_rng(seed), missing="warn")
    return labels.astype(np.int32) + 1
