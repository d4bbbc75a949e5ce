"""Houses as geometry: walls with recessed openings, ledges and balconies, gables, roofs, chimneys, the church tower."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lbr.town.design import Block, Box, FacadeDesign, arch_curve
from lbr.town.mesh import ROOF, SIDES, Cover, MeshBuilder, box_corners
from lbr.town.plan import Facade

MAX_CELL = 2.2  # metres; walls are cut finer than this, for the baked light


@dataclass(frozen=True)
class Tiles:
    """Tile numbers and texel densities of the shared textures."""

    roof: int
    rough: int  # plain plaster
    brick: int
    density: float
    fine: float


class FacadeMesher:
    """Builds one facade out of its design. Local frame: along s, up h, out of the wall d."""

    def __init__(self, builder: MeshBuilder, facade: Facade, design: FacadeDesign, cover: Cover) -> None:
        self.builder, self.facade, self.design, self.cover = builder, facade, design, cover
        # a side face shows the wall beside it: its depth runs along the wall (or up it) in the texture
        self.front = self._patch((0.0, 0.0))
        self.sides = {
            "left": self._patch((1.0, 0.0)),
            "right": self._patch((-1.0, 0.0)),
            "flat": self._patch((0.0, -0.25)),
        }

    def _patch(self, lean: tuple[float, float]) -> int:
        f = self.facade
        axes = np.stack([f.right + lean[0] * f.outward, -np.array([0, 0, 1.0]) + lean[1] * f.outward])
        return self.builder.patch(self.cover, axes, f.to_world(np.array([0.0, self.design.top, 0.0])))

    def quads(self, corners: np.ndarray | list[list[tuple[float, float, float]]], patch: int) -> None:
        self.builder.quads(self.facade.to_world(np.asarray(corners, np.float64)), patch)

    def build(self) -> None:
        self._wall()
        self._gable()
        for block in self.design.blocks:
            if block.kind == "iron":
                self._railing(block)
            elif block.kind == "stone":
                self._parapet(block)
            else:
                self._block(block.box, block.base, block.depth)

    def _wall(self) -> None:
        """The wall below the eave as a grid of cells cut along all openings, panes set back, reveals between."""
        holes = [o for o in self.design.openings if o.depth > 0 and o.box[3] < self.design.style.eave]
        s_cuts = _cuts(0.0, self.design.width, [v for o in holes for v in (o.box[0], o.box[2])])
        h_cuts = _cuts(0.0, self.design.style.eave, [v for o in holes for v in (o.box[1], o.box[3])])
        s0, h0 = np.meshgrid(s_cuts[:-1], h_cuts[:-1], indexing="ij")
        s1, h1 = np.meshgrid(s_cuts[1:], h_cuts[1:], indexing="ij")
        depth = np.zeros(s0.shape)
        for hole in holes:
            a, b, c, d = hole.box
            inside = (s0 + s1 > 2 * a) & (s0 + s1 < 2 * c) & (h0 + h1 > 2 * b) & (h0 + h1 < 2 * d)
            depth[inside] = -hole.depth
        cells = np.stack(
            [np.stack(p, -1) for p in ((s0, h0, depth), (s1, h0, depth), (s1, h1, depth), (s0, h1, depth))], 2
        )
        self.quads(cells.reshape(-1, 4, 3), self.front)
        for hole in holes:
            self._reveals(hole.box, hole.depth)
            if hole.arched:
                self._arch(hole.box, hole.depth)

    def _arch(self, box: Box, depth: float) -> None:
        """The wall above an arch, and the arch's underside."""
        left, right = arch_curve(box, 12)[:-1], arch_curve(box, 12)[1:]
        top, zero, deep = np.full(len(left), box[3]), np.zeros(len(left)), np.full(len(left), -depth)
        a, b = np.column_stack([left, zero]), np.column_stack([right, zero])
        c, d = np.column_stack([right[:, 0], top, zero]), np.column_stack([left[:, 0], top, zero])
        self.quads(np.stack([a, b, c, d], 1), self.front)
        inner_a, inner_b = np.column_stack([left, deep]), np.column_stack([right, deep])
        self.quads(np.stack([a, inner_a, inner_b, b], 1), self.sides["flat"])

    def _reveals(self, box: Box, depth: float) -> None:
        a, b, c, d = box
        self.quads([[(a, b, 0), (a, b, -depth), (a, d, -depth), (a, d, 0)]], self.sides["left"])
        self.quads([[(c, b, -depth), (c, b, 0), (c, d, 0), (c, d, -depth)]], self.sides["right"])
        self.quads([[(a, b, 0), (c, b, 0), (c, b, -depth), (a, b, -depth)]], self.sides["flat"])
        self.quads([[(a, d, -depth), (c, d, -depth), (c, d, 0), (a, d, 0)]], self.sides["flat"])

    def _gable(self) -> None:
        """Strips between the eave and the outline, with their thickness on top."""
        eave, thick = self.design.style.eave, 0.3
        points = self.design.outline
        for (a, ha), (b, hb) in zip(points[:-1], points[1:], strict=True):
            if b - a < 1e-6:
                low, high = sorted((ha, hb))
                turn = self.sides["left"] if hb < ha else self.sides["right"]
                self.quads(
                    [[(a, low, -thick), (a, low, 0), (a, high, 0), (a, high, -thick)][:: 1 if hb < ha else -1]], turn
                )
            elif max(ha, hb) > eave + 1e-6:
                self.quads([[(a, eave, 0), (b, eave, 0), (b, hb, 0), (a, ha, 0)]], self.front)
                self.quads([[(a, ha, 0), (b, hb, 0), (b, hb, -thick), (a, ha, -thick)]], self.sides["flat"])
                self.quads([[(b, eave, -thick), (a, eave, -thick), (a, ha, -thick), (b, hb, -thick)]], self.front)

    def _block(self, box: Box, base: float, depth: float) -> None:
        """A box in front of the wall, without its back."""
        a, b, c, d = box
        corners = np.array([(s, h, z) for h in (b, d) for s, z in ((a, depth), (c, depth), (c, base), (a, base))])
        for face, patch in zip(SIDES, ("flat", "flat", "front", "right", "back", "left"), strict=True):
            if patch != "back":
                self.quads(
                    corners[list(face)][None],
                    self.front
                    if patch == "front"
                    else self.sides[{"right": "left", "left": "right"}.get(patch, patch)],
                )

    def _parapet(self, block: Block) -> None:
        a, b, c, d = block.box
        self._block(block.box, block.depth - 0.14, block.depth)
        self._block((a, b, a + 0.12, d), 0.0, block.depth)
        self._block((c - 0.12, b, c, d), 0.0, block.depth)

    def _railing(self, block: Block) -> None:
        """Iron bars around a balcony."""
        a, b, c, d = block.box
        z = block.depth - 0.04
        bars = [(s, s + 0.022, z) for s in np.arange(a + 0.04, c - 0.04, 0.12)]
        front = [[(s, b, z), (e, b, z), (e, d, z), (s, d, z)] for s, e, z in bars]
        front += [[(a, h, z), (c, h, z), (c, h + 0.045, z), (a, h + 0.045, z)] for h in (b + 0.08, d - 0.05)]
        iron = Cover(self.cover.tile, self.cover.density, (0.12, 0.12, 0.13), facade=-1, instance=self.cover.instance)
        quads = self.facade.to_world(np.array(front))
        patch = self.builder.flat_patch(iron, self.facade.outward)
        self.builder.quads(quads, patch)
        side = [
            [(s, b, e), (s, b, e + 0.02), (s, d, e + 0.02), (s, d, e)] for s in (a, c) for e in np.arange(0.05, z, 0.12)
        ]
        side += [
            [(s, h, 0), (s, h, z), (s, h + 0.045, z), (s, h + 0.045, 0)] for s in (a, c) for h in (b + 0.08, d - 0.05)
        ]
        self.builder.quads(self.facade.to_world(np.array(side)), self.builder.flat_patch(iron, self.facade.right))


def _cuts(low: float, high: float, marks: list[float]) -> np.ndarray:
    """Sorted distinct cuts from low to high through all marks, no gap above MAX_CELL."""
    cuts = np.unique(np.clip(np.round([low, high, *marks], 4), low, high))
    return np.concatenate(
        [np.linspace(a, b, int(np.ceil((b - a) / MAX_CELL)) + 1)[:-1] for a, b in zip(cuts[:-1], cuts[1:], strict=True)]
        + [[high]]
    )


def add_body(
    builder: MeshBuilder,
    house: tuple[Facade, FacadeDesign],
    corner: tuple[bool, bool],
    tiles: Tiles,
    rng: np.random.Generator,
) -> None:
    """Everything behind the facade: side and back walls, roof, chimneys. Instance 0.

    corner: whether the house turns a street corner at the facade's left and right end; its other facade stands there
    in place of the side wall.
    """
    facade, design = house
    style, width, depth = design.style, facade.width, facade.depth
    wall = Cover(tiles.rough, tiles.density, _tint(tuple(0.8 * c for c in style.wall_colour), 200))
    eave = style.eave
    sides = [[(width, 0, -depth), (0, 0, -depth), (0, eave, -depth), (width, eave, -depth)]]
    if not corner[0]:
        sides.append([(0, 0, -depth), (0, 0, 0), (0, eave, 0), (0, eave, -depth)])
    if not corner[1]:
        sides.append([(width, 0, 0), (width, 0, -depth), (width, eave, -depth), (width, eave, 0)])
    for side in sides:
        _plane(builder, facade, side, wall)
    roof = Cover(tiles.roof, tiles.density, _tint(style.roof_colour, 160), ROOF)
    slopes, walls = _roof(style.roof, width, depth, eave)
    for slope in slopes:
        _plane(builder, facade, slope, roof)
    for part in walls:
        _plane(builder, facade, part, wall)
    _chimneys(builder, facade, design, tiles, rng)
    if style.roof == "mansard":
        _dormers(builder, facade, design, (roof, Cover(tiles.rough, tiles.density, _tint(style.trim, 200))))


def _tint(colour: tuple[float, ...], grey: float) -> tuple[float, float, float]:
    """Tint in linear light that turns a texture around `grey` into a colour."""
    linear = (np.asarray(colour[:3]) / grey) ** 2.2
    return (float(linear[0]), float(linear[1]), float(linear[2]))


def _plane(builder: MeshBuilder, facade: Facade, corners: list, cover: Cover) -> None:
    world = facade.to_world(np.array(corners, np.float64))
    normal = np.cross(world[1] - world[0], world[2] - world[0])
    patch = builder.flat_patch(cover, normal)
    if len(world) == 3:
        builder.triangles(world[None], patch)
    else:
        builder.quads(world[None], patch)


def _roof(kind: str, width: float, depth: float, eave: float) -> tuple[list, list]:
    """Roof planes and the walls that close them, in facade coordinates."""
    over = 0.35
    if kind == "flat":
        return [[(0, eave, 0), (width, eave, 0), (width, eave, -depth), (0, eave, -depth)]], []
    if kind in ("triangle", "stepped", "curved"):
        rise = min(width * 0.55, 5.5)
        ridge, middle = eave + rise - 0.05, width / 2
        return [
            [(-0.1, eave, -depth), (-0.1, eave, -0.2), (middle, ridge, -0.2), (middle, ridge, -depth)],
            [(width + 0.1, eave, -0.2), (width + 0.1, eave, -depth), (middle, ridge, -depth), (middle, ridge, -0.2)],
        ], [[(width, eave, -depth), (0, eave, -depth), (middle, ridge, -depth)]]
    if kind == "mansard":
        knee, back = eave + 2.5, 1.1
        return [
            [(0, eave, over * 0.5), (width, eave, over * 0.5), (width, knee, -back), (0, knee, -back)],
            [(0, knee, -back), (width, knee, -back), (width, knee + 1.2, -depth / 2), (0, knee + 1.2, -depth / 2)],
            [(width, knee, -depth), (0, knee, -depth), (0, knee + 1.2, -depth / 2), (width, knee + 1.2, -depth / 2)],
        ], [
            [(0, eave, -depth), (0, eave, 0), (0, knee, -back), (0, knee, -depth)],
            [(width, eave, 0), (width, eave, -depth), (width, knee, -depth), (width, knee, -back)],
            [(0, knee, -depth), (0, knee, -back), (0, knee + 1.2, -depth / 2)],
            [(width, knee, -back), (width, knee, -depth), (width, knee + 1.2, -depth / 2)],
        ]  # fmt: skip
    ridge = eave + depth * 0.5 * 0.85
    return [
        [(0, eave - 0.12, over), (width, eave - 0.12, over), (width, ridge, -depth / 2), (0, ridge, -depth / 2)],
        [(width, eave, -depth), (0, eave, -depth), (0, ridge, -depth / 2), (width, ridge, -depth / 2)],
    ], [
        [(0, eave, -depth), (0, eave, 0), (0, ridge, -depth / 2)],
        [(width, eave, 0), (width, eave, -depth), (width, ridge, -depth / 2)],
    ]


def _ridge_height(kind: str, facade: Facade) -> float:
    """Metres from the eave to the ridge."""
    if kind in ("triangle", "stepped", "curved"):
        return min(facade.width * 0.55, 5.5)
    return {"flat": 0.8, "mansard": 3.7}.get(kind, facade.depth * 0.425)


def _chimneys(
    builder: MeshBuilder, facade: Facade, design: FacadeDesign, tiles: Tiles, rng: np.random.Generator
) -> None:
    cover = Cover(tiles.brick, tiles.fine)
    for _ in range(int(rng.integers(1, 3))):
        s, d = rng.uniform(0.1, 0.9) * facade.width, -rng.uniform(0.3, 0.7) * facade.depth
        top = design.style.eave + _ridge_height(design.style.roof, facade) + 0.8
        low, high = (s - 0.35, design.style.eave - 0.2, d - 0.3), (s + 0.35, top, d + 0.3)
        _local_box(builder, facade, (low, high), cover)


def _local_box(builder: MeshBuilder, facade: Facade, extent: tuple, cover: Cover) -> None:
    (s0, h0, d0), (s1, h1, d1) = extent
    turn = np.stack([facade.right, -facade.outward, np.array([0, 0, 1.0])], 1)
    corners = box_corners(np.array([s0, -d1, h0]), np.array([s1, -d0, h1]), turn, np.append(facade.start, 0.0))
    builder.solid(corners, cover)


def _dormers(builder: MeshBuilder, facade: Facade, design: FacadeDesign, covers: tuple[Cover, Cover]) -> None:
    """Small windows standing in a steep roof."""
    roof, wall = covers
    pane = Cover(wall.tile, wall.density, (0.03, 0.035, 0.045), gloss=0.6)
    count = max(2, round(facade.width / 2.8))
    for k in range(count):
        s, low = (k + 0.5) * facade.width / count, design.style.eave + 0.5
        _local_box(builder, facade, ((s - 0.55, low, -1.6), (s + 0.55, low + 1.5, -0.05)), wall)
        for half in ((s - 0.4, s - 0.04), (s + 0.04, s + 0.4)):
            glass = [
                (half[0], low + 0.2, -0.03),
                (half[1], low + 0.2, -0.03),
                (half[1], low + 1.3, -0.03),
                (half[0], low + 1.3, -0.03),
            ]
            _plane(builder, facade, glass, pane)
        _plane(
            builder,
            facade,
            [
                (s - 0.7, low + 1.5, 0.1),
                (s + 0.7, low + 1.5, 0.1),
                (s + 0.7, low + 1.8, -1.7),
                (s - 0.7, low + 1.8, -1.7),
            ],
            roof,
        )


def add_tower(builder: MeshBuilder, facade: Facade, design: FacadeDesign, tower_tile: int, tiles: Tiles) -> None:
    """The church tower behind the middle of its facade; it belongs to the facade's instance."""
    half, top = 2.3, design.style.eave + 13.0
    s, d = facade.width / 2, -3.2
    cover = Cover(tower_tile, tiles.fine, instance=facade.instance)
    z = design.style.eave - 0.5
    square = [(s - half, d + half), (s + half, d + half), (s + half, d - half), (s - half, d - half)]
    for (a, da), (b, db) in zip(square, square[1:] + square[:1], strict=True):
        quad = facade.to_world(np.array([(a, z, da), (b, z, db), (b, top, db), (a, top, da)]))
        across = (quad[1] - quad[0]) / np.linalg.norm(quad[1] - quad[0])
        builder.quads(quad[None], builder.patch(cover, np.stack([across, -np.array([0, 0, 1.0])]), quad[3]))
        spire = facade.to_world(
            np.array(
                [
                    (s + 1.12 * (a - s), top, d + 1.12 * (da - d)),
                    (s + 1.12 * (b - s), top, d + 1.12 * (db - d)),
                    (s, top + 9.0, d),
                ]
            )
        )
        normal = np.cross(spire[1] - spire[0], spire[2] - spire[0])
        builder.triangles(
            spire[None], builder.flat_patch(Cover(tiles.roof, tiles.density, (0.18, 0.26, 0.24), ROOF), normal)
        )
