"""Two poses of one query: whether they are one place, and which of two places that look alike counts, how surely."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from lbr.localization.pnp import pair_errors
from lbr.localization.verification import Attempt
from lbr.mapping.map import Map
from lbr.types import Candidates, Correspondences, PoseEstimate

SAME_POSE = 0.8  # of a pose's inliers fit another: it is found again
MOSTLY = 0.5  # of a pose's inliers: with more of them on what looks like another, hardly anything else was found
# Times the significance of another pose: as good as that, or nearly. A wrong twin's had 1.3 times the right one's.
CLOSE = 0.7


def fits(pairs: Correspondences, estimate: PoseEstimate, max_error_px: float) -> bool:
    """Whether a pose projects SAME_POSE of the pairs within the error of RANSAC."""
    return float(np.mean(pair_errors(pairs, estimate) <= max_error_px)) >= SAME_POSE


def is_same_place(one: Attempt, other: Attempt, max_error_px: float) -> bool:
    """Whether what the one is from fits the other."""
    return fits(one.final_inliers, other.final, max_error_px)


def disagreement(one: Attempt, other: Attempt) -> float:
    """Pixels by which the inliers of the one miss under the pose of the other, at the median; the larger."""
    misses = (pair_errors(a.final_inliers, b.final) for a, b in ((one, other), (other, one)))
    return float(max(np.median(errors) for errors in misses))


def is_of_look_alikes(attempt: Attempt, alike: Collection[int], scene: Map) -> bool:
    """Whether hardly anything but instances that look like others supports a pose: theirs may be as good.

    A facade may be two instances, and its twin two that look like them.
    """
    labels = scene.point_labels
    if labels is None:
        return False
    return float(np.mean(np.isin(labels[attempt.final_inliers.point_index], list(alike)))) > MOSTLY


def told_apart(candidates: Candidates, least: float) -> int:
    """1 where what is beside an instance tells that it is not its twin, -1 where it tells the contrary, or 0."""
    return int(candidates.advantage > least) - int(candidates.advantage < -least)


def between_look_alikes(earlier: Attempt, attempt: Attempt, better: Attempt, told: int) -> tuple[Attempt, bool]:
    """Which of two verified poses counts, that of an instance or that of its look-alike, and whether that is doubtful.

    better: the more significant of them. told: whether what was recognised beside it speaks for the look-alike (1), for
    the instance (-1) or for neither. A wall that its map shows well has more support than the right one shown badly, so
    what stands beside it counts first. But a network that takes a facade for its twin may see there what stands beside
    the twin: a look-alike that is clearly more significant is taken against it.
    """
    if told > 0:
        return attempt, better is earlier
    other = attempt if better is earlier else earlier
    clear = other.significance <= CLOSE * better.significance
    if told < 0 and better is attempt:
        return (attempt if clear else earlier), True
    return better, not clear
