"""Pairs of views: the homography that comes with them is the true one, and they are drawn by number alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from lbr.errors import DataError
from lbr.learning.settings import LearningSettings
from lbr.learning.views import ViewPairs, draw_pair, with_copies
from lbr.recognition.augment import AugmentSettings

NO_LIGHT = AugmentSettings(
    brightness=0, contrast=0, saturation=0, hue=0, blur=0, noise=0, occlusion=0, night=0, haze=0
)  # fmt: skip
SMALL = LearningSettings(view_px=96, batch_size=2, steps=3, workers=0)


def texture(seed: int = 0, size: tuple[int, int] = (320, 240)) -> np.ndarray:
    """A smooth random picture, RGB uint8."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.float32)
    return np.clip((cv2.GaussianBlur(noise, (0, 0), 4) - 127) * 8 + 127, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(6))
def test_the_second_view_seen_through_the_homography_is_the_first(seed: int):
    settings = SMALL.model_copy(update={"light": NO_LIGHT, "copies": 0})
    (a, b), b_from_a = draw_pair([np.repeat(texture()[..., :1], 3, 2)], settings, np.random.default_rng(seed))
    side = settings.view_px

    def back(image: np.ndarray) -> np.ndarray:
        return cv2.warpPerspective(image, b_from_a, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)

    inside = back(np.ones_like(b)) > 0.999
    assert inside.mean() > 0.1
    errors = {
        (dx, dy): np.abs(np.roll(back(b), (dy, dx), (0, 1)) - a)[inside].mean()
        for dx in (-1, 0, 1)
        for dy in (-1, 0, 1)
    }
    assert min(errors, key=lambda shift: errors[shift]) == (0, 0)
    assert errors[0, 0] < 0.02


def test_a_batch_is_drawn_by_its_number_whatever_the_workers():
    photographs = [[texture(k), 255 - texture(k)] for k in range(3)]
    pairs = ViewPairs(photographs, SMALL)
    alone = list(DataLoader(pairs, sampler=range(3), batch_size=None))
    workers = list(DataLoader(pairs, sampler=range(3), batch_size=None, num_workers=2))
    later = list(DataLoader(pairs, sampler=range(1, 3), batch_size=None))
    for one, other in zip(alone + alone[1:], workers + later, strict=True):
        assert all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(one, other, strict=True))
    assert alone[0][0].shape == (2, 2, 96, 96) and alone[0][1].shape == (2, 3, 3)
    assert alone[0][0].min() >= 0 and alone[0][0].max() <= 1
    assert not np.array_equal(alone[0][0], alone[1][0])


def test_copies_have_the_photographs_size_and_are_the_same_again(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "house.png"), texture(size=(700, 500)))
    settings = SMALL.model_copy(update={"photograph_px": 280})
    first, again = (with_copies(tmp_path / "house.png", settings) for _ in range(2))
    assert [image.shape for image in first] == [(200, 280, 3)] * 3
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))
    assert first[1].mean() < 0.8 * first[0].mean(), "the first copy is one by night"


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_file_that_is_no_photograph_is_said(tmp_path: Path, content: bytes):
    (tmp_path / "broken.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.jpg"):
        with_copies(tmp_path / "broken.jpg", SMALL)
