from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from lbr.errors import DataError
from lbr.geometry.camera import guess_camera
from lbr.io.exif import GpsPosition, camera_of_photograph, is_read_upright, read_gps
from lbr.io.images import ImageFolder, image_size, is_turned, read_image

RGB = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
# how a photograph is stored whose EXIF orientation is the key (the TIFF standard's table)
STORED = {
    1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1], 5: RGB.transpose(1, 0, 2), 6: np.rot90(RGB, 1),
    7: RGB[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(RGB, -1),
}  # fmt: skip
CAMERA = guess_camera(40, 30)
LUCERNE = {"N": (47.0, 3.0, 1.5), "E": (8.0, 18.0, 36.0)}


def save(path: Path, pixels: np.ndarray = RGB, main: dict | None = None, exif: dict | None = None,
         gps: dict | None = None) -> Path:  # fmt: skip
    """A photograph with EXIF tags of the main, the Exif and the GPS part."""
    tags = Image.Exif()
    tags.update(main or {})
    for part, values in ((ExifTags.IFD.Exif, exif), (ExifTags.IFD.GPSInfo, gps)):
        if values:
            tags.get_ifd(part).update(values)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, exif=tags)
    return path


def position(latitude: Any = LUCERNE["N"], longitude: Any = LUCERNE["E"], north: str = "N", east: str = "E",
             **others: Any) -> dict:  # fmt: skip
    tags = {"GPSLatitude": latitude, "GPSLatitudeRef": north, "GPSLongitude": longitude, "GPSLongitudeRef": east}
    return {getattr(ExifTags.GPS, k): v for k, v in {**tags, **others}.items() if v is not None}


@pytest.mark.parametrize("orientation", STORED)
def test_a_photograph_is_turned_upright_where_it_is_asked_for(tmp_path: Path, orientation: int):
    path = save(tmp_path / "a.png", STORED[orientation], {ExifTags.Base.Orientation: orientation})
    np.testing.assert_array_equal(read_image(path), STORED[orientation])
    np.testing.assert_array_equal(read_image(path, upright=True), RGB)
    assert image_size(path, upright=True) == camera_of_photograph(path).size == (40, 30)
    assert image_size(path) == STORED[orientation].shape[1::-1]
    assert is_turned(path) == (orientation != 1)


@pytest.mark.parametrize("orientation", STORED)
def test_intrinsics_that_fit_the_upright_photograph_alone_have_it_turned(tmp_path: Path, orientation: int):
    """Of the size of what is stored they speak of that; of neither size, who compares sizes says so."""
    path = save(tmp_path / "a.png", STORED[orientation], {ExifTags.Base.Orientation: orientation})
    assert is_read_upright(path) == (orientation != 1)
    height, width = STORED[orientation].shape[:2]
    assert not is_read_upright(path, guess_camera(width, height))
    assert is_read_upright(path, guess_camera(40, 30)) == ((width, height) != (40, 30))
    assert not is_read_upright(path, guess_camera(80, 60))
    assert not is_read_upright(tmp_path / "none.png") and not is_read_upright(tmp_path / "none.png", CAMERA)


def test_a_folder_turns_the_photographs_it_was_told_to(tmp_path: Path):
    for name in ("a.png", "b.png"):
        save(tmp_path / name, STORED[6], {ExifTags.Base.Orientation: 6})
    folder = ImageFolder(tmp_path.parent, frozenset({f"{tmp_path.name}/a.png"}))
    for images, prefix in ((folder, f"{tmp_path.name}/"), (folder.below(f"{tmp_path.name}/"), "")):
        np.testing.assert_array_equal(images.read(f"{prefix}a.png"), RGB)
        np.testing.assert_array_equal(images.read(f"{prefix}b.png"), STORED[6])
        assert (images.size(f"{prefix}a.png"), images.size(f"{prefix}b.png")) == ((40, 30), (30, 40))


def test_without_exif_the_focal_length_is_a_guess(tmp_path: Path):
    camera = camera_of_photograph(save(tmp_path / "a.jpg"))
    assert (camera.source, camera.focal[0], camera.body) == ("guess", 48, "")
    assert read_gps(tmp_path / "a.jpg") is None and not is_turned(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="none.jpg"):
        camera_of_photograph(tmp_path / "none.jpg")


@pytest.mark.parametrize(
    ("tags", "focal"),
    [
        ({"FocalLengthIn35mmFilm": 27}, 27 / 36 * 40),
        ({"FocalLengthIn35mmFilm": 0}, None),
        ({"FocalLength": 5.0}, None),
        # 5 mm on a sensor of 254 px per inch of 10 px per mm: 50 px of the 40 that are there
        ({"FocalLength": 5.0, "FocalPlaneXResolution": 254.0, "FocalPlaneResolutionUnit": 2}, 50),
        ({"FocalLength": 5.0, "FocalPlaneXResolution": 254.0}, 50),
        ({"FocalLength": 5.0, "FocalPlaneXResolution": 100.0, "FocalPlaneResolutionUnit": 3}, 50),
        # taken with 80 pixels, made smaller since
        ({"FocalLength": 5.0, "FocalPlaneXResolution": 254.0, "ExifImageWidth": 80, "ExifImageHeight": 60}, 25),
        # the sensor's resolution is finer than whole millimetres of film, but cannot be far from them
        ({"FocalLength": 5.0, "FocalPlaneXResolution": 254.0, "FocalLengthIn35mmFilm": 44}, 50),
        ({"FocalLength": 5.0, "FocalPlaneXResolution": 254.0, "FocalLengthIn35mmFilm": 27}, 30),
        ({"FocalLength": 5.0, "FocalPlaneXResolution": 1.0}, None),
        ({"FocalLength": IFDRational(5, 0), "FocalPlaneXResolution": 254.0}, None),
    ],
)
def test_the_focal_length_is_in_pixels_of_the_longer_side(tmp_path: Path, tags: dict, focal: float | None):
    path = save(tmp_path / "a.jpg", exif={getattr(ExifTags.Base, k): v for k, v in tags.items()})
    camera = camera_of_photograph(path)
    assert camera.source == ("exif" if focal else "guess")
    assert camera.focal[0] == pytest.approx(focal or 48, rel=1e-6)


def test_the_focal_length_of_a_portrait_photograph_goes_by_its_longer_side(tmp_path: Path):
    path = save(tmp_path / "a.jpg", RGB.transpose(1, 0, 2), exif={ExifTags.Base.FocalLengthIn35mmFilm: 27})
    camera = camera_of_photograph(path)
    assert camera.size == (30, 40) and camera.focal[0] == pytest.approx(27 / 36 * 40)


def test_photographs_of_one_body_size_and_focal_length_have_one_camera(tmp_path: Path):
    makes = {"a": ("Acme", 5.0), "b": ("Acme", 5.0), "zoomed": ("Acme", 9.0), "other": ("Best", 5.0)}
    cameras = {
        name: camera_of_photograph(save(
            tmp_path / f"{name}.jpg", main={ExifTags.Base.Make: make, ExifTags.Base.Model: "X1"},
            exif={ExifTags.Base.FocalLength: mm, ExifTags.Base.FocalLengthIn35mmFilm: 30},
        )) for name, (make, mm) in makes.items()
    }  # fmt: skip
    assert cameras["a"] == cameras["b"] and len(set(cameras.values())) == 3
    assert cameras["a"].body == "Acme X1 5 mm"


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (position(), GpsPosition(47.050416666, 8.31)),
        (position(north="S", east="W"), GpsPosition(-47.050416666, -8.31)),
        (position(GPSAltitude=436.5, GPSAltitudeRef=b"\x00"), GpsPosition(47.050416666, 8.31, 436.5)),
        (position(GPSAltitude=3.5, GPSAltitudeRef=b"\x01"), GpsPosition(47.050416666, 8.31, -3.5)),
        (position(GPSAltitude=IFDRational(1, 0)), GpsPosition(47.050416666, 8.31)),
        (position(GPSImgDirection=271.5), GpsPosition(47.050416666, 8.31, None, 271.5)),
        (position(GPSImgDirection=999.0), GpsPosition(47.050416666, 8.31)),
    ],
)
def test_a_position(tmp_path: Path, tags: dict, expected: GpsPosition):
    found = read_gps(save(tmp_path / "a.jpg", gps=tags))
    assert isinstance(found, GpsPosition)
    assert found.latitude == pytest.approx(expected.latitude) and found.longitude == pytest.approx(expected.longitude)
    assert (found.height, found.direction) == (expected.height, expected.direction)


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        (position((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)), "0, 0: the receiver had none"),
        (position((97.0, 0.0, 0.0)), "is not on earth"),
        (position(longitude=(181.0, 0.0, 0.0)), "is not on earth"),
        (position(north=None), "is not whole"),
        (position(north="X"), "is not whole"),
        (position(longitude=None), "is not whole"),
        (position((IFDRational(47, 0), 3.0, 1.0)), "is not whole"),
    ],
)
def test_a_position_that_cannot_be_right_says_why(tmp_path: Path, tags: dict, why: str):
    found = read_gps(save(tmp_path / "a.jpg", gps=tags))
    assert isinstance(found, str) and why in found
