from __future__ import annotations

import numpy as np
import pytest

from lbr.recognition.augment import AugmentSettings, augment
from lbr.recognition.weather import cast_shadow, hazy, night
from tests.recognition.squares import STILL

SIZE = (96, 64)
WIDE = AugmentSettings(mirror=0.5, rotation_deg=30, perspective=0.15)
WARP = STILL.model_copy(
    update={"crop_area": (0.3, 1), "crop_ratio": (0.75, 4 / 3), "rotation_deg": 30, "perspective": 0.15}
)
LABELS = (0, 40, 90, 150, 210)  # as grey levels of the picture, and as classes


def blocks() -> tuple[np.ndarray, np.ndarray]:
    """A picture [96, 144] whose colour is its class: large blocks, none alike its mirror image."""
    mask = np.zeros((96, 144), np.int32)
    mask[10:80, 8:50], mask[20:90, 56:90], mask[5:60, 96:140], mask[66:92, 96:140] = LABELS[1:]
    return np.repeat(mask[..., None], 3, 2).astype(np.uint8), mask


def away_from_borders(labels: np.ndarray, pixels: int = 3) -> np.ndarray:
    kept = np.ones(labels.shape, bool)
    for dy in range(-pixels, pixels + 1):
        for dx in range(-pixels, pixels + 1):
            kept &= np.roll(labels, (dy, dx), (0, 1)) == labels
    return kept


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_the_mask_is_warped_with_the_image(mirror: float):
    picture, mask = blocks()
    seen = set()
    for seed in range(20):
        view, labels = augment(
            picture, mask, SIZE, WARP.model_copy(update={"mirror": mirror}), np.random.default_rng(seed)
        )
        inside = away_from_borders(labels)
        assert inside.mean() > 0.4
        difference = np.abs(view.astype(int) - labels[..., None])[inside]
        assert difference.max() <= 3, "interpolated, and through HSV and back"
        seen |= set(np.unique(labels))
    assert seen == set(LABELS)


def test_half_a_pixel_does_not_creep_in():
    """A whole crop at half the size: each cell is the middle of four pixels, on both sides of the image alike."""
    ramp = np.repeat(np.arange(0, 240, 2, dtype=np.uint8)[None], 80, 0)
    view, _ = augment(
        np.repeat(ramp[..., None], 3, 2), np.zeros((80, 120), np.int32), (60, 40), STILL, np.random.default_rng(0)
    )
    wanted = (ramp[0, ::2].astype(int) + ramp[0, 1::2]) / 2
    assert np.abs(view[20, :, 0] - wanted).max() <= 1


def test_corners_move_by_up_to_the_share_of_the_sides_that_was_asked_for():
    """The class of a pixel is its column, counted from 1."""
    picture, columns = np.zeros((100, 100, 3), np.uint8), np.tile(np.arange(1, 101, dtype=np.int32), (100, 1))
    rng, moving = np.random.default_rng(0), STILL.model_copy(update={"perspective": 0.1})
    left = [augment(picture, columns, (100, 100), moving, rng)[1][0, 0] - 1 for _ in range(300)]
    assert 9 <= max(left) <= 10


def test_nothing_asked_for_changes_nothing():
    picture, mask = blocks()
    view, labels = augment(picture, mask, (144, 96), STILL, np.random.default_rng(0))
    np.testing.assert_array_equal(labels, mask)
    assert np.abs(view.astype(int) - picture).max() <= 1


def test_the_generator_decides_all():
    picture, mask = blocks()
    settings = WIDE.model_copy(update=dict.fromkeys(("blur", "noise", "occlusion", "night", "haze"), 0.5))
    first, again, other = (
        [augment(picture, mask, SIZE, settings, np.random.default_rng([s, k])) for k in range(10)] for s in (1, 1, 2)
    )
    for (view, labels), (view2, labels2) in zip(first, again, strict=True):
        np.testing.assert_array_equal(view, view2)
        np.testing.assert_array_equal(labels, labels2)
    assert not any(np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


def test_shapes_kinds_and_labels():
    picture, mask = blocks()
    covered = 0
    for seed in range(30):
        view, labels = augment(picture, mask.astype(np.uint16), SIZE, WIDE, np.random.default_rng(seed))
        assert view.shape == (64, 96, 3) and view.dtype == np.uint8
        assert labels.shape == (64, 96) and labels.dtype == np.int32
        assert set(np.unique(labels)) <= set(LABELS)
        covered += (labels == 0).mean() > (mask == 0).mean()
    assert covered > 0
    assert (picture[..., 0] == mask).all(), "the input is left as it was"


def where_left_block_is(mirror: float, seed: int) -> float:
    """Columns by which the first block's middle lies right of the third's."""
    picture, mask = blocks()
    _, labels = augment(picture, mask, SIZE, STILL.model_copy(update={"mirror": mirror}), np.random.default_rng(seed))
    return np.nonzero(labels == LABELS[1])[1].mean() - np.nonzero(labels == LABELS[3])[1].mean()


def test_mirroring_is_off_unless_asked_for():
    assert AugmentSettings().mirror == 0
    assert all(where_left_block_is(0.0, seed) < 0 for seed in range(20))
    assert all(where_left_block_is(1.0, seed) > 0 for seed in range(20))
    assert {where_left_block_is(0.5, seed) > 0 for seed in range(20)} == {False, True}


def test_what_is_hidden_is_background():
    picture, mask = np.full((64, 96, 3), 200, np.uint8), np.full((64, 96), 7, np.int32)
    for seed in range(20):
        view, labels = augment(
            picture, mask, SIZE, STILL.model_copy(update={"occlusion": 1.0}), np.random.default_rng(seed)
        )
        hidden = labels == 0
        assert 0.005 < hidden.mean() < 0.13
        assert (labels[~hidden] == 7).all() and np.abs(view[~hidden].astype(int) - 200).max() <= 1
        assert (np.abs(view[hidden].astype(int) - 200).max(-1) > 1).mean() > 0.5


@pytest.mark.parametrize("weather", [night, hazy])
def test_night_and_haze(weather):
    picture, _ = blocks()
    before = picture.copy()
    first, again = weather(picture, np.random.default_rng(3)), weather(picture, np.random.default_rng(3))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(picture, before)
    assert first.shape == picture.shape and first.dtype == np.uint8
    assert np.abs(first.astype(int) - picture).mean() > 5
    assert not np.array_equal(first, weather(picture, np.random.default_rng(4)))


def test_night_has_lamps_and_haze_is_flat():
    """A picture of stripes, 110 apart: haze takes contrast; night is unlike in its parts, and from night to night."""
    stripes = np.full((40, 60, 3), 200, np.uint8)
    stripes[:, ::2] = 90
    nights, hazes = (
        [look(stripes, np.random.default_rng(s)).astype(float) for s in range(20)] for look in (night, hazy)
    )
    assert np.median([np.abs(np.diff(v, axis=1)).mean() for v in hazes]) < 100
    parts = [[v[:20, :30].mean(), v[:20, 30:].mean(), v[20:, :30].mean(), v[20:, 30:].mean()] for v in nights]
    assert np.median(np.ptp(parts, axis=1)) > 10 and np.std(np.mean(parts, axis=1)) > 10


def test_a_wider_view_is_set_into_another_photograph():
    """Twice the photograph's area: half of the view is the photograph, the rest the other, each with its labels."""
    picture, mask = np.full((64, 96, 3), 200, np.uint8), np.full((64, 96), 7, np.int32)
    other = np.full((32, 48, 3), 50, np.uint8), np.full((32, 48), 3, np.int32)
    wide = STILL.model_copy(update={"crop_area": (2.0, 2.0)})
    places = set()
    for seed in range(10):
        view, labels = augment(picture, mask, SIZE, wide, np.random.default_rng(seed), lambda: other)
        assert (labels == 7).mean() == pytest.approx(0.5, abs=0.03) and ((labels == 3) | (labels == 7)).all()
        inside = away_from_borders(labels, 1)
        assert (np.abs(view.astype(int) - np.where(labels == 7, 200, 50)[..., None])[inside] <= 1).all()
        places.add(int(np.nonzero(labels == 7)[0].min()))
        alone, labels_alone = augment(picture, mask, SIZE, wide, np.random.default_rng(seed))
        np.testing.assert_array_equal(labels_alone, np.where(labels == 7, 7, 0))
        assert alone[labels_alone == 0].max() <= 100, "black, but for the border's interpolation"
    assert len(places) > 3


def test_the_other_photograph_is_not_asked_for_when_the_view_is_inside():
    def never() -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError

    picture, mask = blocks()
    augment(picture, mask, SIZE, STILL.model_copy(update={"crop_area": (0.2, 0.4)}), np.random.default_rng(0), never)


def test_crops_of_every_size_are_as_likely():
    """Half of the views between a twentieth and the whole are below the middle factor, by how much they show."""
    ramp = np.repeat(np.linspace(0, 250, 600).astype(np.uint8)[None], 60, 0)
    picture, mask = np.repeat(ramp[..., None], 3, 2), np.zeros((60, 600), np.int32)
    chosen = STILL.model_copy(update={"crop_area": (0.05, 1.0)})
    spans = [
        np.ptp(augment(picture, mask, (60, 60), chosen, np.random.default_rng(s))[0][30, :, 0].astype(int)) / 250
        for s in range(300)
    ]
    assert np.mean(np.square(spans) < 0.05**0.5) == pytest.approx(0.5, abs=0.09)


def test_a_shrinking_view_is_averaged():
    """Stripes of a pixel, shrunk sixfold: grey, as prediction sees them, and not a sample of the stripes."""
    stripes = np.zeros((192, 288, 3), np.uint8)
    stripes[:, ::2] = 200
    view, _ = augment(stripes, np.zeros((192, 288), np.int32), (48, 32), STILL, np.random.default_rng(0))
    assert np.abs(view.astype(int) - 100).max() <= 6


def test_a_shadow_is_darker_and_bluer_with_a_soft_edge():
    grey = np.full((96, 96, 3), 150, np.uint8)
    ratios, blue, steps = [], [], []
    for seed in range(40):
        shaded = cast_shadow(grey, np.random.default_rng(seed)).astype(float)
        level = shaded.mean(2)
        dark, light = level < np.quantile(level, 0.05) + 5, level > np.quantile(level, 0.95) - 5
        ratios.append(level[dark].mean() / level[light].mean())
        blue.append((shaded[dark, 2] / shaded[dark, 0]).mean() / (shaded[light, 2] / shaded[light, 0]).mean())
        steps.append(np.abs(np.diff(level, axis=1)).max())
    assert 0.4 < np.median(ratios) < 0.8 and np.median(blue) > 1.05
    np.testing.assert_array_equal(shaded, cast_shadow(grey, np.random.default_rng(39)))
    assert len(np.unique(np.round(steps))) > 5, "edges from hard to soft"


def test_gamma_keeps_the_brightness():
    picture, mask = blocks()
    picture = picture // 2  # room above, so that nothing is cut off
    bent = STILL.model_copy(update={"gamma": 0.5})
    views = [augment(picture, mask, (144, 96), bent, np.random.default_rng(s))[0] for s in range(20)]
    assert all(abs(float(v.mean()) - picture.mean()) < 4 for v in views)
    assert np.std([v[picture == LABELS[2] // 2].mean() for v in views]) > 5
