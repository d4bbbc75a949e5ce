"""From ray hits to radiance: light, glass, wet and snowy ground, lamps, air."""

from __future__ import annotations

import numpy as np

from lbr.town.arrays import dot, f32, planes, rows
from lbr.town.ground import MACRO_M
from lbr.town.lighting import add_sun_light, lamp_light, lamp_light_in_picture, sky_light
from lbr.town.mesh import GROUND, HEADLIGHT, LAMP, MATTE, ROOF, TAILLIGHT
from lbr.town.scene import Hits
from lbr.town.scenery import Scenery
from lbr.town.sky import _cloud_tile, tile_lookup
from lbr.town.surface import Rays, Surface, find_surface

SNOW = f32((0.86, 0.89, 0.94))
GLOWING = (  # material, colour, power
    (LAMP, (1.0, 0.8, 0.55), 9.0),
    (HEADLIGHT, (1.0, 0.95, 0.85), 3.0),
    (TAILLIGHT, (1.0, 0.05, 0.03), 1.2),
)

Grid = tuple[np.ndarray, int]  # flat pixels of the rays, ascending, and the picture's width


def radiance(scenery: Scenery, rays: Rays, hits: Hits, mirror: bool = True, width: int | None = None) -> np.ndarray:
    """Radiance float32 [N, 3] of each ray. With `mirror` wet ground reflects. `width` says that the rays are the pixels
    of a picture so wide, row by row, so that neighbours can share work."""
    out = np.empty((len(hits.face), 3), np.float32)
    hit = hits.face >= 0
    empty, solid = np.flatnonzero(~hit), np.flatnonzero(hit)
    if len(empty):
        out[empty] = rows(scenery.sky_dome.radiance(planes(rays.directions.take(empty, axis=0))))
    if len(solid):
        grid = None if width is None else (solid, width)
        out[solid] = rows(_shade(scenery, rays.take(solid), hits.take(solid), mirror, grid))
    return out


def _shade(scenery: Scenery, rays: Rays, hits: Hits, mirror: bool, grid: Grid | None) -> np.ndarray:
    """Radiance [3, N] of rays that hit something."""
    surface = find_surface(scenery, rays, hits)
    u, v = hits.u, hits.v
    corner = scenery.sky.take(hits.face, axis=0)
    openness = corner[:, 0] * (1 - u - v) + corner[:, 1] * u + corner[:, 2] * v
    light = sky_light(scenery, openness, surface)
    add_sun_light(scenery, surface, light)
    if scenery.condition.lamps > 0:
        light += (
            lamp_light(scenery, surface.point, surface.normal, surface.facade, shadows=mirror)
            if grid is None
            else lamp_light_in_picture(scenery, surface, grid)
        )
    albedo = _weathered(scenery, surface)
    out = light
    out *= albedo
    out *= 1 - 0.75 * surface.glass
    _add_glints(scenery, surface, out)
    if mirror and scenery.condition.wet:
        _add_puddles(scenery, rays, surface, out, grid)
    _add_glow(scenery, surface, albedo, out)
    return _through_air(scenery, out, hits.distance)


def _weathered(scenery: Scenery, surface: Surface) -> np.ndarray:
    """Albedo [3, N] with the ground's own stains, darkened by water, covered by snow."""
    albedo, condition, material = surface.albedo, scenery.condition, surface.material
    _stain_ground(scenery, surface)
    if condition.wet:
        albedo *= np.where(material == GROUND, 1 - 0.5 * condition.wet, 1 - 0.15 * condition.wet)
    if condition.snow:
        open_above = (material == GROUND) | (material == ROOF) | (material == MATTE)
        lying = np.clip((surface.normal[2] - 0.25) * 2.2, 0, 1) * open_above
        grain = tile_lookup(_cloud_tile(), surface.point[:2] * 21)
        cover = condition.snow * lying * np.clip(0.86 + 0.28 * grain, 0, 1)
        albedo = albedo + cover * (SNOW[:, None] - albedo)
    return albedo


def _stain_ground(scenery: Scenery, surface: Surface) -> None:
    """Multiply the ground's albedo by its large picture (in place)."""
    macro = scenery.town.macro
    height, width = macro.picture.shape[:2]
    ground = np.flatnonzero(surface.material == GROUND)
    where = ((surface.point[:2].take(ground, axis=1) - macro.origin[:, None]) / MACRO_M).astype(np.int32)
    inside = np.flatnonzero((where >= 0).all(0) & (where[0] < width) & (where[1] < height))
    column, row = where.take(inside, axis=1)
    tone = planes(macro.picture.reshape(-1, 3).take(row * width + column, axis=0)).astype(np.float32) / 128
    surface.albedo[:, ground[inside]] *= tone * tone


def _fresnel(cosine: np.ndarray) -> np.ndarray:
    return 0.04 + 0.96 * (1 - cosine) ** 5


def _add_glints(scenery: Scenery, surface: Surface, out: np.ndarray) -> None:
    """Sky and houses opposite in window panes and car bodies."""
    shiny = np.flatnonzero(surface.glass > 0.05)
    if not len(shiny):
        return
    cosine = surface.cosine.take(shiny)
    mirrored = surface.direction.take(shiny, axis=1) + 2 * cosine * surface.normal.take(shiny, axis=1)
    share = np.clip((mirrored[2] - 0.18) / 0.25, 0, 1)
    seen = np.multiply.outer(scenery.ambient * f32((0.2, 0.185, 0.17)), 1 - share)
    up = np.flatnonzero(share > 0)
    if len(up):
        seen[:, up] += share[up] * scenery.sky_dome.radiance(mirrored.take(up, axis=1))
    strength = np.maximum(_fresnel(cosine), 0.12) * surface.glass.take(shiny)
    out[:, shiny] += strength * np.minimum(seen, 2.0)


def _add_puddles(scenery: Scenery, rays: Rays, surface: Surface, out: np.ndarray, grid: Grid | None) -> None:
    """The traced mirror image in wet ground; in a picture every second row shows that of the row above."""
    wet = np.flatnonzero((surface.material == GROUND) & (surface.normal[2] > 0.9))
    film = tile_lookup(_cloud_tile(), surface.point[:2].take(wet, axis=1) * 9)
    strength = _fresnel(surface.cosine[wet]) * scenery.condition.wet * np.clip(0.62 + 0.38 * film, 0.12, 1.0)
    wet, strength = wet[strength > 0.035], strength[strength > 0.035]
    if not len(wet):
        return
    source = np.arange(len(wet)) if grid is None else _rows_above(grid[0][wet], grid[1])
    traced, source = np.unique(source, return_inverse=True)
    spot = wet[traced]
    point, way = surface.point.take(spot, axis=1), surface.direction.take(spot, axis=1)
    ripple = [0.035 * tile_lookup(_cloud_tile(), point[:2] * k) for k in (310, 367)]
    way[2] *= -1
    way[0] += ripple[0] * 0.4
    way[2] = np.maximum(way[2] + ripple[1], 0.02)
    way /= np.sqrt(dot(way, way))
    point[2] += f32(0.01)
    second = Rays(rows(point), rows(way), rays.spread[spot] * 2.5)
    image = planes(radiance(scenery, second, scenery.trace(second.origin, second.directions), mirror=False))
    out[:, wet] += strength * image.take(source, axis=1)


def _rows_above(pixels: np.ndarray, width: int) -> np.ndarray:
    """Per flat pixel, in an odd row, the index of the pixel above where it is in the list, else its own."""
    own = np.arange(len(pixels))
    slot = np.full(int(pixels.max()) + 1, -1)
    slot[pixels] = own
    above = np.where(pixels // width % 2 == 1, slot[np.maximum(pixels - width, 0)], -1)
    return np.where(above >= 0, above, own)


def _add_glow(scenery: Scenery, surface: Surface, albedo: np.ndarray, out: np.ndarray) -> None:
    """Lit rooms and signs, lamp heads, car lights (in place)."""
    condition = scenery.condition
    if condition.shops or condition.rooms:
        walls = np.flatnonzero(surface.facade >= 0)
        ids = scenery.town.atlas.light_ids(surface.texel.take(walls, axis=1), surface.tile.take(walls))
        lit = np.flatnonzero(ids)
        walls, ids = walls[lit], ids[lit]
        glow = planes(scenery.glow[surface.facade.take(walls), ids])
        painted = albedo.take(walls, axis=1)
        share = np.where(ids < 200, surface.glass.take(walls) * (0.1 + 1.7 * painted), 1.1 * painted)
        out[:, walls] += glow * share
    if condition.lamps:
        for kind, colour, power in GLOWING:
            out[:, np.flatnonzero(surface.material == kind)] += (f32(colour) * power * condition.lamps)[:, None]


def _through_air(scenery: Scenery, out: np.ndarray, distance: np.ndarray) -> np.ndarray:
    haze = scenery.condition.haze
    if haze <= 0:
        return out
    clear = np.exp(-haze * distance)
    out *= clear
    out += np.multiply.outer(f32(scenery.condition.horizon), (1 - clear) * 0.9)
    return out


__all__ = ["Rays", "radiance"]
