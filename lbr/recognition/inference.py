"""A network made ready to predict only: norms folded into their convolutions, weights cast once, not at every call."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from lbr.networks import channels_last, folded
from lbr.recognition.network import Recognition, RecognitionNetwork
from lbr.recognition.optimization import uses_bfloat16
from lbr.recognition.packing import can_pack, pack
from lbr.recognition.settings import Precision


class ReadyNetwork(nn.Module):
    """What a `RecognitionNetwork` predicts, in float32 whatever it computes in; fastest for images of `size`.

    In bfloat16 its logits are within 2 % of the largest of float32's (tests/recognition/test_inference.py), as under
    autocast, whose casts of every weight at every call it saves.
    """

    def __init__(
        self, network: RecognitionNetwork, precision: Precision, device: str, size: tuple[int, int] = (256, 256)
    ) -> None:
        super().__init__()
        network = deepcopy(network).eval().requires_grad_(False)
        network.encoder, network.decoder = folded(network.encoder), folded(network.decoder)
        convolution, *rest = network.seghead
        network.seghead = nn.Sequential(folded(nn.Sequential(convolution)), Float(), *rest)
        self.number = torch.bfloat16 if uses_bfloat16(precision, device) else torch.float32
        self.network = channels_last(network.to(self.number), device)
        self.packed = 0
        if can_pack(self.number, device):
            example = torch.zeros(1, 3, size[1], size[0], dtype=self.number, device=device)
            with torch.inference_mode():
                self.packed = pack(self.network, example.to(memory_format=torch.channels_last))

    def forward(self, images: torch.Tensor) -> Recognition:
        """float [B, 3, H, W], normalised."""
        return self.described(images)[0]

    @torch.inference_mode()
    def described(self, images: torch.Tensor) -> tuple[Recognition, torch.Tensor]:
        """As `RecognitionNetwork.described`: with the decoder's map."""
        images = images.to(self.number, memory_format=torch.channels_last)
        output, decoded = self.network.described(images)
        return Recognition(*(tensor.float() for tensor in output)), decoded.float()


class Float(nn.Module):
    """To float32: few numbers before they are upsampled, many after."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float()
