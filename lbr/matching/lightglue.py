"""LightGlue (Lindenberger et al., ICCV 2023), by kornia."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from lbr.errors import ConfigError
from lbr.geometry.pixels import to_centre_origin
from lbr.networks import load_weights, pick_device, pretrained
from lbr.settings import ConfigPath, Settings
from lbr.types import LocalFeatures, Matches


class LightGlueSettings(Settings):
    """features: which local feature the weights are for; weights: a checkpoint, or null for kornia's own download."""

    name: Literal["lightglue"] = "lightglue"
    features: Literal["aliked", "disk", "sift", "xfeat", "superpoint"] = "aliked"
    weights: ConfigPath | None = None
    min_score: float = Field(default=0.1, ge=0, le=1)
    device: str = "auto"


class LightGlueMatcher:
    def __init__(self, settings: LightGlueSettings) -> None:
        from kornia.feature import LightGlue

        self.settings, self.device = settings, pick_device(settings.device)
        if settings.weights is None:
            network = pretrained(LightGlue, f"lightglue ({settings.features})", features=settings.features)
        else:
            # features=None, against its annotation, is how kornia builds one without a download
            options: dict[str, Any] = {"features": None, "weights": None}
            options |= {k: v for k, v in LightGlue.features[settings.features].items() if k != "weights"}
            network = LightGlue(**options)
            load_weights(network, settings.weights, may_miss=("confidence_thresholds",))
        if network.conf.add_scale_ori or network.conf.add_laf:
            raise ConfigError(
                f"lightglue for {settings.features} wants scales and orientations of keypoints, which feature files "
                "do not keep; use matcher.name=nearest or another local feature"
            )
        network.conf.filter_threshold = settings.min_score  # here, as some variants bring their own
        self.network = network.eval().to(self.device)

    def match(self, a: LocalFeatures, b: LocalFeatures) -> Matches:
        """Matches of a with b; scores are the assignment's probabilities."""
        import torch

        if not len(a) or not len(b):
            return Matches.empty()
        with torch.inference_mode():
            found = self.network({"image0": self._input(a), "image1": self._input(b)})
        indices = found["matches"][0].cpu().numpy().astype(np.int32)
        return Matches(indices.reshape(-1, 2), found["scores"][0].float().cpu().numpy())

    def _input(self, features: LocalFeatures) -> dict[str, object]:
        import torch

        keypoints = torch.from_numpy(to_centre_origin(features.keypoints))[None].to(self.device)
        descriptors = torch.from_numpy(features.descriptors.astype(np.float32))[None].to(self.device)
        size = torch.tensor([features.image_size], dtype=torch.float32, device=self.device)
        return {"keypoints": keypoints, "descriptors": descriptors, "image_size": size}
