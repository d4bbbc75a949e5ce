"""The local feature of ours, with the weights that are shipped: what it is for, and its arithmetic."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from lbr.features.daynight import DayNight, DayNightSettings
from lbr.features.daynight_network import WINDOW, DayNightNetwork, peaks, refined
from lbr.features.extractor import Extractor
from lbr.features.sift import Sift, SiftSettings
from lbr.io.images import read_image
from lbr.matching.nearest import NearestSettings, match_descriptors

PLACES = Path(__file__).resolve().parents[2] / "assets" / "places.jpg"  # of the town: a place in each of eight rows
DAY, NIGHT = 0, 2  # columns of it
TILE, GAP = (400, 300), 6


@pytest.fixture(scope="module")
def daynight() -> DayNight:
    return DayNight(DayNightSettings(max_keypoints=1000, device="cpu"))


def photograph(place: int, column: int) -> np.ndarray:
    """RGB uint8 of a place by day or by night, from one pose."""
    left, top = GAP + column * (TILE[0] + GAP), GAP + place * (TILE[1] + GAP)
    return read_image(PLACES)[top : top + TILE[1], left : left + TILE[0]]


def seen_from_elsewhere(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image under a homography, and the homography (of pixels from the corner)."""
    height, width = image.shape[:2]
    there = np.array([[0.06, 0.1], [0.95, 0.03], [1.02, 0.94], [0.02, 0.98]]) * [width, height]
    homography = cv2.getPerspectiveTransform(
        (np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * [width, height]).astype(np.float32), there.astype(np.float32)
    )
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return cv2.warpPerspective(image, np.linalg.inv(half) @ homography @ half, (width, height)), homography


def errors_of_matches(extractor: Extractor, a: np.ndarray, b: np.ndarray, homography: np.ndarray, ratio: float):
    one, other = extractor.extract(a), extractor.extract(b)
    indices = match_descriptors(one.descriptors, other.descriptors, NearestSettings(ratio=ratio)).indices
    expected = cv2.perspectiveTransform(one.keypoints[indices[:, :1]].astype(np.float64), homography)[:, 0]
    return np.linalg.norm(expected - other.keypoints[indices[:, 1]], axis=1)


def test_by_day_matches_are_many_and_right(daynight: DayNight):
    image = photograph(2, DAY)
    view, homography = seen_from_elsewhere(image)
    errors = errors_of_matches(daynight, image, view, homography, 0.9)
    right = errors < 3
    assert right.sum() > 200 and right.mean() > 0.8
    assert np.median(errors[right]) < 1.0


def test_at_night_it_matches_what_sift_does_not(daynight: DayNight):
    sift = Sift(SiftSettings(max_keypoints=1000))
    rights = {"sift": 0, "daynight": 0}
    for place in range(8):
        day, (night, homography) = photograph(place, DAY), seen_from_elsewhere(photograph(place, NIGHT))
        rights["daynight"] += int((errors_of_matches(daynight, day, night, homography, 0.9) < 3).sum())
        rights["sift"] += int((errors_of_matches(sift, day, night, homography, 0.8) < 3).sum())
    assert rights["daynight"] > 3 * rights["sift"] and rights["daynight"] > 8 * 40


def test_an_exposure_changes_nothing_but_rounding(daynight: DayNight):
    image = (photograph(4, DAY) // 2).astype(np.uint8)
    a, b = daynight.extract(image), daynight.extract(2 * image)
    distance, _ = cKDTree(a.keypoints).query(b.keypoints[:300])
    assert (distance < 0.1).mean() > 0.95


def test_a_blank_image_is_no_fault(daynight: DayNight):
    found = daynight.extract(np.full((96, 128, 3), 90, np.uint8))
    assert found.descriptors.shape[1] == 64 and np.isfinite(found.scores).all()


def test_the_heat_is_the_share_in_the_window():
    logits = torch.randn(1, 1, 30, 40)
    heat = peaks(logits)[0, 0]
    window = logits[0, 0, 10 : 10 + WINDOW, 12 : 12 + WINDOW]
    expected = torch.softmax(window.flatten(), 0).reshape(WINDOW, WINDOW)[WINDOW // 2, WINDOW // 2]
    assert heat[10 + WINDOW // 2, 12 + WINDOW // 2] == pytest.approx(float(expected), rel=1e-4)


def test_a_maximum_between_pixels_is_found_there():
    x, y = torch.meshgrid(torch.arange(20.0), torch.arange(16.0), indexing="xy")
    logits = 6 * torch.exp(-((x - 8.3) ** 2 + (y - 5.7) ** 2) / 3)[None, None]
    found = refined(logits, torch.tensor([[[8.0, 6.0]]]))
    torch.testing.assert_close(found, torch.tensor([[[8.3, 5.7]]]), atol=0.05, rtol=0)


def test_trunk_and_heads_are_the_whole():
    network = DayNightNetwork().eval()
    images = torch.rand(1, 1, 32, 48)
    for one, other in zip(network(images), network.heads(*network.trunk(images)), strict=True):
        assert torch.equal(one, other)
    detection, reliability, dense = network(images)
    assert detection.shape == (1, 1, 32, 48) and reliability.shape == (1, 1, 8, 12) and dense.shape == (1, 64, 8, 12)
