"""The prediction file: what the recognition network says of many images, in one h5 (docs/formats.md).

Confidences are kept as 8 bits of their square root, so that small ones stay apart: 1e-4 is level 3 of 255. What is
empty compresses to nothing, so a query takes some tens of kB with all its ranks, a db image, whose first rank alone
is kept, a few.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np

from lbr.errors import DataError
from lbr.io.h5_file import H5File, groups_with, grown_h5, new_h5
from lbr.types import InstancePrediction

FORMAT, VERSION = "lbr-predictions", 1
LEVELS = 255


class PredictionFile(H5File):
    """Read-only view of a prediction file. Use as a context manager. `names`: the images in it, sorted.

    `vocabulary`: digest of the vocabulary that its classes are of. Raises DataError as `H5File`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, FORMAT, VERSION)
        self.vocabulary = str(self._file.attrs.get("vocabulary", ""))
        self.names = groups_with(self._file, "ids")
        self._known = frozenset(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def read(self, name: str) -> InstancePrediction:
        """The prediction of one image. Raises DataError when it is absent or unreadable."""
        if name not in self._known:
            raise DataError(f"{self.path}: no prediction of '{name}' in it; run recognise again")
        with self.reading(f"the prediction of '{name}'", "run recognise again") as file:
            group = file[name]
            arrays = {key: group[key][()] for key in ("ids", "levels", "presence", "feature")}
            return prediction_from_arrays({**arrays, "image_size": group.attrs["image_size"]})

    def features(self) -> np.ndarray:
        """float32 [len(names), D]: the global features, in the order of `names`."""
        with self.reading("the global features", "run recognise again") as file:
            return np.stack([file[name]["feature"][()] for name in self.names]).astype(np.float32)


def write_predictions(path: Path, items: Iterable[tuple[str, dict[str, np.ndarray]]], vocabulary: str) -> None:
    """Write (name, `prediction_to_arrays`) pairs; the file appears under its name only when whole."""
    with new_h5(path, latest=True, format=FORMAT, version=VERSION, vocabulary=vocabulary) as file:
        for name, arrays in items:
            _write(file, name, arrays)


def add_predictions(path: Path, items: Iterable[tuple[str, dict[str, np.ndarray]]]) -> None:
    """Add predictions to a file, in the place of those of the same name; all of them or none."""
    with grown_h5(path, latest=True) as file:
        for name, arrays in items:
            if name in file:
                del file[name]
            _write(file, name, arrays)


def _write(file: h5py.File, name: str, arrays: dict[str, np.ndarray]) -> None:
    group = file.create_group(name)
    group.attrs["image_size"] = arrays["image_size"]
    for key in ("ids", "levels"):
        _compressed(group, key, arrays[key])
    for key in ("presence", "feature"):
        group.create_dataset(key, data=arrays[key])


def _compressed(group: h5py.Group, key: str, planes: np.ndarray) -> None:
    group.create_dataset(key, data=planes, chunks=planes.shape, compression="gzip", compression_opts=9, shuffle=True)


def prediction_to_arrays(prediction: InstancePrediction, ranks: int | None = None) -> dict[str, np.ndarray]:
    """As the file stores it: ids uint16 [K, H, W] and levels uint8 [K, H, W] of the first `ranks`, float16 vectors."""
    ids = np.moveaxis(prediction.ids[..., :ranks], 2, 0)
    levels = np.round(LEVELS * np.sqrt(np.moveaxis(prediction.confidences[..., :ranks], 2, 0))).astype(np.uint8)
    return {
        "ids": np.where(levels > 0, ids, 0).astype(np.uint16),
        "levels": levels,
        "presence": prediction.presence.astype(np.float16),
        "feature": prediction.feature.astype(np.float16),
        "image_size": np.asarray(prediction.image_size, np.int64),
    }


def prediction_from_arrays(arrays: dict[str, np.ndarray]) -> InstancePrediction:
    """The inverse of `prediction_to_arrays`, up to the rounding of confidences."""
    width, height = (int(v) for v in arrays["image_size"])
    confidences = (np.moveaxis(arrays["levels"], 0, 2).astype(np.float32) / LEVELS) ** 2
    return InstancePrediction(
        np.ascontiguousarray(np.moveaxis(arrays["ids"], 0, 2)), np.ascontiguousarray(confidences),
        arrays["presence"].astype(np.float32), arrays["feature"].astype(np.float32), (width, height),
    )  # fmt: skip
