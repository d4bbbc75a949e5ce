"""Label images: one colour PNG for each photograph, a colour for each instance, and the vocabulary that names them.

Colour id = R * 65536 + G * 256 + B; 0 is background, and so is every colour that the vocabulary does not name.
Label images are resized by nearest neighbour only: a blend of two colours is a third instance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from PIL import Image

from lbr.errors import DataError
from lbr.io.files import atomic_path, read_text, write_text
from lbr.io.images import read_image
from lbr.types import InstanceVocabulary

MAX_COLOUR, MAX_CLASS = 2**24 - 1, 2**16 - 1  # three bytes of a pixel; uint16 in predictions


def mask_path(root: Path, name: str) -> Path:
    """The label image of a photograph: the same relative path, as PNG (only the last suffix is changed)."""
    return root / PurePosixPath(name).with_suffix(".png")


def sharing_label_image(names: Iterable[str]) -> dict[str, str]:
    """Photographs whose label image would be that of an earlier one, which is told: they differ in the suffix alone, as
    one photograph in two formats does."""
    first: dict[Path, str] = {}
    return {name: kept for name in names if (kept := first.setdefault(mask_path(Path(), name), name)) != name}


def pack_colours(rgb: np.ndarray) -> np.ndarray:
    """RGB uint8 [..., 3] -> colour ids int32 [...]."""
    r, g, b = np.moveaxis(np.asarray(rgb).astype(np.int32), -1, 0)
    return r << 16 | g << 8 | b


def unpack_colours(colour_ids: np.ndarray) -> np.ndarray:
    """Colour ids [...] -> RGB uint8 [..., 3]."""
    ids = np.asarray(colour_ids)
    return np.stack([ids >> 16, ids >> 8 & 255, ids & 255], -1).astype(np.uint8)


def read_colour_ids(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Colour ids int32 [H, W] of a label image, resized to (width, height). Raises DataError as `read_image`."""
    image = read_image(path)
    if size is not None and size != (image.shape[1], image.shape[0]):
        image = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return pack_colours(image)


def colours_to_classes(colour_ids: np.ndarray, vocabulary: InstanceVocabulary) -> np.ndarray:
    """Classes int32 of colour ids, in their shape; colours that the vocabulary does not name become 0."""
    order = np.argsort(vocabulary.colours)
    colours, classes = vocabulary.colours[order], vocabulary.classes[order]
    place = np.minimum(np.searchsorted(colours, colour_ids), len(colours) - 1)
    return np.where(colours[place] == colour_ids, classes[place], 0).astype(np.int32)


def read_mask(path: Path, vocabulary: InstanceVocabulary, size: tuple[int, int] | None = None) -> np.ndarray:
    """Classes int32 [H, W] of a label image, resized to (width, height)."""
    return colours_to_classes(read_colour_ids(path, size), vocabulary)


def write_mask(path: Path, classes: np.ndarray, vocabulary: InstanceVocabulary) -> None:
    """Write classes [H, W] as a label image, with a palette where its colours fit into one (a third of the size)."""
    table = np.zeros(vocabulary.num_classes, np.int64)
    table[vocabulary.classes] = vocabulary.colours
    present, indices = np.unique(classes, return_inverse=True)
    rgb = unpack_colours(table[present])
    indices = indices.reshape(classes.shape)
    if len(present) <= 256:
        image = Image.fromarray(indices.astype(np.uint8), "P")
        image.putpalette(rgb.tobytes())
    else:
        image = Image.fromarray(rgb[indices], "RGB")
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def read_vocabulary(path: Path) -> InstanceVocabulary:
    """Read lines `<colour id> <class id>`, the first `0 0`. Raises DataError with the line that is wrong."""
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or not all(field.isdecimal() for field in fields):
            raise DataError(f"{path}:{number}: wanted `<colour id> <class id>`, found {line!r}")
        colour, label = int(fields[0]), int(fields[1])
        if colour > MAX_COLOUR or label > MAX_CLASS:
            raise DataError(f"{path}:{number}: colours end at {MAX_COLOUR}, classes at {MAX_CLASS}, found {line!r}")
        rows.append((colour, label))
    table = np.array(rows, np.int64).reshape(-1, 2)
    try:
        return InstanceVocabulary(table[:, 0], table[:, 1].astype(np.int32))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def write_vocabulary(path: Path, vocabulary: InstanceVocabulary) -> None:
    """Write lines `<colour id> <class id>`."""
    rows = zip(vocabulary.colours.tolist(), vocabulary.classes.tolist(), strict=True)
    write_text(path, "".join(f"{colour} {label}\n" for colour, label in rows))


def without_classes(vocabulary: InstanceVocabulary, classes: np.ndarray) -> InstanceVocabulary:
    """The vocabulary without some of its instances; the others keep their classes."""
    kept = ~np.isin(vocabulary.classes, classes)
    return InstanceVocabulary(vocabulary.colours[kept], vocabulary.classes[kept])


def vocabulary_digest(vocabulary: InstanceVocabulary) -> str:
    """A name for exactly this vocabulary, 16 hexadecimal digits."""
    rows = np.stack([vocabulary.colours, vocabulary.classes], 1).astype("<i8")
    return hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()[:16]


def vocabulary_of_colours(colours_of_images: Iterable[np.ndarray], min_images: int = 2) -> InstanceVocabulary:
    """The colours that at least `min_images` label images show, as classes 1.. in the order of their ids.

    colours_of_images: for each label image the colour ids in it, each once. (The published vocabulary of Aachen keeps
    just the colours of two or more images.) Raises DataError when there is none.
    """
    listed = list(colours_of_images)
    ids, counts = np.unique(np.concatenate([*listed, np.zeros(0, np.int64)]), return_counts=True)
    kept = ids[(counts >= min_images) & (ids > 0)].astype(np.int64)
    if not len(kept):
        raise DataError(f"not one instance is seen in {min_images} of {len(listed)} label images")
    return InstanceVocabulary(np.append(0, kept), np.arange(len(kept) + 1, dtype=np.int32))
