import cv2
import numpy as np
import pytest

from lbr.errors import ConfigError, DataError
from lbr.io.images import to_grey
from lbr.stylization import LOOKS, stylize
from lbr.stylization.scene import take_apart
from tests.stylization.street import make_street

SEEDS = range(5)


def luma(image, mask=None):
    values = to_grey(image).astype(float)
    return float(values.mean() if mask is None else values[mask].mean())


def copies(image, look, **given):
    return [stylize(image, look, np.random.default_rng(seed), **given) for seed in SEEDS]


@pytest.fixture(scope="module")
def street():
    return make_street()


@pytest.mark.parametrize("look", LOOKS)
def test_size_type_and_repeatability(street, look):
    image, sky, depth = street
    before = image.copy()
    one, again, other = (stylize(image, look, np.random.default_rng(s), sky, depth) for s in (3, 3, 4))
    assert one.shape == image.shape and one.dtype == np.uint8 and one.flags.c_contiguous
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert np.array_equal(image, before)


def cross_power(a, b):
    """Whitened cross spectrum of the details of two images' upper halves (where nothing is mirrored)."""
    window = cv2.createHanningWindow((320, 120), cv2.CV_32F)
    a, b = (np.sqrt(to_grey(x).astype(np.float32)) for x in (a, b))
    a, b = (np.fft.fft2((x - cv2.GaussianBlur(x, (0, 0), 6))[:120] * window) for x in (a, b))
    return np.conj(a) * b / (np.abs(a * b) + 1e-9)


def peak(spectrum):
    """(x, y) of the correlation's peak, by a parabola through it and its neighbours."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(320), np.fft.fftfreq(120)))
    surface = np.fft.fftshift(np.fft.ifft2(spectrum * np.exp(-2 * (np.pi * frequency) ** 2)).real)
    y, x = np.unravel_index(np.argmax(surface), surface.shape)
    across, down = surface[y, x - 1 : x + 2], surface[y - 1 : y + 2, x]
    bend = [(v[0] - v[2]) / (2 * (v[0] - 2 * v[1] + v[2])) for v in (across, down)]
    return x - 160 + bend[0], y - 60 + bend[1]


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_moves(look):
    """Random blocks stay where they are to a tenth of a pixel, by phase correlation over eight copies."""
    no_sky, spectrum, moved = np.zeros((240, 320), bool), 0, 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        blocks = cv2.resize(rng.integers(60, 220, (30, 40, 3), np.uint8), (320, 240), interpolation=cv2.INTER_NEAREST)
        copy = stylize(blocks, look, rng, sky=no_sky)
        spectrum = spectrum + cross_power(blocks, copy)
        moved = moved + cross_power(blocks, np.roll(copy, 1, axis=1))
    assert np.hypot(*peak(spectrum)) < 0.1
    assert abs(peak(moved)[0] - 1) < 0.1  # the measure sees a pixel


def test_night_is_dark_and_its_sky_darker_than_the_house(street):
    image, sky, depth = street
    house = ~sky
    house[190:] = False
    for copy in copies(image, "night", sky=sky, depth=depth):
        assert luma(copy) < 0.62 * luma(image)
        assert luma(copy, sky) < 0.35 * luma(image, sky)
        assert luma(copy, sky) < luma(copy, house) + 3
    assert np.mean([luma(c) for c in copies(image, "night", sky=sky)]) < 0.45 * luma(image)


def test_night_rain_is_dark(street):
    image, sky, _ = street
    for copy in copies(image, "night-rain", sky=sky):
        assert luma(copy) < 0.62 * luma(image) and luma(copy, sky) < 0.5 * luma(image, sky)


def test_lamps_and_windows_make_night_uneven(street):
    """Some copies have panes that are brighter than by day against their wall, and the light falls unevenly."""
    image, sky, depth = street
    wall = take_apart(image, sky, depth).light.mean(axis=2) > 0.3
    nights = [to_grey(c).astype(float) for c in copies(image, "night", sky=sky, depth=depth)]
    spread = [np.ptp(np.quantile(n[wall], (0.05, 0.95))) / n[wall].mean() for n in nights]
    assert np.mean(spread) > 0.5
    panes = (to_grey(image) < 70) & ~sky
    assert max(np.quantile(n[panes], 0.95) / np.median(n[wall]) for n in nights) > 1.0


def test_dusk_lies_between_day_and_night(street):
    image, sky, depth = street
    dusk, night = (
        np.mean([luma(c, ~sky) for c in copies(image, look, sky=sky, depth=depth)]) for look in ("dusk", "night")
    )
    assert night < dusk < 0.8 * luma(image, ~sky)


def test_rain_greys_and_flattens(street):
    image, sky, depth = street
    colour = [float(np.ptp(x.astype(int), axis=2)[sky].mean()) for x in (image, *copies(image, "rain", sky=sky))]
    assert max(colour[1:]) < 0.4 * colour[0]
    house = np.s_[70:180]
    contrast = [float(to_grey(x)[house].std()) for x in (image, *copies(image, "rain", sky=sky, depth=depth))]
    assert max(contrast[1:]) < 0.85 * contrast[0]


def test_veil_of_rain_grows_with_depth(street):
    image, sky, _ = street
    near, far = (
        np.mean(
            [to_grey(c)[70:180].std() for c in copies(image, "rain", sky=sky, depth=np.where(sky, 0, m).astype("f4"))]
        )
        for m in (4.0, 90.0)
    )
    assert far < 0.85 * near


def test_snow_whitens_ground_and_sky(street):
    image, sky, depth = street
    ground = np.zeros(sky.shape, bool)
    ground[205:] = True
    for copy in copies(image, "snow", sky=sky, depth=depth):
        assert luma(copy, ground) > luma(image, ground) + 20
        assert luma(copy, ground) > luma(copy, ~sky & ~ground)
        assert np.ptp(copy[sky].mean(axis=0)) < 25


@pytest.mark.parametrize("look", ["night", "rain", "night-rain"])
def test_the_given_sky_is_the_one_that_changes(street, look):
    """A patch of wall declared sky becomes sky: smoother than the wall beside it, whatever the image says."""
    image, _, depth = street
    patch = np.zeros(image.shape[:2], bool)
    patch[:120, 160:] = True
    copy = stylize(image, look, np.random.default_rng(0), sky=patch, depth=depth)
    rows = np.s_[75:110]

    def steps(part):
        return float(np.abs(np.diff(cv2.GaussianBlur(to_grey(part), (0, 0), 1.5).astype(float), axis=1)).mean())

    assert steps(copy[rows, 175:310]) < 0.6 * steps(copy[rows, 10:145])


def test_strength_zero_is_about_the_day(street):
    image, sky, depth = street
    for look in LOOKS:
        copy = stylize(image, look, np.random.default_rng(0), sky, depth, strength=0.0)
        assert np.abs(to_grey(copy).astype(float) - to_grey(image)).mean() < 25, look
        weak, strong = (stylize(image, look, np.random.default_rng(0), sky, depth, strength=s) for s in (0.4, 1.0))
        assert np.abs(weak.astype(float) - image).mean() < np.abs(strong.astype(float) - image).mean(), look


def test_a_grey_photograph_stays_grey(street):
    image = np.repeat(to_grey(street[0])[..., None], 3, axis=2)
    for look in LOOKS:
        copy = stylize(image, look, np.random.default_rng(0))
        assert np.ptp(copy, axis=2).max() == 0, look


@pytest.mark.parametrize("shape", [(16, 16), (17, 300), (240, 31), (720, 200)])
@pytest.mark.parametrize("look", LOOKS)
def test_any_shape_and_flat_images(shape, look):
    for value in (0, 128, 255):
        image = np.full((*shape, 3), value, np.uint8)
        assert stylize(image, look, np.random.default_rng(0)).shape == image.shape
    everything = np.ones(shape, bool)
    assert stylize(image, look, np.random.default_rng(0), everything, np.full(shape, np.nan, "f4")).shape == image.shape


def test_what_cannot_be_done_is_said(street):
    image, sky, depth = street
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="no look 'fog'; choose from night, dusk"):
        stylize(image, "fog", rng)
    with pytest.raises(DataError, match="too small"):
        stylize(image[:8], "night", rng)
    with pytest.raises(DataError, match="sky mask has shape"):
        stylize(image, "night", rng, sky=sky[:-1])
    with pytest.raises(DataError, match="depth has shape"):
        stylize(image, "night", rng, depth=depth[:, :-1])
