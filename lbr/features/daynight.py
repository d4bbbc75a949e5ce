"""DayNight: a small local feature of ours, learned from photographs of facades and their copies by night."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from lbr.features.extractor import NeuralSettings, extract_resized
from lbr.io.images import to_grey
from lbr.networks import channels_last, folded, load_weights, pick_device, single_torch_thread, to_arrays
from lbr.types import LocalFeatures

SHIPPED = Path(__file__).resolve().parents[2] / "weights" / "daynight.pt"


class DayNightSettings(NeuralSettings):
    """weights: null takes those that are shipped (scripts/make_local_feature makes them)."""

    name: Literal["daynight"] = "daynight"
    max_keypoints: int = Field(default=2048, ge=1)
    detection_threshold: float = Field(default=0.0, ge=0, description="of the heat, 0..1")
    nms_radius: int = Field(default=2, ge=1)
    border: int = Field(default=4, ge=0, description="pixels along the image's edge without keypoints")

    @property
    def shipped(self) -> Path:
        """What `weights` is where it is null; not a setting, as a place of this machine is none."""
        return SHIPPED


class DayNight:
    """Detector and descriptor in one network (lbr/learning says how it is trained).

    Finds the same places by day and by night, where SIFT finds few; by day SIFT's are a little more precise.
    """

    def __init__(self, settings: DayNightSettings) -> None:
        from lbr.features.daynight_network import DayNightNetwork

        self.settings, self.device = settings, pick_device(settings.device)
        network = DayNightNetwork()
        load_weights(network, settings.weights or settings.shipped)
        self.network = channels_last(folded(network.eval().requires_grad_(False)), self.device)

    def extract(self, image: np.ndarray) -> LocalFeatures:
        """RGB uint8 [H, W, 3] -> features with 64-d descriptors."""
        from lbr.features.daynight_network import MULTIPLE

        return extract_resized(image, self._detect, self.settings, multiple=MULTIPLE)

    def _detect(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        import torch

        from lbr.features.daynight_network import keypoint_heat, refined
        from lbr.features.resnetxn_network import sample_descriptors, strongest

        settings = self.settings
        with single_torch_thread(), torch.inference_mode():
            grey = torch.from_numpy(to_grey(image))[None, None].to(self.device).float() / 255
            detection, reliability, dense = self.network(grey)
            heat = keypoint_heat(detection, reliability)
            rows, columns = strongest(heat, settings.nms_radius, settings.detection_threshold, settings.border)
            (places,) = refined(detection, torch.stack([columns, rows], 1)[None].float())
            return to_arrays(places, heat[rows, columns], sample_descriptors(dense[0], places))
