"""Pairs of db images to match: from poses, from covisibility, by likeness, exhaustive, or from a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy import sparse
from scipy.spatial import cKDTree

from lbr.geometry.pose import Pose
from lbr.settings import ConfigPath, Settings

Pair = tuple[str, str]
ROWS = 512  # images compared with all others at once


class PosePairs(Settings):
    """Nearest cameras that look the same way. Distances beyond `max_spacing` times the median distance of
    neighbouring cameras are dropped, so that places far apart are not matched with each other."""

    name: Literal["poses"] = "poses"
    num_neighbours: int = Field(default=20, ge=1)
    max_angle_deg: float = Field(default=60.0, gt=0, le=180, description="between the viewing directions")
    max_spacing: float | None = Field(default=50.0, gt=0)


class CovisibilityPairs(Settings):
    """Images of the reference model that share most points."""

    name: Literal["covisibility"] = "covisibility"
    num_neighbours: int = Field(default=20, ge=1)
    min_shared: int = Field(default=1, ge=1)


class ExhaustivePairs(Settings):
    name: Literal["exhaustive"] = "exhaustive"


class ListedPairs(Settings):
    name: Literal["list"] = "list"
    path: ConfigPath


class SimilarPairs(Settings):
    """Images that look alike (VLAD of their local features), and images whose names follow each other.

    For photographs without poses, where all pairs would be too many.
    """

    name: Literal["similar"] = "similar"
    num_neighbours: int = Field(default=25, ge=1)
    num_following: int = Field(default=5, ge=0, description="the next images in the order of names: films, walks")
    num_words: int = Field(default=64, ge=1, description="visual words of the descriptor")


PairsConfig = Annotated[
    PosePairs | CovisibilityPairs | ExhaustivePairs | ListedPairs | SimilarPairs, Field(discriminator="name")
]


def pairs_exhaustive(names: Sequence[str]) -> list[Pair]:
    return list(combinations(sorted(names), 2))


def pairs_from_poses(poses: Mapping[str, Pose], settings: PosePairs) -> list[Pair]:
    """Each image with its `num_neighbours` nearest that look within `max_angle_deg` of it; each pair once, sorted."""
    names = sorted(poses)
    if len(names) < 2:
        return []
    centres = np.stack([poses[n].centre for n in names])
    axes = np.stack([poses[n].R[2] for n in names])  # the camera's z axis in the world
    # Enough neighbours that those who look elsewhere can be dropped: every camera of a rig stands at one place.
    reach = min(len(names), 8 * settings.num_neighbours + 1)
    distance, index = cKDTree(centres).query(centres, k=reach)
    keep = index != np.arange(len(names))[:, None]
    keep &= np.einsum("nd,nkd->nk", axes, axes[index]) >= np.cos(np.radians(settings.max_angle_deg))
    if settings.max_spacing is not None:
        spacing = np.median(np.where(keep, distance, np.inf).min(axis=1, initial=np.inf))
        keep &= distance <= settings.max_spacing * spacing if np.isfinite(spacing) and spacing > 0 else True
    keep &= np.cumsum(keep, axis=1) <= settings.num_neighbours
    return _unique_pairs(names, np.nonzero(keep)[0], index[keep])


def pairs_from_covisibility(names: Sequence[str], shared: sparse.csr_matrix, settings: CovisibilityPairs) -> list[Pair]:
    """Each image with those that share most points with it (`shared`: int [I, I]); each pair once, sorted."""
    coo = shared.tocoo()
    order = np.lexsort((coo.col, -coo.data, coo.row))
    row, col, count = coo.row[order], coo.col[order], coo.data[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)  # place within its row
    keep = (rank < settings.num_neighbours) & (count >= settings.min_shared)
    return _unique_pairs(names, row[keep], col[keep])


def pairs_from_likeness(names: Sequence[str], vectors: np.ndarray, settings: SimilarPairs) -> list[Pair]:
    """Each image with the `num_neighbours` of largest cosine, and with the next `num_following` names; sorted.

    vectors: float32 [I, D], global descriptors of `names`, L2-normalised; one of zeros (an image without features)
    takes part in no pair.
    """
    order = np.argsort(np.asarray(names))
    names, vectors = [names[i] for i in order], vectors[order]
    blind: np.ndarray = np.linalg.norm(vectors, axis=1) == 0
    first, second = [], []
    for start in range(0, len(names), ROWS):  # in blocks: all cosines at once would be I x I
        cosine = vectors[start : start + ROWS] @ vectors.T
        rows = np.arange(start, start + len(cosine))
        cosine[:, blind] = cosine[blind[rows]] = -np.inf
        cosine[rows - start, rows] = -np.inf
        best = np.argsort(-cosine, axis=1, kind="stable")[:, : settings.num_neighbours]
        kept = np.take_along_axis(cosine, best, axis=1) > -np.inf
        first.append(np.broadcast_to(rows[:, None], best.shape)[kept])
        second.append(best[kept])
    seeing = np.flatnonzero(~blind)
    for step in range(1, settings.num_following + 1):
        first.append(seeing[:-step])
        second.append(seeing[step:])
    if not first:
        return []
    return _unique_pairs(names, np.concatenate(first), np.concatenate(second))


def _unique_pairs(names: Sequence[str], first: np.ndarray, second: np.ndarray) -> list[Pair]:
    ordered = np.unique(np.stack([np.minimum(first, second), np.maximum(first, second)], 1), axis=0)
    return [(names[i], names[j]) for i, j in ordered]
