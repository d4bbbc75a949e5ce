"""The feature file: local features of many images in one h5 (docs/formats.md).

A file of hloc's (no `format` attribute, keypoints from the pixel's centre, descriptors [D, N]) is recognised
and read too; `write_hloc_features` makes one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np

from lbr.errors import DataError
from lbr.geometry import pixels
from lbr.io.h5_file import H5File, groups_with, grown_h5, new_h5
from lbr.types import LocalFeatures

FORMAT, VERSION = "lbr-features", 1


class FeatureFile(H5File):
    """Read-only view of a feature file of ours or of hloc's. Use as a context manager.

    `names`: the images in it, sorted. `extractor`: its description as written, '' when unknown.
    Raises DataError when the file is missing, cut short, or of another format or version.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, FORMAT, VERSION, others=True)
        self.is_hloc = not self.is_ours
        self.extractor = str(self._file.attrs.get("extractor", ""))
        self.names = groups_with(self._file, "keypoints")
        self._known = frozenset(self.names)
        if self.is_hloc and not self.names and len(self._file):
            raise DataError(f"{path}: no features in it, neither in our format nor in hloc's")

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def read(self, name: str) -> LocalFeatures:
        """Features of one image, keypoints corner-origin. Raises DataError when it is absent or unreadable."""
        if name not in self._known:
            raise DataError(f"{self.path}: no features of '{name}' in it; run extract again")
        with self.reading(f"features of '{name}'", "extract them again") as file:
            return _read_hloc(file[name]) if self.is_hloc else _read_ours(file[name])


def write_features(path: Path, items: Iterable[tuple[str, LocalFeatures]], extractor: str = "") -> None:
    """Write (name, features) pairs to a feature file; it appears under its name only when whole."""
    origin = pixels.CORNER
    with new_h5(path, format=FORMAT, version=VERSION, pixel_origin=origin, extractor=extractor) as file:
        for name, features in items:
            _write(file, name, features)


def add_features(path: Path, items: Iterable[tuple[str, LocalFeatures]]) -> None:
    """Add features to a file of ours, in the place of those of the same name; all of them or none."""
    with grown_h5(path) as file:
        for name, features in items:
            if name in file:
                del file[name]
            _write(file, name, features)


def _write(file: h5py.File, name: str, features: LocalFeatures) -> None:
    group = file.create_group(name)
    group.attrs["image_size"] = features.image_size
    for key, array in features_to_arrays(features).items():
        if key != "image_size":
            group.create_dataset(key, data=array)


def write_hloc_features(path: Path, items: Iterable[tuple[str, LocalFeatures]]) -> None:
    """Write features as hloc reads them: keypoints from the pixel's centre, descriptors [D, N]."""
    with new_h5(path) as file:
        for name, features in items:
            group = file.create_group(name)
            group.create_dataset("keypoints", data=pixels.to_centre_origin(features.keypoints))
            group.create_dataset("scores", data=features.scores)
            group.create_dataset("descriptors", data=np.ascontiguousarray(features.descriptors.T))
            group.create_dataset("image_size", data=np.asarray(features.image_size))


def features_to_arrays(features: LocalFeatures) -> dict[str, np.ndarray]:
    """As plain arrays with the file's types: keypoints float32 (float16 would move them), descriptors float16."""
    arrays: dict[str, np.ndarray] = {
        "keypoints": features.keypoints.astype(np.float32),
        "scores": features.scores.astype(np.float32),
        "descriptors": features.descriptors.astype(np.float16),
        "image_size": np.asarray(features.image_size, np.int64),
    }
    if features.labels is not None:
        arrays["labels"] = features.labels.astype(np.int32)
    return arrays


def features_from_arrays(arrays: dict[str, np.ndarray]) -> LocalFeatures:
    """The inverse of `features_to_arrays`."""
    width, height = (int(v) for v in arrays["image_size"])
    return LocalFeatures(
        arrays["keypoints"], arrays["scores"], arrays["descriptors"], (width, height), arrays.get("labels")
    )


def _read_ours(group: h5py.Group) -> LocalFeatures:
    arrays = {key: group[key][()] for key in ("keypoints", "scores", "descriptors")}
    if "labels" in group:
        arrays["labels"] = group["labels"][()]
    return features_from_arrays({**arrays, "image_size": group.attrs["image_size"]})


def _read_hloc(group: h5py.Group) -> LocalFeatures:
    keypoints = pixels.from_centre_origin(group["keypoints"][()].astype(np.float32))
    scores = group["scores"][()].astype(np.float32) if "scores" in group else np.ones(len(keypoints), np.float32)
    descriptors = group["descriptors"][()].T if "descriptors" in group else np.zeros((len(keypoints), 0), np.float32)
    if "image_size" in group:
        width, height = (int(v) for v in group["image_size"][()])
    else:
        width, height = (int(v) for v in np.ceil(keypoints.max(0, initial=1.0)))
    return LocalFeatures(keypoints[:, :2], scores, np.ascontiguousarray(descriptors), (width, height))
