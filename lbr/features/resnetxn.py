"""ResNetXN, the local feature of the published method: detector and descriptor on the first layers of a ResNeXt-101."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from lbr.errors import ConfigError
from lbr.features.extractor import NeuralSettings, extract_resized
from lbr.geometry.pixels import from_centre_origin, rescale, to_centre_origin
from lbr.io.images import resize
from lbr.networks import load_weights, pick_device, to_arrays, to_tensor
from lbr.types import LocalFeatures

CELL = 8  # the detector sees 8 x 8 pixels at once


class ResNetXNSettings(NeuralSettings):
    """Published: Aachen 3000 keypoints, 1600 px, one scale; RobotCar 4096, 1024 px, scales 1.2, 1.0, 0.8."""

    name: Literal["resnetxn"] = "resnetxn"
    max_keypoints: int = Field(default=3000, ge=1)
    scales: tuple[float, ...] = Field(default=(1.0,), min_length=1, description="of the image within max_size")
    detection_threshold: float = Field(default=0.001, ge=0)
    nms_radius: int = Field(default=4, ge=0)
    border: int = Field(default=4, ge=0, description="pixels along the image's edge without keypoints")


class ResNetXN:
    def __init__(self, settings: ResNetXNSettings) -> None:
        from lbr.features.resnetxn_network import ResNetXNNetwork

        if settings.weights is None:
            raise ConfigError(
                "extractor.name=resnetxn needs extractor.weights: the published checkpoint (README, Pretrained weights)"
            )
        self.settings, self.device = settings, pick_device(settings.device)
        network = ResNetXNNetwork()
        load_weights(network, settings.weights)
        self.network = network.eval().to(self.device)

    def extract(self, image: np.ndarray) -> LocalFeatures:
        """RGB uint8 [H, W, 3] -> features with 128-d descriptors."""
        return extract_resized(image, self._detect, self.settings, multiple=CELL)

    def _detect(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        """Keypoints from the pixel's centre, of all scales, in the pixels of `image`."""
        size = (image.shape[1], image.shape[0])
        found = []
        for scale in self.settings.scales:
            width, height = (max(1, round(side * scale / CELL)) * CELL for side in size)
            keypoints, scores, descriptors = self._detect_at(resize(image, (width, height)))
            full = rescale(from_centre_origin(keypoints), (width, height), size)
            found.append((to_centre_origin(full), scores, descriptors))
        keypoints, scores, descriptors = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return keypoints, scores, descriptors

    def _detect_at(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        import torch

        from lbr.features.resnetxn_network import sample_descriptors, strongest

        settings = self.settings
        with torch.inference_mode():
            heat, dense = self.network(to_tensor(image, self.device))
            rows, columns = strongest(heat[0], settings.nms_radius, settings.detection_threshold, settings.border)
            keypoints = torch.stack([columns, rows], 1).float()
            return to_arrays(keypoints, heat[0][rows, columns], sample_descriptors(dense[0], keypoints))
