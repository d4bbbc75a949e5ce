"""A painted facade: design -> texture. Signs, doors and wear come from the house's own seed."""

from __future__ import annotations

import cv2
import numpy as np

from lbr.town import patterns
from lbr.town.arrays import f32
from lbr.town.canvas import Canvas
from lbr.town.design import FacadeDesign
from lbr.town.paint_openings import GOODS, paint_opening
from lbr.town.paint_walls import paint_block, paint_walls
from lbr.town.patterns import scaled

NAMES = (
    "ADLER", "ROSE", "KRAUS", "LINDNER", "BRUNO", "HANSA", "MERKUR", "AMALFI", "SCHMITZ", "ORION", "FLORA", "KOCH",
    "NOVAK", "PETIT", "LUNA", "STERN", "GOLD", "WEBER", "DOM", "ANKER", "VOGEL", "ZUM BAEREN", "MAYER", "ALTSTADT",
)  # fmt: skip
TRADES = (
    "CAFE", "HOTEL", "OPTIK", "BUCHER", "APOTHEKE", "BAR", "MODE", "BAECKEREI", "BLUMEN", "PIZZA", "UHREN", "BANK",
    "SALON", "WEINE", "ANTIK", "SCHUHE", "PAPIER", "MUSIK", "RADIO", "GALERIE", "TEE", "KAFFEE", "SPIELE", "FOTO",
)  # fmt: skip
OWN_EVERY = 5  # of so many openings one has curtains or goods that a twin's has not
FONTS = (cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX)


def paint_facade(design: FacadeDesign, texel_m: float, own_seed: int) -> Canvas:
    """Paint a facade. `own_seed` decides sign, doors, wear and some windows: two twins share everything else."""
    shared, own = np.random.default_rng([design.seed, 21]), np.random.default_rng([own_seed, 22])
    canvas = Canvas(design.width, design.top, texel_m)
    paint_walls(canvas, design, shared)
    if shared.random() < 0.1 and design.style.wall == "plaster":
        _mural(canvas, design, shared)
    for block in design.blocks:
        paint_block(canvas, block, design, shared)
    for k, opening in enumerate(design.openings):
        differs = opening.kind == "door" or k % OWN_EVERY == OWN_EVERY - 1
        paint_opening(canvas, opening, design, own if differs else np.random.default_rng([design.seed, 23, k]))
    for block in design.blocks:
        if block.kind == "sign":
            _sign(canvas, block.box, design, own)
    _decorate(canvas, design, np.random.default_rng([design.seed, 25]), own)
    _wear(canvas, design, own)
    np.clip(canvas.colour, 4, 250, out=canvas.colour)
    return canvas


def _sign(canvas: Canvas, box: tuple, design: FacadeDesign, rng: np.random.Generator) -> None:
    """The lettering over a shop; some signs glow at night."""
    s0, h0, s1, h1 = box
    board = design.style.accent
    light = canvas.new_sign() if rng.random() < 0.55 else 0
    rows, cols = canvas.window(*box)
    canvas.rect(
        box, patterns.plaster((rows.stop - rows.start, cols.stop - cols.start), board, canvas.texel_m, rng), 0.0, light
    )
    canvas.frame(box, 0.03, scaled(board, 0.6))
    ink = (244, 238, 220) if sum(board) < 420 else (40, 30, 30)
    if rng.random() < 0.3:
        ink = (236, 196, 60) if sum(board) < 420 else (140, 20, 30)
    trade, name = TRADES[int(rng.integers(len(TRADES)))], NAMES[int(rng.integers(len(NAMES)))]
    words = f"{trade} {name}" if rng.random() < 0.6 else f"{name} {trade}"
    margin = 0.06 * (s1 - s0)
    canvas.text((s0 + margin, h0 + 0.06, s1 - margin, h1 - 0.06), words, ink, FONTS[int(rng.integers(len(FONTS)))])
    if rng.random() < 0.5:
        for s in (s0 + margin * 0.6, s1 - margin * 0.6):
            canvas.disc(s, (h0 + h1) / 2, 0.14, ink)
            canvas.disc(s, (h0 + h1) / 2, 0.09, GOODS[int(rng.integers(len(GOODS)))])


def _mural(canvas: Canvas, design: FacadeDesign, rng: np.random.Generator) -> None:
    """A painted wall: large flat shapes between the windows."""
    for _ in range(14):
        s, h = rng.uniform(0, design.width), rng.uniform(design.style.storeys[1], design.style.eave)
        colour = scaled(GOODS[int(rng.integers(len(GOODS)))], 0.85)
        turn, corners = rng.uniform(0, 6.3), int(rng.integers(3, 9))
        angle = turn + np.linspace(0, 2 * np.pi, corners, endpoint=False)
        radius = rng.uniform(0.3, 1.3) * rng.uniform(0.7, 1.2, corners)
        canvas.polygon(np.stack([s + radius * np.cos(angle), h + radius * np.sin(angle)], 1), colour)


def _decorate(canvas: Canvas, design: FacadeDesign, shared: np.random.Generator, own: np.random.Generator) -> None:
    style, width = design.style, design.width
    if style.family in ("baroque", "classic", "gothic") and shared.random() < 0.6:
        _frieze(canvas, design, shared)
    if design.kind == "hall":
        paint_clock(canvas, width / 2, style.eave + 2.6, 0.95)
    if design.top > style.eave + 2 and design.kind == "house":
        canvas.text(
            (width / 2 - 0.8, style.eave + 0.05, width / 2 + 0.8, style.eave + 0.42),
            str(own.integers(1586, 1911)),
            (60, 50, 44),
        )
    for s in (0.12, width - 0.12):
        if shared.random() < 0.55:
            colour = scaled((1.0, 0.98, 0.95), shared.uniform(70, 150))
            canvas.line([(s, style.eave - 0.3), (s, 0.3)], 0.1, scaled(colour, 0.6))
            canvas.line([(s - 0.015, style.eave - 0.3), (s - 0.015, 0.3)], 0.05, colour)
    if shared.random() < 0.14:
        _ivy(canvas, design, shared)
    if own.random() < 0.3 and design.ground != "shop":
        _graffiti(canvas, design, own)
    for _ in range(int(own.integers(1, 5))):
        s, h = own.uniform(0.4, width - 0.8), own.uniform(1.2, 2.2)
        if canvas.glass[canvas.window(s, h, s + 0.3, h + 0.4)].max(initial=0) == 0:
            canvas.rect(
                (s, h, s + own.uniform(0.15, 0.32), h + own.uniform(0.15, 0.42)), GOODS[int(own.integers(len(GOODS)))]
            )
            canvas.rect((s + 0.03, h + 0.05, s + 0.12, h + 0.12), (50, 46, 44))


def _frieze(canvas: Canvas, design: FacadeDesign, rng: np.random.Generator) -> None:
    """A band of ornament under the eave or over the ground floor."""
    style = design.style
    h = style.eave - 0.72 if rng.random() < 0.5 else style.storeys[1] + 0.2
    step = rng.uniform(0.4, 0.75)
    figure = int(rng.integers(3))
    for k, s in enumerate(np.arange(0.5, design.width - 0.5, step)):
        if canvas.glass[canvas.window(s - 0.2, h, s + 0.2, h + 0.3)].max(initial=0) > 0:
            continue
        if figure == 0:
            canvas.disc(s, h + 0.15, 0.14, style.trim)
            canvas.disc(s, h + 0.15, 0.07, style.wall_colour)
        elif figure == 1:
            canvas.polygon(
                [(s - 0.15, h + 0.15), (s, h), (s + 0.15, h + 0.15), (s, h + 0.3)],
                style.trim if k % 2 else style.accent,
            )
        else:
            canvas.line(
                [(s - step / 2, h), (s - step / 4, h + 0.26), (s, h), (s + step / 4, h + 0.26)], 0.05, style.trim
            )


def paint_clock(canvas: Canvas, s: float, h: float, radius: float) -> None:
    canvas.disc(s, h, radius, (40, 36, 34))
    canvas.disc(s, h, 0.9 * radius, (238, 232, 212))
    for k in range(12):
        a = k * np.pi / 6
        canvas.line([(s + r * radius * np.sin(a), h + r * radius * np.cos(a)) for r in (0.7, 0.85)], 0.06, (30, 28, 28))
    canvas.line(
        [(s - 0.3 * radius, h + 0.35 * radius), (s, h), (s + 0.2 * radius, h + 0.66 * radius)], 0.07, (30, 28, 28)
    )


def _ivy(canvas: Canvas, design: FacadeDesign, rng: np.random.Generator) -> None:
    """Leaves climbing one side of the wall."""
    side, spread = rng.uniform(0, design.width), rng.uniform(0.6, 1.6)
    high = rng.uniform(0.5, 0.9) * design.style.eave
    for _ in range(900):
        h = high * np.sqrt(rng.random())
        s = side + rng.normal(0, spread * (1.1 - h / high) * 0.6 + 0.1)
        green = rng.uniform(0.5, 1.2)
        canvas.disc(s, h, rng.uniform(0.04, 0.11), (48 * green, 84 * green, 36 * green))


def _graffiti(canvas: Canvas, design: FacadeDesign, rng: np.random.Generator) -> None:
    s = rng.uniform(0.3, max(0.4, design.width - 2.0))
    for _ in range(2):
        steps = np.cumsum(rng.normal(0, 0.16, (12, 2)), 0) * [1.4, 0.6] + [s, rng.uniform(0.8, 1.6)]
        canvas.line([tuple(p) for p in steps], 0.05, GOODS[int(rng.integers(len(GOODS)))])


def _wear(canvas: Canvas, design: FacadeDesign, rng: np.random.Generator) -> None:
    """Dirt: runs under sills and ledges, damp at the foot, soot under the eave, patches, cracks."""
    shape, texel = canvas.shape, canvas.texel_m
    dirt = np.zeros(shape, np.float32)
    for block in design.blocks:
        if block.kind in ("sill", "ledge", "cornice", "slab"):
            s0, h0, s1, _ = block.box
            rows, cols = canvas.window(s0, h0 - rng.uniform(0.4, 1.5), s1, h0)
            part = (rows.stop - rows.start, cols.stop - cols.start)
            if min(part) > 2:
                runs = (
                    np.clip(noise_line(part[1], rng), 0, 2)[None]
                    * np.linspace(1, 0, part[0], dtype=np.float32)[:, None]
                )
                dirt[rows, cols] += 0.17 * runs
    height = (np.arange(shape[0], 0, -1, dtype=np.float32) * texel)[:, None]
    damp = np.clip(1.0 - height / (0.6 + 0.35 * noise_line(shape[1], rng)[None]).clip(0.15), 0, 1)
    dirt += 0.3 * damp + rng.uniform(0.03, 0.1) * np.clip(patterns.noise(shape, 2.2 / texel, rng, 4), 0, 3)
    for _ in range(int(rng.integers(0, 4))):
        start = np.array([rng.uniform(0, design.width), rng.uniform(1, design.style.eave)])
        canvas.line(start + np.cumsum(rng.normal(0, 0.09, (14, 2)) + [0.0, 0.06], 0), 0.015, (80, 74, 68))
    dirt *= 1 - 0.8 * canvas.glass
    canvas.colour *= np.exp(-dirt)[..., None] * f32(rng.normal(1, 0.015, 3))


def noise_line(count: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth random line [count] of unit deviation."""
    coarse = rng.standard_normal((1, max(2, count // 8))).astype(np.float32)
    return cv2.resize(coarse, (count, 1), interpolation=cv2.INTER_CUBIC)[0]
