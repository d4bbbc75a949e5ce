"""What rays hit: where, how it faces the viewer, and how it is painted. Vectors are [3, N] (see arrays.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lbr.town.arrays import dot, f32, planes
from lbr.town.mesh import DENSITY, FACADE, GLOSS, MAP, MATERIAL, OFFSET, TILE, TINT
from lbr.town.scene import Hits
from lbr.town.scenery import Scenery

_LINEAR = np.where(
    np.arange(1021) / 1020 <= 0.04045, np.arange(1021) / 1020 / 12.92, ((np.arange(1021) / 1020 + 0.055) / 1.055) ** 2.4
).astype(np.float32)  # sRGB in quarter steps of 255 -> linear
SHARPNESS = f32(1.2)  # footprint of a pixel in its own widths: below 1 edges jump from pixel to pixel


@dataclass(frozen=True, eq=False)
class Rays:
    """origin float32 [3] · directions float32 [N, 3], unit · spread float32 [N], pixel width at 1 m; or an origin
    [N, 3] for each."""

    origin: np.ndarray
    directions: np.ndarray
    spread: np.ndarray

    def take(self, index: np.ndarray) -> Rays:
        origin = self.origin if np.ndim(self.origin) == 1 else self.origin.take(index, axis=0)
        return Rays(origin, self.directions.take(index, axis=0), self.spread.take(index))


@dataclass(frozen=True, eq=False)
class Surface:
    """Per ray: direction [3, N] it came from, point [3, N], normal [3, N] towards the viewer, cosine [N] to it, patch
    [N] (column of the scenery's table), linear albedo [3, N], glass share [N], place in its tile [2, N] in texels.
    face [N, 3] is the normal as the mesh has it, turn [N] the sign between the two."""

    direction: np.ndarray
    point: np.ndarray
    normal: np.ndarray
    cosine: np.ndarray
    patch: np.ndarray
    material: np.ndarray
    facade: np.ndarray
    tile: np.ndarray
    albedo: np.ndarray
    glass: np.ndarray
    texel: np.ndarray
    face: np.ndarray
    turn: np.ndarray

    def facing(self, way: np.ndarray) -> np.ndarray:
        """Scalar product [N] of the normals and one direction [3]."""
        return self.turn * (self.face @ way)


def find_surface(scenery: Scenery, rays: Rays, hits: Hits) -> Surface:
    """The surface of N rays that all hit something."""
    patch = scenery.patch.take(hits.face).astype(np.intp)
    origin = rays.origin[:, None] if np.ndim(rays.origin) == 1 else planes(rays.origin)
    direction = planes(rays.directions)
    point = origin + hits.distance * direction
    face = scenery.normals.take(hits.face, axis=0)
    normal = planes(face)
    cosine = -dot(normal, direction)
    turn = np.where(cosine < 0, f32(-1), f32(1))
    normal *= turn
    cosine = np.maximum(np.abs(cosine), 0.02)

    def column(number: int) -> np.ndarray:
        return scenery.table[number].take(patch)

    mapping = [column(k) for k in range(MAP.start, MAP.stop)]
    texel = np.stack([dot(mapping[:3], point), dot(mapping[3:], point)])
    texel += [column(k) for k in range(OFFSET.start, OFFSET.stop)]
    tangent = direction + cosine * normal
    axis = np.stack([dot(mapping[:3], tangent), dot(mapping[3:], tangent)])
    axis /= np.sqrt(axis[0] ** 2 + axis[1] ** 2) + f32(1e-6)
    short = SHARPNESS * hits.distance * rays.spread * column(DENSITY)
    tile, facade = column(TILE).astype(np.int32), column(FACADE).astype(np.int32)
    painted = scenery.town.atlas.sample(texel, tile, axis, short, 1 / cosine)
    albedo = _LINEAR.take((painted[:3] * 4).astype(np.int16))
    for k in range(3):
        albedo[k] *= column(TINT.start + k)
    glass = np.where(facade >= 0, painted[3] / f32(255), column(GLOSS))
    material = column(MATERIAL).astype(np.int8)
    return Surface(
        direction, point, normal, cosine, patch, material, facade, tile, albedo, glass, texel, face, turn
    )  # fmt: skip
