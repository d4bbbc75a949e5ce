"""What training minimises: hard pixels of the segmentation, presence of every instance in the image."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from lbr.recognition.network import Recognition
from lbr.recognition.settings import LossSettings


class Losses(NamedTuple):
    """Scalars: the weighted sum that is minimised; its two parts, without weights; the share of right cells."""

    total: torch.Tensor
    segmentation: torch.Tensor
    classification: torch.Tensor
    accuracy: torch.Tensor

    def numbers(self) -> torch.Tensor:
        """float64 [4] on the CPU, in the order of the fields, without gradients."""
        return torch.stack([value.detach().double().cpu() for value in self])


def recognition_loss(
    output: Recognition, masks: torch.Tensor, settings: LossSettings, class_weights: torch.Tensor | None = None
) -> Losses:
    """The loss of a batch. masks: int64 [B, H, W] of classes, brought to the logits' size by nearest neighbour.

    class_weights: float [C] for the segmentation, or None.
    """
    logits = output.segmentation.float()
    small = shrink_masks(masks, logits)
    segmentation = hard_cross_entropy(logits, small, settings.hard_ratio, class_weights)
    present = presence_of(masks, logits.shape[1])
    classification = F.binary_cross_entropy_with_logits(output.presence.float(), present)
    total = settings.segmentation * segmentation + settings.classification * classification
    return Losses(total, segmentation, classification, (logits.argmax(1) == small).double().mean())


def shrink_masks(masks: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Masks int64 [B, H, W] at the size of logits [B, C, h, w], by nearest neighbour: int64 [B, h, w]."""
    return F.interpolate(masks[:, None].float(), logits.shape[-2:], mode="nearest-exact")[:, 0].long()


def hard_cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, ratio: float, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean cross-entropy of the hardest `ratio` of all pixels (online hard example mining, Shrivastava et al. 2016).

    logits: [B, C, H, W]; target: int64 [B, H, W]. Which pixels are hard is judged without the class weights,
    and the mean is weighted by them, so that a rare class counts more and is not merely chosen more often.
    """
    losses = F.cross_entropy(logits, target, reduction="none").flatten()
    kept = max(1, int(ratio * losses.numel()))
    hardest, chosen = losses.topk(kept, sorted=False)
    if class_weights is None:
        return hardest.mean()
    weights = class_weights[target.flatten()[chosen]]
    return (weights * hardest).sum() / weights.sum()


def presence_of(masks: torch.Tensor, num_classes: int) -> torch.Tensor:
    """float [B, C]: 1 where an image's mask [B, H, W] has the class; the background is a class like any other."""
    present = torch.zeros(len(masks), num_classes, device=masks.device)
    return present.scatter_(1, masks.flatten(1), 1.0)


def rarity_weights(pixels_of_class: torch.Tensor, power: float) -> torch.Tensor | None:
    """Class weights float [C] from pixel counts [C]: (median frequency / frequency) ** power, 1 where unseen.

    Median over the classes that occur (Eigen and Fergus, ICCV 2015, whose power is 1). None when power is 0.
    """
    if power == 0:
        return None
    counts = pixels_of_class.double()
    seen = counts > 0
    weights = torch.ones_like(counts)
    weights[seen] = (counts[seen].median() / counts[seen]) ** power
    return weights.float()
