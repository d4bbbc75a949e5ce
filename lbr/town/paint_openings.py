"""Painting of openings: windows with curtains, shutters and surrounds; doors, gates, shop fronts."""

from __future__ import annotations

import cv2
import numpy as np

from lbr.town.arrays import f32
from lbr.town.canvas import Canvas
from lbr.town.design import PAINTS, Box, FacadeDesign, Opening, arch_curve
from lbr.town.patterns import Colour, boards, noise, plaster, scaled

GLASS: Colour = (44, 52, 58)
BARS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {  # glazing bars as shares of width and height
    "triple": ((1 / 3, 2 / 3), (0.7,)), "cross": ((0.5,), (0.68,)), "sash": ((0.33, 0.67), (0.25, 0.5, 0.75)),
    "single": ((), (0.72,)), "lattice": ((0.25, 0.5, 0.75), (0.2, 0.4, 0.6, 0.8)),
}  # fmt: skip
GOODS: tuple[Colour, ...] = (
    (210, 60, 50), (236, 190, 60), (70, 130, 190), (80, 160, 90), (240, 236, 224), (180, 90, 150), (230, 130, 50),
    (60, 60, 70), (150, 200, 210), (200, 170, 130),
)  # fmt: skip


def paint_opening(canvas: Canvas, opening: Opening, design: FacadeDesign, rng: np.random.Generator) -> None:
    """Draw what the opening holds, its surround, and the shade of the recess."""
    wall = canvas.colour[canvas.window(*opening.box)].copy()
    {
        "window": _window, "door": _door, "shop": _shop, "gate": _gate, "arcade": _arcade, "niche": _niche,
    }[opening.kind](canvas, opening, design, rng)  # fmt: skip
    if opening.arched:
        _arch(canvas, opening, design, wall, rng)
    s0, h0, s1, h1 = opening.box
    canvas.shade((s0, h1 - 0.22, s1, h1), 0.6, 1.0)
    if opening.kind in ("window", "niche"):
        _surround(canvas, opening, design, rng)


def _window(canvas: Canvas, opening: Opening, design: FacadeDesign, rng: np.random.Generator) -> None:
    style, (s0, h0, s1, h1) = design.style, opening.box
    room = canvas.new_light()
    rows, cols = canvas.window(*opening.box)
    part = (rows.stop - rows.start, cols.stop - cols.start)
    if min(part) < 4:
        return
    pane = f32(GLASS) * (0.75 + 0.6 * np.linspace(1, 0, part[0], dtype=np.float32)[:, None, None] ** 2)
    canvas.rect(opening.box, np.broadcast_to(pane, (*part, 3)).copy(), 1.0, room)
    _curtains(canvas, opening.box, room, rng)
    width, height = s1 - s0, h1 - h0
    bar = 0.055
    canvas.frame(opening.box, 0.07, style.frame)
    verticals, horizontals = BARS[style.window]
    for v in verticals:
        canvas.rect((s0 + v * width - bar / 2, h0, s0 + v * width + bar / 2, h1), style.frame)
    for v in horizontals:
        thick = bar if style.window in ("cross", "single", "triple") else 0.03
        canvas.rect((s0, h0 + v * height - thick / 2, s1, h0 + v * height + thick / 2), style.frame)
    if style.shutters and not opening.arched:
        _shutters(canvas, opening.box, design, rng)
    if rng.random() < 0.16:
        _flowers(canvas, (s0, h0, s1, h0 + 0.3), rng)


def _curtains(canvas: Canvas, box: Box, room: int, rng: np.random.Generator) -> None:
    """Drapes, net curtain, blind, plants or nothing behind the pane."""
    s0, h0, s1, h1 = box
    width, height = s1 - s0, h1 - h0
    cloth = scaled(GOODS[int(rng.integers(len(GOODS)))] if rng.random() < 0.25 else (214, 208, 196), 0.75)
    kind = rng.random()
    if kind < 0.4:
        for a, b in ((0.0, rng.uniform(0.16, 0.3)), (1 - rng.uniform(0.16, 0.3), 1.0)):
            folds = np.abs(np.sin(np.linspace(0, 9, 24)))[None, :, None] * f32([[cloth]])
            canvas.rect((s0 + a * width, h0, s0 + b * width, h1), f32(0.55 * folds + 0.45 * f32(cloth)), 0.75, room)
    elif kind < 0.6:
        low = h0 + height * rng.uniform(0.0, 0.5)
        canvas.rect((s0, low, s1, h1), scaled(cloth, 0.85), 0.7, room)
        for h in np.arange(low, h1, 0.1):
            canvas.shade((s0, h, s1, h + 0.02), 0.7, 0.7)
    elif kind < 0.75:
        canvas.rect((s0, h0, s1, h0 + height * rng.uniform(0.4, 0.7)), scaled(cloth, 0.8), 0.7, room)
    elif kind < 0.85:
        for _ in range(3):
            s = rng.uniform(s0 + 0.1, s1 - 0.1)
            canvas.polygon(
                [(s - 0.08, h0), (s + 0.08, h0), (s + rng.normal(0, 0.1), h0 + rng.uniform(0.3, 0.6))],
                (50, 92, 44),
                False,
            )


def _shutters(canvas: Canvas, box: Box, design: FacadeDesign, rng: np.random.Generator) -> None:
    s0, h0, s1, h1 = box
    wide = (s1 - s0) / 2
    for a, b in ((s0 - wide - 0.04, s0 - 0.04), (s1 + 0.04, s1 + wide + 0.04)):
        if a < 0 or b > design.width:
            continue
        tone = rng.normal(1, 0.06)
        canvas.rect((a, h0, b, h1), scaled(design.style.accent, tone))
        for h in np.arange(h0 + 0.08, h1 - 0.08, 0.06):
            canvas.shade((a + 0.06, h, b - 0.06, h + 0.025), 0.6, 0.7)
        canvas.shade((a, (h0 + h1) / 2 - 0.04, b, (h0 + h1) / 2 + 0.04), 1.25, 1.25)
        canvas.shade((b, h0, b + 0.04, h1), 0.7, 0.7)


def _flowers(canvas: Canvas, box: Box, rng: np.random.Generator) -> None:
    s0, h0, s1, h1 = box
    canvas.rect((s0 - 0.05, h0, s1 + 0.05, h0 + 0.14), (120, 74, 52))
    colour = GOODS[int(rng.integers(6))]
    for _ in range(int((s1 - s0) * 45)):
        spot = (rng.uniform(s0 - 0.08, s1 + 0.08), rng.uniform(h0 + 0.08, h1 + 0.06))
        canvas.disc(*spot, rng.uniform(0.02, 0.045), colour if rng.random() < 0.45 else (52, 96, 44))


def _surround(canvas: Canvas, opening: Opening, design: FacadeDesign, rng: np.random.Generator) -> None:
    """Architrave, keystone or pediment around a window."""
    style, (s0, h0, s1, h1) = design.style, opening.box
    if style.family == "modern" or (style.family == "timber" and opening.box[1] > style.storeys[1]):
        return
    edge = 0.13
    trim = style.trim if style.family != "rubble" else scaled(style.trim, 0.85)
    if not opening.arched:
        for part in ((s0 - edge, h0, s0, h1 + edge), (s1, h0, s1 + edge, h1 + edge), (s0, h1, s1, h1 + edge)):
            canvas.rect(part, trim)
            canvas.shade(part, 1.04, 0.93)
    middle = (s0 + s1) / 2
    if style.lintel == "keystone":
        canvas.polygon(
            [
                (middle - 0.09, h1 - 0.02),
                (middle + 0.09, h1 - 0.02),
                (middle + 0.15, h1 + 0.34),
                (middle - 0.15, h1 + 0.34),
            ],
            trim,
        )
    if style.lintel == "pediment" and h1 < style.eave - 0.9:
        base = h1 + 0.26
        canvas.polygon([(s0 - 0.18, base), (s1 + 0.18, base), (middle, base + 0.42)], trim)
        canvas.polygon([(s0 + 0.02, base + 0.06), (s1 - 0.02, base + 0.06), (middle, base + 0.32)], scaled(trim, 0.8))
    if style.lintel == "hood" and rng.random() < 0.5:
        canvas.disc(middle, h1 + 0.36, 0.1, trim)


def _arch(canvas: Canvas, opening: Opening, design: FacadeDesign, wall: np.ndarray, rng: np.random.Generator) -> None:
    """Bring the wall back over the arch and ring it with stones."""
    s0, h0, s1, h1 = opening.box
    curve = arch_curve(opening.box)
    for end, corner in ((0, (s0 - 0.02, h1 + 0.02)), (-1, (s1 + 0.02, h1 + 0.02))):
        half = curve[: len(curve) // 2 + 1] if end == 0 else curve[len(curve) // 2 :]
        canvas.restore(opening.box, wall, [*half, (half[0 if end else -1][0], h1 + 0.02), corner])
    radius, middle = (s1 - s0) / 2, (s0 + s1) / 2
    inner = arch_curve(opening.box, max(9, 2 * round(radius * 6) + 1))
    outer = inner + 0.2 * (inner - (middle, inner[0, 1])) / radius
    for k in range(len(inner) - 1):
        tone = rng.normal(1.0, 0.07) * (0.86 if k % 2 else 1.0)
        ring = [inner[k], outer[k], outer[k + 1], inner[k + 1]]
        canvas.polygon(ring, scaled(design.style.trim, tone))


def _niche(canvas: Canvas, opening: Opening, design: FacadeDesign, rng: np.random.Generator) -> None:
    rows, cols = canvas.window(*opening.box)
    part = (rows.stop - rows.start, cols.stop - cols.start)
    if min(part) > 3:
        canvas.rect(opening.box, plaster(part, scaled(design.style.wall_colour, 0.8), canvas.texel_m, rng))
        s0, h0, s1, h1 = opening.box
        if rng.random() < 0.7:  # most are walled-up windows, a few hold a figure
            return
        middle = (s0 + s1) / 2
        canvas.disc(middle, h0 + 0.62 * (h1 - h0), 0.2 * (s1 - s0), design.style.trim)
        canvas.polygon(
            [(middle - 0.25 * (s1 - s0), h0), (middle + 0.25 * (s1 - s0), h0), (middle, h0 + 0.6 * (h1 - h0))],
            design.style.trim,
        )


def _door(canvas: Canvas, opening: Opening, design: FacadeDesign, rng: np.random.Generator) -> None:
    """A door leaf with panels, glazed above."""
    s0, h0, s1, h1 = opening.box
    colour = PAINTS[int(rng.integers(len(PAINTS)))]
    rows, cols = canvas.window(*opening.box)
    part = (rows.stop - rows.start, cols.stop - cols.start)
    canvas.rect(opening.box, boards(part, colour, canvas.texel_m, rng))
    light = canvas.new_light()
    transom = min(h1 - 0.3, h0 + 2.15)
    canvas.rect((s0 + 0.1, transom + 0.08, s1 - 0.1, h1 - 0.08), GLASS, 1.0, light)
    canvas.rect(
        (s0 + 0.2, h0 + 1.1, s1 - 0.2, transom - 0.15),
        GLASS if rng.random() < 0.5 else scaled(colour, 1.2),
        0.6,
        light,
    )
    for low, high in ((0.12, 0.5), (0.58, 0.98)):
        canvas.frame((s0 + 0.16, h0 + low, s1 - 0.16, h0 + high), 0.03, scaled(colour, 0.6))
    canvas.frame(opening.box, 0.08, design.style.frame)
    canvas.disc(s1 - 0.16, h0 + 1.02, 0.035, (214, 190, 110))
    canvas.rect((s1 + 0.15, h0 + 1.5, s1 + 0.33, h0 + 1.72), (40, 60, 130))
    canvas.text((s1 + 0.16, h0 + 1.52, s1 + 0.32, h0 + 1.7), str(rng.integers(1, 99)), (240, 240, 240))


def _gate(canvas: Canvas, opening: Opening, design: FacadeDesign, rng: np.random.Generator) -> None:
    """Two leaves of boards, or the dark mouth of a passage."""
    s0, h0, s1, h1 = opening.box
    rows, cols = canvas.window(*opening.box)
    part = (rows.stop - rows.start, cols.stop - cols.start)
    if rng.random() < 0.6:
        canvas.rect(opening.box, boards(part, PAINTS[int(rng.integers(6))], canvas.texel_m, rng))
        middle = (s0 + s1) / 2
        canvas.rect((middle - 0.03, h0, middle + 0.03, h1), (30, 26, 24))
        for h in np.arange(h0 + 0.4, h1 - 0.5, 0.7):
            for a, b in ((s0 + 0.15, middle - 0.15), (middle + 0.15, s1 - 0.15)):
                canvas.frame((a, h, b, h + 0.55), 0.05, (34, 28, 26))
        for s in np.arange(s0 + 0.2, s1 - 0.1, 0.3):
            canvas.disc(s, h0 + 0.25, 0.03, (130, 124, 112))
    else:
        depth = np.linspace(0.5, 1.0, part[0], dtype=np.float32)[:, None, None]
        canvas.rect(opening.box, f32((58, 52, 48)) * depth * np.ones((1, part[1], 1), np.float32))
        for s in np.arange(s0 + 0.1, s1, 0.14):
            canvas.line([(s, h0), (s, h1)], 0.025, (24, 24, 26))


def _arcade(canvas: Canvas, opening: Opening, design: FacadeDesign, rng: np.random.Generator) -> None:
    """The back wall of an arcade: shop glass or a door in the shade."""
    rows, cols = canvas.window(*opening.box)
    part = (rows.stop - rows.start, cols.stop - cols.start)
    canvas.rect(opening.box, plaster(part, scaled(design.style.ground_colour, 0.75), canvas.texel_m, rng))
    s0, h0, s1, h1 = opening.box
    _display(canvas, (s0 + 0.25, h0 + 0.5, s1 - 0.25, h1 - 1.0), rng)


def _shop(canvas: Canvas, opening: Opening, design: FacadeDesign, rng: np.random.Generator) -> None:
    _display(canvas, opening.box, rng)
    canvas.frame(opening.box, 0.07, design.style.accent)
    s0, h0, s1, h1 = opening.box
    if rng.random() < 0.5:
        canvas.rect((s0, h1 - 0.55, s1, h1 - 0.5), design.style.accent)


def _display(canvas: Canvas, box: Box, rng: np.random.Generator) -> None:
    """A lit shop window: back wall, then shelves of goods, figures in clothes, tables and lamps, or a drawn blind."""
    s0, h0, s1, h1 = box
    shop = canvas.new_light()
    canvas.displays.append((box, shop))
    back = 62 + 12 * noise((24, 32), 12, rng, 3)[..., None] + f32(rng.uniform(-20, 20, 3))
    canvas.rect(box, f32(back.clip(20, 150)), 0.6, shop)
    kind = rng.random()
    draw = _shelves if kind < 0.45 else _figures if kind < 0.65 else _tables if kind < 0.9 else _blind
    draw(canvas, box, rng, shop)
    if rng.random() < 0.6:
        _poster(canvas, box, rng, shop)
    view = canvas.colour[canvas.window(*box)]
    if view.size:
        view[:] = cv2.GaussianBlur(view, (0, 0), 0.6)


def _goods(rng: np.random.Generator, tone: float = 0.8) -> Colour:
    colour = GOODS[int(rng.integers(len(GOODS)))]
    red, green, blue = (float(tone * c * rng.normal(1, 0.12)) for c in colour)
    return red, green, blue


def _shelves(canvas: Canvas, box: Box, rng: np.random.Generator, shop: int) -> None:
    s0, h0, s1, h1 = box
    widest, gap = rng.uniform(0.15, 0.6), rng.uniform(0.05, 0.4)
    for level in np.arange(h0 + 0.08, h1 - 0.45, rng.uniform(0.42, 1.0)):
        canvas.rect((s0, level - 0.04, s1, level), (112, 88, 64), 0.5, shop)
        s = s0 + rng.uniform(0.05, 0.2)
        while s < s1 - 0.2:
            wide, tall = rng.uniform(0.07, widest), rng.uniform(0.1, 0.4)
            thing = (s, level, min(s + wide, s1), min(level + tall, h1))
            canvas.rect(thing, _goods(rng), 0.45, shop)
            if wide > 0.18:
                canvas.rect(
                    (s + 0.04, level + 0.3 * tall, thing[2] - 0.04, level + 0.7 * tall), _goods(rng), 0.45, shop
                )
            s += wide + rng.uniform(0.02, gap)


def _figures(canvas: Canvas, box: Box, rng: np.random.Generator, shop: int) -> None:
    """Mannequins."""
    s0, h0, s1, h1 = box
    tall = min(1.75, h1 - h0 - 0.2)
    for s in np.arange(s0 + 0.45, s1 - 0.3, rng.uniform(0.7, 1.1)):
        for colour, low, high, half in ((_goods(rng), 0.0, 0.5, 0.15), (_goods(rng), 0.45, 0.85, 0.22)):
            a, b = h0 + low * tall, h0 + high * tall
            canvas.polygon([(s - half * 0.7, a), (s + half * 0.7, a), (s + half, b), (s - half, b)], colour, False)
        canvas.polygon(
            [(s + 0.1 * np.cos(t), h0 + 0.93 * tall + 0.12 * np.sin(t)) for t in np.linspace(0, 6, 12)],
            (190, 160, 140),
            False,
        )
    canvas.rect((s0, h1 - 0.3, s1, h1 - 0.24), _goods(rng), 0.5, shop)


def _tables(canvas: Canvas, box: Box, rng: np.random.Generator, shop: int) -> None:
    """A room with pictures on the wall, hanging lamps, tables."""
    s0, h0, s1, h1 = box
    for s in np.arange(s0 + 0.2, s1 - 0.7, 0.95):
        h = h1 - rng.uniform(0.7, 1.1)
        canvas.rect((s, h, s + rng.uniform(0.3, 0.7), h + rng.uniform(0.3, 0.55)), _goods(rng, 0.7), 0.5, shop)
        canvas.rect((s + 0.07, h + 0.07, s + 0.25, h + 0.25), _goods(rng, 0.9), 0.5, shop)
    for s in np.arange(s0 + 0.4, s1 - 0.2, 1.1):
        canvas.line([(s, h1), (s, h1 - 0.5)], 0.02, (30, 30, 30))
        canvas.polygon(
            [(s - 0.16, h1 - 0.62), (s + 0.16, h1 - 0.62), (s + 0.05, h1 - 0.45), (s - 0.05, h1 - 0.45)],
            (250, 226, 160),
            False,
        )
        canvas.rect((s - 0.3, h0 + 0.3, s + 0.35, h0 + 0.36), (110, 74, 46), 0.4, shop)
        canvas.rect((s, h0, s + 0.05, h0 + 0.3), (80, 60, 46), 0.4, shop)
        canvas.rect((s - 0.38, h0, s - 0.22, h0 + 0.5), _goods(rng, 0.6), 0.4, shop)


def _blind(canvas: Canvas, box: Box, rng: np.random.Generator, shop: int) -> None:
    """A striped blind, half down."""
    s0, h0, s1, h1 = box
    low, colour = h0 + rng.uniform(0.2, 0.6) * (h1 - h0), _goods(rng)
    for k, s in enumerate(np.arange(s0, s1, 0.25)):
        canvas.rect((s, low, min(s + 0.25, s1), h1), colour if k % 2 else (220, 214, 200), 0.4, shop)


def _poster(canvas: Canvas, box: Box, rng: np.random.Generator, light: int) -> None:
    s0, h0, s1, h1 = box
    wide, tall = min(0.5, s1 - s0), min(0.7, h1 - h0)
    s, h = rng.uniform(s0, s1 - wide), rng.uniform(h0, h1 - tall)
    canvas.rect((s, h, s + wide, h + tall), GOODS[int(rng.integers(len(GOODS)))], 0.2, light)
    words = ("SALE", "-30%", "NEU", "OPEN", "MENU", "20", "HEUTE")[int(rng.integers(7))]
    canvas.text(
        (s + 0.03, h + 0.4 * tall, s + wide - 0.03, h + 0.85 * tall), words, GOODS[int(rng.integers(len(GOODS)))]
    )
    for k in range(3):
        canvas.rect((s + 0.06, h + 0.06 + 0.08 * k, s + wide - 0.06, h + 0.09 + 0.08 * k), (70, 66, 62), 0.2, light)
