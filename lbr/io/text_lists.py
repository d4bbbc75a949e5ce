"""The field's text lists: queries with intrinsics, image pairs, poses. Same formats as hloc and the benchmarks.

Names may hold spaces and dots; one that begins with '#', which is a comment's sign, is written ./#... A wrong line of a
list is a `Problem`, not an exception: the rest goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lbr.errors import DataError
from lbr.geometry.camera import MODELS, Camera
from lbr.geometry.pose import Pose
from lbr.io.exif import GpsPosition
from lbr.io.files import read_text, write_text
from lbr.io.images import SUFFIXES

_QUERY_LINE = re.compile(r"^(?P<name>.+?)\s+(?P<model>[A-Za-z_]+)\s+(?P<numbers>[-+.0-9eE]+(?:\s+[-+.0-9eE]+)+)$")

_POSITION_LINE = re.compile(r"^(?P<name>.+?)\s+(?P<numbers>[-+.0-9eE]+(?:\s+[-+.0-9eE]+){1,2})$")


@dataclass(frozen=True)
class Problem:
    """Something that could not be used: `what` it is about (an image name, a line) and `why`, in one line."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


def read_query_list(path: Path) -> tuple[dict[str, Camera | None], list[Problem]]:
    """Lines `name MODEL width height params...`, or `name` alone where the intrinsics are unknown.

    Returns cameras by name in the file's order, and the lines that could not be used.
    An empty list is a problem too. Raises DataError when the file is missing.
    """
    cameras: dict[str, Camera | None] = {}
    problems: list[Problem] = []
    for where, line in _lines(path):
        try:
            name, camera = _parse_query(line)
        except (ValueError, OverflowError) as error:
            problems.append(Problem(where, str(error)))
            continue
        if name in cameras:
            problems.append(Problem(where, f"'{name}' is listed twice; the first line counts"))
        else:
            cameras[name] = camera
    if not cameras and not problems:
        problems.append(Problem(str(path), "the list is empty; write one `name MODEL width height params...` per line"))
    return cameras, problems


def write_query_list(path: Path, cameras: Mapping[str, Camera | None]) -> None:
    """Write a query list; a camera of None leaves its name alone on the line."""
    _write_lines(path, (f"{name}{_camera_text(camera)}" for name, camera in cameras.items()))


def read_names(path: Path) -> list[str]:
    """A name a line, each once, in their order. There are no comments: a name may begin with '#'."""
    return list(dict.fromkeys(line.strip() for line in read_text(path).splitlines() if line.strip()))


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Lines `first second`; a tab between them when a name holds a space. Repeated pairs are read once.

    Raises DataError with the line for anything else, and for a file without pairs.
    """
    pairs: dict[tuple[str, str], None] = {}
    for where, line in _lines(path):
        names = line.split("\t") if "\t" in line else line.split()
        if len(names) != 2:
            raise DataError(f"{where}: not a pair of image names: '{line}' (put a tab between names with spaces)")
        pairs[names[0].strip(), names[1].strip()] = None
    if not pairs:
        raise DataError(f"{path}: no pairs in it")
    return list(pairs)


def write_pairs(path: Path, pairs: Iterable[tuple[str, str]]) -> None:
    """Write `first second` lines, with a tab between them where a name holds a space (of any kind)."""
    _write_lines(path, ((chr(9) if len((a + b).split()) > 1 else " ").join([a, b]) for a, b in pairs))


def read_poses(path: Path) -> dict[str, Pose]:
    """As `read_listed_poses`, of a file that must be right. Raises DataError with the first line that is wrong."""
    poses, problems = read_listed_poses(path)
    if problems:
        raise DataError(str(problems[0]))
    return poses


def read_listed_poses(path: Path) -> tuple[dict[str, Pose], list[Problem]]:
    """Lines `name qw qx qy qz tx ty tz`, cam_from_world. Returns poses by name, and the lines that are wrong.

    Raises DataError when the file is missing.
    """
    poses: dict[str, Pose] = {}
    problems: list[Problem] = []
    for where, line in _lines(path):
        fields = line.rsplit(None, 7)
        try:
            if len(fields) != 8:
                raise ValueError("wanted `name qw qx qy qz tx ty tz`")
            numbers = [float(value) for value in fields[1:]]
            if fields[0] in poses:
                raise ValueError("the name is there twice; the first line counts")
            poses[fields[0]] = Pose.from_quaternion(numbers[:4], numbers[4:])
        except ValueError as error:
            problems.append(Problem(where, f"not a pose ({error}): '{line}'"))
    return poses, problems


def read_positions(path: Path) -> tuple[dict[str, GpsPosition], list[Problem]]:
    """Lines `name latitude longitude [height]`: degrees (WGS84) and metres. Returns them by name, and the wrong lines.

    Raises DataError when the file is missing.
    """
    positions: dict[str, GpsPosition] = {}
    problems: list[Problem] = []
    for where, line in _lines(path):
        found = _POSITION_LINE.match(line)
        try:
            if not found:
                raise ValueError("wanted `name latitude longitude [height]`")
            latitude, longitude, *height = (float(number) for number in found["numbers"].split())
            if not (abs(latitude) <= 90 and abs(longitude) <= 180):
                raise ValueError("not on earth")
            if found["name"] in positions:
                raise ValueError("the name is there twice; the first line counts")
            positions[found["name"]] = GpsPosition(latitude, longitude, *height)
        except ValueError as error:
            problems.append(Problem(where, f"not a position ({error}): '{line}'"))
    return positions, problems


def write_poses(path: Path, poses: Mapping[str, Pose]) -> None:
    """Write `name qw qx qy qz tx ty tz` lines, with every digit (repr), so that equal poses are equal text."""
    lines = (" ".join([name, *(repr(float(v)) for v in (*p.quaternion, *p.t))]) for name, p in poses.items())
    _write_lines(path, lines)


def _parse_query(line: str) -> tuple[str, Camera | None]:
    found = _QUERY_LINE.match(line)
    if not found:
        is_name = PurePosixPath(line).suffix.lower() in SUFFIXES
        if not is_name and any(f" {model} " in line for model in MODELS):
            raise ValueError(f"not `name MODEL width height params...`: '{line}'")
        return line, None
    width, height, *params = found["numbers"].split()
    return found["name"], Camera(found["model"], int(width), int(height), tuple(float(p) for p in params))


def _camera_text(camera: Camera | None) -> str:
    if camera is None:
        return ""
    return " ".join(["", camera.model, str(camera.width), str(camera.height), *(repr(p) for p in camera.params)])


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    """A line that begins with '#' begins with a name that does: `_lines` takes './' off it again."""
    write_text(path, "".join(f"./{line}\n" if line.startswith("#") else f"{line}\n" for line in lines))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """('file:line number', stripped text) of the lines that are neither empty nor comments."""
    for number, line in enumerate(read_text(path).split("\n"), 1):  # a name may hold what Unicode ends lines with
        if (text := line.strip()) and not text.startswith("#"):
            yield f"{path}:{number}", text.removeprefix("./") if text.startswith("./#") else text
