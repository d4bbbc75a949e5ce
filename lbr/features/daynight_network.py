"""The network of `daynight`: a small pyramid that gives every pixel a score and every fourth a descriptor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

MULTIPLE = 16  # of the sides of an image: four halvings
WIDTH = 64  # of a descriptor
LARGEST = 15.0  # logit of the detector
WINDOW = 9  # pixels, in which one keypoint is looked for
REACH = 2  # of the window around a maximum in which its place is weighed, pixels


class DayNightNetwork(nn.Module):
    """forward: grey float [B, 1, H, W] in 0..1, sides multiples of 16 -> (detection logits [B, 1, H, W],
    reliability logits [B, 1, H/4, W/4], descriptors [B, 64, H/4, W/4] of any length)."""

    def __init__(self) -> None:
        super().__init__()
        self.full = _conv(1, 12)
        self.halved = nn.Sequential(_conv(12, 24, 2), _conv(24, 24))
        self.quarter = nn.Sequential(_conv(24, 48, 2), _conv(48, 48))
        self.eighth = nn.Sequential(_conv(48, 96, 2), _conv(96, 96), _conv(96, 96))
        self.sixteenth = nn.Sequential(_conv(96, 128, 2), _conv(128, 128), _conv(128, 128))
        self.from_quarter, self.from_eighth, self.from_sixteenth = (nn.Conv2d(c, WIDTH, 1) for c in (48, 96, 128))
        self.fuse = _conv(WIDTH, WIDTH)
        self.describe = nn.Conv2d(WIDTH, WIDTH, 1)
        self.rely = nn.Conv2d(WIDTH, 1, 1)
        self.to_full, self.to_half, self.to_quarter = (nn.Conv2d(c, 8, 1) for c in (12, 24, WIDTH))
        self.detect = nn.Sequential(_conv(8, 8), nn.Conv2d(8, 1, 3, padding=1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.heads(*self.trunk(images))

    def trunk(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Maps of all, of half and of a quarter of the pixels: [B, 12, H, W], [B, 24, H/2, W/2], [B, 64, H/4, W/4]."""
        # An exposure changes nothing. Sums in float64: in float32 they depend on how many threads take a part of them.
        std, mean = torch.std_mean(images.double(), (2, 3), keepdim=True)
        images = (images - mean.to(images.dtype)) / (std.to(images.dtype) + 1e-3)
        full = self.full(images)
        half = self.halved(full)
        quarter = self.quarter(half)
        eighth = self.eighth(quarter)
        coarse = self.from_eighth(eighth) + _enlarged(self.from_sixteenth(self.sixteenth(eighth)), 2)
        return full, half, self.fuse(F.relu(self.from_quarter(quarter) + _enlarged(coarse, 2)))

    def heads(
        self, full: torch.Tensor, half: torch.Tensor, fused: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What `forward` gives. In float32, even where the trunk is not: a place hangs on small differences."""
        fine = self.to_half(half) + _enlarged(self.to_quarter(fused), 2)
        fine = F.relu(self.to_full(full) + _enlarged(fine, 2))
        return LARGEST * torch.tanh(self.detect(fine) / LARGEST), self._reliability(fused), self.describe(fused)

    def _reliability(self, fused: torch.Tensor) -> torch.Tensor:
        """The convolution `rely`, as a sum: that of one channel depends on how many threads share it."""
        weight, bias = self.rely.parameters()
        return (fused * weight).sum(1, keepdim=True) + bias


def _conv(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))


def _enlarged(maps: torch.Tensor, times: int) -> torch.Tensor:
    return F.interpolate(maps, scale_factor=times, mode="bilinear", align_corners=False)


def keypoint_heat(detection: torch.Tensor, reliability: torch.Tensor) -> torch.Tensor:
    """Heat [H, W] of logits [1, 1, H, W] and [1, 1, H/4, W/4]: how likely a keypoint is there, and then is matched."""
    return (peaks(detection) * torch.sigmoid(_enlarged(reliability, 4)))[0, 0]


def peaks(detection: torch.Tensor) -> torch.Tensor:
    """Of logits [B, 1, H, W]: the share 0..1 that each pixel has in the softmax of the window around it."""
    likelihood = torch.exp(detection)
    return likelihood / (WINDOW * WINDOW * F.avg_pool2d(likelihood, WINDOW, 1, WINDOW // 2, count_include_pad=True))


def refined(detection: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Places float [B, N, 2] (x, y) of maxima of logits [B, 1, H, W], each moved to the mean of its window's softmax.

    Places are counted from the first pixel's centre.
    """
    height, width = detection.shape[2:]
    steps = torch.arange(-REACH, REACH + 1, device=places.device)
    window = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).reshape(-1, 2)
    around = places.round().long()[:, :, None] + window
    index = around[..., 1].clamp(0, height - 1) * width + around[..., 0].clamp(0, width - 1)
    values = detection.flatten(1).gather(1, index.flatten(1)).reshape(index.shape)
    return places + torch.softmax(values, -1) @ window.to(places.dtype)
