"""The whole town in memory: plan, designs, textures, geometry, lights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from lbr.io.text_lists import Problem
from lbr.town import patterns
from lbr.town.atlas import Atlas, AtlasBuilder
from lbr.town.buildings import FacadeMesher, Tiles, add_body, add_tower
from lbr.town.canvas import Canvas, Sheet
from lbr.town.config import TownConfig, TownSpec
from lbr.town.design import FacadeDesign, design_facade
from lbr.town.furniture import LEAVES, Lights, Stuff, add_lamps, add_squares, add_tree, tree_spots
from lbr.town.ground import Macro, Paving, add_ground, paint_macro
from lbr.town.light_bake import sky_visibility
from lbr.town.mesh import Cover, Mesh, MeshBuilder
from lbr.town.painting import paint_clock, paint_facade
from lbr.town.photographs import Choice, choose_photographs, flat_design, photograph_facade
from lbr.town.plan import Facade, Plan, make_plan
from lbr.town.scene import RayScene

Mapper = Callable[[Callable, Iterable], Iterable]


@dataclass(frozen=True, eq=False)
class Layer:
    """A mesh, its ray scene, and per face corner how much sky it sees (float32 [F, 3])."""

    mesh: Mesh
    scene: RayScene
    sky: np.ndarray

    @cached_property
    def clusters(self) -> np.ndarray:
        """Spheres [K, 4] around runs of faces (of leaves: one per tree, as trees are built one after another)."""
        points, out = self.mesh.triangles.reshape(-1, 9), []
        for start in range(0, len(points), 2 * LEAVES):
            part = points[start : start + 2 * LEAVES].reshape(-1, 3)
            centre = (part.min(0) + part.max(0)) / 2
            out.append([*centre, np.linalg.norm(part - centre, axis=1).max()])
        return np.array(out).reshape(-1, 4)


@dataclass(frozen=True, eq=False)
class LightArrays:
    """Lights as arrays: position [L, 3], colour [L, 3], reach [L], facade [L], light id [L]."""

    position: np.ndarray
    colour: np.ndarray
    reach: np.ndarray
    facade: np.ndarray
    light: np.ndarray


@dataclass(frozen=True)
class Palette:
    """Tile numbers of the textures that everything but facades uses."""

    tiles: Tiles
    stuff: Stuff
    paving: Paving
    tower: int


@dataclass(frozen=True, eq=False)
class Town:
    """What `build_town` returns. `static` never changes, `leaves` are there in summer; problems: photographs that could
    not be facades."""

    config: TownSpec
    plan: Plan
    designs: tuple[FacadeDesign, ...]
    atlas: Atlas
    static: Layer
    leaves: Layer
    lights: LightArrays
    macro: Macro
    palette: Palette
    problems: tuple[Problem, ...] = ()


def build_town(config: TownConfig, mapper: Mapper = map) -> Town:
    """Build the town. Pure: equal configurations give equal towns; `mapper` may do costly parts in other processes."""
    spec = config.resolved()
    plan = make_plan(spec.blocks, spec.seed)
    designs = tuple(design_facade(f) for f in plan.facades)
    chosen = Choice((None,) * len(designs), ())
    if spec.textures is not None:
        chosen = choose_photographs(spec.textures, plan, spec.seed)
        designs = tuple(d if p is None else flat_design(d, p) for d, p in zip(designs, chosen.paths, strict=True))
    atlas = AtlasBuilder()
    sheets = list(mapper(partial(_paint, spec), zip(plan.facades, designs, chosen.paths, strict=True)))
    facade_tiles = [atlas.add(s.colour, s.glass, s.lights, wrap=False) for s in sheets]
    palette = _palette(atlas, spec)
    builder, leaves, lights = MeshBuilder(), MeshBuilder(), Lights()
    rng = np.random.default_rng([spec.seed, 2])
    for *house, corner in zip(plan.facades, designs, sheets, facade_tiles, _corners(plan), strict=True):
        _add_house(builder, tuple(house), corner, palette, spec.seed)
        _shop_lights(lights, house[0], house[2])
    add_ground(builder, plan, palette.paving)
    add_lamps(builder, plan, lights, palette.stuff, rng)
    add_squares(builder, plan, palette.stuff, rng)
    for spot in tree_spots(plan, rng):
        add_tree(builder, leaves, spot, palette.stuff, rng)
    mesh = builder.build()
    (sky,) = mapper(sky_visibility, [mesh])
    static = Layer(mesh, RayScene(mesh.triangles), sky)
    summer = make_layer(leaves.build())
    arrays = LightArrays(
        *(np.array(v, t) for v, t in zip(vars(lights).values(), ("f8", "f8", "f8", "i4", "i4"), strict=True))
    )
    macro = paint_macro(plan, spec.seed)
    return Town(spec, plan, designs, atlas.build(), static, summer, arrays, macro, palette, chosen.problems)


def make_layer(mesh: Mesh) -> Layer:
    """Ready a mesh for rays without baking: upward faces see most of the sky and downward ones little."""
    guess = 0.5 + 0.3 * mesh.normals[:, 2:]
    return Layer(mesh, RayScene(mesh.triangles), np.repeat(guess, 3, 1).astype(np.float32))


def _paint(config: TownSpec, job: tuple[Facade, FacadeDesign, Path | None]) -> Sheet:
    facade, design, photograph = job
    if photograph is not None:
        return photograph_facade(photograph, design, config.texel_m).finished()
    return paint_facade(design, config.texel_m, config.seed * 10007 + facade.index).finished()


def _palette(atlas: AtlasBuilder, config: TownSpec) -> Palette:
    """Paint the shared textures."""
    rng = np.random.default_rng([config.seed, 4])
    fine, coarse = 80.0, 50.0  # texels per metre
    wall = atlas.add(patterns.speckle(512, rng, 0.045))
    smooth = atlas.add(patterns.speckle(256, rng, 0.02))
    roof = atlas.add(patterns.roof_tiles(512, 1 / coarse, rng))
    brick = atlas.add(patterns.masonry((616, 640), patterns.vary((150, 84, 64), rng), 1 / fine, rng))
    paving = Paving(
        setts=atlas.add(patterns.setts(1024, 1 / fine, rng)),
        slabs=atlas.add(patterns.slabs(1024, 1 / fine, rng, 0.4)),
        plaza=atlas.add(patterns.setts(1024, 1 / fine, rng, 0.22)),
        grass=atlas.add(patterns.speckle(512, rng, 0.3)),
        density=fine,
    )
    bark = atlas.add(patterns.speckle(256, rng, 0.3))
    tower = atlas.add(_tower_sheet(1 / fine, rng), wrap=False)
    return Palette(Tiles(roof, wall, brick, coarse, fine), Stuff(smooth, bark, fine), paving, tower)


def _tower_sheet(texel_m: float, rng: np.random.Generator) -> np.ndarray:
    """One side of the church tower: rubble, louvred belfry openings, a clock."""
    canvas = Canvas(4.6, 13.5, texel_m)
    canvas.colour[:] = patterns.masonry(canvas.shape, (178, 168, 148), texel_m, rng, "rubble")
    for low, high in ((9.3, 12.2), (2.0, 3.6)):
        for s in (1.45, 3.15):
            canvas.rect((s - 0.5, low, s + 0.5, high), (46, 42, 40))
            for h in np.arange(low, high, 0.28):
                canvas.shade((s - 0.45, h, s + 0.45, h + 0.1), 1.9, 1.4)
            canvas.disc(s, high, 0.5, (46, 42, 40))
    paint_clock(canvas, 2.3, 6.9, 1.15)
    for h in (0.4, 8.6, 13.1):
        canvas.rect((0, h, 4.6, h + 0.25), (196, 186, 164))
    return canvas.colour


def _corners(plan: Plan) -> list[tuple[bool, bool]]:
    """Per facade, whether another facade of its building begins at its left and at its right end."""
    ends = {(f.building, *np.round(p, 3)) for f in plan.facades for p in (f.start,)}
    starts = {(f.building, *np.round(f.end, 3)) for f in plan.facades}
    return [
        ((f.building, *np.round(f.start, 3)) in starts, (f.building, *np.round(f.end, 3)) in ends) for f in plan.facades
    ]


def _add_house(
    builder: MeshBuilder,
    house: tuple[Facade, FacadeDesign, Sheet, int],
    corner: tuple[bool, bool],
    palette: Palette,
    seed: int,
) -> None:
    facade, design, sheet, tile = house
    density = sheet.lights.shape[0] / design.top
    cover = Cover(tile, density, facade=facade.index, instance=facade.instance)
    FacadeMesher(builder, facade, design, cover).build()
    rng = np.random.default_rng([seed, 5, facade.index])
    add_body(builder, (facade, design), corner, palette.tiles, rng)
    if facade.kind == "church":
        add_tower(builder, facade, design, palette.tower, palette.tiles)


def _shop_lights(lights: Lights, facade: Facade, sheet: Sheet) -> None:
    """A light in front of each lit shop window, for its glow on the pavement."""
    for (s0, h0, s1, h1), light in sheet.displays:
        at = facade.to_world(np.array([(s0 + s1) / 2, 0.45 * h0 + 0.55 * h1, 0.7]))
        lights.add(at, (0.16 * (s1 - s0), 0.135 * (s1 - s0), 0.1 * (s1 - s0)), 7.0, facade.index, light)
