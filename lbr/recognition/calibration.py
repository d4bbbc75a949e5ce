"""Confidences that mean what they say: one number for the segmentation, two for the classification head.

Fitted on held-out images after training (Guo et al., ICML 2017: temperature; Platt 1999: factor and shift).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

CELLS_PER_IMAGE = 512
_ITERATIONS = 60


@dataclass(frozen=True)
class Calibration:
    """Segmentation logits / temperature; presence logits * factor + shift."""

    temperature: float = 1.0
    factor: float = 1.0
    shift: float = 0.0


def sample_cells(logits: torch.Tensor, target: torch.Tensor, count: int = CELLS_PER_IMAGE) -> tuple[torch.Tensor, ...]:
    """An even choice of `count` cells of each image: logits [B, C, h, w], target [B, h, w] -> [M, C], [M]."""
    flat, truth = logits.flatten(2).transpose(1, 2), target.flatten(1)
    chosen = torch.linspace(0, truth.shape[1] - 1, min(count, truth.shape[1])).long().to(truth.device)
    return flat[:, chosen].flatten(0, 1), truth[:, chosen].flatten()


def fit_calibration(
    logits: torch.Tensor, target: torch.Tensor, presence: torch.Tensor, present: torch.Tensor
) -> Calibration:
    """Minimise the negative log-likelihood. logits [M, C], target int64 [M]; presence, present (0 or 1) [N, C]."""
    log_temperature = torch.zeros(1, requires_grad=True)
    _minimise([log_temperature], lambda: F.cross_entropy(logits / log_temperature.exp(), target))
    log_factor, shift = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    _minimise(
        [log_factor, shift],
        lambda: F.binary_cross_entropy_with_logits(presence * log_factor.exp() + shift, present),
    )
    return Calibration(log_temperature.exp().item(), log_factor.exp().item(), shift.item())


def _minimise(parameters: list[torch.Tensor], loss: callable) -> None:  # type: ignore[valid-type]
    optimizer = torch.optim.LBFGS(parameters, max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()  # type: ignore[misc]
        value.backward()
        return value

    optimizer.step(closure)
