"""The held-out images: how many cells are right, and logits to calibrate with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from lbr.io.images import resize
from lbr.recognition.calibration import sample_cells
from lbr.recognition.losses import presence_of, shrink_masks
from lbr.recognition.network import Recognition, RecognitionNetwork
from lbr.recognition.optimization import autocast
from lbr.recognition.samples import LabelledImage, Photographs, TrainingSamples, collate, normalised
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
class Views:
    """What a network says of augmented views of images: logits [M, C], target [M] of a choice of cells; presence,
    present [N, C] of each view."""

    logits: torch.Tensor
    target: torch.Tensor
    presence: torch.Tensor
    present: torch.Tensor


@torch.no_grad()
def validate(network: RecognitionNetwork, held_out: HeldOut, settings: RecognitionSettings, device: str) -> float:
    """Share of right cells, 0..1, over all held-out images and copies, of the network, not training."""
    network.eval()
    right: list[float] = []
    for item in held_out.images:
        images, masks = held_out.batch(item)
        logits = _forward(network, images, settings, device).segmentation
        right.append(float((logits.argmax(1) == shrink_masks(masks, logits)).double().mean()))
    return float(np.mean(right))


@torch.no_grad()
def augmented_views(
    network: RecognitionNetwork, samples: TrainingSamples, settings: RecognitionSettings, device: str
) -> Views:
    """The network, not training, over an epoch of samples for each of their sizes.

    Confidences are calibrated on these: held-out images as they are lie too near to those learned from, and a few of
    them are too few.
    """
    network.eval()
    parts: list[tuple[torch.Tensor, ...]] = []
    for epoch in range(len(samples.sizes)):
        images, masks = collate([samples[epoch, index] for index in range(len(samples))])
        output = _forward(network, images, settings, device)
        cells = sample_cells(output.segmentation, shrink_masks(masks, output.segmentation))
        parts.append((*cells, output.presence, presence_of(masks, output.presence.shape[1])))
    return Views(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _forward(
    network: RecognitionNetwork, images: torch.Tensor, settings: RecognitionSettings, device: str
) -> Recognition:
    with autocast(settings.training.precision, device):
        output = network(images.to(device, memory_format=torch.channels_last))
    return Recognition(*(tensor.float().cpu() for tensor in output))
