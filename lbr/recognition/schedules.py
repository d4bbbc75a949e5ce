"""Learning rates over time. Each says itself whether a step is an iteration, an epoch, or a validation."""

from __future__ import annotations

import torch
from torch.optim import lr_scheduler

from lbr.recognition.settings import PlateauSchedule, PolySchedule, ScheduleConfig, StepSchedule


class Schedule:
    """Steps torch's scheduler when its time has come, so that a horizon in iterations is stepped by iterations.

    Call `iteration` after every optimizer step, `epoch` after every epoch, `validation` with every held-out score.
    """

    def __init__(
        self, settings: ScheduleConfig, optimizer: torch.optim.Optimizer, epochs: int, iterations_per_epoch: int
    ) -> None:
        self._by = {"step": "epoch", "plateau": "validation"}.get(settings.name, "iteration")
        self._scheduler = _make(settings, optimizer, max(1, epochs * iterations_per_epoch))

    def iteration(self) -> None:
        if self._by == "iteration":
            self._scheduler.step()

    def epoch(self) -> None:
        if self._by == "epoch":
            self._scheduler.step()

    def validation(self, score: float) -> None:
        if self._by == "validation":
            self._scheduler.step(score)  # type: ignore[arg-type]  # ReduceLROnPlateau takes the score

    def state_dict(self) -> dict:
        return self._scheduler.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self._scheduler.load_state_dict(state)


def _make(settings: ScheduleConfig, optimizer: torch.optim.Optimizer, total: int) -> lr_scheduler.LRScheduler:
    if isinstance(settings, StepSchedule):
        return lr_scheduler.MultiStepLR(optimizer, list(settings.milestones), settings.gamma)
    if isinstance(settings, PolySchedule):
        return lr_scheduler.PolynomialLR(optimizer, total, settings.power)
    if isinstance(settings, PlateauSchedule):
        return lr_scheduler.ReduceLROnPlateau(optimizer, "max", settings.gamma, settings.patience)
    warmup = round(settings.warmup * total)
    falling = lr_scheduler.CosineAnnealingLR(optimizer, max(1, total - warmup))
    if warmup == 0:
        return falling
    rising = lr_scheduler.LinearLR(optimizer, 1 / (warmup + 1), 1.0, warmup)
    return lr_scheduler.SequentialLR(optimizer, [rising, falling], [warmup])
