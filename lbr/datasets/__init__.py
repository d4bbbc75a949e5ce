"""Datasets: a function from its settings to a `Dataset` value. A new layout is a file and two lines here."""

from __future__ import annotations

from lbr.datasets.dataset import Dataset
from lbr.datasets.folder import FolderSettings, load_folder

__all__ = ["Dataset", "DatasetConfig", "load_dataset"]

DatasetConfig = FolderSettings


def load_dataset(config: DatasetConfig) -> Dataset:
    """Read what a dataset is made of: names, cameras, poses and queries; no image is opened."""
    return load_folder(config)
