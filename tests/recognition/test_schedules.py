"""The curve of each schedule against its closed form, also when it is resumed half-way."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from lbr.recognition.optimization import make_optimizer
from lbr.recognition.schedules import Schedule
from lbr.recognition.settings import (
    AdamSettings,
    AdamWSettings,
    CosineSchedule,
    PlateauSchedule,
    PolySchedule,
    ScheduleConfig,
    SgdSettings,
    StepSchedule,
)

EPOCHS, ITERATIONS, BASE = 8, 5, (0.2, 0.02)
TOTAL = EPOCHS * ITERATIONS
SCORES = [0.1, 0.2, 0.2, 0.15, 0.3, 0.1, 0.1, 0.1]  # of the validation at the end of each epoch


def start(settings: ScheduleConfig) -> tuple[torch.optim.Optimizer, Schedule]:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in BASE]
    optimizer = torch.optim.SGD(groups, BASE[0])
    return optimizer, Schedule(settings, optimizer, EPOCHS, ITERATIONS)


def epochs(optimizer: torch.optim.Optimizer, schedule: Schedule, numbers: range) -> list[list[float]]:
    """The rates that each iteration steps with."""
    rates = []
    for epoch in numbers:
        for _ in range(ITERATIONS):
            rates.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            schedule.iteration()
        schedule.epoch()
        schedule.validation(SCORES[epoch])
    return rates


def cosine(warmup: int) -> Callable[[int], float]:
    def factor(i: int) -> float:
        if i < warmup:
            return (i + 1) / (warmup + 1)
        return (1 + math.cos(math.pi * (i - warmup) / (TOTAL - warmup))) / 2

    return factor


CURVES: list[tuple[ScheduleConfig, Callable[[int], float]]] = [
    (StepSchedule(milestones=(3, 6), gamma=0.1), lambda i: 0.1 ** ((i >= 15) + (i >= 30))),
    (PolySchedule(power=0.9), lambda i: (1 - i / TOTAL) ** 0.9),
    (CosineSchedule(warmup=0), cosine(0)),
    (CosineSchedule(warmup=0.2), cosine(8)),
    # better at epochs 1, 2 and 5; two worse ones are borne, the third (the eighth epoch's) lowers it after the end
    (PlateauSchedule(gamma=0.5, patience=2), lambda i: 1.0),
    # one worse one is borne: epochs 3 and 4 are worse, so are 6 and 7
    (PlateauSchedule(gamma=0.5, patience=1), lambda i: 0.5 ** ((i >= 20) + (i >= 35))),
]  # fmt: skip


@pytest.mark.parametrize("settings, factor", CURVES)
@pytest.mark.parametrize("resumed_after", [None, 1, 4, 7])
def test_curves(settings: ScheduleConfig, factor: Callable[[int], float], resumed_after: int | None):
    optimizer, schedule = start(settings)
    split = EPOCHS if resumed_after is None else resumed_after
    rates = epochs(optimizer, schedule, range(split))
    if resumed_after is not None:
        states = optimizer.state_dict(), schedule.state_dict()
        optimizer, schedule = start(settings)
        optimizer.load_state_dict(states[0])
        schedule.load_state_dict(states[1])
        rates += epochs(optimizer, schedule, range(split, EPOCHS))
    assert len(rates) == TOTAL
    for i, found in enumerate(rates):
        assert found == pytest.approx([base * factor(i) for base in BASE], rel=1e-9, abs=1e-12), f"iteration {i}"


def test_the_encoder_learns_slower_and_only_matrices_decay():
    network = torch.nn.ModuleDict(
        {k: torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1)) for k in ("encoder", "decoder")}
    )
    for kind, settings in (
        (torch.optim.Adam, AdamSettings(rate=0.1, encoder_factor=0.2, weight_decay=0.3)),
        (torch.optim.AdamW, AdamWSettings(rate=0.1, encoder_factor=0.2, weight_decay=0.3)),
        (torch.optim.SGD, SgdSettings(rate=0.1, encoder_factor=0.2, weight_decay=0.3, momentum=0.7)),
    ):
        optimizer = make_optimizer(network, settings)
        assert type(optimizer) is kind
        of = {id(p): g for g in optimizer.param_groups for p in g["params"]}
        assert sum(len(g["params"]) for g in optimizer.param_groups) == len(of) == 8
        for name, p in network.named_parameters():
            assert of[id(p)]["lr"] == pytest.approx(0.02 if name.startswith("encoder") else 0.1)
            assert of[id(p)]["weight_decay"] == (0.3 if name.endswith("0.weight") else 0)
    assert optimizer.param_groups[0]["momentum"] == 0.7
