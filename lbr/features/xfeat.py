"""XFeat (Potje et al., CVPR 2024), by kornia."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from lbr.features.extractor import NeuralSettings, extract_resized
from lbr.networks import load_weights, pick_device, pretrained, to_arrays, to_tensor
from lbr.types import LocalFeatures

STRIDE = 32  # XFeat resizes to multiples of it by itself, but then returns coordinates that are a bit off


class XFeatSettings(NeuralSettings):
    name: Literal["xfeat"] = "xfeat"
    max_keypoints: int = Field(default=4096, ge=1)
    max_size: int | None = Field(default=1024, ge=32)
    detection_threshold: float = Field(default=0.05, ge=0)


class XFeat:
    def __init__(self, settings: XFeatSettings) -> None:
        from kornia.feature import XFeat as Network

        self.settings, self.device = settings, pick_device(settings.device)
        options: dict[str, Any] = {"top_k": settings.max_keypoints, "detection_threshold": settings.detection_threshold}
        if settings.weights is None:
            network = pretrained(Network.from_pretrained, "xfeat", **options)
        else:
            network = Network(**options)
            load_weights(network.net, settings.weights)
        self.network = network.eval().to(self.device)

    def extract(self, image: np.ndarray) -> LocalFeatures:
        """RGB uint8 [H, W, 3] -> features with 64-d descriptors."""
        return extract_resized(image, self._detect, self.settings, multiple=STRIDE)

    def _detect(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        import torch

        with torch.inference_mode():
            found = self.network.detectAndCompute(to_tensor(image, self.device))[0]
        return to_arrays(found["keypoints"], found["scores"], found["descriptors"])
