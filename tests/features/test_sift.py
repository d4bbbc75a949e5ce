import numpy as np
import pytest
from scipy.spatial import cKDTree

from lbr.features.sift import Sift, SiftSettings, root_sift
from tests.synthetic import blobs


def grid(size: tuple[int, int], step: float, seed: int = 0) -> np.ndarray:
    """Places on a grid, each moved by a random part of a pixel."""
    x, y = np.meshgrid(np.arange(step, size[0] - step + 1, step), np.arange(step, size[1] - step + 1, step))
    places = np.stack([x.ravel(), y.ravel()], 1)
    return places + np.random.default_rng(seed).uniform(-0.5, 0.5, places.shape) * step / 40


@pytest.mark.parametrize(
    "size, max_size, sigma",
    [
        pytest.param((480, 360), None, 3, id="full size"),
        pytest.param((480, 360), 480, 4, id="full size, larger blobs"),
        pytest.param((960, 720), 480, 8, id="halved"),
        pytest.param((900, 675), 450, 6, id="halved, uneven"),
        pytest.param((1000, 700), 437, 8, id="shrunk 2.29 times"),
    ],
)
def test_blobs_at_known_subpixel_places_are_found_without_bias(size: tuple, max_size: int | None, sigma: float):
    """The half-pixel rule, at full size and through shrinking: bias under 0.02 px of the extracted image."""
    shrunk = 1 if max_size is None else max(size) / max_size
    places = grid(size, 40 * shrunk)
    found = Sift(SiftSettings(max_size=max_size, spread_px=None)).extract(blobs(size, places, sigma))
    distance, nearest = cKDTree(found.keypoints).query(places)
    near = distance < 1.5
    assert near.mean() > 0.85
    errors = (found.keypoints[nearest] - places)[near] / shrunk
    np.testing.assert_array_less(np.abs(errors.mean(axis=0)), 0.02)
    np.testing.assert_array_less(errors.std(axis=0), 0.06)


def test_root_sift_is_of_unit_length_and_its_product_is_hellingers():
    histograms = np.random.default_rng(0).integers(0, 256, (5, 128)).astype(np.float32)
    rooted = root_sift(histograms)
    np.testing.assert_allclose(np.linalg.norm(rooted, axis=1), 1, rtol=1e-5)
    share = histograms / histograms.sum(1, keepdims=True)
    np.testing.assert_allclose(rooted @ rooted.T, np.sqrt(share[:, None] * share[None]).sum(2), rtol=1e-5)


def test_spread_takes_one_keypoint_of_every_cell_before_the_second_of_any():
    rng = np.random.default_rng(0)
    image = blobs((400, 200), [*rng.uniform([10, 10], [190, 190], (40, 2)), *grid((400, 200), 60)], 3)
    few = Sift(SiftSettings(spread_px=50, max_keypoints=32)).extract(image)
    every = Sift(SiftSettings(spread_px=50, max_keypoints=10000)).extract(image)

    def cells(keypoints: np.ndarray) -> np.ndarray:
        return np.floor(keypoints / 50) @ [1, 100]

    occupied = len(np.unique(cells(every.keypoints)))
    assert len(few) == 32
    assert len(np.unique(cells(few.keypoints))) == min(32, occupied)
    best_of_cell = {
        cell: every.scores[cells(every.keypoints) == cell].max() for cell in np.unique(cells(every.keypoints))
    }
    for cell in np.unique(cells(few.keypoints)):
        assert few.scores[cells(few.keypoints) == cell].max() == best_of_cell[cell]


def test_spread_changes_nothing_when_all_keypoints_are_kept():
    image = blobs((300, 200), grid((300, 200), 40), 3)
    with_spread = Sift(SiftSettings(spread_px=24)).extract(image)
    without = Sift(SiftSettings(spread_px=None)).extract(image)
    order = [np.lexsort((*f.descriptors[:, :4].T, *f.keypoints.T)) for f in (with_spread, without)]
    np.testing.assert_array_equal(with_spread.descriptors[order[0]], without.descriptors[order[1]])


def test_large_keypoints_are_chosen_before_small_ones_of_the_same_contrast():
    small, large = grid((300, 200), 20), grid((300, 400), 60)
    image = np.concatenate([blobs((300, 200), small, 2), blobs((300, 400), large, 8)])
    few = Sift(SiftSettings(spread_px=None, max_keypoints=len(large), size_power=1)).extract(image)
    assert np.mean(few.keypoints[:, 1] > 200) > 0.95
    by_contrast = Sift(SiftSettings(spread_px=None, max_keypoints=len(large))).extract(image)
    assert np.mean(by_contrast.keypoints[:, 1] > 200) < 0.7


def test_a_blank_image_has_no_keypoints():
    found = Sift(SiftSettings()).extract(np.full((100, 120, 3), 90, np.uint8))
    assert len(found) == 0 and found.descriptors.shape == (0, 128) and found.image_size == (120, 100)
