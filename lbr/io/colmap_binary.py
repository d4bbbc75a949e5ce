"""Whether COLMAP's binary files are whole: pycolmap trusts them, and of one cut short it reads what is not there."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from lbr.errors import DataError

COUNT = struct.Struct("<Q")
CAMERA = struct.Struct("<iiQQ")  # number, model, width, height; its parameters follow, 8 bytes each
PARAMETERS = dict(enumerate((3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12, 16, 4, 5, 3, 4, 6, 2)))  # of COLMAP's models, by number
POINT_BYTES, TRACK_AT, SEEN_BYTES = 51, 43, 8  # of a point; where its number of observations stands; of each of these
FEWEST = {"cameras.bin": CAMERA.size, "points3D.bin": POINT_BYTES}


def check_binary(folder: Path) -> None:
    """Raises DataError, with the file and its lengths, for cameras or points of a model that end too early or too late.

    images.bin is left to pycolmap, which finds its faults by itself. A record is as long as it says, so points are
    walked through one by one: 0.1 s for a million, where reading a cut file takes minutes and all memory.
    """
    for name, fewest in FEWEST.items():
        path = folder / name
        if not path.is_file():
            continue
        length = path.stat().st_size
        if length < COUNT.size:
            raise DataError(f"{path}: {length} bytes are no {name} (without points: points3D.txt, empty)")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            (number,) = COUNT.unpack_from(data)
            whole = number * fewest <= length and _end(name, data, number) == length
        if not whole:
            raise DataError(f"{path}: cut short or damaged ({number} entries, {length} bytes); copy it again")


def _end(name: str, data: mmap.mmap, number: int) -> int | None:
    """Where the last of so many entries ends; None where one lies beyond the file, or is of no known kind."""
    at = COUNT.size
    try:
        for _ in range(number):
            at = _after_camera(data, at) if name == "cameras.bin" else _after_point(data, at)
    except (struct.error, KeyError):
        return None
    return at


def _after_camera(data: mmap.mmap, at: int) -> int:
    _, model, _, _ = CAMERA.unpack_from(data, at)
    return at + CAMERA.size + 8 * PARAMETERS[model]


def _after_point(data: mmap.mmap, at: int) -> int:
    return at + POINT_BYTES + SEEN_BYTES * COUNT.unpack_from(data, at + TRACK_AT)[0]
