"""Light that falls on surfaces: the sky through the baked openness, the sun with its shadows, lamps and shops."""

from __future__ import annotations

import numpy as np

from lbr.town.arrays import f32
from lbr.town.scenery import Scenery

LAMP_POWER = 14.0
CHUNK = 65536  # points lit at once: their distances to all lamps stay in the processor's cache
SHADOW_SHARE = 0.05  # a lamp is tested for shadow where it gives at least this much light
BOUNCE = f32((0.2, 0.19, 0.175))


def sky_light(scenery: Scenery, openness: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Irradiance float32 [N, 3] from the sky and from what it lights."""
    ambient = scenery.ambient
    side = f32((scenery.sky_dome.sun[0], scenery.sky_dome.sun[1], 0.6)) * f32(0.11)
    direction = 1 + normals @ side
    bounce = BOUNCE * (ambient + 0.5 * f32(scenery.condition.sun))
    return (openness * direction)[:, None] * ambient + (1 - openness)[:, None] * bounce


def sun_light(scenery: Scenery, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Direct sun float32 [N, 3], with cast shadows."""
    sun = scenery.sky_dome.sun.astype(np.float32)
    facing = normals @ sun
    out = np.zeros((len(points), 3), np.float32)
    lit = np.flatnonzero(facing > 0)
    if max(scenery.condition.sun) <= 0 or not len(lit):
        return out
    start = points[lit] + 0.012 * normals[lit]
    free = ~scenery.blocked(start, sun)
    lit = lit[free]
    out[lit] = facing[lit, None] * f32(scenery.condition.sun)
    return out


def active_lights(scenery: Scenery, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the lights that reach any of the points [N, 3], and their intensities [K, 3]."""
    lights, strength = scenery.town.lights, scenery.condition.lamps
    lamp = lights.facade < 0
    colour = np.where(lamp[:, None], LAMP_POWER * strength * lights.colour, 0)
    glow = scenery.glow[lights.facade[~lamp], lights.light[~lamp]]
    colour[~lamp] = 11.0 * lights.colour[~lamp].max(1, keepdims=True) * glow * (0.25 + 0.75 * strength)
    probe = points[:: max(1, len(points) // 700)]
    gap = np.linalg.norm(probe[:, None] - lights.position[None].astype(np.float32), axis=2) - lights.reach
    keep = np.flatnonzero((gap.min(0, initial=np.inf) < 0.5) & (colour.max(1) > 1e-4))
    return keep, colour[keep].astype(np.float32)


def lamp_light(
    scenery: Scenery, points: np.ndarray, normals: np.ndarray, facade: np.ndarray, shadows: bool = True
) -> np.ndarray:
    """Irradiance float32 [N, 3] from lamps and lit shops. facade int [N]: a shop hardly lights its own front."""
    out = np.zeros((len(points), 3), np.float32)
    if scenery.condition.lamps <= 0 or not len(points):
        return out
    keep, colour = active_lights(scenery, points)
    if not len(keep):
        return out
    for start in range(0, len(points), CHUNK):
        part = slice(start, start + CHUNK)
        out[part] = _lamps_on(scenery, (keep, colour), (points[part], normals[part], facade[part]), shadows)
    return out


def lamp_light_in_picture(
    scenery: Scenery, surface: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], grid: tuple[np.ndarray, int]
) -> np.ndarray:
    """lamp_light of (points, normals, facade, patch) [N], which fill some pixels of a picture.

    grid: the flat pixel of each, and the picture's width. Lamps are summed at every second pixel each way and at all
    whose neighbours there lie on another plane; between, their light is interpolated.
    """
    points, normals, facade, patch = surface
    if scenery.condition.lamps <= 0 or not len(points):
        return np.zeros((len(points), 3), np.float32)
    (pixels, width), tilt = grid, normals @ f32((1.7, 2.9, 0.61))
    height = -(-(int(pixels[-1]) + 1) // width)
    plane = np.full(
        (height + height % 2 + 1, width + width % 2 + 1), -1, np.int64
    )  # odd sides: coarse pixels all round
    at = (pixels // width) * plane.shape[1] + pixels % width
    plane.reshape(-1)[at] = patch.astype(np.int64) * 8192 + ((tilt + 8) * 400).astype(np.int64)
    coarse = plane[::2, ::2]
    needed = np.ones(plane.shape, bool)
    across, down = coarse[:, :-1] == coarse[:, 1:], coarse[:-1] == coarse[1:]
    needed[::2, 1::2] = ~across | (plane[::2, 1::2] != coarse[:, :-1])
    needed[1::2, ::2] = ~down | (plane[1::2, ::2] != coarse[:-1])
    needed[1::2, 1::2] = ~(across[:-1] & across[1:] & down[:, 1:]) | (plane[1::2, 1::2] != coarse[:-1, :-1])
    chosen = np.flatnonzero(needed.reshape(-1)[at])
    light = np.zeros((*plane.shape, 3), np.float32)
    light.reshape(-1, 3)[at[chosen]] = exact = lamp_light(scenery, points[chosen], normals[chosen], facade[chosen])
    light[::2, 1::2] = 0.5 * (light[::2, :-1:2] + light[::2, 2::2])
    light[1::2] = 0.5 * (light[:-1:2] + light[2::2])
    light.reshape(-1, 3)[at[chosen]] = exact
    return light.reshape(-1, 3).take(at, axis=0)


def _lamps_on(
    scenery: Scenery,
    active: tuple[np.ndarray, np.ndarray],
    surface: tuple[np.ndarray, np.ndarray, np.ndarray],
    shadows: bool,
) -> np.ndarray:
    (keep, colour), (points, normals, facade) = active, surface
    lights, out = scenery.town.lights, np.zeros((len(points), 3), np.float32)
    middle = points[len(points) // 2]  # near the points, so that squared distances keep their digits
    places, local = (lights.position[keep] - middle).astype(np.float32), points - middle
    square = (places**2).sum(1)[:, None] + np.einsum("ij,ij->i", local, local) - 2 * places @ local.T  # [K, N]
    facing = places @ normals.T - np.einsum("ij,ij->i", local, normals)
    reach = lights.reach[keep].astype(np.float32)
    lit = (square < (reach**2)[:, None]) & (facing > 0)
    for k in np.flatnonzero(lit.any(1)):
        near = np.flatnonzero(lit[k])
        gap = np.maximum(square[k, near], f32(0.01))
        power = _falloff(gap, facing[k, near], reach[k])
        if lights.facade[keep[k]] >= 0:  # a shop: no shadows, and hardly any light on its own front
            power *= np.where(facade[near] == lights.facade[keep[k]], f32(0.12), f32(1))
        else:
            distance = np.sqrt(gap)
            power *= 0.3 + 0.7 * np.clip(0.55 + (places[k, 2] - local[near, 2]) / distance, 0, 1)
            strong = np.flatnonzero(power * colour[k].max() > SHADOW_SHARE) if shadows else near[:0]
            rays, distance = near[strong], distance[strong]
            start = points[rays] + f32(0.02) * normals[rays]
            power[strong[scenery.blocked(start, (places[k] - local[rays]) / distance[:, None], distance - 0.45)]] = 0
        out[near] += power[:, None] * colour[k]
    return out


def _falloff(square: np.ndarray, facing: np.ndarray, reach: np.float32) -> np.ndarray:
    """Light of a lamp at squared distance `square`, fading to nothing at `reach`; facing = normal . way."""
    fade = 1 - square / (reach * reach)
    return facing / np.sqrt(square) * fade * fade / (square + f32(1.3))
