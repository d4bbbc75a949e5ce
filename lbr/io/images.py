"""Photographs from disk: the only place that decodes an image, always to RGB uint8 [H, W, 3]."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from lbr.errors import DataError
from lbr.io.files import atomic_path

pillow_heif.register_heif_opener()  # what telephones write; turned upright as it is decoded

SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".heic", ".heif", ".avif",
})  # fmt: skip
FULL_FRAME_MM = 36.0  # width of the film that "35 mm equivalent" focal lengths refer to
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations of photographs whose width and height change places


@dataclass(frozen=True)
class ImageFolder:
    """Photographs below a folder, by name. Those of `turned` are turned upright as their EXIF says; the others stay as
    they are stored, as intrinsics that somebody gave speak of stored pixels. elsewhere: files that are not below
    root."""

    root: Path
    turned: frozenset[str] = frozenset()
    elsewhere: Mapping[str, Path] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        return self.elsewhere.get(name, self.root / name)

    def read(self, name: str) -> np.ndarray:
        """RGB uint8 [H, W, 3]. Raises DataError as `read_image`."""
        return read_image(self.path(name), name in self.turned)

    def size(self, name: str) -> tuple[int, int]:
        """(width, height) of what `read` gives, from the header alone. Raises DataError as `read_image`."""
        return image_size(self.path(name), name in self.turned)

    def below(self, prefix: str) -> ImageFolder:
        """The photographs whose names begin with `prefix` ('' or 'folder/'), by the rest of their names."""
        turned = frozenset(n.removeprefix(prefix) for n in self.turned if n.startswith(prefix))
        return ImageFolder(self.root / prefix, turned)


def read_image(path: Path, upright: bool = False) -> np.ndarray:
    """RGB uint8 [H, W, 3], in the orientation of the stored pixels (as COLMAP and hloc read it).

    Grey is repeated, alpha dropped, 16 bits brought to 8 by their high byte. upright: turned as EXIF says, where it
    does. Raises DataError for a file that is missing, no image, or cut short.
    """
    with _opened(path) as image:
        image.load()
        if image.mode == "F":  # nobody knows how bright its white is
            raise DataError(f"{path}: has floating point pixels; convert it to 8 or 16 bits")
        return _to_rgb(ImageOps.exif_transpose(image) if upright else image)


def check_readable(path: Path) -> None:
    """Raises DataError as `read_image` where that would; a JPEG is decoded at an eighth of its size, in less time."""
    with _opened(path) as image:
        image.draft("L", (1, 1))
        image.load()


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file as Pillow opens it; what is raised inside of it tells, in one line, what is wrong with it."""
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image (nor a format that Pillow reads); remove it or convert it") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: broken image ({_in_one_line(error)}); copy it again or remove it") from None


def image_size(path: Path, upright: bool = False) -> tuple[int, int]:
    """(width, height) from the header alone, of stored pixels or upright. Raises DataError as `read_image`."""
    (width, height), exif = read_exif(path)
    return (height, width) if upright and exif.get(ExifTags.Base.Orientation) in SIDEWAYS else (width, height)


def is_turned(path: Path) -> bool:
    """Whether EXIF says that the stored pixels are not upright. Raises DataError as `read_exif`."""
    return read_exif(path)[1].get(ExifTags.Base.Orientation, 1) in range(2, 9)


def copy_upright(source: Path, target: Path) -> None:
    """Write a photograph that EXIF turns to `target`, its pixels upright and the rest of its EXIF kept; whole or not at
    all. Raises DataError as `read_image`."""
    image, exif = read_image(source, upright=True), read_exif(source)[1]
    del exif[ExifTags.Base.Orientation]
    with atomic_path(target) as temporary:
        kind = "PNG" if target.suffix.lower() == ".png" else "JPEG"
        Image.fromarray(image).save(temporary, format=kind, quality=95, exif=exif)


def read_exif(path: Path) -> tuple[tuple[int, int], Image.Exif]:
    """(width, height) of the stored pixels, and EXIF's tags (none where they are broken), without decoding pixels.

    Raises DataError when the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            size = image.size
            try:
                exif = image.getexif()
                for part in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
                    exif.get_ifd(part)  # read now: the file is closed later
            except (OSError, ValueError, TypeError, SyntaxError, KeyError, struct.error):
                exif = Image.Exif()
            return size, exif
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot read the image's header ({_in_one_line(error)})") from None


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def write_image(path: Path, image: np.ndarray, quality: int = 85) -> None:
    """Write RGB uint8 [H, W, 3] or grey uint8 [H, W], whole or not at all: as PNG where it is called so, else as JPEG
    of this quality, whatever its suffix: a copy may have its photograph's name, of a format that nobody writes."""
    with atomic_path(path) as temporary:
        kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
        Image.fromarray(image).save(temporary, format=kind, quality=quality)


def list_images(root: Path, folder: str = ".") -> list[str]:
    """Names (posix, relative to `root`) of the files under root/folder with an image's suffix, sorted.

    Folders that are linked there are entered. Hidden files are left out, and what a Mac adds to an archive: their
    `._photo.jpg` is no photograph.
    """
    return [name for name in _list_files(root, folder) if PurePosixPath(name).suffix.lower() in SUFFIXES]


def list_others(root: Path, folder: str = ".") -> list[str]:
    """As `list_images`, the files that have no image's suffix."""
    return [name for name in _list_files(root, folder) if PurePosixPath(name).suffix.lower() not in SUFFIXES]


def _list_files(root: Path, folder: str) -> list[str]:
    if not (root / folder).is_dir():
        raise DataError(f"{root / folder}: no such folder of images")
    # a link to a file that is not there is one that cannot be read: who reads it says so
    paths = (p for p in _below(root / folder) if p.is_file() or (p.is_symlink() and not p.exists()))
    found = (path.relative_to(root) for path in paths)
    return sorted(
        path.as_posix() for path in found if not any(part.startswith((".", "__MACOSX")) for part in path.parts)
    )


def _below(folder: Path) -> Iterator[Path]:
    """All that is no folder below a folder, links to folders followed: each folder once, by its own name if it can."""
    walked, own, linked = set[Path](), [folder], list[Path]()
    while own or linked:
        base = (own or linked).pop()
        if (real := base.resolve()) in walked:
            continue
        walked.add(real)
        for path in base.iterdir():
            if path.is_dir():
                (linked if path.is_symlink() else own).append(path)
            else:
                yield path


def to_grey(image: np.ndarray) -> np.ndarray:
    """RGB uint8 [H, W, 3] -> luma uint8 [H, W] (ITU-R BT.601)."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resized to (width, height), averaging over areas when it shrinks. The same array when nothing changes."""
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    method = cv2.INTER_AREA if size[0] <= width else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=method)


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.max(initial=0) > 255:
            values = values.astype(np.uint32) >> 8
        return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return np.ascontiguousarray(np.asarray(image.convert("RGB")))
