"""Geodetic coordinates (latitude, longitude, height) <-> earth-centred <-> east, north, up. Degrees and metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ellipsoid:
    """a: equatorial radius, metres; f: flattening."""

    a: float
    f: float

    @property
    def e2(self) -> float:
        """The square of the first eccentricity."""
        return self.f * (2 - self.f)


WGS84 = Ellipsoid(6378137.0, 1 / 298.257223563)


def ecef_from_geodetic(geodetic: np.ndarray, ellipsoid: Ellipsoid = WGS84) -> np.ndarray:
    """Latitude, longitude (degrees) and height [..., 3] -> earth-centred, earth-fixed x, y, z [..., 3], metres.

    Hofmann-Wellenhof et al., GPS: Theory and Practice, eq. 10.1.
    """
    latitude, longitude = np.radians(geodetic[..., 0]), np.radians(geodetic[..., 1])
    height = geodetic[..., 2]
    normal = ellipsoid.a / np.sqrt(1 - ellipsoid.e2 * np.sin(latitude) ** 2)
    flat = (normal + height) * np.cos(latitude)
    return np.stack(
        [
            flat * np.cos(longitude),
            flat * np.sin(longitude),
            ((1 - ellipsoid.e2) * normal + height) * np.sin(latitude),
        ],
        axis=-1,
    )


def geodetic_from_ecef(ecef: np.ndarray, ellipsoid: Ellipsoid = WGS84) -> np.ndarray:
    """Earth-centred x, y, z [..., 3] -> latitude, longitude (degrees) and height [..., 3], in closed form.

    Vermeille, Direct transformation from geocentric to geodetic coordinates, Journal of Geodesy 76 (2002); exact for
    whatever is more than 45 km from the earth's centre.
    """
    x, y, z = np.moveaxis(np.asarray(ecef, np.float64), -1, 0)
    e2, flat = ellipsoid.e2, np.hypot(x, y)
    p, q = (flat / ellipsoid.a) ** 2, (1 - e2) * (z / ellipsoid.a) ** 2
    r = (p + q - e2**2) / 6
    s = e2**2 * p * q / (4 * r**3)
    t = np.cbrt(1 + s + np.sqrt(s * (2 + s)))
    u = r * (1 + t + 1 / t)
    v = np.sqrt(u**2 + e2**2 * q)
    w = e2 * (u + v - q) / (2 * v)
    k = np.sqrt(u + v + w**2) - w
    d = k * flat / (k + e2)
    latitude = 2 * np.arctan2(z, d + np.hypot(d, z))
    height = (k + e2 - 1) / k * np.hypot(d, z)
    return np.stack([np.degrees(latitude), np.degrees(np.arctan2(y, x)), height], axis=-1)


def east_north_up(geodetic: np.ndarray) -> np.ndarray:
    """Directions of east, north and up at a place (latitude, longitude, ...) as rows of a rotation enu_from_ecef."""
    latitude, longitude = np.radians(geodetic[0]), np.radians(geodetic[1])
    sin_lat, cos_lat, sin_lon, cos_lon = np.sin(latitude), np.cos(latitude), np.sin(longitude), np.cos(longitude)
    return np.array(
        [
            [-sin_lon, cos_lon, 0],
            [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat],
            [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat],
        ]
    )


def enu_from_geodetic(geodetic: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Geodetic [..., 3] -> metres east, north, up [..., 3] in the tangent plane at `origin` (geodetic [3])."""
    offset = ecef_from_geodetic(np.asarray(geodetic, np.float64)) - ecef_from_geodetic(np.asarray(origin, np.float64))
    return offset @ east_north_up(origin).T


def geodetic_from_enu(enu: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Metres east, north, up [..., 3] in the tangent plane at `origin` (geodetic [3]) -> geodetic [..., 3]."""
    return geodetic_from_ecef(
        ecef_from_geodetic(np.asarray(origin, np.float64)) + np.asarray(enu) @ east_north_up(origin)
    )
