from __future__ import annotations

import pytest
import torch
from torch import nn

from lbr.recognition.inference import ReadyNetwork, folded
from lbr.recognition.network import make_network
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


def test_what_cannot_be_followed_stays_as_it_is():
    class Winding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.steps(x) if x.sum() > 0 else x

    part = Winding().eval()
    assert folded(part) is part
