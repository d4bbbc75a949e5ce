import numpy as np
import pycolmap
import pytest

from lbr.geometry.camera import MODELS, Camera, guess_camera
from lbr.geometry.pixels import rescale
from lbr.io.colmap import img_from_cam

EXAMPLES = {
    "SIMPLE_PINHOLE": (500, 310, 250), "PINHOLE": (500, 510, 310, 250), "SIMPLE_RADIAL": (500, 310, 250, 0.05),
    "RADIAL": (500, 310, 250, 0.05, -0.02), "OPENCV": (500, 510, 310, 250, 0.05, -0.02, 0.001, -0.002),
    "OPENCV_FISHEYE": (500, 510, 310, 250, 0.05, -0.02, 0.01, -0.005),
    "FULL_OPENCV": (500, 510, 310, 250, 0.05, -0.02, 0.001, -0.002, 0.01, 0.01, -0.01, 0.01),
    "FOV": (500, 510, 310, 250, 0.3), "SIMPLE_RADIAL_FISHEYE": (500, 310, 250, 0.05),
    "RADIAL_FISHEYE": (500, 310, 250, 0.05, -0.02),
    "THIN_PRISM_FISHEYE": (500, 510, 310, 250, 0.05, -0.02, 0.001, -0.002, 0.01, -0.005, 0.001, 0.002),
}  # fmt: skip


def example(model: str) -> Camera:
    return Camera(model, 640, 480, EXAMPLES[model])


@pytest.mark.parametrize("model", MODELS)
def test_parameters_are_colmaps(model: str):
    theirs = pycolmap.Camera(model=model, width=640, height=480, params=list(map(float, EXAMPLES[model])))
    assert len(MODELS[model]) == len(theirs.params)
    np.testing.assert_allclose(example(model).matrix, theirs.calibration_matrix())
    assert example(model).focal == (theirs.focal_length_x, theirs.focal_length_y)


@pytest.mark.parametrize("model", MODELS)
def test_a_wrong_number_of_parameters_is_refused_and_says_which_are_wanted(model: str):
    with pytest.raises(ValueError, match=f"{model} takes {len(MODELS[model])} parameters .*{MODELS[model][-1]}"):
        Camera(model, 640, 480, EXAMPLES[model][:-1])
    with pytest.raises(ValueError):
        Camera(model, 640, 480, (*EXAMPLES[model], 0.0))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [(320, 240), (1280, 960), (333, 250)])
def test_a_resized_photograph_has_the_scaled_camera(model: str, size: tuple[int, int]):
    points = np.random.default_rng(0).uniform([-0.4, -0.3, 1], [0.4, 0.3, 1.001], (50, 3))
    camera = example(model)
    expected = rescale(img_from_cam(camera, points), camera.size, size)
    # One focal length for two factors that differ a little: off by that much at the image's edge.
    tolerance = 1e-6 if "fx" in MODELS[model] else 300 * abs(size[0] / 640 - size[1] / 480) / 2 + 1e-6
    np.testing.assert_allclose(img_from_cam(camera.scaled(*size), points), expected, atol=tolerance)
    assert camera.scaled(*size).size == size


def test_a_crop_is_no_resized_photograph():
    with pytest.raises(ValueError, match="320x320"):
        example("PINHOLE").scaled(320, 320)


def test_scaling_keeps_where_the_focal_length_comes_from():
    assert guess_camera(640, 480).scaled(320, 240).source == "guess"


@pytest.mark.parametrize(
    "arguments",
    [
        ("PINHOLE", 0, 480, (500, 500, 320, 240)),
        ("PINHOLE", 640, -1, (500, 500, 320, 240)),
        ("PINHOLE", 640, 480, (500, -500, 320, 240)),
        ("PINHOLE", 640, 480, (500, 500, float("nan"), 240)),
        ("SIMPLE_PINHOLE", 640, 480, (0, 320, 240)),
    ],
)
def test_impossible_cameras_are_refused(arguments: tuple):
    with pytest.raises(ValueError, match="must be positive"):
        Camera(*arguments)


def test_an_unknown_model_is_refused_and_the_known_are_named():
    with pytest.raises(ValueError, match="unknown camera model 'PINHOL'.*OPENCV_FISHEYE"):
        Camera("PINHOL", 640, 480, (1, 2, 3))


def test_equal_cameras_are_equal_and_hash_alike():
    assert Camera("PINHOLE", 6, 4, (5, 5, 3, 2)) == Camera("PINHOLE", 6, 4, (5.0, 5.0, 3.0, 2.0))
    assert len({Camera("PINHOLE", 6, 4, (5, 5, 3, 2)), Camera("PINHOLE", 6, 4, (5.0, 5.0, 3.0, 2.0))}) == 1


def test_a_guessed_camera_says_so():
    guess, exif = guess_camera(600, 800), guess_camera(600, 800, 777.0)
    assert (guess.source, guess.focal[0]) == ("guess", 960)
    assert (exif.source, exif.focal[0]) == ("exif", 777)
    np.testing.assert_array_equal(guess.matrix[:2, 2], [300, 400])
