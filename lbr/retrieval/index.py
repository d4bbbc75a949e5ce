"""The instance index: which db images show an instance, how much of it, and what each looks like as a whole.

Arrays on disk, memory-mapped, about 100 bytes and one global feature for each image (docs/formats.md, `index/`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import Field
from scipy import sparse

from lbr.errors import DataError
from lbr.io.files import atomic_path, read_text
from lbr.retrieval.lookalikes import LookAlikeSettings
from lbr.settings import Settings

FORMAT, VERSION = "lbr-index", 2
ARRAYS = ("offsets", "instances", "shares", "features", "alike")
NO_PAIRS = np.zeros((0, 2), np.int32)


class IndexSettings(Settings):
    """min_share: an instance that fills less of a db image is not looked for there."""

    min_share: float = Field(default=0.003, ge=0, lt=1)
    look_alikes: LookAlikeSettings = LookAlikeSettings()


@dataclass(frozen=True, eq=False)
class InstanceIndex:
    """names: [I] db images. Image i shows instances[offsets[i]:offsets[i+1]], int32, each once, background apart;
    shares: float32, the part of the image that each fills. features: float16 [I, D], global features, L2-normalised;
    D is 0 where there are none. alike: int32 [K, 2], pairs of instances that look alike, the most alike first.
    num_classes: instances are below it.
    """

    names: tuple[str, ...]
    offsets: np.ndarray
    instances: np.ndarray
    shares: np.ndarray
    features: np.ndarray
    alike: np.ndarray
    num_classes: int

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def areas(self) -> sparse.csr_matrix:
        """float32 CSR [I, C]: the share of each image that each instance fills."""
        return sparse.csr_matrix((self.shares, self.instances, self.offsets), (len(self), self.num_classes))

    @cached_property
    def labelled(self) -> np.ndarray:
        """float32 [I]: the share of each image that its instances fill."""
        return np.asarray(self.areas.sum(axis=1)).ravel()

    @cached_property
    def by_instance(self) -> sparse.csc_matrix:
        """float32 CSC [I, C]: the same, to be read instance by instance."""
        return self.areas.tocsc()

    @cached_property
    def shown(self) -> sparse.csr_matrix:
        """float32 CSR [I, C], 1 where an image shows an instance, or one that looks like it."""
        one, other = self.alike.T
        pairs = sparse.coo_matrix((np.ones(len(one), np.float32), (one, other)), (self.num_classes,) * 2)
        found = (self.areas > 0).astype(np.float32) @ (sparse.identity(self.num_classes, np.float32) + pairs + pairs.T)
        return (found > 0).astype(np.float32).tocsr()

    @cached_property
    def unit_features(self) -> np.ndarray:
        """float32 [I, D]: the features as the search multiplies them; 40 MB for 10,000 x 1,024."""
        return np.ascontiguousarray(self.features, np.float32)

    @cached_property
    def ambiguous(self) -> frozenset[int]:
        """The instances that look like another."""
        return frozenset(self.alike.ravel().tolist())

    def alike_to(self, instance: int) -> int | None:
        """The instance that looks most like this one, where any does."""
        pairs = self.alike[(self.alike == instance).any(axis=1)]
        return int(pairs[0].sum() - instance) if len(pairs) else None

    def alike_to_shown(self, images: np.ndarray) -> list[int]:
        """The instances that look most like what images, int [K], show, of what fills most of them first; without what
        they show themselves."""
        areas = np.asarray(self.areas[images].sum(axis=0)).ravel()
        shown = np.argsort(-areas, kind="stable")[: np.count_nonzero(areas)].tolist()
        alike = dict.fromkeys(self.alike_to(instance) for instance in shown)
        return [instance for instance in alike if instance is not None and not areas[instance]]

    def images_of(self, instance: int) -> tuple[np.ndarray, np.ndarray]:
        """Images that show an instance, int [K], and its share of each, float32 [K]; none for an unknown instance."""
        if not 0 <= instance < self.num_classes:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        column = slice(self.by_instance.indptr[instance], self.by_instance.indptr[instance + 1])
        return self.by_instance.indices[column].astype(np.int64), self.by_instance.data[column]


def build_index(
    shares: Mapping[str, Mapping[int, float]], features: Mapping[str, np.ndarray], num_classes: int, min_share: float,
    alike: np.ndarray = NO_PAIRS,
) -> InstanceIndex:  # fmt: skip
    """An index from {image: {instance: share of the image}}, {image: global feature [D]} and pairs that look alike.

    Instances that fill less than `min_share` of an image are left out of it. Raises DataError when nothing is left.
    """
    names = tuple(sorted(shares))
    rows = [sorted((v, s) for v, s in shares[name].items() if v > 0 and s >= min_share) for name in names]
    if not any(rows):
        raise DataError(f"not one of {len(names)} db images shows an instance: look at the label images")
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    flat = np.array([pair for row in rows for pair in row], np.float64)
    vectors = [features[name] for name in names if name in features]
    if vectors and len(vectors) < len(names):
        missing = next(name for name in names if name not in features)
        raise DataError(
            f"{len(names) - len(vectors)} db images have no global feature (first: {missing}); recognise again"
        )
    stacked = np.stack(vectors).astype(np.float16) if vectors else np.zeros((len(names), 0), np.float16)
    return InstanceIndex(
        names, offsets, flat[:, 0].astype(np.int32), flat[:, 1].astype(np.float32), stacked, alike, num_classes
    )


def write_index(folder: Path, index: InstanceIndex) -> None:
    """Write an index, whole or not at all."""
    header = {"format": FORMAT, "version": VERSION, "names": index.names, "num_classes": index.num_classes}
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        for name in ARRAYS:
            np.save(temporary / f"{name}.npy", getattr(index, name))
        (temporary / "index.json").write_text(json.dumps(header), encoding="utf-8")


def open_index(folder: Path) -> InstanceIndex:
    """Open an index; arrays stay on disk until they are read. Raises DataError when it is absent or broken."""
    if not (folder / "index.json").is_file():
        raise DataError(f"{folder}: no instance index there; run `lbr index` first")
    try:
        header = json.loads(read_text(folder / "index.json"))
        found = header["format"], header["version"]
        if found != (FORMAT, VERSION):
            raise DataError(f"{folder}: is {found[0]} version {found[1]}, wanted {FORMAT} version {VERSION}")
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}
        return InstanceIndex(names=tuple(header["names"]), num_classes=header["num_classes"], **arrays)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: broken instance index ({error}); make it again") from None


def shares_of_mask(mask: np.ndarray) -> dict[int, float]:
    """{instance: share of the image} of a mask of classes, int [H, W], the background apart."""
    classes, counts = np.unique(mask, return_counts=True)
    return {int(v): float(n) / mask.size for v, n in zip(classes, counts, strict=True) if v > 0}
