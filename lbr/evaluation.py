"""Scores of finished results: pose errors, recall by condition, and two runs compared query by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from lbr.geometry.pose import Pose, pose_error
from lbr.settings import Settings


class AlignmentSettings(Settings):
    """How a map that structure from motion made, in a frame of its own, is brought onto the reference poses: a db image
    agrees with a similarity within max_error_m and max_rotation_deg, and a group of images that do has min_images."""

    max_error_m: float = Field(default=0.5, gt=0)
    max_rotation_deg: float = Field(default=5.0, gt=0, le=180)
    min_images: int = Field(default=3, ge=3)


class EvaluationSettings(Settings):
    """Thresholds of recall: (metres, degrees); the defaults are the visual localization benchmark's."""

    thresholds: tuple[tuple[float, float], ...] = Field(default=((0.25, 2.0), (0.5, 5.0), (5.0, 10.0)), min_length=1)
    alignment: AlignmentSettings = AlignmentSettings()


@dataclass(frozen=True, eq=False)
class PoseErrors:
    """names: [N] queries with a truth. position_m, rotation_deg: float64 [N], inf where there is no pose."""

    names: tuple[str, ...]
    position_m: np.ndarray
    rotation_deg: np.ndarray

    def select(self, mask: np.ndarray) -> PoseErrors:
        names = tuple(n for n, kept in zip(self.names, mask, strict=True) if kept)
        return PoseErrors(names, self.position_m[mask], self.rotation_deg[mask])


@dataclass(frozen=True)
class PoseScores:
    """num: queries with a truth; recall: %, one for each threshold; medians over all queries (inf counts)."""

    num: int
    localized: int
    median_m: float
    median_deg: float
    recall: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """Paired per query: how often b has the smaller position error than a, ties apart, and the sign test's p-value."""

    num: int
    better: int
    worse: int
    median_difference_m: float
    p_value: float
    recall_difference: tuple[float, ...]


def pose_errors(estimates: Mapping[str, Pose], truth: Mapping[str, Pose]) -> PoseErrors:
    """Errors of every query that has a truth; one without an estimate has infinite errors, so it counts as missed."""
    errors = np.array([pose_error(estimates[n], truth[n]) if n in estimates else (np.inf, np.inf) for n in truth])
    errors = errors.reshape(-1, 2)
    return PoseErrors(tuple(truth), errors[:, 0], np.degrees(errors[:, 1]))


def score(errors: PoseErrors, thresholds: Sequence[tuple[float, float]]) -> PoseScores:
    """Recall: % of queries with both errors within the threshold (inclusive). Raises ValueError without queries."""
    if not errors.names:
        raise ValueError("no query has a true pose: nothing to score")
    recall = tuple(
        100 * float(np.mean((errors.position_m <= metres) & (errors.rotation_deg <= degrees)))
        for metres, degrees in thresholds
    )
    return PoseScores(
        len(errors.names), int(np.isfinite(errors.position_m).sum()), float(np.median(errors.position_m)),
        float(np.median(errors.rotation_deg)), recall,
    )  # fmt: skip


def score_by_condition(
    errors: PoseErrors, conditions: Mapping[str, str], thresholds: Sequence[tuple[float, float]]
) -> dict[str, PoseScores]:
    """Scores of each condition, and of 'all' when there are several."""
    of = np.array([conditions.get(name, "all") for name in errors.names])
    scores = {str(c): score(errors.select(of == c), thresholds) for c in np.unique(of)}
    return scores if len(scores) == 1 else {**scores, "all": score(errors, thresholds)}


def compare(a: PoseErrors, b: PoseErrors, thresholds: Sequence[tuple[float, float]]) -> Comparison:
    """Compare run b with run a on the queries both have a truth for. Raises ValueError when there are none."""
    from scipy.stats import binomtest  # here, as it takes a third of a second to import

    in_b = {name: i for i, name in enumerate(b.names)}
    shared = [name in in_b for name in a.names]
    first = a.select(np.array(shared, bool))
    order = [in_b[name] for name in first.names]
    second = PoseErrors(first.names, b.position_m[order], b.rotation_deg[order])
    before, after = score(first, thresholds), score(second, thresholds)
    better = int((second.position_m < first.position_m).sum())
    worse = int((second.position_m > first.position_m).sum())
    both = np.isfinite(first.position_m) & np.isfinite(second.position_m)
    difference = second.position_m[both] - first.position_m[both]
    return Comparison(
        len(first.names), better, worse, float(np.median(difference)) if both.any() else 0.0,
        float(binomtest(better, better + worse).pvalue) if better + worse else 1.0,
        tuple(y - x for x, y in zip(before.recall, after.recall, strict=True)),
    )  # fmt: skip
