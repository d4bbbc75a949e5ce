import numpy as np
import pytest

from lbr.features.sift_daynight import beside_sift
from lbr.matching.nearest import BLOCK_ROWS, NearestSettings, match_descriptors
from tests.synthetic import unit_rows


def reference(a: np.ndarray, b: np.ndarray, settings: NearestSettings) -> list[tuple[int, int]]:
    """Matches by distances in double precision, one row after another."""
    distance = np.sqrt(np.maximum(2 - 2 * a.astype(np.float64) @ b.T.astype(np.float64), 0))
    found = []
    for i, row in enumerate(distance):
        order = np.argsort(row, kind="stable")
        j = order[0]
        if settings.mutual and distance[:, j].min() < row[j]:
            continue
        if settings.ratio is not None and len(row) > 1 and not row[j] < settings.ratio * row[order[1]]:
            continue
        if settings.max_distance is not None and row[j] > settings.max_distance:
            continue
        found.append((i, int(j)))
    return found


def near_copies(num: int, of: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows = of[rng.integers(0, len(of), num)] + rng.normal(size=(num, of.shape[1])).astype(np.float32) * 0.12
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


SETTINGS = [
    {"mutual": False},
    {"mutual": True},
    {"mutual": True, "ratio": 0.55},
    {"mutual": False, "ratio": 0.55},
    {"mutual": True, "max_distance": 0.5},
    {"mutual": True, "ratio": 0.55, "max_distance": 0.55},
]


@pytest.mark.parametrize("options", SETTINGS, ids=str)
@pytest.mark.parametrize("num_a", [1, 2, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 2 * BLOCK_ROWS + 3])
@pytest.mark.parametrize("num_b", [1, 2, 300])
def test_matches_are_those_of_plain_numpy(options: dict, num_a: int, num_b: int):
    rng = np.random.default_rng(num_a + 1000 * num_b)
    b = unit_rows(num_b, 24, rng)
    a = near_copies(num_a, b, rng)
    settings = NearestSettings(**options)
    found = match_descriptors(a, b, settings)
    assert [tuple(pair) for pair in found.indices.tolist()] == reference(a, b, settings)
    cosines = np.einsum("nd,nd->n", a[found.indices[:, 0]], b[found.indices[:, 1]])
    np.testing.assert_allclose(found.scores, cosines, atol=1e-5)
    assert found.indices.dtype == np.int32 and found.scores.dtype == np.float32


@pytest.mark.parametrize("options", SETTINGS, ids=str)
@pytest.mark.parametrize("sift, beside", [(150, 150), (300, 3), (299, 1), (0, 200), (200, 0)])
def test_two_kinds_of_descriptors_match_as_one_product_says(options: dict, sift: int, beside: int):
    """Rows of SIFT and of another feature beside it, by turns: each kind is compared apart, and nothing is lost."""
    rng = np.random.default_rng(sift)
    b = np.concatenate([np.abs(unit_rows(sift, 128, rng)), beside_sift(unit_rows(beside, 64, rng))])
    mixed = 0.95 * b + 0.05 * b[rng.permutation(len(b))] * (b.min(axis=1) >= 0)[:, None]
    a = (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)
    a[b.min(axis=1) >= 0] = np.abs(a[b.min(axis=1) >= 0])
    a, b = a[rng.permutation(len(a))], b[rng.permutation(len(b))]
    settings = NearestSettings(**options)
    found = match_descriptors(a, b, settings)
    assert [tuple(pair) for pair in found.indices.tolist()] == reference(a, b, settings) and len(found) > 100


def test_each_setting_removes_something_here():
    """Else the comparison above would say little."""
    rng = np.random.default_rng(0)
    b = unit_rows(300, 24, rng)
    a = near_copies(BLOCK_ROWS + 1, b, rng)
    counts = [len(match_descriptors(a, b, NearestSettings(**options))) for options in SETTINGS]
    assert counts[0] == BLOCK_ROWS + 1
    assert all(0 < count < counts[0] for count in counts[1:])
    assert counts[2] < counts[1] and counts[2] < counts[3] and counts[4] < counts[1] and counts[5] < counts[2]


@pytest.mark.parametrize("shapes", [((0, 8), (5, 8)), ((5, 8), (0, 8)), ((0, 8), (0, 8)), ((0, 0), (5, 8))])
def test_nothing_matches_nothing(shapes: tuple):
    found = match_descriptors(*(np.ones(shape, np.float32) for shape in shapes), NearestSettings(ratio=0.8))
    assert len(found) == 0 and found.indices.shape == (0, 2)


def test_the_only_neighbour_passes_the_ratio():
    a = np.eye(3, dtype=np.float32)
    assert match_descriptors(a[:1], a[:1], NearestSettings(ratio=0.5)).indices.tolist() == [[0, 0]]


def test_two_equal_neighbours_fail_the_ratio_but_not_mutuality():
    a, b = np.eye(1, 4, dtype=np.float32), np.eye(1, 4, dtype=np.float32).repeat(2, 0)
    assert len(match_descriptors(a, b, NearestSettings(ratio=0.9))) == 0
    assert match_descriptors(a, b, NearestSettings()).indices.tolist() == [[0, 0]]


@pytest.mark.parametrize("options", [{}, {"max_distance": 0.6}], ids=str)
def test_mutual_matches_are_the_same_from_either_side(options: dict):
    rng = np.random.default_rng(2)
    b = unit_rows(400, 24, rng)
    a = near_copies(333, b, rng)
    forward = match_descriptors(a, b, NearestSettings(**options)).indices
    backward = match_descriptors(b, a, NearestSettings(**options)).indices
    assert {tuple(p) for p in forward.tolist()} == {tuple(p[::-1]) for p in backward.tolist()}
    assert len(np.unique(forward[:, 1])) == len(forward)


def test_half_precision_descriptors_match_alike():
    rng = np.random.default_rng(3)
    b = unit_rows(300, 64, rng)
    a = near_copies(200, b, rng)
    full = match_descriptors(a, b, NearestSettings()).indices
    half = match_descriptors(a.astype(np.float16), b.astype(np.float16), NearestSettings()).indices
    assert len({tuple(p) for p in full.tolist()} ^ {tuple(p) for p in half.tolist()}) <= 2


def test_other_descriptors_cannot_be_compared():
    with pytest.raises(ValueError, match="cannot be compared"):
        match_descriptors(np.ones((3, 8), np.float32), np.ones((3, 9), np.float32), NearestSettings())
