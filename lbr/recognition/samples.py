"""Training samples: photographs with their label images, in one of their stylised copies, at the network's size."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from lbr.errors import DataError
from lbr.io.images import image_size, read_image, resize
from lbr.io.labels import colours_to_classes, read_colour_ids
from lbr.recognition.augment import AugmentSettings, augment
from lbr.types import InstanceVocabulary

MAX_ASPECT_DIFFERENCE = 0.02
_MEAN, _STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)  # ImageNet's

Key = tuple[int, int]  # epoch, index of the image: all that a sample is drawn from, beside the seed


@dataclass(frozen=True)
class LabelledImage:
    """A db image: its photograph, first, and stylised copies; and its label image, as it is when it is upright.

    turned: the photograph itself is not stored upright.
    """

    name: str
    images: tuple[Path, ...]
    mask: Path
    turned: bool = False

    def is_turned(self, path: Path) -> bool:
        """Whether one of its images is to be turned upright when it is read."""
        return self.turned and path == self.images[0]


def check_sizes(images: Sequence[LabelledImage]) -> None:
    """Raises DataError, naming both files, when a label image or a copy is not in the shape of its photograph."""
    for item in images:
        width, height = image_size(item.images[0], item.turned)
        for other in (*item.images[1:], item.mask):
            w, h = image_size(other)
            if abs(w / h * height / width - 1) > MAX_ASPECT_DIFFERENCE:
                raise DataError(
                    f"{other}: {w}x{h}, but its photograph {item.images[0]} is {width}x{height}: they do not fit"
                )


def normalised(images: np.ndarray) -> torch.Tensor:
    """RGB uint8 [B, H, W, 3] -> float [B, 3, H, W] with ImageNet's mean and deviation, channels last in memory."""
    values = (images.astype(np.float32) / 255 - _MEAN) / _STD
    return torch.from_numpy(values).permute(0, 3, 1, 2)  # strides of [B, H, W, 3]: the channels-last format


class Photographs:
    """Photographs and masks at the network's size times `detail`; the first `cache_mb` of them stay in memory."""

    def __init__(
        self, vocabulary: InstanceVocabulary, size: tuple[int, int], cache_mb: int, detail: float = 1.5
    ) -> None:
        self.vocabulary = vocabulary
        self.size = (round(size[0] * detail), round(size[1] * detail))
        self._left = cache_mb * 2**20
        self._kept: dict[Path, np.ndarray] = {}

    def image(self, item: LabelledImage, path: Path) -> np.ndarray:
        """One of the item's images, RGB uint8 [h, w, 3], upright."""
        kept = self._kept.get(path)
        return self._keep(path, resize(read_image(path, item.is_turned(path)), self.size)) if kept is None else kept

    def mask(self, path: Path) -> np.ndarray:
        """Classes uint16 [h, w]."""
        kept = self._kept.get(path)
        if kept is not None:
            return kept
        classes = colours_to_classes(read_colour_ids(path, self.size), self.vocabulary)
        return self._keep(path, classes.astype(np.uint16))

    def _keep(self, path: Path, array: np.ndarray) -> np.ndarray:
        if array.nbytes <= self._left:
            self._left -= array.nbytes
            self._kept[path] = array
        return array


class TrainingSamples(Dataset):
    """(epoch, index) -> RGB uint8 [h, w, 3] and classes int64 [h, w], augmented.

    The copy and its augmentation are drawn by (seed, epoch, name): the same whatever the workers or the order.
    sizes: (width, height) of the samples of each epoch. augmentation None: the photograph itself, only resized.
    stylized: probability that a stylised copy is drawn, in the first epoch and the last; it rises evenly between.
    """

    def __init__(
        self,
        images: Sequence[LabelledImage],
        photographs: Photographs,
        sizes: Sequence[tuple[int, int]],
        augmentation: AugmentSettings | None,
        seed: int,
        stylized: tuple[float, float] = (0.5, 0.5),
    ) -> None:
        self.images, self.photographs, self.sizes = images, photographs, sizes
        self.augmentation, self.seed, self.stylized = augmentation, seed, np.linspace(*stylized, len(sizes))
        self._by_name = sorted(images, key=lambda item: item.name)

    def of(self, images: Sequence[LabelledImage], sizes: Sequence[tuple[int, int]]) -> TrainingSamples:
        """Samples of other images, drawn as those of the last epoch are."""
        last = (float(self.stylized[-1]),) * 2
        return TrainingSamples(images, self.photographs, sizes, self.augmentation, self.seed, last)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Key) -> tuple[np.ndarray, np.ndarray]:
        epoch, index = key
        item, size = self.images[index], self.sizes[epoch]
        mask = self.photographs.mask(item.mask)
        if self.augmentation is None:
            image = resize(self.photographs.image(item, item.images[0]), size)
            labels = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
        else:
            rng = np.random.default_rng([self.seed, epoch, zlib.crc32(item.name.encode())])
            chosen = item.images[0]
            if len(item.images) > 1 and rng.random() < self.stylized[epoch]:
                chosen = item.images[rng.integers(1, len(item.images))]
            copy = item.images.index(chosen)
            image, labels = augment(
                self.photographs.image(item, chosen), mask, size, self.augmentation, rng, lambda: self._other(copy, rng)
            )
        return image, labels.astype(np.int64)

    def _other(self, copy: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Any photograph, in the same copy as the one it stands around, where it has it; and its mask."""
        other = self._by_name[rng.integers(len(self._by_name))]
        return self.photographs.image(other, other.images[copy % len(other.images)]), self.photographs.mask(other.mask)


@dataclass(frozen=True)
class Batching:
    """How an epoch's samples become batches: `chunks` of each batch, of which this process takes its share.

    A batch is cut into chunks, each one forward and backward pass; process `rank` of `world` takes every chunk it
    owns, so two processes with one chunk each do just what one process does with two.
    """

    num_samples: int
    batch_size: int
    chunks: int = 1
    rank: int = 0
    world: int = 1

    @property
    def num_batches(self) -> int:
        """Batches of an epoch: every sample comes at least once; the last batch is filled from the first."""
        return -(-self.num_samples // self.batch_size)

    def epochs(self, first: int, last: int, seed: int) -> Iterator[list[Key]]:
        """Keys of this process's chunks, in order, of the epochs from `first` to before `last`."""
        for epoch in range(first, last):
            yield from self.epoch(epoch, seed)

    def epoch(self, epoch: int, seed: int) -> Iterator[list[Key]]:
        """Keys of this process's chunks of one epoch, in order."""
        order = np.random.default_rng([seed, epoch]).permutation(self.num_samples)
        filled = np.resize(order, self.num_batches * self.batch_size)
        own = self.chunks // self.world
        for batch in filled.reshape(self.num_batches, self.chunks, -1)[:, self.rank * own : (self.rank + 1) * own]:
            for chunk in batch:
                yield [(epoch, int(index)) for index in chunk]


def load_chunks(samples: TrainingSamples, keys: Iterable[list[Key]], workers: int) -> DataLoader:
    """A loader of the chunks `keys`, each (images [b, 3, h, w] normalised, masks int64 [b, h, w]).

    One for a whole run: its worker processes keep the photographs that they have decoded.
    """
    return DataLoader(samples, batch_sampler=keys, num_workers=workers, collate_fn=collate)


def collate(samples: list[tuple[np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor]:
    images, masks = zip(*samples, strict=True)
    return normalised(np.stack(images)), torch.from_numpy(np.stack(masks))


def growing_sizes(size: tuple[int, int], shares: Sequence[float], epochs: int) -> list[tuple[int, int]]:
    """(width, height) for each epoch: `size` times each of `shares` over equal parts of the epochs, multiples of 32.

    What is learned from small images costs a fraction; the last share should be 1.
    """
    part = np.minimum(np.arange(epochs) * len(shares) // epochs, len(shares) - 1)
    width, height = (np.maximum(1, np.round(side * np.asarray(shares) / 32)).astype(int) * 32 for side in size)
    return [size if shares[p] == 1 else (int(width[p]), int(height[p])) for p in part]


def hold_out(
    images: Sequence[LabelledImage], share: float, seed: int
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """(training, held out): a random `share` of the images, by (seed, name), at least one of each when share > 0."""
    if share == 0 or len(images) < 2:
        return list(images), []
    order = sorted(range(len(images)), key=lambda i: zlib.crc32(f"{seed} {images[i].name}".encode()))
    held = set(order[: min(len(images) - 1, max(1, round(share * len(images))))])
    return [v for i, v in enumerate(images) if i not in held], [v for i, v in enumerate(images) if i in held]
