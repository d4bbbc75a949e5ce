"""Matching along epipolar lines: against plain numpy, and against chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lbr.features.sift_daynight import beside_sift
from lbr.geometry.pose import Pose
from lbr.mapping.verification import essential_matrix, normalised_rays, sampson_distance
from lbr.matching.epipolar import SURE, TwoViews, match_along_lines
from lbr.matching.nearest import BLOCK_ROWS, GuidedSettings, NearestSettings, match_descriptors
from lbr.types import LocalFeatures, Matches
from tests.synthetic import CAMERA, ExactWorld, arc_poses, unit_rows, visible

POSE_A, POSE_B = arc_poses(2, step_deg=8.0)
FOCAL = float(np.mean(CAMERA.focal))


def views(a: LocalFeatures, b: LocalFeatures, pose_b: Pose = POSE_B) -> TwoViews:
    rays = normalised_rays(CAMERA, a.keypoints), normalised_rays(CAMERA, b.keypoints)
    return TwoViews(*rays, essential_matrix(pose_b @ POSE_A.inverse()), FOCAL)


def scene(num: int, likeness: float, seed: int = 0) -> tuple[LocalFeatures, LocalFeatures, np.ndarray]:
    """Two photographs of `num` points, the second of which has descriptors so alike; rows in it of those of the first,
    -1 where it does not show them."""
    rng = np.random.default_rng([seed, 1])  # not the world's own
    world = ExactWorld.make(num_points=num, seed=seed)
    a, b = world.features(POSE_A), world.features(POSE_B)
    looks = likeness * b.descriptors + np.sqrt(1 - likeness**2) * unit_rows(len(b), b.descriptors.shape[1], rng)
    seen_a, seen_b = (visible(CAMERA, pose, world.points)[1] for pose in (POSE_A, POSE_B))
    order = np.argsort(seen_b)
    at = np.searchsorted(seen_b, seen_a, sorter=order).clip(max=len(seen_b) - 1)
    rows = np.where(seen_b[order[at]] == seen_a, order[at], -1)
    assert len(a) == len(seen_a) and len(b) == len(seen_b), "all that is visible is in the photographs"
    return a, replace(b, descriptors=(looks / np.linalg.norm(looks, axis=1, keepdims=True)).astype(np.float32)), rows


def two_kinds(a: LocalFeatures, b: LocalFeatures, rows: np.ndarray) -> tuple[LocalFeatures, LocalFeatures]:
    """The photographs of `scene` with every other point described as by SIFT, the others beside it."""
    kind_a, kind_b = np.arange(len(a)) % 2, np.arange(len(b)) % 2
    kind_b[rows[rows >= 0]] = kind_a[rows >= 0]
    beside, sift = ([look(f.descriptors) for f in (a, b)] for look in (beside_sift, _as_of_sift))
    return (
        replace(a, descriptors=np.where(kind_a[:, None], beside[0], sift[0])),
        replace(b, descriptors=np.where(kind_b[:, None], beside[1], sift[1])),
    )


def _as_of_sift(rows: np.ndarray) -> np.ndarray:
    """Without a negative number: what was one is a positive one elsewhere, so that cosines stay alike."""
    return np.hstack([rows.clip(min=0), -rows.clip(max=0)])


def reference(a: LocalFeatures, b: LocalFeatures, pair: TwoViews, px: float, caution: float) -> list[tuple[int, int]]:
    """One keypoint after another, in double precision; of two kinds of descriptors each among its own."""
    cosines = a.descriptors.astype(np.float64) @ b.descriptors.T.astype(np.float64)
    kind_a, kind_b = (f.descriptors.min(axis=1) >= 0 for f in (a, b))
    own = kind_a[:, None] == kind_b if 0 < kind_a.sum() < len(a) else np.ones_like(cosines, bool)
    n, m = np.indices(cosines.shape).reshape(2, -1)
    error = FOCAL * sampson_distance(pair.rays_a[n], pair.rays_b[m], POSE_B @ POSE_A.inverse())
    near = (error <= px).reshape(cosines.shape) & own
    inside = np.where(near, cosines, -2)
    found = []
    for i, row in enumerate(inside):
        j = int(row.argmax())
        if row[j] > -2 and row[j] >= inside[:, j].max():
            found.append((near[i].sum() * (np.sum(cosines[i, own[i]] >= row[j]) - 0.5) / own[i].sum(), i, j))
    found.sort()
    gain = [k + 1 - (1 + caution) * len(a) * chance for k, (chance, _, _) in enumerate(found)]
    last = found[int(np.argmax(gain))][0]
    sure = any(g > SURE * (k + 1) ** 0.5 for k, g in enumerate(gain))
    return sorted((i, j) for chance, i, j in found if chance <= last) if sure else []


@pytest.mark.parametrize("num, px, caution", [(40, 4.0, 0.0), (BLOCK_ROWS + 300, 4.0, 0.0), (700, 1.5, 1.0)])
def test_matches_are_those_of_plain_numpy(num: int, px: float, caution: float):
    a, b, _ = scene(num, 0.6)
    found = match_along_lines(a, b, views(a, b), GuidedSettings(max_error_px=px, caution=caution))
    assert [tuple(pair) for pair in found.indices.tolist()] == reference(a, b, views(a, b), px, caution)
    assert len(found) and found.indices.dtype == np.int32 and found.scores.dtype == np.float32
    np.testing.assert_allclose(
        found.scores, np.einsum("nd,nd->n", *(f.descriptors[i] for f, i in zip((a, b), found.indices.T, strict=True))),
        atol=1e-5,
    )  # fmt: skip


def test_two_kinds_of_descriptors_are_each_matched_among_themselves():
    a, b = two_kinds(*scene(700, 0.6))
    found = match_along_lines(a, b, views(a, b), GuidedSettings())
    assert [tuple(pair) for pair in found.indices.tolist()] == reference(a, b, views(a, b), 4.0, 0.0)
    kinds = (f.descriptors[rows].min(axis=1) >= 0 for f, rows in zip((a, b), found.indices.T, strict=True))
    first, second = kinds
    assert (first == second).all() and 0.2 < first.mean() < 0.8


def test_finds_what_the_ratio_test_does_not():
    """Descriptors that are 0.6 alike: most of their matches are found, where the ratio leaves few."""
    a, b, rows = scene(700, 0.6)
    found = match_along_lines(a, b, views(a, b), GuidedSettings())
    plain = match_descriptors(a.descriptors, b.descriptors, NearestSettings(ratio=0.85))
    right = np.mean(found.indices[:, 1] == rows[found.indices[:, 0]])
    assert len(found) > 2 * len(plain) and right > 0.9
    assert np.sum(rows[found.indices[:, 0]] == found.indices[:, 1]) > 0.8 * np.sum(rows >= 0)


@pytest.mark.parametrize("wrong", ["photograph", "pose"])
def test_where_nothing_is_right_nothing_is_matched(wrong: str):
    a, b, _ = scene(700, 0.9)
    if wrong == "photograph":
        b = scene(700, 0.9, seed=5)[1]
    pose = Pose(np.diag([1.0, -1.0, -1.0]) @ POSE_B.R, POSE_B.t) if wrong == "pose" else POSE_B
    found = match_along_lines(a, b, views(a, b, pose), GuidedSettings())
    assert len(found) == 0


def test_caution_takes_fewer_and_surer_ones():
    a, b, rows = scene(700, 0.45)
    bold, careful = (match_along_lines(a, b, views(a, b), GuidedSettings(caution=c)) for c in (0.0, 3.0))
    assert 0 < len(careful) < len(bold) and set(map(tuple, careful.indices)) <= set(map(tuple, bold.indices))

    def right(found: Matches) -> float:
        return np.mean(rows[found.indices[:, 0]] == found.indices[:, 1])

    assert right(careful) > right(bold)


def test_no_keypoints_no_matches():
    a, b, _ = scene(50, 0.9)
    nothing = a.select(np.zeros(0, np.int64))
    for one, other in ((a, nothing), (nothing, b), (nothing, nothing)):
        assert len(match_along_lines(one, other, views(one, other), GuidedSettings())) == 0
