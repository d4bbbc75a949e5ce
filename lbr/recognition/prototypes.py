"""Instances that a network has not learned, by what they look like to it: a mean feature, and how near is near enough.

The feature of a cell is the decoder's output there, normalised (Snell et al., NeurIPS 2017: class means as prototypes).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lbr.errors import DataError
from lbr.io.files import atomic_path
from lbr.types import InstancePrediction

FORMAT, VERSION = "lbr-prototypes", 1
OWN_SHARE = 0.1  # of the cells of known instances this many lie farther from their own prototype than the threshold
STRANGE_SHARE = 0.99  # of the cells of other things this many lie below the threshold
MIN_CELLS = 8
NEVER = 9.0  # no cosine


@dataclass(frozen=True, eq=False)
class Prototypes:
    """classes: int32 [N], in the grown vocabulary. vectors: float32 [N, D], unit. thresholds: float32 [N], cosines at
    which a cell is as likely of it as not; width: of the slope there, in cosines."""

    classes: np.ndarray
    vectors: np.ndarray
    thresholds: np.ndarray
    width: float


def write_prototypes(path: Path, prototypes: Prototypes) -> None:
    """Write a file, whole or not at all."""
    with atomic_path(path) as unfinished, unfinished.open("wb") as file:
        np.savez(
            file, format=np.array(FORMAT), version=np.array(VERSION), classes=prototypes.classes,
            vectors=prototypes.vectors, thresholds=prototypes.thresholds, width=np.array(prototypes.width),
        )  # fmt: skip


def read_prototypes(path: Path) -> Prototypes:
    """Raises DataError when the file is broken or of another format or version."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        found = str(arrays["format"]), int(arrays["version"])
        if found != (FORMAT, VERSION):
            raise DataError(f"{path}: is {found[0]} version {found[1]}, wanted {FORMAT} version {VERSION}")
        return Prototypes(arrays["classes"], arrays["vectors"], arrays["thresholds"], float(arrays["width"]))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{path}: broken prototypes ({error}); delete it and recognise again") from None


class Pooling:
    """Gathers cells of labelled images: sums by class, and a sample of cells with their classes."""

    def __init__(self, num_classes: int, sample: int = 256) -> None:
        self._num, self._sample = num_classes, sample
        self._sums: np.ndarray | None = None
        self._counts = np.zeros(num_classes, np.int64)
        self._cells: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, cells: np.ndarray, mask: np.ndarray) -> None:
        """cells: float32 [h, w, D], unit. mask: classes [h, w]."""
        flat, labels = cells.reshape(-1, cells.shape[-1]), mask.reshape(-1).astype(np.int64)
        if self._sums is None:
            self._sums = np.zeros((self._num, flat.shape[1]))
        np.add.at(self._sums, labels, flat)
        self._counts += np.bincount(labels, minlength=self._num)
        chosen = np.linspace(0, len(flat) - 1, min(self._sample, len(flat))).astype(int)
        self._cells.append(flat[chosen])
        self._labels.append(labels[chosen])

    def prototypes(self, new: Iterable[int]) -> Prototypes | None:
        """Of the new classes; those with too few cells have a threshold that none reaches, and so have all where no
        known class has cells to judge by. None when nothing was added."""
        classes = np.array(sorted(new), np.int32)
        known = np.setdiff1d(np.flatnonzero(self._counts[1:] >= MIN_CELLS) + 1, classes)
        if self._sums is None:
            return None
        means = self._sums / np.maximum(np.linalg.norm(self._sums, axis=1, keepdims=True), 1e-12)
        cells, labels = np.concatenate(self._cells), np.concatenate(self._labels)
        inside = np.isin(labels, known)
        own = (cells[inside] * means[labels[inside]]).sum(1)
        if not len(own):
            return Prototypes(classes, means[classes].astype(np.float32), np.full(len(classes), NEVER, np.float32), 1)
        near_enough = np.quantile(own, OWN_SHARE)
        thresholds = [
            max(near_enough, np.quantile(cells[labels != v] @ means[v], STRANGE_SHARE))
            if self._counts[v] >= MIN_CELLS else NEVER
            for v in classes.tolist()
        ]  # fmt: skip
        width = max(float(own.std()) / 4, 1e-3)
        return Prototypes(classes, means[classes].astype(np.float32), np.array(thresholds, np.float32), width)


def with_prototypes(prediction: InstancePrediction, cells: np.ndarray, prototypes: Prototypes) -> InstancePrediction:
    """The prediction with cells named after prototypes where no known instance is sure and one is near.

    cells: float32 [h, w, D], unit, of the same grid. A cell's nearest prototype takes what the likeliest known instance
    leaves of it, times how near it is; the rest is shared as before.
    """
    cosine = cells @ prototypes.vectors.T
    near = 1 / (1 + np.exp(np.clip((prototypes.thresholds - cosine) / prototypes.width, -30, 30)))
    best = near.argmax(axis=-1)
    strength = np.take_along_axis(near, best[..., None], -1)[..., 0]
    sure = np.where(prediction.mask > 0, prediction.confidence, 0)
    share = (strength * (1 - sure)).astype(np.float32)
    ids = np.concatenate([prediction.ids, prototypes.classes[best][..., None].astype(np.uint16)], -1)
    confidences = np.concatenate([prediction.confidences * (1 - share[..., None]), share[..., None]], -1)
    order = np.argsort(-confidences, axis=-1, kind="stable")[..., : prediction.ids.shape[-1]]
    presence = np.zeros(max(len(prediction.presence), int(prototypes.classes.max()) + 1), np.float32)
    presence[: len(prediction.presence)] = prediction.presence
    np.maximum.at(presence, prototypes.classes[best].ravel(), share.ravel())
    return replace(
        prediction, ids=np.take_along_axis(ids, order, -1), confidences=np.take_along_axis(confidences, order, -1),
        presence=presence,
    )  # fmt: skip
