from __future__ import annotations

import pytest
import torch
from torch import nn

from lbr.recognition.muon import Muon, orthogonalised
from lbr.recognition.network import make_network
from lbr.recognition.optimization import RunningAverage, make_optimizer
from lbr.recognition.settings import AdamWSettings, DeepLabSettings, MuonSettings


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (16, 16)])
def test_singular_values_come_near_one(shape: tuple[int, int]):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    s = torch.logspace(0, -1.5, len(s))  # from 1 to 1/30
    found = orthogonalised(u * s @ v)
    values = torch.linalg.svdvals(found)
    assert values.max() < 1.25 and values.min() > 0.6
    torch.testing.assert_close(u.T @ found @ v.T, torch.diag(torch.diag(u.T @ found @ v.T)), atol=2e-3, rtol=0)


def test_it_is_the_iteration_of_its_source():
    """X <- a X + b (X X') X + c (X X')^2 X, five times, of singular values down to nothing."""
    matrix = torch.randn(12, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix[3] = matrix[4]  # one of them is 0
    wanted = matrix / matrix.norm()
    for _ in range(5):
        square = wanted @ wanted.T
        wanted = 3.4445 * wanted + (-4.7750 * square + 2.0315 * square @ square) @ wanted
    torch.testing.assert_close(orthogonalised(matrix), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(orthogonalised(matrix.float()), wanted.float(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(orthogonalised(matrix.T.float()), wanted.T.float(), rtol=1e-3, atol=1e-3)


def test_plain_groups_are_adamw():
    """The other groups take torch's own steps, decay among them."""
    parameters = [nn.Parameter(torch.linspace(-1, 1, 6)) for _ in range(2)]
    own = Muon([{"params": parameters[:1], "weight_decay": 0.1}], 0.01, 0.9)
    theirs = torch.optim.AdamW(parameters[1:], 0.01, weight_decay=0.1)
    for step in range(5):
        for parameter, optimizer in zip(parameters, (own, theirs), strict=True):
            optimizer.zero_grad()
            ((parameter - step) ** 2).sum().backward()
            optimizer.step()
    torch.testing.assert_close(*parameters)


def test_it_learns_what_adamw_is_slow_at():
    """A linear map from inputs whose directions, none along an axis, differ a hundredfold; each at its best rate."""
    drawn = torch.Generator().manual_seed(1)
    turned = torch.linalg.qr(torch.randn(24, 24, generator=drawn)).Q
    inputs = torch.randn(256, 24, generator=drawn) * torch.logspace(0, -2, 24) @ turned
    wanted = torch.randn(24, 24, generator=drawn)
    left = {}
    for name, rates in (("muon", (0.03, 0.1, 0.3)), ("adamw", (0.03, 0.1, 0.3))):
        errors = []
        for rate in rates:
            weight = nn.Parameter(torch.zeros(24, 24))
            group = {"params": [weight], "orthogonal": True}
            optimizer = Muon([group], rate, 0.95) if name == "muon" else torch.optim.AdamW([weight], rate)
            for step in range(150):
                optimizer.param_groups[0]["lr"] = rate * (1 - step / 150)
                optimizer.zero_grad()
                ((inputs @ (weight - wanted).T) ** 2).mean().backward()
                optimizer.step()
            errors.append(float((weight.detach() - wanted).square().mean()))
        left[name] = min(errors)
    assert left["muon"] < 0.7 * left["adamw"]


def test_what_is_orthogonal_and_what_decays():
    network = make_network(DeepLabSettings(encoder="resnet18", channels=16), 4)
    names = {id(p): n for n, p in network.named_parameters()}
    groups = make_optimizer(network, MuonSettings(rate=1e-2, encoder_factor=0.5)).param_groups
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(names)
    for group in groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            inner = parameter.ndim == 4 and parameter.shape[1] > 1 and "head" not in name
            assert group["orthogonal"] == inner and (group["weight_decay"] > 0) == (parameter.ndim > 1)
            assert group["lr"] == (5e-3 if name.startswith("encoder") else 1e-2)
    assert not any("orthogonal" in g for g in make_optimizer(network, AdamWSettings()).param_groups)


def test_a_running_average_is_of_all_weights_and_statistics():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with torch.no_grad():
        network[0].weight.fill_(0.0)
    average = RunningAverage(network, 0.5)
    with torch.no_grad():
        network[0].weight.fill_(1.0)
        network[1].running_mean.fill_(4.0)
        network[1].num_batches_tracked.fill_(7)
    average.step(network)  # the first step: 10 / 11 of the way
    assert average.network[0].weight.flatten().tolist() == pytest.approx([10 / 11] * 4)
    for _ in range(60):
        average.step(network)
    torch.testing.assert_close(average.network.state_dict(), network.state_dict())
    again = RunningAverage(network, 0.5)
    again.load_state_dict(average.state_dict())
    assert again.steps == 61
