"""Two local features in one: what each kind looks like to a matcher that does not know of them."""

from __future__ import annotations

import numpy as np
import pytest

from lbr.features.daynight import DayNight, DayNightSettings
from lbr.features.sift import Sift, SiftSettings
from lbr.features.sift_daynight import IN_COMMON, SiftDayNight, SiftDayNightSettings, beside_sift, of_sift
from lbr.matching.nearest import NearestSettings, match_descriptors
from lbr.stylization import stylize
from tests.features.test_extractors import picture
from tests.synthetic import unit_rows


def test_cosines_are_what_they_were_but_for_what_all_have_in_common():
    rows = unit_rows(50, 64, np.random.default_rng(0))
    found = beside_sift(rows)
    assert found.shape == (50, 128) and found.dtype == np.float32
    np.testing.assert_allclose(found @ found.T, IN_COMMON + (1 - IN_COMMON) * rows @ rows.T, atol=1e-6)


def test_ratios_of_distances_are_what_they_were():
    rng = np.random.default_rng(1)
    a = unit_rows(40, 64, rng)
    b = unit_rows(60, 64, rng)
    mixed = a + 1.3 * b[:40]  # of what is alike, some more than other
    b[:40] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    for ratio in (0.7, 0.75):
        plain, beside = (
            match_descriptors(x, y, NearestSettings(ratio=ratio)).indices.tolist()
            for x, y in ((a, b), (beside_sift(a), beside_sift(b)))
        )
        assert plain == beside and 0 < len(plain) < 40


@pytest.fixture(scope="module")
def both() -> SiftDayNight:
    return SiftDayNight(SiftDayNightSettings(max_keypoints=301, device="cpu"))


def test_it_is_half_of_each(both: SiftDayNight):
    found = both.extract(picture())
    sift = Sift(SiftSettings(max_keypoints=151)).extract(picture())
    daynight = DayNight(DayNightSettings(max_keypoints=150, device="cpu")).extract(picture())
    first = of_sift(found.descriptors)
    for kind, one in ((first, sift), (~first, daynight)):
        assert found.keypoints[kind].tolist() == one.keypoints.tolist()
    assert of_sift(found.top(100).descriptors).sum() == 50, "the best of both, not all of one"
    assert of_sift(found.descriptors.astype(np.float16)).tolist() == first.tolist(), "as files hold them"


def test_kinds_are_never_neighbours(both: SiftDayNight):
    """Neither the first nor the second: by day, by night, and in float16 as files hold them."""
    day = both.extract(picture()).descriptors.astype(np.float16).astype(np.float32)
    night = both.extract(stylize(picture(), "night", np.random.default_rng(0))).descriptors
    for other in (day, night):
        ours, theirs = of_sift(day), of_sift(other)
        assert ours.any() and theirs.any()
        cosines = day @ other.T
        assert cosines[ours][:, ~theirs].max() < 0 < cosines[ours][:, theirs].min()
        assert cosines[~ours][:, theirs].max() < 0 < cosines[~ours][:, ~theirs].min()


def test_a_picture_without_texture_has_what_it_has(both: SiftDayNight):
    flat = both.extract(np.full((96, 160, 3), 127, np.uint8))
    assert flat.descriptors.shape == (len(flat), 128) and len(flat) <= 301
