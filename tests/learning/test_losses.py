"""The losses, on maps whose right answers are known."""

from __future__ import annotations

import math

import pytest
import torch

from lbr.learning.losses import (
    CELL,
    agreement_loss,
    chosen_places,
    descriptor_loss,
    place_loss,
    transformed,
)

SIDE = 96
IDENTITY = torch.eye(3)[None]


def shift(dx: float, dy: float) -> torch.Tensor:
    return torch.tensor([[[1.0, 0, dx], [0, 1, dy], [0, 0, 1]]])


def bumps(places: torch.Tensor, height: float = 15.0, sigma: float = 0.8) -> torch.Tensor:
    """Logits [1, 1, SIDE, SIDE] with a peak at each of the places [N, 2]."""
    line = torch.arange(SIDE, dtype=torch.float32)
    pixels = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
    squared = ((pixels[None] - places[:, None, None]) ** 2).sum(-1)
    return (height * torch.exp(-squared / (2 * sigma**2)).amax(0))[None, None]


def lattice(step: float = 7.3) -> torch.Tensor:
    """Places [N, 2] all over a view, none at the centre of a pixel, at least one in every cell."""
    line = torch.arange(3.2, SIDE, step)
    return torch.stack(torch.meshgrid(line, line + 0.3, indexing="xy"), -1).reshape(-1, 2)


@pytest.mark.parametrize("dx, dy", [(0, 0), (3, -2), (0.5, 0.25)])
def test_views_that_choose_the_same_places_agree(dx: float, dy: float):
    a, b = bumps(lattice()), bumps(lattice() + torch.tensor([dx, dy]))
    same, moved = agreement_loss(a, b, shift(dx, dy)), agreement_loss(a, b, shift(dx + 3.6, dy))
    assert same < 0.5 < 2 < moved


def test_even_heat_and_edges_agree_no_better_than_chance():
    even = torch.zeros(1, 1, SIDE, SIDE)
    chance = agreement_loss(even, even, IDENTITY)
    assert chance == pytest.approx(math.log(CELL**2 / (9 * (1 - 1 / (1.5 * CELL)) ** 2)), abs=0.02)
    edges = torch.zeros(1, 1, SIDE, SIDE)
    edges[..., ::8] = 15.0  # upright lines: where along a line is anybody's choice
    assert agreement_loss(edges, edges, IDENTITY) == pytest.approx(math.log(CELL**2 / (3 * CELL - 2)), abs=0.02)


def test_agreement_is_learned_from_nothing():
    """From random logits, gradient steps alone make both views choose the same pixels."""
    torch.manual_seed(0)
    a, b = (torch.randn(1, 1, SIDE, SIDE, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.Adam([a, b], 0.3)
    values = []
    for _ in range(80):
        loss = agreement_loss(a, b, shift(2, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.5 * values[0]


def test_descriptors_that_are_alike_in_both_views_are_matched():
    torch.manual_seed(0)
    places = chosen_places(torch.rand(2, 1, SIDE, SIDE))
    seen = torch.ones(places.shape[:2], dtype=torch.bool)
    a = torch.randn(*places.shape[:2], 32)
    right, found = descriptor_loss(a, 3 * a + 0.1 * torch.randn_like(a), places, seen, 0.07)
    wrong, none = descriptor_loss(a, a.flip(1), places, seen, 0.07)
    assert right < 0.01 < 3 < wrong
    assert found.all() and not none.any()


def test_what_is_near_is_no_wrong_match():
    places = torch.tensor([[[10.0, 10.0], [12.0, 11.0], [60.0, 60.0]]])
    same = torch.ones(1, 3, 8)
    loss, _ = descriptor_loss(same, same, places, torch.ones(1, 3, dtype=torch.bool), 0.1)
    assert loss == pytest.approx((2 * math.log(2) + math.log(3)) / 3, rel=1e-4), "the first two leave each other out"


@pytest.mark.parametrize("dx, dy", [(0.0, 0.0), (0.4, -0.3)])
def test_places_are_compared_between_pixels(dx: float, dy: float):
    """The lattice moved by less than a pixel is found there, to a tenth of a pixel; a wrong homography is told."""
    a, b = bumps(lattice(), 5.0, 1.2), bumps(lattice() + torch.tensor([dx, dy]), 5.0, 1.2)
    _, repeated, error = place_loss(a, b, shift(dx, dy))
    assert repeated > 0.8 and error < 0.15
    _, _, wrong = place_loss(a, b, shift(dx + 1.0, dy))
    assert wrong == pytest.approx(1.0, abs=0.15)


def test_the_place_is_learned():
    a, b = bumps(lattice(), 5.0, 1.2), bumps(lattice() + 0.4, 5.0, 1.2).requires_grad_()
    loss, *_ = place_loss(a, b, IDENTITY)
    loss.backward()
    assert loss > 0.05 and torch.isfinite(b.grad).all()
    moved, *_ = place_loss(a, b - 20 * b.grad / b.grad.abs().max(), IDENTITY)
    assert moved < loss


def test_every_cell_gives_one_place_inside_it():
    heat = torch.rand(3, 1, 100, 100)
    places = chosen_places(heat)
    cells = (places // 12)[0]
    assert places.shape == (3, 64, 2) and len(torch.unique(cells, dim=0)) == 64 and places.max() < 96


def test_a_homography_moves_places_and_what_is_behind_is_far():
    places = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    torch.testing.assert_close(transformed(shift(2, 3), places), places + torch.tensor([2.0, 3.0]))
    behind = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, -1]]])
    assert transformed(behind, places).abs().min() > 1e5
