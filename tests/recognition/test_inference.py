from __future__ import annotations

import pytest
import torch
from torch import nn

from lbr.networks import folded
from lbr.recognition.inference import ReadyNetwork
from lbr.recognition.network import make_network
from lbr.recognition.packing import PackedConvolution, can_pack
from lbr.recognition.settings import DeepLabSettings, NetworkConfig, PspSettings

NETWORKS = [
    PspSettings(encoder="resnext50_32x4d", channels=64),
    DeepLabSettings(encoder="resnet18", channels=32, atrous_rates=(2, 4, 6)),
]
IMAGES = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(3))


def lived_in(settings: NetworkConfig) -> nn.Module:
    """A network with statistics as training leaves them, none of them 0 or 1, and logits that differ."""
    torch.manual_seed(0)
    network = make_network(settings, 9).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
    return network


@pytest.mark.parametrize("settings", NETWORKS, ids=lambda s: s.name)
def test_folding_changes_nothing_but_rounding(settings: NetworkConfig):
    network = lived_in(settings)
    ready = ReadyNetwork(network, "float32", "cpu")
    assert any(isinstance(m, nn.BatchNorm2d) for m in network.modules()), "the given network is left as it was"
    assert not any(isinstance(m, nn.BatchNorm2d) for m in ready.modules())
    with torch.inference_mode():
        wanted = network(IMAGES)
    for found, true in zip(ready(IMAGES), wanted, strict=True):
        assert (found - true).abs().max() <= 1e-4 * true.abs().max()


@pytest.mark.parametrize("settings", NETWORKS, ids=lambda s: s.name)
def test_bfloat16_is_within_its_tolerance(settings: NetworkConfig):
    network = lived_in(settings)
    exact, found = (ReadyNetwork(network, precision, "cpu")(IMAGES) for precision in ("float32", "bfloat16"))
    for a, b in zip(found, exact, strict=True):
        assert a.dtype == torch.float32
        assert 0 < (a - b).abs().max() <= 0.02 * b.abs().max()
    same = (found.segmentation.argmax(1) == exact.segmentation.argmax(1)).double().mean()
    assert same > 0.97


@pytest.mark.parametrize("settings", NETWORKS, ids=lambda s: s.name)
def test_convolutions_are_packed_with_what_follows_them(settings: NetworkConfig):
    if not can_pack(torch.float32, "cpu"):
        pytest.skip("this torch has no oneDNN operators")
    ready = ReadyNetwork(lived_in(settings), "float32", "cpu", (96, 96))
    packed = [m for m in ready.modules() if isinstance(m, PackedConvolution)]
    assert ready.packed == len(packed) > 15
    assert sum(isinstance(m, nn.Conv2d) for m in ready.modules()) < len(packed) / 4
    left = sum(n.op == "call_function" and "add" in str(n.target) for n in ready.network.encoder.graph.nodes)
    assert left == 0, "what is added is added by the convolution"
    other = torch.randn(1, 3, 64, 128)
    with torch.inference_mode():
        wanted = lived_in(settings)(other)
    assert (ready(other).segmentation - wanted.segmentation).abs().max() < 1e-4 * wanted.segmentation.abs().max()


def test_what_cannot_be_followed_stays_as_it_is():
    class Winding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.steps(x) if x.sum() > 0 else x

    part = Winding().eval()
    assert folded(part) is part
