"""The network of `resnetxn`, with the names of its published checkpoint (reference/state_dict_resnetxn.json)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
STRIDE = 4  # of the dense descriptors
DUSTBIN = 1e-5


class Bottleneck(nn.Module):
    """Grouped residual block of ResNeXt (Xie et al., CVPR 2017): 1x1, grouped 3x3, 1x1, around an identity."""

    def __init__(self, channels_in: int, width: int, channels_out: int, groups: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out))
            if channels_in != channels_out
            else None
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn3(self.conv3(y)) + shortcut)


class ResNetXNNetwork(nn.Module):
    """forward: RGB float [B, 3, H, W] in 0..1, H and W multiples of 8 -> (heat [B, H, W], dense [B, 128, H/4, W/4]).

    heat: for each pixel the probability of a keypoint among its cell's 64 pixels and none (METHOD.md 8).
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        stem = [nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
                nn.MaxPool2d(3, stride=2, padding=1)]  # fmt: skip
        first = [Bottleneck(64, 128, 256), Bottleneck(256, 128, 256), Bottleneck(256, 128, 256)]
        self.encoder = nn.Sequential(*stem, nn.Sequential(*first))
        self.conv = nn.Sequential(*(Bottleneck(256, 256, 256) for _ in range(3)))
        self.convPa = _head(stride=2)
        self.convDa = _head(stride=1)
        self.convPb = nn.Conv2d(256, 65, 1)
        self.convDb = nn.Conv2d(256, 128, 1)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.conv(self.encoder((images - self.mean) / self.std))
        likelihood = self.convPb(self.convPa(features)).exp()
        likelihood = likelihood / (likelihood.sum(1, keepdim=True) + DUSTBIN)
        heat = F.pixel_shuffle(likelihood[:, :-1], 8)[:, 0]  # the last channel is the dustbin
        return heat, F.normalize(self.convDb(self.convDa(features)), dim=1)


def _head(stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(256, 256, 3, stride=stride, padding=1), nn.BatchNorm2d(256), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
    )  # fmt: skip


def strongest(heat: torch.Tensor, radius: int, threshold: float, border: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns int64 [N] of the local maxima of heat [H, W] over (2 radius + 1)^2 pixels, above `threshold`.

    Pixels within `border` of an edge have none. Of equal neighbours both are maxima.
    """
    largest = F.max_pool2d(heat[None, None], 2 * radius + 1, stride=1, padding=radius)[0, 0]
    kept = (heat == largest) & (heat > threshold)
    inside = torch.zeros_like(kept)
    inside[border : heat.shape[0] - border, border : heat.shape[1] - border] = True
    rows, columns = torch.nonzero(kept & inside, as_tuple=True)
    return rows, columns


def sample_descriptors(dense: torch.Tensor, keypoints: torch.Tensor) -> torch.Tensor:
    """Unit descriptors [N, D] of dense [D, h, w] at keypoints [N, 2], from the first pixel's centre, bilinear.

    Cell (i, j) of the grid covers pixels 4i..4i+3, so that a corner-origin coordinate is divided by the stride.
    """
    size = torch.tensor([dense.shape[2], dense.shape[1]], device=dense.device) * STRIDE
    grid = (keypoints + 0.5) / size * 2 - 1
    found = F.grid_sample(dense[None], grid[None, None], mode="bilinear", padding_mode="border", align_corners=False)
    return F.normalize(found[0, :, 0].T, dim=1)
