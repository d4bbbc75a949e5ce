import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbr.geometry.pixels import fit_within, from_centre_origin, pixel_index, rescale, to_centre_origin
from lbr.io.images import resize


def test_the_centre_of_the_first_pixel_is_at_a_half():
    np.testing.assert_array_equal(from_centre_origin(np.zeros((1, 2))), [[0.5, 0.5]])
    np.testing.assert_array_equal(to_centre_origin(np.array([[0.5, 0.5]])), [[0, 0]])


@given(st.lists(st.tuples(st.floats(-1e4, 1e4, width=32), st.floats(-1e4, 1e4, width=32)), min_size=1))
def test_origins_are_each_others_inverse(points: list):
    xy = np.array(points, np.float64)
    np.testing.assert_allclose(to_centre_origin(from_centre_origin(xy)), xy, atol=1e-9)


def test_float32_keypoints_stay_float32():
    assert from_centre_origin(np.zeros((2, 2), np.float32)).dtype == np.float32


@pytest.mark.parametrize("size", [(60, 40), (240, 160), (120, 40)])
def test_resizing_an_image_multiplies_coordinates(size: tuple[int, int]):
    """The light's centre of mass, in corner-origin pixels, moves as `rescale` says."""
    image = np.zeros((80, 120, 3), np.uint8)
    image[20:32, 72:96] = 200
    small = resize(image, size)

    def centroid(picture: np.ndarray) -> np.ndarray:
        light = picture[..., 0].astype(float)
        y, x = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
        return np.array([(x * light).sum(), (y * light).sum()]) / light.sum()

    assert cv2.countNonZero(small[..., 0]) > 0
    np.testing.assert_allclose(centroid(small), rescale(centroid(image), (120, 80), size), atol=0.02)


@given(st.floats(0, 99.999), st.floats(0, 49.999))
def test_the_pixel_of_a_point_holds_it(x: float, y: float):
    column, row = pixel_index(np.array([x, y]), (100, 50))
    assert column <= x < column + 1 and row <= y < row + 1


def test_points_on_the_far_border_belong_to_the_last_pixel():
    np.testing.assert_array_equal(pixel_index(np.array([[100.0, 50.0], [-0.1, 3.9]]), (100, 50)), [[99, 49], [0, 3]])


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(32, 2000))
def test_images_are_only_ever_shrunk_and_keep_their_shape(width: int, height: int, longer: int):
    w, h = fit_within((width, height), longer)
    assert w >= 1 and h >= 1
    if max(width, height) <= longer:
        assert (w, h) == (width, height)
    else:
        assert max(w, h) == longer
        scale = longer / max(width, height)
        assert abs(w - width * scale) <= 0.5 + 1e-9 or w == 1
        assert abs(h - height * scale) <= 0.5 + 1e-9 or h == 1


def test_no_limit_keeps_the_size():
    assert fit_within((4000, 3000), None) == (4000, 3000)
