"""segmentation-models-pytorch, also beside a torch that its torchvision was not built for.

timm and smp import torchvision, of which there is no CPU build: next to a CPU torch the import stops with "operator
torchvision::nms does not exist". Only the schemas of two operators are missing, which nothing here calls; declared,
all of it works. With a torchvision that fits, this module does nothing but import.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType

import torch

_MISSING = "operator torchvision::nms does not exist"
_SCHEMAS = ("nms", "qnms")


@cache
def segmentation_models() -> ModuleType:
    """The module `segmentation_models_pytorch`. Raises ImportError or RuntimeError as its own import does."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if _MISSING not in str(error):
            raise
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declare_operators()
    return importlib.import_module("segmentation_models_pytorch")


@cache
def _declare_operators() -> torch.library.Library:
    """The library must stay alive, or its schemas go: the cache holds it."""
    library = torch.library.Library("torchvision", "DEF")
    for name in _SCHEMAS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library
