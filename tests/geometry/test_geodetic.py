import numpy as np
import pytest

from lbr.geometry.geodetic import (
    WGS84,
    Ellipsoid,
    east_north_up,
    ecef_from_geodetic,
    enu_from_geodetic,
    geodetic_from_ecef,
    geodetic_from_enu,
)

RNG = np.random.default_rng(0)
EARTH = np.stack(
    [RNG.uniform(-90, 90, 20000), RNG.uniform(-180, 180, 20000), RNG.uniform(-11000, 5e5, 20000)], axis=-1
)  # fmt: skip
LUCERNE = np.array([47.05, 8.31, 436.0])


def test_a_published_example():
    """Caister water tower, A guide to coordinate systems in Great Britain (Ordnance Survey), annexe B: on Airy 1830."""
    airy = Ellipsoid(6377563.396, 1 - 6356256.909 / 6377563.396)
    tower = np.array([52 + 39 / 60 + 27.2531 / 3600, 1 + 43 / 60 + 4.5177 / 3600, 24.700])
    found = ecef_from_geodetic(tower, airy)
    np.testing.assert_allclose(found, [3874938.849, 116218.624, 5047168.208], atol=2e-3)
    back = geodetic_from_ecef(np.array([3874938.849, 116218.624, 5047168.208]), airy)
    np.testing.assert_allclose(back, tower, atol=2e-3, rtol=0)


def test_the_axes_of_the_ellipsoid():
    b = WGS84.a * (1 - WGS84.f)
    assert b == pytest.approx(6356752.314245, abs=1e-6), "as published for WGS84"
    places = np.array([[0.0, 0, 0], [0, 90, 10], [0, 180, 0], [90, 0, 5], [-90, 0, 0]])
    axes = np.array([[WGS84.a, 0, 0], [0, WGS84.a + 10, 0], [-WGS84.a, 0, 0], [0, 0, b + 5], [0, 0, -b]])
    np.testing.assert_allclose(ecef_from_geodetic(places), axes, atol=1e-6)
    np.testing.assert_allclose(geodetic_from_ecef(axes), places, atol=1e-8)


def test_there_and_back_to_a_micrometre():
    ecef = ecef_from_geodetic(EARTH)
    np.testing.assert_allclose(ecef_from_geodetic(geodetic_from_ecef(ecef)), ecef, atol=1e-6, rtol=0)
    near = LUCERNE + RNG.uniform(-1, 1, (1000, 3)) * [0.1, 0.1, 500]
    enu = enu_from_geodetic(near, LUCERNE)
    np.testing.assert_allclose(enu_from_geodetic(geodetic_from_enu(enu, LUCERNE), LUCERNE), enu, atol=1e-6, rtol=0)


def test_directions_of_east_north_and_up():
    """A hundred metres each way, against the radii of curvature: M of the meridian, N of the prime vertical."""
    sin2 = np.sin(np.radians(LUCERNE[0])) ** 2
    N = WGS84.a / np.sqrt(1 - WGS84.e2 * sin2)
    M = N * (1 - WGS84.e2) / (1 - WGS84.e2 * sin2)
    steps = np.diag([100.0, 100, 100])
    east, north, up = geodetic_from_enu(steps, LUCERNE) - LUCERNE
    assert east[1] == pytest.approx(np.degrees(100 / ((N + 436) * np.cos(np.radians(LUCERNE[0])))), rel=1e-6)
    assert north[0] == pytest.approx(np.degrees(100 / (M + 436)), rel=1e-5)
    np.testing.assert_allclose(up, [0, 0, 100], atol=1e-6)
    axes = east_north_up(LUCERNE)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.cross(axes[0], axes[1]), axes[2], atol=1e-12)
