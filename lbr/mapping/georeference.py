"""Where a place of a map lies on earth: its similarity to local east, north, up, and what it makes of poses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lbr.errors import DataError
from lbr.geometry.geodetic import east_north_up, enu_from_geodetic, geodetic_from_enu
from lbr.geometry.pose import Pose
from lbr.geometry.similarity import Similarity
from lbr.io.files import read_text, write_text

FORMAT, VERSION = "lbr-georeference", 1
FILE = "georeference.json"  # in the map's folder


@dataclass(frozen=True)
class GeographicPose:
    """Latitude and longitude in degrees (WGS84), height in metres, None where the positions had none; heading of the
    optical axis in degrees clockwise from north. Standard deviations: horizontal_m of both directions together;
    None where the pose came without a covariance (and those of heights, without heights)."""

    latitude: float
    longitude: float
    height: float | None
    heading_deg: float
    horizontal_std_m: float | None
    vertical_std_m: float | None
    heading_std_deg: float | None


@dataclass(frozen=True, eq=False)
class Georeference:
    """A place on earth.

    origin: float64 [3], latitude, longitude (degrees, WGS84), height (metres). similarity: enu_from_map, east, north
    and up in metres in the tangent plane at the origin. covariance: float64 [7, 7] of (w, t, l): about `centre`
    (float64 [3], enu) the place is off by the turn w (radians), the shift t (metres), and exp(l) in scale. inliers: db
    images whose positions made it; outliers: those whose positions do not fit. residuals: float64 [K, 3], enu metres,
    NaN for heights that are not known. has_heights: whether the inliers had any. uses_gravity: whether the cameras'
    upright kept it level. compass_deg: median of the cameras' headings minus those of the compass, degrees; None
    without any.
    """

    place: int
    origin: np.ndarray
    similarity: Similarity
    covariance: np.ndarray
    centre: np.ndarray
    inliers: tuple[str, ...]
    outliers: tuple[str, ...]
    residuals: np.ndarray
    has_heights: bool
    uses_gravity: bool
    compass_deg: float | None = None

    @property
    def horizontal_rms_m(self) -> float:
        return float(np.sqrt((self.residuals[:, :2] ** 2).sum(1).mean()))

    @property
    def vertical_rms_m(self) -> float | None:
        return float(np.sqrt(np.nanmean(self.residuals[:, 2] ** 2))) if self.has_heights else None

    def enu_at(self, origin: np.ndarray) -> Similarity:
        """enu_from_map in the tangent plane at another origin (geodetic [3]), which several places may share."""
        turn = east_north_up(origin) @ east_north_up(self.origin).T
        scale, R, t = self.similarity.scale, self.similarity.R, self.similarity.t
        return Similarity(scale, turn @ R, turn @ t + enu_from_geodetic(self.origin, origin))

    def accuracy(self, enu: np.ndarray) -> np.ndarray:
        """Covariance float64 [3, 3] of where the georeference itself puts a point [3], metres squared.

        It knows the scatter of the positions about the map, not an error that all of them share.
        """
        offset = np.asarray(enu) - self.centre
        jacobian = np.hstack([-cross_matrix(offset), np.eye(3), offset[:, None]])
        return jacobian @ self.covariance @ jacobian.T

    def locate(
        self, pose: Pose, position: np.ndarray | None = None, rotation: np.ndarray | None = None
    ) -> GeographicPose:
        """A pose cam_from_map on earth, its accuracy together with the georeference's own.

        position: covariance [3, 3] of the camera's centre in the map, units squared; rotation: covariance [3, 3] of its
        rotation vector (docs/conventions.md); without both, the standard deviations are None.
        """
        moved = self.similarity.move(pose)
        enu, ahead = moved.centre, moved.R[2]
        latitude, longitude, height = geodetic_from_enu(enu, self.origin)
        local = east_north_up(np.array([latitude, longitude])) @ east_north_up(self.origin).T
        east, north, _ = local @ ahead  # north at the camera, not at the origin: meridians converge
        heading = float(np.degrees(np.arctan2(east, north))) % 360
        horizontal = vertical = turn = None
        if position is not None and rotation is not None:
            R, scale = self.similarity.R, self.similarity.scale
            total = scale**2 * R @ position @ R.T + self.accuracy(enu)
            horizontal, vertical = float(np.sqrt(total[0, 0] + total[1, 1])), float(np.sqrt(total[2, 2]))
            turn = float(np.degrees(np.sqrt(self._heading_variance(moved.R, rotation))))
        return GeographicPose(
            float(latitude), float(longitude), float(height) if self.has_heights else None, heading, horizontal,
            vertical if self.has_heights else None, turn,
        )  # fmt: skip

    def _heading_variance(self, R: np.ndarray, rotation: np.ndarray) -> float:
        """Of the heading of a camera cam_from_enu, radians squared: to first order the axis d = R' z moves by
        R' (z x w) with the camera's own turn w, and by w x d with that of the georeference."""
        ahead = R[2]
        gradient = np.array([ahead[1], -ahead[0], 0]) / max(ahead[0] ** 2 + ahead[1] ** 2, 1e-12)
        own = gradient @ R.T @ cross_matrix(np.array([0.0, 0, 1]))
        placed = -gradient @ cross_matrix(ahead)
        return float(own @ rotation @ own + placed @ self.covariance[:3, :3] @ placed)


def write_georeferences(path: Path, found: Sequence[Georeference]) -> None:
    """Write where the places lie (docs/formats.md), whole or not at all."""
    places = [_to_json(georeference) for georeference in found]
    write_text(path, json.dumps({"format": FORMAT, "version": VERSION, "places": places}, indent=1))


def read_georeferences(map_folder: Path) -> dict[int, Georeference]:
    """Where the places of a map lie, by place; none when it was never georeferenced. Raises DataError when broken."""
    path = map_folder / FILE
    if not path.is_file():
        return {}
    try:
        header = json.loads(read_text(path))
        if (header["format"], header["version"]) != (FORMAT, VERSION):
            raise DataError(f"{path}: is {header['format']} version {header['version']}, wanted {FORMAT} {VERSION}")
        return {entry["place"]: _from_json(entry) for entry in header["places"]}
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: broken ({error}); run `lbr georeference --overwrite`") from None


def _to_json(found: Georeference) -> dict[str, Any]:
    latitude, longitude, height = found.origin.tolist()
    return {
        "place": found.place,
        "origin": {"latitude": latitude, "longitude": longitude, "height": height},
        "scale": found.similarity.scale, "rotation": found.similarity.R.tolist(),
        "translation": found.similarity.t.tolist(), "centre": found.centre.tolist(),
        "covariance": found.covariance.tolist(), "horizontal_rms_m": found.horizontal_rms_m,
        "vertical_rms_m": found.vertical_rms_m, "num_inliers": len(found.inliers), "inliers": list(found.inliers),
        "outliers": list(found.outliers), "has_heights": found.has_heights,
        "residuals": [[None if np.isnan(x) else x for x in row] for row in found.residuals.tolist()],
        "uses_gravity": found.uses_gravity, "compass_deg": found.compass_deg,
    }  # fmt: skip


def _from_json(entry: dict[str, Any]) -> Georeference:
    origin = entry["origin"]
    similarity = Similarity(entry["scale"], np.array(entry["rotation"]), np.array(entry["translation"]))
    return Georeference(
        entry["place"], np.array([origin["latitude"], origin["longitude"], origin["height"]]), similarity,
        np.array(entry["covariance"]), np.array(entry["centre"]), tuple(entry["inliers"]), tuple(entry["outliers"]),
        np.array(entry["residuals"], float), entry["has_heights"], entry["uses_gravity"], entry["compass_deg"],
    )  # fmt: skip


def cross_matrix(v: np.ndarray) -> np.ndarray:
    """[v]x: its product with a is v x a."""
    x, y, z = v
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
