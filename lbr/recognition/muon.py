"""Muon: momentum whose matrices are made orthogonal, so that every direction of a layer learns at the same pace.

For hidden layers, convolutions among them (Jordan et al. 2024, kellerjordan.github.io/posts/muon); scaled so that rates
and decays of AdamW fit (Liu et al. 2025, arXiv 2502.16982). torch's own takes matrices only and nothing beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

_QUINTIC = (3.4445, -4.7750, 2.0315)  # of the Newton-Schulz iteration: steep at 0, near 1 from 0.7 to 1.2
_ITERATIONS = 5
_AS_ADAMW = 0.2  # root mean square of AdamW's usual updates
_BETAS, _EPSILON = (0.9, 0.999), 1e-8


class Muon(torch.optim.Optimizer):
    """Groups with `orthogonal` true take Muon's step on their weights, flattened to [out, rest]; others AdamW's."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                if group["orthogonal"]:
                    change = self._orthogonal(parameter, gradient, group["momentum"])
                else:
                    change = self._adam(parameter, gradient)
                parameter.add_(change, alpha=-group["lr"])

    def _orthogonal(self, parameter: torch.Tensor, gradient: torch.Tensor, momentum: float) -> torch.Tensor:
        state = self.state[parameter]
        if not state:
            state["mean"] = torch.zeros_like(parameter)
        state["mean"].lerp_(gradient, 1 - momentum)
        ahead = torch.lerp(gradient, state["mean"], momentum)  # Nesterov's
        last = ahead.movedim(1, -1)  # as it lies in memory, channels last; the order of columns makes no difference
        matrix = last.reshape(len(last), -1)
        scale = _AS_ADAMW * max(matrix.shape) ** 0.5
        return orthogonalised(matrix).mul_(scale).reshape(last.shape).movedim(-1, 1)

    def _adam(self, parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        state = self.state[parameter]
        if not state:
            state |= {
                "step": torch.zeros(()),
                "mean": torch.zeros_like(parameter),
                "square": torch.zeros_like(parameter),
            }
        state["step"] += 1
        state["mean"].lerp_(parameter.grad, 1 - _BETAS[0])
        state["square"].mul_(_BETAS[1]).addcmul_(parameter.grad, parameter.grad, value=1 - _BETAS[1])
        mean, square = (
            state[key] / (1 - beta ** float(state["step"]))
            for key, beta in zip(("mean", "square"), _BETAS, strict=True)
        )
        return mean / (square.sqrt() + _EPSILON)


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix [N, M] with its singular values brought near 1 (0.7 to 1.2): U V' of U S V', roughly.

    Each iteration multiplies by a polynomial p(X X'), so that all of them are done on the small square X X', of which
    they leave their product: about a third of the work for 3 x 3 convolutions. In float32, whatever the training is in:
    small singular values are lost in the square of anything coarser.
    """
    a, b, c = _QUINTIC
    x = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    square = x @ x.T
    norm = square.trace().sqrt() + 1e-7
    square, product = square / norm**2, torch.eye(len(x), dtype=x.dtype, device=x.device) / norm
    for iteration in range(_ITERATIONS):
        factor = torch.addmm(square, square, square, beta=b, alpha=c)
        factor.diagonal().add_(a)
        product = factor @ product
        if iteration + 1 < _ITERATIONS:  # of the next
            square = factor @ (square @ factor)
    x = product @ x
    return x if len(matrix) <= matrix.shape[1] else x.T
