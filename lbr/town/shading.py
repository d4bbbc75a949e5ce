"""From ray hits to radiance: texture, light, glass, wet and snowy ground."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lbr.town.arrays import f32
from lbr.town.ground import MACRO_M
from lbr.town.lighting import lamp_light, lamp_light_in_picture, sky_light, sun_light
from lbr.town.mesh import (
    DENSITY,
    FACADE,
    GLOSS,
    GROUND,
    HEADLIGHT,
    LAMP,
    LEAF,
    MAP,
    MATERIAL,
    OFFSET,
    ROOF,
    TAILLIGHT,
    TILE,
    TINT,
)
from lbr.town.scene import Hits
from lbr.town.scenery import Scenery
from lbr.town.sky import _cloud_tile, tile_lookup

_LINEAR = np.where(
    np.arange(1021) / 1020 <= 0.04045, np.arange(1021) / 1020 / 12.92, ((np.arange(1021) / 1020 + 0.055) / 1.055) ** 2.4
).astype(np.float32)  # sRGB in quarter steps of 255 -> linear
SHARPNESS = f32(1.2)  # footprint of a pixel in its own widths: below 1 edges jump from pixel to pixel
SNOW = f32((0.86, 0.89, 0.94))


@dataclass(frozen=True, eq=False)
class Rays:
    """origin float32 [3] or [N, 3] · directions float32 [N, 3], unit · spread float32 [N], pixel width at 1 m."""

    origin: np.ndarray
    directions: np.ndarray
    spread: np.ndarray

    def take(self, index: np.ndarray) -> Rays:
        origin = self.origin if np.ndim(self.origin) == 1 else self.origin[index]
        return Rays(origin, self.directions[index], self.spread[index])


@dataclass(frozen=True, eq=False)
class Surface:
    """What was hit, per ray: point, normal towards the viewer, cosine to it, patch row, linear albedo, glass share."""

    point: np.ndarray
    normal: np.ndarray
    cosine: np.ndarray
    row: np.ndarray
    albedo: np.ndarray
    glass: np.ndarray
    texel: np.ndarray


def radiance(scenery: Scenery, rays: Rays, hits: Hits, mirror: bool = True, width: int | None = None) -> np.ndarray:
    """Radiance float32 [N, 3] of each ray. With `mirror` wet ground reflects. `width` says that the rays are the pixels
    of a picture so wide, row by row, so that neighbours can share work."""
    out = np.empty((len(hits.face), 3), np.float32)
    empty = np.flatnonzero(hits.face < 0)
    out[empty] = scenery.sky_dome.radiance(rays.directions[empty])
    solid = np.flatnonzero(hits.face >= 0)
    if len(solid):
        out[solid] = _shade(
            scenery, rays.take(solid), hits.take(solid), mirror, None if width is None else (solid, width)
        )
    return out


def _shade(scenery: Scenery, rays: Rays, hits: Hits, mirror: bool, grid: tuple[np.ndarray, int] | None) -> np.ndarray:
    surface = _surface(scenery, rays, hits)
    facade = surface.row[:, FACADE].astype(np.int32)
    u, v = hits.u, hits.v
    corner = scenery.sky.take(hits.face, axis=0)
    openness = corner[:, 0] * (1 - u - v) + corner[:, 1] * u + corner[:, 2] * v
    light = sky_light(scenery, openness, surface.normal)
    light += sun_light(scenery, surface.point, surface.normal)
    if grid is None:
        light += lamp_light(scenery, surface.point, surface.normal, facade, shadows=mirror)
    else:
        lit = (surface.point, surface.normal, facade, scenery.patch.take(hits.face))
        light += lamp_light_in_picture(scenery, lit, grid)
    albedo = _weathered(scenery, surface)
    out = albedo * light
    out *= (1 - 0.75 * surface.glass)[:, None]
    _add_glints(scenery, rays, surface, out)
    if mirror and scenery.condition.wet:
        _add_puddles(scenery, rays, surface, out, grid)
    out += _emission(scenery, surface, facade, albedo)
    return _through_air(scenery, out, hits.distance)


def _surface(scenery: Scenery, rays: Rays, hits: Hits) -> Surface:
    row = scenery.table.take(scenery.patch.take(hits.face), axis=0)
    point = rays.origin + hits.distance[:, None] * rays.directions
    normal = scenery.normals.take(hits.face, axis=0)
    cosine = -np.einsum("ij,ij->i", normal, rays.directions)
    normal = np.where(cosine[:, None] < 0, -normal, normal)
    cosine = np.maximum(np.abs(cosine), 0.02)
    mapping = row[:, MAP].reshape(-1, 2, 3)
    texel = np.einsum("ijk,ik->ij", mapping, point) + row[:, OFFSET]
    tangent = rays.directions + cosine[:, None] * normal
    axis = np.einsum("ijk,ik->ij", mapping, tangent)
    axis /= np.sqrt(axis[:, :1] ** 2 + axis[:, 1:] ** 2) + f32(1e-6)
    short = SHARPNESS * hits.distance * rays.spread * row[:, DENSITY]
    tile = row[:, TILE].astype(np.int32)
    painted = scenery.town.atlas.sample(texel, tile, axis, short, 1 / cosine)
    albedo = _LINEAR.take((painted[:, :3] * 4).astype(np.int16)) * row[:, TINT]
    glass = painted[:, 3] / f32(255)
    return Surface(point, normal, cosine, row, albedo, np.where(row[:, FACADE] >= 0, glass, row[:, GLOSS]), texel)


def _weathered(scenery: Scenery, surface: Surface) -> np.ndarray:
    """Albedo with the ground's own stains, darkened by water, covered by snow."""
    albedo, condition = surface.albedo, scenery.condition
    material = surface.row[:, MATERIAL]
    ground = np.flatnonzero(material == GROUND)
    if len(ground):
        macro = scenery.town.macro
        where = ((surface.point[ground, :2] - macro.origin) / MACRO_M).astype(np.int32)
        size = macro.picture.shape
        inside = (where >= 0).all(1) & (where[:, 0] < size[1]) & (where[:, 1] < size[0])
        tone = macro.picture[where[inside, 1], where[inside, 0]].astype(np.float32) / 128
        albedo[ground[inside]] *= tone * tone
    if condition.wet:
        albedo *= np.where(material == GROUND, 1 - 0.5 * condition.wet, 1 - 0.15 * condition.wet)[:, None]
    if condition.snow:
        lying = np.clip((surface.normal[:, 2] - 0.25) * 2.2, 0, 1) * np.isin(material, (GROUND, ROOF, 0))
        grain = tile_lookup(_cloud_tile(), surface.point[:, :2] * 21)
        cover = (condition.snow * lying * np.clip(0.86 + 0.28 * grain, 0, 1))[:, None]
        albedo = albedo + cover * (SNOW - albedo)
    return albedo


def _fresnel(cosine: np.ndarray) -> np.ndarray:
    return 0.04 + 0.96 * (1 - cosine) ** 5


def _add_glints(scenery: Scenery, rays: Rays, surface: Surface, out: np.ndarray) -> None:
    """Sky and houses opposite in window panes and car bodies."""
    shiny = np.flatnonzero(surface.glass > 0.05)
    if len(shiny):
        mirrored = rays.directions[shiny] + 2 * surface.cosine[shiny, None] * surface.normal[shiny]
        opposite = scenery.ambient * f32((0.2, 0.185, 0.17))
        share = np.clip((mirrored[:, 2:] - 0.18) / 0.25, 0, 1)
        seen = share * scenery.sky_dome.radiance(mirrored) + (1 - share) * opposite
        strength = np.maximum(_fresnel(surface.cosine[shiny]), 0.12) * surface.glass[shiny]
        out[shiny] += strength[:, None] * np.minimum(seen, 2.0)


def _add_puddles(
    scenery: Scenery, rays: Rays, surface: Surface, out: np.ndarray, grid: tuple[np.ndarray, int] | None
) -> None:
    """The traced mirror image in wet ground; in a picture every second row shows that of the row above."""
    wet = np.flatnonzero((surface.row[:, MATERIAL] == GROUND) & (surface.normal[:, 2] > 0.9))
    film = tile_lookup(_cloud_tile(), surface.point[wet, :2] * 9)
    strength = _fresnel(surface.cosine[wet]) * scenery.condition.wet * np.clip(0.62 + 0.38 * film, 0.12, 1.0)
    wet, strength = wet[strength > 0.035], strength[strength > 0.035]
    if not len(wet):
        return
    source = np.arange(len(wet)) if grid is None else _rows_above(grid[0][wet], grid[1])
    traced, source = np.unique(source, return_inverse=True)
    spot = wet[traced]
    ripple = 0.035 * np.stack([tile_lookup(_cloud_tile(), surface.point[spot, :2] * k) for k in (310, 367)], 1)
    way = rays.directions[spot] * f32((1, 1, -1))
    way[:, 0] += ripple[:, 0] * 0.4
    way[:, 2] = np.maximum(way[:, 2] + ripple[:, 1], 0.02)
    way /= np.sqrt(np.einsum("ij,ij->i", way, way))[:, None]
    second = Rays(surface.point[spot] + f32((0, 0, 0.01)), way.astype(np.float32), rays.spread[spot] * 2.5)
    image = radiance(scenery, second, scenery.trace(second.origin, second.directions), mirror=False)
    out[wet] += strength[:, None] * image[source]


def _rows_above(pixels: np.ndarray, width: int) -> np.ndarray:
    """Per flat pixel, in an odd row, the index of the pixel above where it is in the list, else its own."""
    own = np.arange(len(pixels))
    slot = np.full(int(pixels.max()) + 1, -1)
    slot[pixels] = own
    above = np.where(pixels // width % 2 == 1, slot[np.maximum(pixels - width, 0)], -1)
    return np.where(above >= 0, above, own)


def _emission(scenery: Scenery, surface: Surface, facade: np.ndarray, albedo: np.ndarray) -> np.ndarray:
    """Lit rooms and signs, lamp heads, car lights."""
    out = np.zeros_like(albedo)
    condition = scenery.condition
    if condition.shops or condition.rooms:
        walls = np.flatnonzero(facade >= 0)
        ids = scenery.town.atlas.light_ids(surface.texel[walls], surface.row[walls, TILE].astype(np.int32))
        lit = ids > 0
        walls, ids = walls[lit], ids[lit]
        glow = scenery.glow[facade[walls], ids]
        room = (ids < 200)[:, None]
        share = np.where(room, surface.glass[walls, None] * (0.1 + 1.7 * albedo[walls]), 1.1 * albedo[walls])
        out[walls] = glow * share
    material = surface.row[:, MATERIAL]
    for kind, colour, power in (
        (LAMP, (1.0, 0.8, 0.55), 9.0),
        (HEADLIGHT, (1.0, 0.95, 0.85), 3.0),
        (TAILLIGHT, (1.0, 0.05, 0.03), 1.2),
    ):
        where = material == kind
        if condition.lamps and where.any():
            out[where] += f32(colour) * power * condition.lamps
    return out


def _through_air(scenery: Scenery, out: np.ndarray, distance: np.ndarray) -> np.ndarray:
    haze = scenery.condition.haze
    if haze <= 0:
        return out
    clear = np.exp(-haze * distance)[:, None]
    return out * clear + (1 - clear) * 0.9 * f32(scenery.condition.horizon)


__all__ = ["LEAF", "Rays", "Surface", "radiance"]
