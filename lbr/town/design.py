"""The design of a facade: what is where, in metres along (s), up (h) and out of the wall. No drawing yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from lbr.town.patterns import Colour, vary
from lbr.town.plan import Facade

T = TypeVar("T")
Box = tuple[float, float, float, float]  # s0, h0, s1, h1

PLASTERS: tuple[Colour, ...] = (
    (222, 184, 110), (236, 222, 190), (222, 156, 124), (224, 178, 168), (164, 190, 204), (172, 200, 172),
    (186, 184, 176),
    (238, 236, 228), (194, 112, 82), (172, 168, 122), (150, 76, 70), (122, 142, 160), (188, 176, 196), (238, 220, 140),
)  # fmt: skip
BRICKS: tuple[Colour, ...] = ((156, 84, 62), (132, 62, 50), (176, 112, 78), (186, 158, 110), (110, 60, 56))
STONES: tuple[Colour, ...] = ((196, 184, 156), (172, 166, 154), (188, 160, 128), (160, 132, 110))
ROOFS: tuple[Colour, ...] = ((176, 84, 56), (150, 70, 52), (120, 60, 50), (92, 92, 98), (70, 72, 80), (132, 100, 80))
PAINTS: tuple[Colour, ...] = (
    (38, 66, 52), (120, 30, 32), (34, 52, 92), (196, 150, 40), (30, 30, 34), (92, 60, 38), (226, 220, 204),
    (70, 110, 130),
    (150, 60, 100), (60, 96, 60), (200, 88, 36),
)  # fmt: skip
LINTELS: dict[str, tuple[str, ...]] = {
    "baroque": ("pediment", "hood", "keystone"), "classic": ("pediment", "hood", "keystone"), "timber": ("none",),
    "modern": ("none",),
}  # fmt: skip
FAMILIES = ("baroque", "classic", "brick", "gothic", "timber", "modern", "rubble")


@dataclass(frozen=True)
class Style:
    """What the facades of one building share."""

    family: str
    wall: str  # plaster, brick, ashlar, rubble, panels
    wall_colour: Colour
    ground_wall: str
    ground_colour: Colour
    trim: Colour
    accent: Colour
    frame: Colour
    window: str  # cross, sash, single, triple, lattice
    lintel: str  # none, arch, pediment, keystone, hood
    shutters: bool
    quoins: bool
    roof: str  # eaves, stepped, triangle, curved, flat, mansard
    roof_colour: Colour
    storeys: tuple[float, ...]  # floor levels from the ground up, the eave last
    jetty: bool = False

    @property
    def eave(self) -> float:
        return self.storeys[-1]


@dataclass(frozen=True)
class Opening:
    """A hole in the wall: its box, how deep its pane sits, what it holds."""

    kind: str  # window, door, shop, gate, arcade, niche
    box: Box
    depth: float
    arched: bool = False


@dataclass(frozen=True)
class Block:
    """Something that stands out of the wall: ledge, sill, bay, sign board, balcony slab, step."""

    kind: str
    box: Box
    depth: float
    base: float = 0.0  # where it starts, out of the wall


@dataclass(frozen=True)
class FacadeDesign:
    """A facade of `width` metres: style, holes, things in front, and the outline [(s, h)] of its top."""

    width: float
    style: Style
    outline: tuple[tuple[float, float], ...]
    openings: tuple[Opening, ...]
    blocks: tuple[Block, ...]
    ground: str  # shop, homes, arcade, gate
    seed: int
    kind: str

    @property
    def top(self) -> float:
        return max(h for _, h in self.outline)


def arch_curve(box: Box, count: int = 16) -> np.ndarray:
    """The round (or pressed) arch in the top of an opening, float64 [count + 1, 2] of (s, h) from left to right."""
    s0, h0, s1, h1 = box
    radius = (s1 - s0) / 2
    rise = min(radius, 0.45 * (h1 - h0))
    angle = np.linspace(np.pi, 0, count + 1)
    return np.stack([(s0 + s1) / 2 + radius * np.cos(angle), h1 - rise + rise * np.sin(angle)], 1)


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    return items[int(rng.integers(len(items)))]


def design_facade(facade: Facade) -> FacadeDesign:
    """The design of a facade; near twins get the same one, stretched to their lot."""
    width = facade.design_width
    style = draw_style(np.random.default_rng([facade.style_seed, 11]), facade.kind)
    rng = np.random.default_rng([facade.design_seed, 12])
    shapes = _Layout(style, width, rng, facade.kind)
    design = shapes.design(facade.design_seed)
    return design if abs(width - facade.width) < 1e-9 else _stretched(design, facade.width)


def draw_style(rng: np.random.Generator, kind: str = "house") -> Style:
    """A style of one of FAMILIES; landmarks have their own."""
    family = {"hall": "gothic", "church": "rubble"}.get(kind) or str(
        rng.choice(FAMILIES, p=(0.24, 0.15, 0.14, 0.11, 0.14, 0.12, 0.1))
    )
    wall = _wall(family, rng)
    palette = {"brick": BRICKS, "rubble": STONES, "ashlar": STONES}.get(wall, PLASTERS)
    colour = vary(pick(rng, palette), rng)
    if family == "timber":
        colour = vary(pick(rng, ((238, 230, 208), (232, 214, 170), (226, 190, 150), (240, 238, 230))), rng)
    ground_wall = str(rng.choice(("same", "ashlar", "plaster"), p=(0.45, 0.35, 0.2)))
    ground_colour = (
        colour if ground_wall == "same" else vary(pick(rng, STONES if ground_wall == "ashlar" else PLASTERS), rng)
    )
    tall = family in ("classic", "baroque")
    heights = [rng.uniform(3.5, 4.3)] + [rng.uniform(3.0, 3.7) if tall else rng.uniform(2.7, 3.2)] * int(
        rng.integers(2, 4)
    )
    if kind != "house":
        heights = [4.6, 3.9, 3.9] if kind == "hall" else [5.0, 6.5]
    return Style(
        family=family, wall=wall, wall_colour=colour,
        ground_wall=wall if ground_wall == "same" else ground_wall, ground_colour=ground_colour,
        trim=vary(pick(rng, ((236, 230, 214), (206, 196, 174), (170, 160, 144), (240, 238, 232), (150, 110, 84))), rng),
        accent=pick(rng, PAINTS),
        frame=pick(rng, ((240, 238, 232), (240, 238, 232), (90, 62, 42), (54, 74, 60), (60, 62, 66), (130, 40, 36))),
        window=str(pick(rng, ("cross", "sash", "single", "triple", "lattice"))),
        lintel=str(pick(rng, LINTELS.get(family, ("arch", "keystone", "hood")))),
        shutters=bool(rng.random() < {"timber": 0.5, "baroque": 0.35, "rubble": 0.6}.get(family, 0.1)),
        quoins=bool(family in ("baroque", "classic", "rubble") and rng.random() < 0.6),
        roof=_roof(family, kind, rng),
        roof_colour=vary(pick(rng, ROOFS), rng),
        storeys=tuple(float(h) for h in np.cumsum([0.0, *heights])),
        jetty=bool(family == "timber" and rng.random() < 0.7),
    )  # fmt: skip


def _wall(family: str, rng: np.random.Generator) -> str:
    wall = {
        "brick": "brick",
        "gothic": "brick",
        "rubble": "rubble",
        "classic": str(pick(rng, ("ashlar", "plaster"))),
    }.get(family, "plaster")
    return "panels" if family == "modern" and rng.random() < 0.5 else wall


def _roof(family: str, kind: str, rng: np.random.Generator) -> str:
    if kind != "house":
        return "stepped" if kind == "hall" else "triangle"
    choices = {
        "gothic": ("stepped", "stepped", "triangle"), "timber": ("triangle", "eaves"), "modern": ("flat", "eaves"),
        "baroque": ("curved", "eaves", "mansard"), "classic": ("mansard", "eaves"),
        "brick": ("eaves", "mansard", "stepped"),
    }  # fmt: skip
    return str(pick(rng, choices.get(family, ("eaves", "triangle"))))


def _stretched(design: FacadeDesign, width: float) -> FacadeDesign:
    k = width / design.width

    def scale(box: Box) -> Box:
        return box[0] * k, box[1], box[2] * k, box[3]

    return replace(
        design,
        width=width,
        outline=tuple((s * k, h) for s, h in design.outline),
        openings=tuple(replace(o, box=scale(o.box)) for o in design.openings),
        blocks=tuple(replace(b, box=scale(b.box)) for b in design.blocks),
    )


class _Layout:
    """Places holes and blocks on one wall."""

    def __init__(self, style: Style, width: float, rng: np.random.Generator, kind: str) -> None:
        self.style, self.width, self.rng, self.kind = style, width, rng, kind
        self.openings: list[Opening] = []
        self.blocks: list[Block] = []
        self.depth = float(rng.uniform(0.12, 0.24))
        bay = rng.uniform(1.7, 2.6) if style.window != "triple" else rng.uniform(2.4, 3.0)
        self.bays = max(2, round((width - 0.6) / bay))
        self.edges = np.linspace(0.35, width - 0.35, self.bays + 1)

    def design(self, seed: int) -> FacadeDesign:
        grounds = (
            ("arcade",)
            if self.kind == "hall"
            else ("portal",)
            if self.kind == "church"
            else ("shop", "shop", "shop", "homes", "gate")
        )
        ground = str(pick(self.rng, grounds))
        {"shop": self._shop, "homes": self._homes, "gate": self._gate, "arcade": self._arcade, "portal": self._portal}[
            ground
        ]()
        if self.kind == "church":
            self._church_windows()
        else:
            for level in range(1, len(self.style.storeys) - 1):
                self._storey(self.style.storeys[level], self.style.storeys[level + 1], level)
            self._front()
        self._ledges()
        outline = self._outline()
        self._gable_windows(outline)
        return FacadeDesign(
            self.width, self.style, outline, tuple(self.openings), tuple(self.blocks), ground, seed, self.kind
        )

    def _storey(self, low: float, high: float, level: int) -> None:
        """A row of windows, or a blind bay here and there."""
        rng, tall = self.rng, high - low
        fill, sill = rng.uniform(0.46, 0.62), low + rng.uniform(0.24, 0.32) * tall
        head = low + rng.uniform(0.8, 0.87) * tall
        arched = self.style.lintel == "arch" or (self.style.family in ("gothic", "baroque") and rng.random() < 0.3)
        blind = int(rng.integers(self.bays)) if rng.random() < 0.2 else -1
        for k in range(self.bays):
            middle, half = (self.edges[k] + self.edges[k + 1]) / 2, (self.edges[k + 1] - self.edges[k]) * fill / 2
            box = (middle - half, sill, middle + half, head)
            if k == blind:
                self.openings.append(Opening("niche", box, 0.06, arched))
                continue
            self.openings.append(Opening("window", box, self.depth, arched))
            self.blocks.append(Block("sill", (box[0] - 0.08, sill - 0.09, box[2] + 0.08, sill), 0.09))
            if self.style.lintel in ("hood", "pediment") and not arched:
                self.blocks.append(Block("hood", (box[0] - 0.14, head + 0.16, box[2] + 0.14, head + 0.26), 0.13))

    def _front(self) -> None:
        """A bay window or balconies, on about half of the houses."""
        rng, levels = self.rng, self.style.storeys
        choice = rng.random()
        if choice < 0.2 and self.bays >= 3:
            k = int(rng.integers(1, self.bays - 1))
            self.blocks.append(
                Block(
                    "bay", (self.edges[k] + 0.08, levels[1] + 0.15, self.edges[k + 1] - 0.08, levels[-1] - 0.35), 0.55
                )
            )
        elif choice < 0.55:
            kind = "iron" if rng.random() < 0.65 else "stone"
            wide = 2 if rng.random() < 0.4 and self.bays > 3 else 1
            for level in range(1, len(levels) - 1):
                k = int(rng.integers(0, self.bays - wide + 1))
                s0, s1 = self.edges[k] + 0.1, self.edges[k + wide] - 0.1
                h = levels[level] + 0.12
                self.blocks.append(Block("slab", (s0, h - 0.14, s1, h), 0.85))
                self.blocks.append(Block(kind, (s0, h, s1, h + 0.95), 0.85))

    def _ledges(self) -> None:
        """String courses between storeys and a cornice under the eave; a jetty pushes whole storeys out."""
        rng, style = self.rng, self.style
        projection = rng.uniform(0.08, 0.2)
        for level in style.storeys[1:-1]:
            if style.jetty or (style.family != "modern" and rng.random() < 0.75):
                self.blocks.append(
                    Block("ledge", (0.0, level - 0.1, self.width, level + 0.12), 0.22 if style.jetty else projection)
                )
        self.blocks.append(Block("cornice", (0.0, style.eave - 0.32, self.width, style.eave - 0.1), projection + 0.06))
        self.blocks.append(Block("cornice", (0.0, style.eave - 0.1, self.width, style.eave), projection + 0.2))
        self.blocks.append(Block("plinth", (0.0, 0.0, self.width, 0.45), 0.05))

    def _shop(self) -> None:
        rng, top = self.rng, self.style.storeys[1]
        door = 1.15
        left = bool(rng.random() < 0.5)
        middle_door = bool(rng.random() < 0.3 and self.width > 7)
        low, high = 0.55, top - 1.05
        spans = [(0.3, self.width - 0.3)]
        at = self.width / 2 - door / 2 if middle_door else (0.35 if left else self.width - 0.35 - door)
        spans = [(0.3, at - 0.2), (at + door + 0.2, self.width - 0.3)]
        self.openings.append(Opening("door", (at, 0.12, at + door, high), 0.3))
        for s0, s1 in spans:
            if s1 - s0 < 0.9:
                continue
            panes = max(1, round((s1 - s0) / rng.uniform(2.0, 3.2)))
            cuts = np.linspace(s0, s1, panes + 1)
            for a, b in zip(cuts[:-1], cuts[1:], strict=True):
                self.openings.append(Opening("shop", (a + 0.09, low, b - 0.09, high), 0.12))
        self.blocks.append(Block("sign", (0.25, high + 0.12, self.width - 0.25, high + 0.72), 0.1))

    def _homes(self) -> None:
        top, k_door = self.style.storeys[1], int(self.rng.integers(self.bays))
        for k in range(self.bays):
            s0, s1 = self.edges[k], self.edges[k + 1]
            if k == k_door:
                half = min(0.62, (s1 - s0) / 2 - 0.1)
                middle = (s0 + s1) / 2
                self.openings.append(
                    Opening(
                        "door", (middle - half, 0.16, middle + half, min(top - 0.7, 2.9)), 0.3, self.rng.random() < 0.5
                    )
                )
                self.blocks.append(Block("step", (middle - half - 0.2, 0.0, middle + half + 0.2, 0.16), 0.4))
            else:
                inset = (s1 - s0) * 0.23
                self.openings.append(
                    Opening(
                        "window", (s0 + inset, 1.25, s1 - inset, top - 0.75), self.depth, self.style.lintel == "arch"
                    )
                )
                self.blocks.append(Block("sill", (s0 + inset - 0.08, 1.15, s1 - inset + 0.08, 1.25), 0.1))

    def _gate(self) -> None:
        top, wide = self.style.storeys[1], min(2.9, self.width * 0.36)
        left = self.rng.random() < 0.5
        s0 = 0.7 if left else self.width - 0.7 - wide
        self.openings.append(Opening("gate", (s0, 0.12, s0 + wide, top - 0.55), 0.5, True))
        a, b = (s0 + wide + 0.6, self.width - 0.5) if left else (0.5, s0 - 0.6)
        count = max(1, int((b - a) / 2.0))
        cuts = np.linspace(a, b, count + 1)
        for c0, c1 in zip(cuts[:-1], cuts[1:], strict=True):
            self.openings.append(Opening("window", (c0 + 0.3, 1.15, c1 - 0.3, top - 0.8), self.depth, True))

    def _arcade(self) -> None:
        top, count = self.style.storeys[1], max(3, round(self.width / 2.6))
        cuts = np.linspace(0.35, self.width - 0.35, count + 1)
        for a, b in zip(cuts[:-1], cuts[1:], strict=True):
            self.openings.append(Opening("arcade", (a + 0.28, 0.12, b - 0.28, top - 0.6), 0.8, True))

    def _portal(self) -> None:
        middle = self.width / 2
        self.openings.append(Opening("gate", (middle - 1.3, 0.3, middle + 1.3, 4.6), 0.7, True))
        self.blocks.append(Block("step", (middle - 2.0, 0.0, middle + 2.0, 0.3), 0.9))

    def _church_windows(self) -> None:
        low, eave = self.style.storeys[1] + 0.4, self.style.eave
        for k in (0.2, 0.8):
            s = self.width * k
            self.openings.append(Opening("window", (s - 0.6, 2.4, s + 0.6, eave - 1.6), 0.35, True))
        self.openings.append(
            Opening("window", (self.width / 2 - 1.5, low + 0.6, self.width / 2 + 1.5, low + 3.6), 0.35, True)
        )

    def _gable_windows(self, outline: tuple[tuple[float, float], ...]) -> None:
        """Attic windows drawn on the gable (the mesh has no holes above the eave)."""
        eave, rise = self.style.eave, max(h for _, h in outline) - self.style.eave
        if rise < 2.5:
            return
        middle, count = self.width / 2, 2 if self.width > 7 else 1
        for k in range(count):
            s = middle + (k - (count - 1) / 2) * 1.7
            self.openings.append(Opening("window", (s - 0.45, eave + 0.55, s + 0.45, eave + 1.85), 0.0, True))
        if rise > 4:
            self.openings.append(Opening("niche", (middle - 0.3, eave + 2.4, middle + 0.3, eave + 3.3), 0.0, True))

    def _outline(self) -> tuple[tuple[float, float], ...]:
        """Top of the wall: level at the eave, or a gable."""
        width, eave, roof = self.width, self.style.eave, self.style.roof
        rise = min(width * 0.55, 5.5)
        if roof == "triangle":
            return ((0.0, eave), (width / 2, eave + rise), (width, eave))
        if roof == "stepped":
            steps = max(3, round(width / 2.6)) | 1
            cuts = np.linspace(0, width, steps + 1)
            tops = eave + 0.7 + (rise + 0.4) * (1 - np.abs(np.arange(steps) - (steps - 1) / 2) / ((steps + 1) / 2))
            points = [(float(s), float(h)) for k, h in enumerate(tops) for s, h in ((cuts[k], h), (cuts[k + 1], h))]
            return tuple(points)
        if roof == "curved":
            s = np.linspace(0, 1, 17)
            lift = 0.55 * np.sin(np.pi * s) ** 2 + 0.45 * np.clip(np.cos((s - 0.5) * np.pi * 2.6), 0, 1) ** 0.6
            return tuple((float(a * width), float(eave + 0.5 + rise * 0.85 * b)) for a, b in zip(s, lift, strict=True))
        top = eave + (0.7 if roof == "flat" else 0.0)
        return ((0.0, top), (width, top))
