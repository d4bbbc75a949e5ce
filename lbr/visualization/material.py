"""What the report reads of an image while it is made. What cannot be read stops nothing."""

from __future__ import annotations

import numpy as np

from lbr.errors import DataError
from lbr.types import InstancePrediction, LocalFeatures
from lbr.visualization.entries import ReportInputs


def photo_of(inputs: ReportInputs, name: str) -> np.ndarray | str:
    """A photograph, RGB uint8 [H, W, 3], or the reason why there is none."""
    try:
        return inputs.images.read(name)
    except DataError as error:
        return str(error).replace(f"{inputs.images.root}/", "")


def features_of(inputs: ReportInputs, name: str) -> LocalFeatures | None:
    """Local features, None where there are none."""
    try:
        return inputs.features(name)
    except DataError:
        return None


def prediction_of(inputs: ReportInputs, name: str) -> InstancePrediction | str:
    """What the network says, or the reason why there is nothing."""
    try:
        found = inputs.predictions(name)
    except DataError as error:
        return str(error)
    return f"{name}: no prediction" if found is None else found


def true_mask_of(inputs: ReportInputs, name: str) -> np.ndarray | None:
    """Classes int [H, W] of the true label image, None where there is none."""
    try:
        return inputs.true_masks(name)
    except DataError:
        return None
