"""The held-out images during training: how many cells are right, and logits to calibrate with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lbr.io.images import resize
from lbr.recognition.calibration import sample_cells
from lbr.recognition.losses import presence_of, shrink_masks
from lbr.recognition.network import RecognitionNetwork
from lbr.recognition.optimization import autocast
from lbr.recognition.samples import LabelledImage, Photographs, normalised
from lbr.recognition.settings import RecognitionSettings


@dataclass(frozen=True)
class HeldOut:
    """Held-out images with all their stylised copies, at the network's size."""

    images: Sequence[LabelledImage]
    photographs: Photographs
    size: tuple[int, int]

    def batch(self, item: LabelledImage) -> tuple[torch.Tensor, torch.Tensor]:
        """An image and its copies: float [1 + copies, 3, h, w], and their one mask, int64 [1 + copies, h', w']."""
        images = np.stack([resize(self.photographs.image(item, path), self.size) for path in item.images])
        mask = torch.from_numpy(self.photographs.mask(item.mask).astype(np.int64))
        return normalised(images), mask.expand(len(images), -1, -1)


@dataclass(frozen=True, eq=False)
class Validation:
    """accuracy: share of right cells, 0..1. logits [M, C], target [M]: a choice of cells; presence, present [N, C]."""

    accuracy: float
    logits: torch.Tensor
    target: torch.Tensor
    presence: torch.Tensor
    present: torch.Tensor


@torch.no_grad()
def validate(network: RecognitionNetwork, held_out: HeldOut, settings: RecognitionSettings, device: str) -> Validation:
    """Run the network, not training, over all held-out images and copies."""
    network.eval()
    right: list[float] = []
    parts: list[tuple[torch.Tensor, ...]] = []
    for item in held_out.images:
        images, masks = held_out.batch(item)
        with autocast(settings.training.precision, device):
            output = network(images.to(device, memory_format=torch.channels_last))
        logits = output.segmentation.float().cpu()
        small = shrink_masks(masks, logits)
        right.append(float((logits.argmax(1) == small).double().mean()))
        parts.append((*sample_cells(logits, small), output.presence.float().cpu(), presence_of(masks, logits.shape[1])))
    logits, target, presence, present = (torch.cat(column) for column in zip(*parts, strict=True))
    return Validation(float(np.mean(right)), logits, target, presence, present)
