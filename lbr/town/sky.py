"""What is seen where no ray hits: sky with clouds, and the hills around the town, which never change."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from lbr.town.arrays import f32, rows
from lbr.town.conditions import Condition
from lbr.town.patterns import noise

_AZIMUTHS = 4096
_TILE = 512


@dataclass(frozen=True, eq=False)
class Sky:
    """A sky of one photograph: condition, drift of its clouds [2], direction to the sun [3] (unit)."""

    condition: Condition
    drift: np.ndarray
    sun: np.ndarray

    def radiance(self, directions: np.ndarray) -> np.ndarray:
        """Radiance float32 [3, N] seen along unit directions [3, N]; hills up to the ridge, sky above."""
        c = self.condition
        up = np.clip(directions[2], 0.0, 1.0)
        mix = np.sqrt(np.minimum(up * 1.6, 1.0))
        sky = np.multiply.outer(f32(c.horizon), 1 - mix) + np.multiply.outer(f32(c.zenith), mix)
        cloud = self._clouds(directions)
        lit = 0.85 * f32(c.horizon) + 0.55 * f32(c.ambient) + 0.12 * f32(c.sun)
        if c.lamps > 0.5:
            lit = 1.2 * f32(c.horizon) * f32((1.15, 1.0, 0.9))
        sky += cloud * (np.multiply.outer(lit, 0.72 + 0.28 * cloud) - sky) * min(1.0, 0.35 + c.clouds * 0.4)
        if max(c.sun) > 0:
            toward = np.maximum(rows(directions) @ self.sun.astype(np.float32), 0)
            sky += np.multiply.outer(f32(c.sun), 0.25 * toward**24 + 12.0 * (toward > 0.9994))
        self._add_hills(directions, sky)
        return sky

    def _clouds(self, directions: np.ndarray) -> np.ndarray:
        """Cloud cover 0..1 of a flat layer."""
        scale = 70.0 / (np.maximum(directions[2], 0) + 0.16)
        value = tile_lookup(_cloud_tile(), directions[:2] * scale + self.drift[:, None])
        edge = 1.1 - 1.9 * self.condition.clouds
        return np.clip((value - edge) / 1.3, 0, 1)

    def _add_hills(self, directions: np.ndarray, sky: np.ndarray) -> None:
        """Hills where they hide the sky (in place)."""
        azimuth = np.arctan2(directions[1], directions[0])
        index = ((azimuth / (2 * np.pi) * _AZIMUTHS).astype(np.int32)) % _AZIMUTHS
        height = directions[2]
        c = self.condition
        light = f32(c.ambient) + 0.45 * f32(c.sun)
        white = f32((0.8, 0.82, 0.85))
        for ridge, colour, air in zip(_ridges(), ((0.1, 0.14, 0.16), (0.055, 0.09, 0.04)), (0.55, 0.22), strict=True):
            below = np.flatnonzero(height < ridge.take(index))
            where = np.stack([azimuth[below] * 900, height[below] * 2600])
            grain = 1 + 0.35 * tile_lookup(_cloud_tile(), where)
            ground = f32(colour) + 0.55 * c.snow * (white - f32(colour))
            hill = np.multiply.outer((1 - air) * ground * light, grain) + (air * f32(c.horizon) * 0.8)[:, None]
            sky[:, below] = hill


def make_sky(condition: Condition, rng: np.random.Generator) -> Sky:
    """Draw clouds and, where there is one, the sun's place."""
    elevation = np.radians(rng.uniform(*condition.elevation))
    azimuth = rng.uniform(0, 2 * np.pi)
    sun = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    return Sky(condition, rng.uniform(0, _TILE, 2).astype(np.float32), sun)


def tile_lookup(tile: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Bilinear lookup in a periodic float32 [512, 512] tile at positions [2, N]."""
    count = where.shape[1]
    shape = (max(1, -(-count // 1024)), 1024)
    maps = np.zeros((2, shape[0] * shape[1]), np.float32)
    maps[:, :count] = where - _TILE * np.floor(where / _TILE)
    x, y = maps.reshape(2, *shape)
    return f32(cv2.remap(tile, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)).reshape(-1)[:count]


@lru_cache(maxsize=1)
def _cloud_tile() -> np.ndarray:
    return noise((_TILE, _TILE), 128, np.random.default_rng(90), 6, wrap=True).astype(np.float32)


@lru_cache(maxsize=1)
def _ridges() -> tuple[np.ndarray, np.ndarray]:
    """Sine of the elevation of two ridges per azimuth, far and near."""
    rng = np.random.default_rng(91)
    turn = np.arange(_AZIMUTHS) / _AZIMUTHS * 2 * np.pi
    far, near = np.full(_AZIMUTHS, 0.085), np.full(_AZIMUTHS, 0.045)
    for k in range(1, 40):
        far += rng.normal(0, 0.03 / k) * np.cos(k * turn + rng.uniform(0, 6.3))
        near += rng.normal(0, 0.017 / k**0.8) * np.cos(k * turn * 1 + rng.uniform(0, 6.3))
    near += 0.004 * np.abs(rng.standard_normal(_AZIMUTHS // 8)).repeat(8) * 0.6
    return far, near
