"""What the network shall say of two views of one photograph, whose homography is known.

Places are [B, N, 2] (x, y), from the first pixel's centre; views are square, of side S.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from lbr.features.daynight_network import peaks, refined
from lbr.learning.settings import LearningSettings

CELL = 8  # pixels, of which one is chosen
SPACING = 12  # pixels: one place of every such cell is described
ANY = 0.3  # share of the cells whose place is not the strongest but any
NEAR = 6.0  # pixels: no wrong match, and no right one
BORDER = 4  # pixels without keypoints
PER_VIEW = 150  # keypoints whose places are compared
MAX_ERROR = 2.5  # pixels: what is farther apart is another keypoint
RADIUS = 3


class Losses(NamedTuple):
    """total: what is made small · descriptor, agreement, reliability, place: its parts, not yet weighed
    matched: share of the described places whose descriptors find each other in the other view · repeated: share of the
    keypoints that the other view has within MAX_ERROR · error_px: how far those are off, at the mean"""

    total: torch.Tensor
    descriptor: torch.Tensor
    agreement: torch.Tensor
    reliability: torch.Tensor
    place: torch.Tensor
    matched: torch.Tensor
    repeated: torch.Tensor
    error_px: torch.Tensor

    def numbers(self) -> torch.Tensor:
        return torch.stack([part.detach().double() for part in self])


def learning_loss(
    output: tuple[torch.Tensor, torch.Tensor, torch.Tensor], b_from_a: torch.Tensor, settings: LearningSettings
) -> Losses:
    """output: float32 of the first views, then the second, as `DayNightNetwork` gives it. b_from_a: [B, 3, 3]."""
    (detection_a, detection_b), (reliability_a, reliability_b), (dense_a, dense_b) = (part.chunk(2) for part in output)
    agreement = agreement_loss(detection_a, detection_b, b_from_a)
    places = chosen_places(peaks(detection_a.detach()))
    there = transformed(b_from_a, places)
    seen = _inside(there, detection_a.shape[-1], BORDER)
    descriptor, right = descriptor_loss(_at(dense_a, places), _at(dense_b, there), places, seen, settings.temperature)
    reliability = torch.stack([
        F.binary_cross_entropy_with_logits(_at(maps, at)[seen][:, 0], right.float())
        for maps, at in ((reliability_a, places), (reliability_b, there))
    ]).mean()  # fmt: skip
    place, repeated, error = place_loss(detection_a, detection_b, b_from_a)
    total = descriptor + settings.agreement * agreement + settings.reliability * reliability + settings.place * place
    return Losses(total, descriptor, agreement, reliability, place, right.float().mean(), repeated, error)


def transformed(homography: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Places [B, N, 2] under [B, 3, 3]; what goes to the horizon or behind it lies far away."""
    found = torch.cat([places, torch.ones_like(places[..., :1])], -1) @ homography.transpose(1, 2)
    return found[..., :2] / found[..., 2:].clamp(min=1e-6)


def agreement_loss(detection_a: torch.Tensor, detection_b: torch.Tensor, b_from_a: torch.Tensor) -> torch.Tensor:
    """-log of the probability that both views choose the same pixel of a cell, at the mean of the cells that both see.

    In each cell of the first view one pixel is chosen by the softmax of its logits [B, 1, S, S], and one by that of the
    second view's logits there; neighbours count as the same. Chance is about 2; a cell with nothing but an edge stays
    above 1, and one with a place of its own goes to 0.
    """
    side, num = detection_a.shape[-1], len(detection_a)
    line = torch.arange(side, device=detection_a.device, dtype=detection_a.dtype)
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(1, -1, 2).expand(num, -1, -1)
    there = transformed(b_from_a, grid)
    inside = _inside(there, side, BORDER).to(detection_a.dtype).reshape(num, 1, side, side)
    grid = _normalised(there, side).reshape(num, side, side, 2)
    warped = F.grid_sample(detection_b, grid, padding_mode="border", align_corners=False)
    x, y = torch.randint(0, CELL, (2,)).tolist()  # cells lie elsewhere in every step
    a, b, seen = (F.unfold(m[..., y:, x:], CELL, stride=CELL) for m in (detection_a, warped, inside))
    chosen_b = torch.softmax(b, 1).transpose(1, 2).reshape(-1, 1, CELL, CELL)
    chosen_b = 9 * F.avg_pool2d(chosen_b, 3, 1, 1).reshape(num, -1, CELL * CELL).transpose(1, 2)
    both = (torch.softmax(a, 1) * chosen_b).sum(1)
    whole = (seen.mean(1) > 0.99).to(a.dtype)
    return (-torch.log(both + 1e-9) * whole).sum() / whole.sum().clamp(min=1)


def chosen_places(heat: torch.Tensor) -> torch.Tensor:
    """Places [B, N, 2] to describe, one of every cell of heat [B, 1, S, S]: the hottest, or any."""
    cells = heat.shape[-1] // SPACING
    values = F.unfold(heat[..., : cells * SPACING, : cells * SPACING], SPACING, stride=SPACING)
    index = values.argmax(1)
    anyone = torch.randint(0, SPACING * SPACING, index.shape, device=heat.device)
    index = torch.where(torch.rand(index.shape, device=heat.device) < ANY, anyone, index)
    cell = torch.arange(cells * cells, device=heat.device)
    columns, rows = cell % cells * SPACING + index % SPACING, cell // cells * SPACING + index // SPACING
    return torch.stack([columns, rows], -1).to(heat.dtype)


def descriptor_loss(
    a: torch.Tensor, b: torch.Tensor, places: torch.Tensor, seen: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of matching all places of the batch, both ways; and which of a view's are each other's nearest.

    a, b: descriptors [B, N, D] at `places` and where they are in the other view; seen: bool [B, N]. Places that are
    near each other are neither right nor wrong.
    """
    image = torch.arange(len(places), device=places.device)[:, None].expand(seen.shape)[seen]
    own, target = places[seen], torch.arange(len(image), device=places.device)
    cosines = F.normalize(a[seen], dim=-1) @ F.normalize(b[seen], dim=-1).T
    same = image[:, None] == image
    near = same & (torch.cdist(own, own) < NEAR)
    near.fill_diagonal_(False)
    logits = (cosines / temperature).masked_fill(near, -1e4)
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    among = cosines.detach().masked_fill(near | ~same, -2)
    return loss, (among.argmax(1) == target) & (among.argmax(0) == target)


def place_loss(
    detection_a: torch.Tensor, detection_b: torch.Tensor, b_from_a: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """How far the refined keypoints that both views have are apart, by Huber (ALIKE, Zhao et al. 2022); the share of
    those that both have; and how far these are apart at the mean, in pixels.

    detection: logits [B, 1, S, S], through which the places are learned.
    """
    side = detection_a.shape[-1]
    at_a, at_b = _maxima(peaks(detection_a.detach())), _maxima(peaks(detection_b.detach()))
    expected = transformed(b_from_a, at_a)
    distance = torch.cdist(expected, at_b)
    nearest, partner = distance.min(2)
    mutual = distance.argmin(1).gather(1, partner) == torch.arange(PER_VIEW, device=partner.device)
    pairs = (mutual & (nearest < MAX_ERROR)).to(distance.dtype)
    own = transformed(b_from_a, refined(detection_a, at_a))
    other = refined(detection_b, at_b).gather(1, partner[..., None].expand(-1, -1, 2))
    loss = F.smooth_l1_loss(own, other, reduction="none", beta=0.5).sum(-1)
    error = (own - other).detach().norm(dim=-1)
    count, visible = pairs.sum().clamp(min=1), _inside(expected, side, BORDER).sum().clamp(min=1)
    return (loss * pairs).sum() / count, pairs.sum() / visible, (error * pairs).sum() / count


def _maxima(heat: torch.Tensor) -> torch.Tensor:
    """Places [B, PER_VIEW, 2] of the strongest local maxima of [B, 1, S, S]; where they are fewer, of any pixels."""
    side = heat.shape[-1]
    rows = F.max_pool2d(heat, (2 * RADIUS + 1, 1), 1, (RADIUS, 0))
    kept = F.max_pool2d(rows, (1, 2 * RADIUS + 1), 1, (0, RADIUS)) == heat
    kept &= F.pad(torch.ones_like(kept)[..., BORDER:-BORDER, BORDER:-BORDER], (BORDER,) * 4)
    index = heat.masked_fill(~kept, -1.0).flatten(1).topk(PER_VIEW, 1).indices
    return torch.stack([index % side, index // side], -1).to(heat.dtype)


def _at(maps: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """[B, N, C] of maps [B, C, h, w] over a view, at places in pixels of the view (four for each of the maps')."""
    grid = _normalised(places, 4 * maps.shape[-1])
    found = F.grid_sample(maps, grid[:, None], padding_mode="border", align_corners=False)
    return found[:, :, 0].transpose(1, 2)


def _normalised(places: torch.Tensor, side: int) -> torch.Tensor:
    return (places + 0.5) / side * 2 - 1


def _inside(places: torch.Tensor, side: int, border: int) -> torch.Tensor:
    return ((places > border - 0.5) & (places < side - border - 0.5)).all(-1)
