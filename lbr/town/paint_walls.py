"""Painting of walls: masonry, half-timber, quoins, and what stands out of the wall."""

from __future__ import annotations

import numpy as np

from lbr.town import patterns
from lbr.town.arrays import f32
from lbr.town.canvas import Canvas
from lbr.town.design import Block, FacadeDesign
from lbr.town.patterns import Colour, scaled


def surface(kind: str, shape: tuple[int, int], colour: Colour, texel_m: float, rng: np.random.Generator) -> np.ndarray:
    """A wall of the named kind, float32 [H, W, 3]."""
    if kind == "plaster":
        return patterns.plaster(shape, colour, texel_m, rng)
    return patterns.masonry(shape, colour, texel_m, rng, kind)


def paint_walls(canvas: Canvas, design: FacadeDesign, rng: np.random.Generator) -> None:
    """Upper wall, ground floor wall, timber frame, quoins."""
    style = design.style
    canvas.colour[:] = surface(style.wall, canvas.shape, style.wall_colour, canvas.texel_m, rng)
    rows, cols = canvas.window(0, 0, design.width, style.storeys[1])
    part = (rows.stop - rows.start, cols.stop - cols.start)
    if style.ground_wall != style.wall or style.ground_colour != style.wall_colour:
        canvas.colour[rows, cols] = surface(style.ground_wall, part, style.ground_colour, canvas.texel_m, rng)
    elif style.wall == "plaster" and rng.random() < 0.5:
        _rusticate(canvas, design, rng)
    if style.family == "timber":
        _timber(canvas, design, rng)
    if style.family == "brick" or style.family == "gothic":
        _brick_bands(canvas, design, rng)
    if style.quoins:
        _quoins(canvas, design, rng)


def _rusticate(canvas: Canvas, design: FacadeDesign, rng: np.random.Generator) -> None:
    """Grooves across the ground floor."""
    step = rng.uniform(0.34, 0.5)
    for h in np.arange(0.5, design.style.storeys[1] - 0.2, step):
        canvas.shade((0, h, design.width, h + 0.035), 0.62, 0.7)
        canvas.shade((0, h - 0.03, design.width, h), 1.1, 1.04)


def _brick_bands(canvas: Canvas, design: FacadeDesign, rng: np.random.Generator) -> None:
    """Rows of another brick, and a diaper pattern on some."""
    tone = patterns.BAND_DARK if rng.random() < 0.5 else patterns.BAND_LIGHT
    for level in design.style.storeys[1:]:
        for k in range(int(rng.integers(1, 4))):
            h = level + 0.5 + 0.23 * k
            rows, cols = canvas.window(0, h, design.width, h + 0.077)
            canvas.colour[rows, cols] *= f32(tone)
    if rng.random() < 0.35:
        low = design.style.storeys[-2]
        step = design.width / max(3, round(design.width / 1.1))
        for k in range(-6, 20):
            for slope in (1, -1):
                points = [(k * step, low), (k * step + slope * 3.2, low + 3.2)]
                canvas.line(points, 0.06, scaled(design.style.wall_colour, 0.5))


def _timber(canvas: Canvas, design: FacadeDesign, rng: np.random.Generator) -> None:
    """Posts, rails and braces over plaster, from the first floor to the ridge."""
    wood = patterns.vary(patterns.WOODS[int(rng.integers(len(patterns.WOODS)))], rng)
    style, width = design.style, design.width
    levels = [*style.storeys[1:]] + ([design.top] if design.top > style.eave + 1 else [])
    posts = np.linspace(0.1, width - 0.1, max(4, round(width / 1.05)) + 1)
    figure = int(rng.integers(4))
    for low, high in zip(levels[:-1], levels[1:], strict=True):
        for h in (low + 0.1, low + 0.36 * (high - low), high - 0.1):
            _beam(canvas, (0, h), (width, h), 0.19, wood, rng)
        for s in posts:
            _beam(canvas, (s, low), (s, high), 0.17, wood, rng)
        for k, (a, b) in enumerate(zip(posts[:-1], posts[1:], strict=True)):
            rail = low + 0.36 * (high - low)
            if figure == 0 or (figure == 1 and k % 2):
                _beam(canvas, (a, low + 0.1), (b, rail), 0.13, wood, rng)
            if figure == 0 or (figure == 1 and not k % 2):
                _beam(canvas, (b, low + 0.1), (a, rail), 0.13, wood, rng)
            if figure == 2 and k in (0, len(posts) - 2):
                _beam(canvas, (a if k else b, low + 0.1), (b if k else a, high - 0.1), 0.15, wood, rng)
            if figure == 3 and k % 3 == 0:
                _beam(canvas, (a, rail), ((a + b) / 2, high - 0.1), 0.12, wood, rng)
                _beam(canvas, (b, rail), ((a + b) / 2, high - 0.1), 0.12, wood, rng)


def _beam(canvas: Canvas, a: tuple, b: tuple, width: float, wood: Colour, rng: np.random.Generator) -> None:
    colour = scaled(wood, rng.normal(1, 0.09))
    canvas.line([a, b], width, scaled(colour, 0.6))
    canvas.line([a, b], width - 0.04, colour)


def _quoins(canvas: Canvas, design: FacadeDesign, rng: np.random.Generator) -> None:
    """Corner stones, long and short in turn."""
    height = rng.uniform(0.3, 0.42)
    for k, h in enumerate(np.arange(0.45, design.style.eave - 0.4, height)):
        long = 0.62 if k % 2 else 0.4
        for s0, s1 in ((0, long), (design.width - long, design.width)):
            tone = rng.normal(1, 0.05)
            canvas.rect((s0, h, s1, h + height - 0.02), scaled(design.style.trim, tone))
            canvas.shade((s0, h, s1, h + 0.03), 0.75, 0.6)
            canvas.shade((s0, h + height - 0.05, s1, h + height - 0.02), 1.12, 1.08)


def paint_block(canvas: Canvas, block: Block, design: FacadeDesign, rng: np.random.Generator) -> None:
    """Front of a block and the soft shadow under it."""
    style, (s0, h0, s1, h1) = design.style, block.box
    if block.kind in ("iron", "bay"):
        return
    colour = {
        "plinth": patterns.PLINTH,
        "slab": patterns.CONCRETE,
        "step": patterns.CONCRETE,
        "sign": style.accent,
    }.get(block.kind, style.trim)
    if block.kind in ("ledge",) and style.jetty:
        colour = patterns.WOODS[0]
    rows, cols = canvas.window(*block.box)
    part = (rows.stop - rows.start, cols.stop - cols.start)
    if min(part) <= 0:
        return
    canvas.rect(block.box, patterns.plaster(part, colour, canvas.texel_m, rng))
    canvas.shade((s0, h1 - (h1 - h0) * 0.3, s1, h1), 1.12, 1.0)
    canvas.shade((s0, h0, s1, h0 + (h1 - h0) * 0.35), 0.97, 0.82)
    if block.kind in ("ledge", "cornice", "slab", "sill", "hood"):
        canvas.shade((s0, h0 - 2.2 * block.depth, s1, h0), 0.74, 1.0)
    if block.kind == "cornice" and style.family in ("baroque", "classic") and h1 - h0 > 0.15:
        for s in np.arange(s0 + 0.1, s1 - 0.1, 0.26):
            canvas.shade((s, h0, s + 0.11, h0 + 0.12), 0.6, 0.7)
    if block.kind == "stone":
        for s in np.arange(s0 + 0.12, s1 - 0.1, 0.24):
            canvas.rect((s, h0 + 0.12, s + 0.11, h1 - 0.16), scaled(colour, 0.45))
