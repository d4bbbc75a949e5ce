"""Datasets: a function from its settings to a `Dataset` value. A new layout is a file and two lines here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
    dataset = DATASETS[config.name](config)
    if len({query.condition for query in dataset.queries}) == 1:
        return dataset
    named = (replace(q, condition="other") if q.condition == "all" else q for q in dataset.queries)
    return replace(dataset, queries=tuple(named))  # 'all' is the row of all conditions together
