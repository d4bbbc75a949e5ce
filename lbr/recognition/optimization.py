"""Optimizers and number formats of training and prediction."""

from __future__ import annotations

from contextlib import AbstractContextManager
from copy import deepcopy
from typing import Any, Generic

import torch
from torch import nn

from lbr.networks import Network
from lbr.recognition.muon import Muon
from lbr.recognition.settings import MuonSettings, OptimizerConfig, Precision, SgdSettings


def make_optimizer(network: nn.Module, settings: OptimizerConfig) -> torch.optim.Optimizer:
    """Parameter groups: encoder and the rest, each with and without weight decay (none on biases and norms).

    Of Muon, those with decay also with and without orthogonal steps.
    """
    muon = isinstance(settings, MuonSettings)
    chosen: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        kind = (name.startswith("encoder."), parameter.ndim > 1, muon and _is_inner(name, parameter))
        chosen.setdefault(kind, []).append(parameter)
    groups: list[dict[str, Any]] = []
    for (encoder, decays, orthogonal), parameters in sorted(chosen.items(), key=lambda item: item[0], reverse=True):
        group = {
            "params": parameters,
            "lr": settings.rate * (settings.encoder_factor if encoder else 1.0),
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        groups.append({**group, "orthogonal": orthogonal} if muon else group)
    if isinstance(settings, MuonSettings):
        return Muon(groups, settings.rate, settings.momentum)
    if isinstance(settings, SgdSettings):
        return torch.optim.SGD(groups, settings.rate, settings.momentum)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name](groups, settings.rate)


def _is_inner(name: str, parameter: nn.Parameter) -> bool:
    """Whether a weight mixes channels inside the network: no head, no norm, no convolution of single channels."""
    return parameter.ndim > 1 and parameter.shape[1] > 1 and not name.startswith(("seghead.", "cls_head."))


class RunningAverage(Generic[Network]):
    """A network whose weights and statistics are running averages of another's: steadier than any one step's.

    decay: share of the average that each step leaves; less in the first steps, which count alike.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = deepcopy(network).requires_grad_(False)
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def step(self, network: nn.Module) -> None:
        """Take in the network's weights after a step of its optimizer."""
        self.steps += 1
        share = 1 - min(self.decay, self.steps / (self.steps + 10))
        for own, new in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if own.is_floating_point():
                own.lerp_(new, share)
            else:
                own.copy_(new)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "network": self.network.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self.network.load_state_dict(state["network"])


def autocast(precision: Precision, device: str) -> AbstractContextManager:
    """bfloat16 where asked for; 'auto' where the machine multiplies it in hardware, else float32."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=uses_bfloat16(precision, device))


def uses_bfloat16(precision: Precision, device: str) -> bool:
    if precision != "auto":
        return precision == "bfloat16"
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    supported = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(check() for check in supported if check)
