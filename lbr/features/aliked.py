"""ALIKED (Zhao et al., IEEE TIM 2023), by kornia."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from lbr.features.extractor import NeuralSettings, extract_resized
from lbr.networks import load_weights, pick_device, pretrained, to_arrays, to_tensor
from lbr.types import LocalFeatures


class AlikedSettings(NeuralSettings):
    name: Literal["aliked"] = "aliked"
    max_keypoints: int = Field(default=2048, ge=1)
    max_size: int | None = Field(default=1024, ge=32)
    model: Literal["aliked-t16", "aliked-n16", "aliked-n16rot", "aliked-n32"] = "aliked-n16"
    detection_threshold: float = Field(default=0.2, ge=0)
    nms_radius: int = Field(default=2, ge=1)


class Aliked:
    def __init__(self, settings: AlikedSettings) -> None:
        from kornia.feature import ALIKED

        self.settings, self.device = settings, pick_device(settings.device)
        options: dict[str, Any] = {
            "model_name": settings.model, "max_num_keypoints": settings.max_keypoints,
            "detection_threshold": settings.detection_threshold, "nms_radius": settings.nms_radius,
        }  # fmt: skip
        if settings.weights is None:
            network = pretrained(ALIKED.from_pretrained, f"aliked ({settings.model})", **options)
        else:
            network = ALIKED(**options)
            load_weights(network, settings.weights, may_miss=("dkd.hw_grid",))
        self.network = network.eval().to(self.device)

    def extract(self, image: np.ndarray) -> LocalFeatures:
        """RGB uint8 [H, W, 3] -> features with 128-d (t16: 64-d) descriptors."""
        return extract_resized(image, self._detect, self.settings)

    def _detect(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        import torch

        with torch.inference_mode():
            found = self.network(to_tensor(image, self.device))[0]
        return to_arrays(found.keypoints, found.keypoint_scores, found.descriptors)
