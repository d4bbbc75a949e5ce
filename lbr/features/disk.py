"""DISK (Tyszkiewicz et al., NeurIPS 2020), by kornia."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from lbr.features.extractor import NeuralSettings, extract_resized
from lbr.networks import load_weights, pick_device, pretrained, to_arrays, to_tensor
from lbr.types import LocalFeatures


class DiskSettings(NeuralSettings):
    name: Literal["disk"] = "disk"
    max_keypoints: int = Field(default=2048, ge=1)
    max_size: int | None = Field(default=1024, ge=32)
    nms_window: int = Field(default=5, ge=1)
    score_threshold: float = Field(default=0.0, ge=0)


class Disk:
    def __init__(self, settings: DiskSettings) -> None:
        from kornia.feature import DISK

        self.settings, self.device = settings, pick_device(settings.device)
        if settings.weights is None:
            network = pretrained(DISK.from_pretrained, "disk", checkpoint="depth")
        else:
            network = DISK()
            load_weights(network, settings.weights)
        self.network = network.eval().to(self.device)

    def extract(self, image: np.ndarray) -> LocalFeatures:
        """RGB uint8 [H, W, 3] -> features with 128-d descriptors."""
        return extract_resized(image, self._detect, self.settings)

    def _detect(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        import torch

        s = self.settings
        with torch.inference_mode():
            found = self.network(
                to_tensor(image, self.device),
                s.max_keypoints,
                s.nms_window,
                s.score_threshold,
                pad_if_not_divisible=True,
            )[0]
        return to_arrays(found.keypoints, found.detection_scores, found.descriptors)
