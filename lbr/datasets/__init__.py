"""Datasets: a function from its settings to a `Dataset` value. A new layout is a file and two lines here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from lbr.datasets.aachen import AachenSettings, load_aachen
from lbr.datasets.dataset import Dataset
from lbr.datasets.folder import FolderSettings, load_folder
from lbr.datasets.robotcar import RobotCarSettings, load_robotcar

__all__ = ["DATASETS", "Dataset", "DatasetConfig", "load_dataset"]

DATASETS: dict[str, Callable[[Any], Dataset]] = {
    "folder": load_folder, "aachen": load_aachen, "robotcar": load_robotcar
}  # fmt: skip
DatasetConfig = Annotated[FolderSettings | AachenSettings | RobotCarSettings, Field(discriminator="name")]


def load_dataset(config: DatasetConfig) -> Dataset:
    """Read what a dataset is made of: names, cameras, poses and queries; no image is decoded."""
    return DATASETS[config.name](config)
