"""Photographs of facades, each an instance of its own, as a place that recognition can be trained on.

What a network learns that tells them apart by day and by night serves at any place: training of one starts from its
encoder and decoder (`recognition.training.start_from`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lbr.errors import DataError
from lbr.geometry.pixels import fit_within
from lbr.io.files import read_text, write_text
from lbr.io.images import list_images, read_image, resize, write_image
from lbr.io.labels import mask_path, write_mask, write_vocabulary
from lbr.types import InstanceVocabulary

PHOTOGRAPH_PX = 480  # longer side
LAST = "album.txt"  # what it is of, written when all else is


def write_album(folders: Sequence[Path], root: Path, count: int, seed: int = 0) -> None:
    """Write `count` photographs, drawn from those of all folders, in the layout `folder`, with their label images.

    All of them, where there are not so many; those that cannot be read are said and left out. What an earlier call
    wrote is kept. Raises DataError where it was asked for another album, and where not two photographs can be read.
    """
    asked = f"{count} photographs of {', '.join(str(folder.resolve()) for folder in folders)}, seed {seed}\n"
    if (root / LAST).is_file():
        if (kept := read_text(root / LAST)) != asked:
            raise DataError(f"{root}: has {kept.strip()}: remove it, or set another dataset.root")
        return
    paths = [folder / name for folder in folders for name in list_images(folder)]
    order = np.random.default_rng(seed).permutation(len(paths))
    labels, most = root / "global_seg_instance", min(count, len(paths))
    vocabulary, found = _vocabulary(most), 0
    photographs = islice(_readable(paths[k] for k in order), count)
    for found, (name, image) in enumerate(tqdm(photographs, "photographs", total=most), 1):
        write_image(root / "images" / name, image, quality=92)
        write_mask(mask_path(labels, name), np.full(image.shape[:2], found), vocabulary)
    if found < 2:
        raise DataError(
            f"{', '.join(map(str, folders))}: {found} of {len(paths)} photographs can be read, two are wanted"
        )
    write_vocabulary(labels / "vocabulary.txt", _vocabulary(found))
    write_text(root / LAST, asked)


def _readable(paths: Iterator[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """(name in the album, RGB uint8 [H, W, 3]) of the photographs that can be read."""
    taken: Counter[str] = Counter()
    for path in paths:
        try:
            image = read_image(path)
        except DataError as error:
            tqdm.write(f"left out: {error}", file=sys.stderr)
            continue
        stem = f"{path.parent.name}-{path.stem}"
        again = f"-{taken[stem]}" if taken[stem] else ""
        taken[stem] += 1
        size = fit_within((image.shape[1], image.shape[0]), PHOTOGRAPH_PX)
        yield f"db/{stem}{again}.jpg", resize(image, size)


def _vocabulary(count: int) -> InstanceVocabulary:
    """`count` instances, whose colours are their numbers."""
    return InstanceVocabulary(np.arange(count + 1), np.arange(count + 1, dtype=np.int32))
