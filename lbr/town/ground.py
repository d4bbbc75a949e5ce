"""Streets, pavements and squares, and the large picture of stains and markings that makes each spot of road its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from lbr.town.mesh import GROUND, Cover, MeshBuilder
from lbr.town.patterns import noise
from lbr.town.plan import PAVEMENT, PAVEMENT_HEIGHT, Plan, Street, offset_polygon

MACRO_M = 0.08  # metres per pixel of the large picture


@dataclass(frozen=True, eq=False)
class Macro:
    """Tone of the ground, uint8 [H, W, 3], 128 = as the paving is. Pixel of a world point: (xy - origin) / MACRO_M."""

    picture: np.ndarray
    origin: np.ndarray


@dataclass(frozen=True)
class Paving:
    """Tiles of the ground's textures and their density."""

    setts: int
    slabs: int
    plaza: int
    grass: int
    density: float


def add_ground(builder: MeshBuilder, plan: Plan, paving: Paving) -> None:
    """Street level, raised pavements with kerbs, squares, fields around."""
    low, high = plan.bounds
    road = _flat(builder, paving.setts, paving, (0.8, 0.8, 0.8))
    walk = _flat(builder, paving.slabs, paving, (1.0, 1.0, 1.0))
    plaza = _flat(builder, paving.plaza, paving, (1.15, 1.1, 1.0))
    grass = _flat(builder, paving.grass, paving, (0.1, 0.16, 0.05))
    street = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
    builder.quads(_patchwork(street, 1.5, 0.0), road)
    for k in range(4):
        outer = street + 900 * np.sign(street - street.mean(0))
        n = (k + 1) % 4
        ring = np.array([[*outer[k], -0.02], [*outer[n], -0.02], [*street[n], -0.02], [*street[k], -0.02]])
        builder.quads(ring[None], grass)
    for block in plan.blocks:
        _pavement(builder, block, offset_polygon(block, PAVEMENT), walk)
    _pavement(builder, plan.outline[::-1], offset_polygon(plan.outline, -PAVEMENT)[::-1], walk)
    for square in plan.squares:
        builder.quads(_patchwork(square, 1.5, PAVEMENT_HEIGHT), plaza)
        _kerb(builder, square, walk)


def _flat(builder: MeshBuilder, tile: int, paving: Paving, tint: tuple[float, float, float]) -> int:
    axes = np.array([[1.0, 0, 0], [0, -1.0, 0]])
    return builder.patch(Cover(tile, paving.density, tint, GROUND, gloss=0.04), axes, np.zeros(3))


def _patchwork(quad: np.ndarray, cell: float, z: float) -> np.ndarray:
    """A quadrilateral [4, 2] cut into cells of about `cell` metres, at height z: [K, 4, 3]."""
    a, b, c, d = quad
    nu = max(1, round(max(np.linalg.norm(b - a), np.linalg.norm(c - d)) / cell))
    nv = max(1, round(max(np.linalg.norm(d - a), np.linalg.norm(c - b)) / cell))
    u, v = np.linspace(0, 1, nu + 1)[:, None, None], np.linspace(0, 1, nv + 1)[None, :, None]
    grid = (1 - u) * (1 - v) * a + u * (1 - v) * b + u * v * c + (1 - u) * v * d
    grid = np.concatenate([grid, np.full((*grid.shape[:2], 1), z)], -1)
    return np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], 2).reshape(-1, 4, 3)


def _pavement(builder: MeshBuilder, inner: np.ndarray, outer: np.ndarray, patch: int) -> None:
    """A raised band between the facades (`inner`) and the kerb (`outer`)."""
    for k in range(len(inner)):
        n = (k + 1) % len(inner)
        band = np.array([outer[k], outer[n], inner[n], inner[k]])
        builder.quads(_patchwork(band, 1.3, PAVEMENT_HEIGHT), patch)
    _kerb(builder, outer, patch)


def _kerb(builder: MeshBuilder, edge: np.ndarray, patch: int) -> None:
    """The vertical face of a kerb along a polygon that has the raised side on its left."""
    a, b = edge, np.roll(edge, -1, 0)
    low, high = np.zeros((len(a), 1)), np.full((len(a), 1), PAVEMENT_HEIGHT)
    builder.quads(
        np.stack([np.hstack([a, low]), np.hstack([b, low]), np.hstack([b, high]), np.hstack([a, high])], 1), patch
    )


def paint_macro(plan: Plan, seed: int) -> Macro:
    """Patches of new paving, manholes, stains, tyre tracks, crossings."""
    rng = np.random.default_rng([seed, 31])
    low, high = plan.bounds
    width, height = (int(np.ceil(v / MACRO_M)) for v in high - low)
    tone = 128 * np.exp(
        0.07 * noise((height, width), 9 / MACRO_M, rng, 3) + 0.08 * noise((height, width), 1.3 / MACRO_M, rng, 4)
    )
    picture = np.repeat(tone[..., None], 3, 2)
    area = (high - low).prod()

    def px(xy: np.ndarray) -> np.ndarray:
        return np.round((np.asarray(xy) - low) / MACRO_M * 16).astype(np.int32)

    for _ in range(int(area / 55)):
        at, half, turn = rng.uniform(low, high), rng.uniform(0.3, 1.6, 2), rng.uniform(0, np.pi)
        axes = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        corners = at + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half @ axes
        shade = 128 * rng.normal(1, 0.2)
        cv2.fillPoly(picture, [px(corners)], (shade,) * 3, cv2.LINE_8, 4)
    for _ in range(int(area / 70)):
        at, radius = rng.uniform(low, high), int(rng.uniform(0.25, 0.4) / MACRO_M * 16)
        cv2.circle(picture, tuple(int(v) for v in px(at)), radius, (60, 58, 56), -1, cv2.LINE_8, 4)
        cv2.circle(picture, tuple(int(v) for v in px(at)), radius * 2 // 3, (96, 94, 90), 2, cv2.LINE_8, 4)
    for street in plan.streets:
        _markings(picture, street, px, rng)
    picture = cv2.GaussianBlur(np.clip(picture, 20, 250), (0, 0), 0.7)
    return Macro(picture.astype(np.uint8), low)


def _markings(
    picture: np.ndarray, street: Street, px: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> None:
    """Wheel tracks along a street and, on some, a zebra crossing."""
    a, b = street.a, street.b
    along = (b - a) / np.linalg.norm(b - a)
    across = np.array([-along[1], along[0]])
    for side in (-0.9, 0.9):
        ends = px(np.array([a + across * side, b + across * side]))
        layer = picture.copy()
        cv2.polylines(layer, [ends], False, (104, 104, 104), max(1, round(0.35 / MACRO_M)), cv2.LINE_8, 4)
        cv2.addWeighted(layer, 0.35, picture, 0.65, 0, dst=picture)
    if rng.random() < 0.5:
        start = a + along * rng.uniform(9, 12)
        for k in np.arange(-street.half_width + 2.2, street.half_width - 2.2, 0.9):
            stripe = [
                start + across * k,
                start + along * 2.6 + across * k,
                start + along * 2.6 + across * (k + 0.45),
                start + across * (k + 0.45),
            ]
            cv2.fillPoly(picture, [px(np.array(stripe))], (228, 226, 220), cv2.LINE_8, 4)
