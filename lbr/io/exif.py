"""What a photograph says of itself (EXIF): how it was held, with which camera, its focal length, where it was taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags

from lbr.errors import DataError
from lbr.geometry.camera import Camera, guess_camera
from lbr.io.images import FULL_FRAME_MM, SIDEWAYS, image_size, is_turned, read_exif

MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # of FocalPlaneResolutionUnit: inch, cm, and what some write
PLAUSIBLE = (0.2, 20.0)  # focal lengths over the longer side; others are no focal length
LARGEST_DISAGREEMENT = 1.2  # of the two ways to tell a focal length; beyond, the 35 mm equivalent counts


@dataclass(frozen=True)
class GpsPosition:
    """Degrees, WGS84; height in metres, None when it was not written (it is mostly above sea level, not above the
    ellipsoid). direction: where the camera looked, degrees clockwise from north, None when it was not written."""

    latitude: float
    longitude: float
    height: float | None = None
    direction: float | None = None


def is_read_upright(path: Path, camera: Camera | None = None) -> bool:
    """Whether the pixels are turned as EXIF says before anything is made of them.

    camera: intrinsics that somebody gave. They speak of stored pixels, as COLMAP reads them, unless their size is that
    of the upright photograph alone; without, every photograph is turned. What cannot be read is not: who decodes it
    says so.
    """
    try:
        if camera is None:
            return is_turned(path)
        return camera.size != image_size(path) and camera.size == image_size(path, upright=True)
    except DataError:
        return False


def camera_of_photograph(path: Path) -> Camera:
    """Intrinsics of a photograph nobody measured, for its upright pixels: focal length from EXIF, or a guess.

    `body` names make, model and focal length as EXIF has them: photographs of equal cameras share them all. Raises
    DataError as `read_exif`.
    """
    (width, height), exif = read_exif(path)
    orientation, details = _number(exif.get(ExifTags.Base.Orientation)), exif.get_ifd(ExifTags.IFD.Exif)
    size = (height, width) if orientation in SIDEWAYS else (width, height)
    focal_mm = _number(details.get(ExifTags.Base.FocalLength))
    parts = [str(exif.get(tag, "")).strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model)]
    body = " ".join(p for p in (*parts, f"{focal_mm:g} mm" if focal_mm else "") if p)
    return guess_camera(*size, _focal_px(details, focal_mm, max(size)), body)


def read_gps(path: Path) -> GpsPosition | str | None:
    """Where a photograph says it was taken; None where it says nothing, and where it cannot be right, why.

    Raises DataError as `read_exif`.
    """
    gps = read_exif(path)[1].get_ifd(ExifTags.IFD.GPSInfo)
    if ExifTags.GPS.GPSLatitude not in gps and ExifTags.GPS.GPSLongitude not in gps:
        return None
    latitude = _degrees(gps, ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, ("N", "S"))
    longitude = _degrees(gps, ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, ("E", "W"))
    if latitude is None or longitude is None:
        return "its GPS position is not whole"
    if abs(latitude) > 90 or abs(longitude) > 180:
        return f"its GPS position {latitude:g}, {longitude:g} is not on earth"
    if latitude == 0 and longitude == 0:
        return "its GPS position is 0, 0: the receiver had none"
    height = _number(gps.get(ExifTags.GPS.GPSAltitude))
    below = gps.get(ExifTags.GPS.GPSAltitudeRef) in (1, b"\x01")
    direction = _number(gps.get(ExifTags.GPS.GPSImgDirection))
    direction = direction if direction is not None and 0 <= direction <= 360 else None
    return GpsPosition(latitude, longitude, None if height is None else (-height if below else height), direction)


def _focal_px(details: Mapping[int, Any], focal_mm: float | None, longer: int) -> float | None:
    """From the 35 mm equivalent (rounded to whole mm), or more exactly from the sensor's resolution.

    That speaks of the photograph as it was taken (PixelXDimension), which may have been made smaller since.
    """
    film_mm = _number(details.get(ExifTags.Base.FocalLengthIn35mmFilm))
    of_film = film_mm / FULL_FRAME_MM * longer if film_mm else None
    resolution = _number(details.get(ExifTags.Base.FocalPlaneXResolution))
    unit = MM_PER_UNIT.get(int(_number(details.get(ExifTags.Base.FocalPlaneResolutionUnit)) or 2))
    of_sensor = None
    if focal_mm and resolution and unit:
        sides = (_number(details.get(tag)) for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight))
        taken = max((side for side in sides if side), default=0.0)
        of_sensor = focal_mm * resolution / unit * (longer / taken if taken else 1.0)
    if of_sensor and of_film and not 1 / LARGEST_DISAGREEMENT < of_sensor / of_film < LARGEST_DISAGREEMENT:
        of_sensor = None
    focal = of_sensor or of_film
    return focal if focal and PLAUSIBLE[0] <= focal / longer <= PLAUSIBLE[1] else None


def _degrees(gps: Mapping[int, Any], value: int, reference: int, letters: tuple[str, str]) -> float | None:
    """Degrees, minutes and seconds with the letter of their hemisphere -> signed degrees; None when not whole."""
    parts, letter = gps.get(value), str(gps.get(reference, "")).strip("\0 ").upper()[:1]
    if letter not in letters or not isinstance(parts, tuple | list) or not 1 <= len(parts) <= 3:
        return None
    numbers = [_number(part) for part in parts]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return None
    degrees = sum(number / 60**place for place, number in enumerate(known))
    return -degrees if letter == letters[1] else degrees


def _number(value: Any) -> float | None:
    """A finite number, None for what is none (a rational with denominator 0, text, nothing)."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) else None
