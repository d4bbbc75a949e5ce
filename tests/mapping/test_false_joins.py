"""Streets laid over each other at a house that is alike, by a mapper that took the two houses for one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from lbr.geometry.pose import Pose
from lbr.io.colmap import posed_cameras
from lbr.io.colmap_arrays import ModelArrays
from lbr.mapping.co_observation import co_observation
from lbr.mapping.false_joins import FalseJoinSettings, consistent_parts, contradicting
from lbr.mapping.sfm import SfmSettings, structure_from_motion
from tests.street import BLUE, CAMERA, RED, YELLOW, Facade, Street, walk
from tests.synthetic import similarity

ALIKE = Facade((13, 0), (18, 0), YELLOW, 1)
STRAIGHT = [ALIKE, Facade((0, 0), (13, 0), RED, 2), Facade((18, 0), (32, 0), BLUE, 3)]
STEPPED = [ALIKE, Facade((0, 4), (13, 4), BLUE, 4), Facade((18, -4), (32, -4), RED, 5)]
SETTINGS = FalseJoinSettings()
GROUND = 150  # points of a Street that are on the ground, its last

Observed = dict[str, tuple[np.ndarray, np.ndarray]]  # of each image pixels [N, 2], and which points they are [N]


def walked(facades: list[Facade]) -> Street:
    return Street(facades, walk(12, (1, -11), (31, -11)), noise_m=0, points_per_m2=6)


def observed(letter: str, facades: list[Facade], first: int = 0) -> tuple[Observed, dict[str, Pose]]:
    """A walk along a street. The points of its first facade are numbered from 0, the others from `first` on."""
    street = walked(facades)
    points, labels = street.points()
    house, rng = np.count_nonzero(labels == ALIKE.label), np.random.default_rng(len(letter) + first)
    seen, poses = {}, {}
    for name, pose in street.poses.items():
        xy, which = street._observed(pose, points)
        kept = (which < len(points) - GROUND) & (rng.random(len(which)) < 0.8)  # what is detected
        which, xy = which[kept], xy[kept] + rng.normal(0, 0.2, (kept.sum(), 2))
        new = name.replace("db/", letter)
        seen[new], poses[new] = (xy, np.where(which < house, which, which + first)), pose
    return seen, poses


def arrays(seen: Observed, poses: dict[str, Pose], points: np.ndarray) -> ModelArrays:
    names = tuple(sorted(seen))
    index = np.concatenate([seen[n][1] for n in names])
    return ModelArrays(
        names, (CAMERA,) * len(names), tuple(poses[n] for n in names),
        np.concatenate([[0], np.cumsum([len(seen[n][1]) for n in names])]),
        np.concatenate([seen[n][0] for n in names]).astype(np.float32), index.astype(np.int32), points,
        np.full(len(points), 0.2, np.float32),
    )  # fmt: skip


def positions(*streets: tuple[list[Facade], int]) -> np.ndarray:
    """Where the points are, by number."""
    found = np.full((20000, 3), 1e3)
    for facades, first in streets:
        points, labels = walked(facades).points()
        house = np.count_nonzero(labels == ALIKE.label)
        found[:house] = points[:house]
        found[house + first : len(points) - GROUND + first] = points[house:-GROUND]
    return found


@pytest.fixture(scope="module")
def overlaid() -> tuple[Observed, dict[str, Pose]]:
    """Photographs a... of the straight street, b... of the stepped one; the house that is alike has the same points."""
    (a, poses_a), (b, poses_b) = observed("a", STRAIGHT), observed("b", STEPPED, first=8000)
    return {**a, **b}, {**poses_a, **poses_b}


def parts_of(model: ModelArrays) -> list[set[str]]:
    part, _ = consistent_parts(co_observation(model), SETTINGS)
    return sorted(({n for n, p in zip(model.names, part, strict=True) if p == k} for k in set(part)), key=min)


def test_two_streets_laid_over_each_other_are_two_parts_that_contradict(overlaid: tuple):
    model = arrays(*overlaid, positions((STRAIGHT, 0), (STEPPED, 8000)))
    assert parts_of(model) == [{n for n in model.names if n[0] == letter} for letter in "ab"]
    apart = contradicting(co_observation(model), SETTINGS)
    letters = np.array([name[0] for name in model.names])
    np.testing.assert_array_equal(apart, letters[:, None] != letters)


def test_the_parts_do_not_depend_on_the_order_of_the_images(overlaid: tuple):
    seen, poses = overlaid
    number = dict(zip(seen, np.random.default_rng(3).permutation(len(seen)), strict=True))
    seen, poses = ({f"{number[n]:02d}{n}": v for n, v in some.items()} for some in (seen, poses))
    found = parts_of(arrays(seen, poses, positions((STRAIGHT, 0), (STEPPED, 8000))))
    assert {frozenset(name[2:] for name in part) for part in found} == {
        frozenset(n for n in overlaid[0] if n[0] == letter) for letter in "ab"
    }


@pytest.mark.parametrize("facades", [STRAIGHT, STEPPED])
def test_a_street_that_is_right_is_one_part(facades: list[Facade]):
    model = arrays(*observed("a", facades), positions((facades, 0)))
    assert not contradicting(co_observation(model), SETTINGS).any()
    assert len(parts_of(model)) == 1


def test_a_lorry_that_two_photographs_show_contradicts_nothing():
    """A wall of points six metres before the house that is alike, where all other photographs look through."""
    seen, poses = observed("a", STRAIGHT)
    points = positions((STRAIGHT, 0))
    lorry = np.arange(19000, 19400)
    points[lorry] = np.random.default_rng(1).uniform([12, -6, 0], [18, -6, 4], (len(lorry), 3))
    for name in ("a05.png", "a06.png"):
        xy, which = Street([], {name: poses[name]})._observed(poses[name], points[lorry])
        seen[name] = (np.concatenate([seen[name][0], xy]), np.concatenate([seen[name][1], lorry[which]]))
    model = arrays(seen, poses, points)
    assert co_observation(model).before[:, 5:7].sum() > 100, "the lorry is there"
    assert len(parts_of(model)) == 1


def test_places_that_share_nothing_do_not_contradict(overlaid: tuple):
    """Each in a corner of its own: parts, as nothing links them, but nothing is wrong."""
    seen, poses = observed("b", STEPPED, first=8000)
    aside = np.array([500.0, 0, 0])
    seen = {n: (xy, np.where(which < 8000, which + 12000, which)) for n, (xy, which) in seen.items()}
    poses = {n: Pose(p.R, p.t - p.R @ aside) for n, p in poses.items()}
    points, beside = positions((STRAIGHT, 0)), positions((STEPPED, 8000)) + aside
    points[8000:12000], points[12000:] = beside[8000:12000], beside[:8000]
    first, first_poses = observed("a", STRAIGHT)
    model = arrays({**first, **seen}, {**first_poses, **poses}, points)
    assert len(parts_of(model)) == 2
    assert not contradicting(co_observation(model), SETTINGS).any()


def matched(seen: Observed) -> tuple[dict, dict]:
    """Keypoints and matches: what two images both see."""
    names = sorted(seen)
    matches = {}
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            _, in_a, in_b = np.intersect1d(seen[a][1], seen[b][1], return_indices=True)
            if len(in_a) >= 15:
                matches[a, b] = np.stack([in_a, in_b], axis=1)
    return {n: seen[n][0].astype(np.float32) for n in names}, matches


def test_structure_from_motion_takes_such_streets_apart_again(overlaid: tuple):
    seen, poses = overlaid
    keypoints, matches = matched(seen)
    run = partial(structure_from_motion, dict.fromkeys(seen, CAMERA), keypoints, matches)
    wrong = run(SfmSettings.model_validate({"false_joins": {"rounds": 0}}))
    assert {n[0] for n in posed_cameras(wrong.models[0])[1]} == {"a", "b"}, "nothing to take apart"
    assert wrong.still_joined and not wrong.left_out

    motion = run(SfmSettings())
    assert not motion.still_joined
    assert set(motion.left_out) == {pair for pair in matches if pair[0][0] != pair[1][0]}
    for model in motion.models:
        found = posed_cameras(model)[1]
        assert len({name[0] for name in found}) == 1
        centres, truth = (np.stack([some[n].centre for n in found]) for some in (found, poses))
        scale, R, t = similarity(centres, truth)
        assert np.linalg.norm(scale * centres @ R.T + t - truth, axis=1).max() < 0.1
    assert sum(model.num_reg_images() for model in motion.models) == len(seen)
