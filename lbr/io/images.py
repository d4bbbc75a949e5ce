"""Photographs from disk: the only place that decodes an image, always to RGB uint8 [H, W, 3]."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from lbr.errors import DataError
from lbr.io.files import atomic_path

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
FULL_FRAME_MM = 36.0  # width of the film that "35 mm equivalent" focal lengths refer to


def read_image(path: Path) -> np.ndarray:
    """RGB uint8 [H, W, 3], in the orientation of the stored pixels (as COLMAP and hloc read it).

    Grey is repeated, alpha dropped, 16 bits brought to 8 by their high byte, EXIF rotation ignored (intrinsics
    speak of stored pixels). Raises DataError for a file that is missing, no image, or cut short.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return _to_rgb(image)
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image (nor a format that Pillow reads); remove it or convert it") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: broken image ({error}); copy it again or remove it") from None


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) from the header alone. Raises DataError as `read_image`."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot read the image's header ({error})") from None


def exif_focal_px(path: Path) -> float | None:
    """Focal length in pixels of the longer side from EXIF's 35 mm equivalent, or None where there is none."""
    try:
        with Image.open(path) as image:
            exif = image.getexif().get_ifd(ExifTags.IFD.Exif)
            focal_mm = float(exif.get(ExifTags.Base.FocalLengthIn35mmFilm, 0) or 0)
            return focal_mm / FULL_FRAME_MM * max(image.size) if focal_mm > 0 else None
    except (OSError, ValueError, TypeError, ZeroDivisionError, SyntaxError, Image.DecompressionBombError):
        return None


def write_image(path: Path, image: np.ndarray, quality: int = 85) -> None:
    """Write RGB uint8 [H, W, 3] or grey uint8 [H, W] as JPEG (with this quality) or PNG, whole or not at all."""
    with atomic_path(path) as temporary:
        kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
        Image.fromarray(image).save(temporary, format=kind, quality=quality)


def list_images(root: Path, folder: str = ".") -> list[str]:
    """Names (posix, relative to `root`) of the files under root/folder with an image's suffix, sorted."""
    if not (root / folder).is_dir():
        raise DataError(f"{root / folder}: no such folder of images")
    found = (p for p in (root / folder).rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(p.relative_to(root).as_posix() for p in found)


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
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        if values.max(initial=0) > 255:
            values = values.astype(np.uint32) >> 8
        return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    return np.ascontiguousarray(np.asarray(image.convert("RGB")))
