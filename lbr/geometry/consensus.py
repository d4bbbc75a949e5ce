"""Which cameras of two world frames agree with one similarity: groups found one after another, by consensus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lbr.geometry.pose import Pose, rotation_angle
from lbr.geometry.similarity import Similarity, fit_poses, nearest_rotation

MAX_HYPOTHESES = 2000
ROUNDS = 5  # of fitting to the inliers and choosing them anew


@dataclass(frozen=True)
class Tolerance:
    """A camera agrees with a similarity within `position` (units of b) and `angle` (radians); a group has
    `min_images`, at least 3: any two cameras of like rotations agree with some scale."""

    position: float
    angle: float
    min_images: int = 3


@dataclass(frozen=True, eq=False)
class AlignedGroup:
    """Cameras that one similarity b_from_a brings onto their poses in b.

    names: [K], sorted. position_errors: float64 [K], units of b. rotation_errors: float64 [K], radians.
    """

    names: tuple[str, ...]
    similarity: Similarity
    position_errors: np.ndarray
    rotation_errors: np.ndarray


def find_groups(
    in_a: Mapping[str, Pose], in_b: Mapping[str, Pose], tolerance: Tolerance, seed: int = 0
) -> tuple[list[AlignedGroup], list[str]]:
    """Groups of cameras known in both frames, largest first, each with its own similarity, and who is in none.

    RANSAC over pairs of cameras (rotation from their rotations, scale from their distance), all pairs where they are
    few; then the fit to all inliers. What is left is searched again, until no group of `min_images` is found.
    Poses are cam_from_a and cam_from_b; those of `in_a` that `in_b` lacks are not considered.
    """
    cameras = _Cameras.of([n for n in sorted(in_a) if n in in_b], in_a, in_b)
    rng, groups = np.random.default_rng(seed), []
    least = max(3, tolerance.min_images)
    while len(cameras.names) >= least:
        found = _best_group(cameras, tolerance, rng)
        if found is None or np.count_nonzero(found[1]) < least:
            break
        similarity, inside = found
        position, angle = cameras.select(inside).errors(similarity)
        names = tuple(n for n, kept in zip(cameras.names, inside, strict=True) if kept)
        groups.append(AlignedGroup(names, similarity, position, angle))
        cameras = cameras.select(~inside)
    return groups, list(cameras.names)


@dataclass(frozen=True, eq=False)
class _Cameras:
    """Positions [N, 3] and rotations cam_from_world [N, 3, 3] of the same cameras in a and in b."""

    names: tuple[str, ...]
    centres: tuple[np.ndarray, np.ndarray]
    rotations: tuple[np.ndarray, np.ndarray]

    @staticmethod
    def of(names: list[str], in_a: Mapping[str, Pose], in_b: Mapping[str, Pose]) -> _Cameras:
        centres = [np.array([poses[n].centre for n in names]).reshape(-1, 3) for poses in (in_a, in_b)]
        rotations = [np.array([poses[n].R for n in names]).reshape(-1, 3, 3) for poses in (in_a, in_b)]
        return _Cameras(tuple(names), (centres[0], centres[1]), (rotations[0], rotations[1]))

    def select(self, mask: np.ndarray) -> _Cameras:
        names = tuple(n for n, kept in zip(self.names, mask, strict=True) if kept)
        (a, b), (Ra, Rb) = self.centres, self.rotations
        return _Cameras(names, (a[mask], b[mask]), (Ra[mask], Rb[mask]))

    def errors(self, similarity: Similarity) -> tuple[np.ndarray, np.ndarray]:
        """Distances of the positions in b, float64 [N], and angles between the rotations, radians [N]."""
        position = np.linalg.norm(similarity.apply(self.centres[0]) - self.centres[1], axis=1)
        turned = self.rotations[1] @ similarity.R @ np.swapaxes(self.rotations[0], 1, 2)
        return position, rotation_angle(turned)


def _best_group(
    cameras: _Cameras, tolerance: Tolerance, rng: np.random.Generator
) -> tuple[Similarity, np.ndarray] | None:
    """The similarity with most inliers (then the nearest ones), fitted to them, and who they are, bool [N]."""
    best: tuple[tuple[int, float], Similarity, np.ndarray] | None = None
    for similarity in _hypotheses(cameras, tolerance, rng):
        score, inside = _support(cameras, similarity, tolerance)
        if best is None or score > best[0]:
            best = score, similarity, inside
    if best is None or not best[2].any():
        return None
    score, similarity, inside = best
    for _ in range(ROUNDS):
        chosen = cameras.select(inside)
        fitted = fit_poses(chosen.centres, chosen.rotations)
        fitted_score, fitted_inside = _support(cameras, fitted, tolerance)
        if fitted_score <= score:
            break
        score, similarity, inside = fitted_score, fitted, fitted_inside
    return similarity, inside


def _support(cameras: _Cameras, similarity: Similarity, tolerance: Tolerance) -> tuple[tuple[int, float], np.ndarray]:
    position, angle = cameras.errors(similarity)
    inside = (position <= tolerance.position) & (angle <= tolerance.angle)
    squared = (position[inside] / tolerance.position) ** 2 + (angle[inside] / tolerance.angle) ** 2
    return (int(inside.sum()), -float(squared.sum())), inside


def _hypotheses(cameras: _Cameras, tolerance: Tolerance, rng: np.random.Generator) -> Iterator[Similarity]:
    """Similarities of pairs of cameras whose rotations agree and who stand apart in both frames."""
    (a, b), (Ra, Rb) = cameras.centres, cameras.rotations
    turned = np.swapaxes(Rb, 1, 2) @ Ra
    first, second = _pairs(len(a), rng).T
    agree = rotation_angle(turned[first] @ np.swapaxes(turned[second], 1, 2)) <= 2 * tolerance.angle
    apart_a, apart_b = (np.linalg.norm(x[first] - x[second], axis=1) for x in (a, b))
    usable = agree & (apart_a > 1e-9) & (apart_b > 1e-9)
    for i, j, wide_a, wide_b in zip(first[usable], second[usable], apart_a[usable], apart_b[usable], strict=True):
        R, scale = nearest_rotation(turned[i] + turned[j]), float(wide_b / wide_a)
        yield Similarity(scale, R, (b[i] + b[j]) / 2 - scale * R @ (a[i] + a[j]) / 2)


def _pairs(num: int, rng: np.random.Generator) -> np.ndarray:
    """Index pairs int [K, 2], all of them or MAX_HYPOTHESES drawn."""
    if num * (num - 1) // 2 <= MAX_HYPOTHESES:
        return np.stack(np.triu_indices(num, 1), axis=1)
    first = rng.integers(num, size=MAX_HYPOTHESES)
    return np.stack([first, (first + rng.integers(1, num, size=MAX_HYPOTHESES)) % num], axis=1)
