import numpy as np
import pytest

from lbr.stylization import estimate_sky
from lbr.stylization.scene import find_ground, ground_of_depth
from lbr.stylization.sky import soften_sky
from tests.stylization.street import make_street


@pytest.mark.parametrize("size", [(320, 240), (640, 480), (1200, 500)])
def test_the_sky_is_found_to_the_pixel(size):
    image, sky, _ = make_street(*size)
    found = estimate_sky(image)
    assert found.dtype == bool and found.shape == sky.shape
    assert (found & sky).sum() > 0.98 * sky.sum() and (found & ~sky).sum() < 0.01 * sky.sum()


@pytest.mark.parametrize("wall", [(205, 180, 150), (235, 235, 232), (150, 165, 190), (120, 120, 120)])
def test_a_wall_up_to_the_border_is_no_sky(wall):
    for seed in range(3):
        image, _, _ = make_street(wall=wall, sky=False, seed=seed)
        assert estimate_sky(image).mean() < 0.01


def test_flat_and_dark_images_have_no_sky():
    assert not estimate_sky(np.zeros((60, 80, 3), np.uint8)).any()
    assert not estimate_sky(np.full((60, 80, 3), 90, np.uint8)).any()


def test_clouds_belong_to_the_sky():
    image, sky, _ = make_street(640, 480)
    y, x = np.mgrid[:480, :640]
    for cx, cy in ((150, 50), (420, 70)):
        soft = np.exp(-(((x - cx) / 60) ** 2 + ((y - cy) / 18) ** 2))[..., None] * sky[..., None]
        image = (image + soft * (250 - image.astype(float))).astype(np.uint8)
    assert (estimate_sky(image) & sky).sum() > 0.97 * sky.sum()


def test_softening_stays_at_the_rim():
    image, sky, _ = make_street(640, 480)
    share = soften_sky(image, sky)
    assert share.dtype == np.float32 and share.min() >= 0 and share.max() <= 1
    assert (share[:112] == 1).all() and (share[128:] == 0).all()


def test_ground_from_image_and_from_depth():
    image, sky, depth = make_street(640, 480)
    road = np.zeros(sky.shape, bool)
    road[384:] = True
    by_depth, horizon = ground_of_depth(np.where(depth > 0, depth, 400))
    assert abs(horizon - 240) < 1
    for share, least in ((by_depth, 0.97), (find_ground(image, sky.astype(np.float32)), 0.8)):
        found = share > 0.5
        assert found[road].mean() > least and found[~road].mean() < 0.025
    assert not ground_of_depth(np.full((480, 640), 7.0, np.float32))[0].any()  # a wall down to the border
