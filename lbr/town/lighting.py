"""Light that falls on surfaces: the sky through the baked openness, the sun with its shadows, lamps and shops."""

from __future__ import annotations

import numpy as np

from lbr.town.arrays import dot, f32, rows
from lbr.town.scenery import Scenery
from lbr.town.surface import Surface

LAMP_POWER = 14.0
CHUNK = 65536  # points lit at once: their distances to all lamps stay in the processor's cache
SHADOW_SHARE = 0.05  # a lamp is tested for shadow where it gives at least this much light
BOUNCE = f32((0.2, 0.19, 0.175))


def sky_light(scenery: Scenery, openness: np.ndarray, surface: Surface) -> np.ndarray:
    """Irradiance float32 [3, N] from the sky and from what it lights."""
    ambient = scenery.ambient
    side = f32((scenery.sky_dome.sun[0], scenery.sky_dome.sun[1], 0.6)) * f32(0.11)
    direction = 1 + surface.facing(side)
    bounce = BOUNCE * (ambient + 0.5 * f32(scenery.condition.sun))
    return np.multiply.outer(ambient, openness * direction) + np.multiply.outer(bounce, 1 - openness)


def add_sun_light(scenery: Scenery, surface: Surface, light: np.ndarray) -> None:
    """Direct sun on top of `light` [3, N], with cast shadows."""
    sun = scenery.sky_dome.sun.astype(np.float32)
    if max(scenery.condition.sun) <= 0:
        return
    facing = surface.facing(sun)
    lit = np.flatnonzero(facing > 0)
    start = surface.point.take(lit, axis=1) + f32(0.012) * surface.normal.take(lit, axis=1)
    lit = lit[~scenery.blocked(rows(start), sun)]
    light[:, lit] += np.multiply.outer(f32(scenery.condition.sun), facing[lit])


def active_lights(scenery: Scenery, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the lights that reach any of the points [3, N], and their intensities [K, 3]."""
    lights, strength = scenery.town.lights, scenery.condition.lamps
    lamp = lights.facade < 0
    colour = np.where(lamp[:, None], LAMP_POWER * strength * lights.colour, 0)
    glow = scenery.glow[lights.facade[~lamp], lights.light[~lamp]]
    colour[~lamp] = 11.0 * lights.colour[~lamp].max(1, keepdims=True) * glow * (0.25 + 0.75 * strength)
    probe = rows(points[:, :: max(1, points.shape[1] // 700)])
    gap = np.linalg.norm(probe[:, None] - lights.position[None].astype(np.float32), axis=2) - lights.reach
    keep = np.flatnonzero((gap.min(0, initial=np.inf) < 0.5) & (colour.max(1) > 1e-4))
    return keep, colour[keep].astype(np.float32)


def lamp_light(
    scenery: Scenery, points: np.ndarray, normals: np.ndarray, facade: np.ndarray, shadows: bool = True
) -> np.ndarray:
    """Irradiance float32 [3, N] from lamps and lit shops at points [3, N]. facade int [N]: a shop hardly lights its
    own front."""
    count = points.shape[1]
    out = np.zeros((3, count), np.float32)
    if scenery.condition.lamps <= 0 or not count:
        return out
    keep, colour = active_lights(scenery, points)
    if not len(keep):
        return out
    for start in range(0, count, CHUNK):
        part = slice(start, start + CHUNK)
        surface = (points[:, part], normals[:, part], facade[part])
        _add_lamps(scenery, (keep, colour), surface, shadows, out[:, part])
    return out


def lamp_light_in_picture(scenery: Scenery, surface: Surface, grid: tuple[np.ndarray, int]) -> np.ndarray:
    """lamp_light [3, N] of a surface whose rays fill some pixels of a picture.

    grid: the flat pixel of each, and the picture's width. Lamps are summed at every second pixel each way and at all
    whose neighbours there lie on another plane; between, their light is interpolated.
    """
    if scenery.condition.lamps <= 0 or not len(surface.patch):
        return np.zeros_like(surface.point)
    (pixels, width), tilt = grid, surface.facing(f32((1.7, 2.9, 0.61)))
    height = -(-(int(pixels[-1]) + 1) // width)
    plane = np.full(
        (height + height % 2 + 1, width + width % 2 + 1), -1, np.int64
    )  # odd sides: coarse pixels all round
    at = (pixels // width) * plane.shape[1] + pixels % width
    plane.reshape(-1)[at] = surface.patch * 8192 + ((tilt + 8) * 400).astype(np.int64)
    chosen = np.flatnonzero(_not_between(plane).reshape(-1).take(at))
    points, normals = (a.take(chosen, axis=1) for a in (surface.point, surface.normal))
    light = np.zeros((3, *plane.shape), np.float32)
    flat, there = light.reshape(3, -1), at[chosen]
    flat[:, there] = exact = lamp_light(scenery, points, normals, surface.facade.take(chosen))
    light[:, ::2, 1::2] = 0.5 * (light[:, ::2, :-1:2] + light[:, ::2, 2::2])
    light[:, 1::2] = 0.5 * (light[:, :-1:2] + light[:, 2::2])
    flat[:, there] = exact
    return flat.take(at, axis=1)


def _not_between(plane: np.ndarray) -> np.ndarray:
    """bool [H, W], odd sides: the pixels of even row and column, and those that lie between such of another plane."""
    coarse = plane[::2, ::2]
    needed = np.ones(plane.shape, bool)
    across, down = coarse[:, :-1] == coarse[:, 1:], coarse[:-1] == coarse[1:]
    needed[::2, 1::2] = ~across | (plane[::2, 1::2] != coarse[:, :-1])
    needed[1::2, ::2] = ~down | (plane[1::2, ::2] != coarse[:-1])
    needed[1::2, 1::2] = ~(across[:-1] & across[1:] & down[:, 1:]) | (plane[1::2, 1::2] != coarse[:-1, :-1])
    return needed


def _add_lamps(
    scenery: Scenery,
    active: tuple[np.ndarray, np.ndarray],
    surface: tuple[np.ndarray, np.ndarray, np.ndarray],
    shadows: bool,
    out: np.ndarray,
) -> None:
    (keep, colour), (points, normals, facade) = active, surface
    lights = scenery.town.lights
    middle = points[:, points.shape[1] // 2]  # near the points, so that squared distances keep their digits
    places, local = (lights.position[keep] - middle).astype(np.float32), points - middle[:, None]
    twice, along = (2 * places) @ local, places @ normals  # [K, N]
    length, own, above = (places**2).sum(1), dot(local, local), dot(local, normals)
    reach = lights.reach[keep].astype(np.float32)
    for k in range(len(keep)):
        square = length[k] + own
        square -= twice[k]
        facing = np.subtract(along[k], above, out=along[k])
        near = np.flatnonzero((square < reach[k] ** 2) & (facing > 0))
        if not len(near):
            continue
        gap = np.maximum(square.take(near), f32(0.01))
        power = _falloff(gap, facing.take(near), reach[k])
        if lights.facade[keep[k]] >= 0:  # a shop: no shadows, and hardly any light on its own front
            power *= np.where(facade.take(near) == lights.facade[keep[k]], f32(0.12), f32(1))
        else:
            distance = np.sqrt(gap)
            power *= 0.3 + 0.7 * np.clip(0.55 + (places[k, 2] - local[2].take(near)) / distance, 0, 1)
            strong = np.flatnonzero(power * colour[k].max() > SHADOW_SHARE) if shadows else near[:0]
            rays, distance = near[strong], distance[strong]
            start = points.take(rays, axis=1) + f32(0.02) * normals.take(rays, axis=1)
            way = (places[k][:, None] - local.take(rays, axis=1)) / distance
            power[strong[scenery.blocked(rows(start), rows(way), distance - 0.45)]] = 0
        for total, share in zip(out, colour[k], strict=True):
            total[near] += power * share


def _falloff(square: np.ndarray, facing: np.ndarray, reach: np.float32) -> np.ndarray:
    """Light of a lamp at squared distance `square`, fading to nothing at `reach`; facing = normal . way."""
    fade = 1 - square / (reach * reach)
    return facing / np.sqrt(square) * fade * fade / (square + f32(1.3))
