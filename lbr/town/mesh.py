"""Triangles and what covers them.

A *patch* is a set of faces that share one planar texture mapping, one material and one instance. Texture
coordinates come from the world point alone (`texel = map @ point + offset`), so a hit needs no barycentrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

MATTE, GROUND, LEAF, LAMP, HEADLIGHT, TAILLIGHT, ROOF = range(7)

# columns of the patch table
MAP = slice(0, 6)
OFFSET = slice(6, 8)
TINT = slice(8, 11)
TILE, DENSITY, MATERIAL, GLOSS, FACADE, INSTANCE = range(11, 17)
NUM_COLUMNS = 17


@dataclass(frozen=True, eq=False)
class Cover:
    """What covers a patch: atlas tile, texels per metre, tint (1 = as painted), material, gloss, facade, instance."""

    tile: int
    density: float
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    material: int = MATTE
    gloss: float = 0.0
    facade: int = -1
    instance: int = 0


@dataclass(frozen=True, eq=False)
class Mesh:
    """triangles float32 [F, 3, 3] metres · patch int32 [F] · normals float32 [F, 3] · table float32 [P, columns]."""

    triangles: np.ndarray
    patch: np.ndarray
    normals: np.ndarray
    table: np.ndarray


@dataclass
class MeshBuilder:
    """Collects faces. Corners run counter-clockwise seen from outside."""

    _triangles: list[np.ndarray] = field(default_factory=list)
    _patch: list[np.ndarray] = field(default_factory=list)
    _rows: list[tuple[float, ...]] = field(default_factory=list)

    def patch(self, cover: Cover, axes: Sequence[Sequence[float]] | np.ndarray, origin: np.ndarray) -> int:
        """A new patch. `axes` [2, 3]: world directions of the texture's columns and rows; `origin` [3]: the world
        point of the tile's corner."""
        mapping = np.asarray(axes, np.float64) * cover.density
        return self._row(cover, mapping.reshape(-1).tolist(), (-mapping @ np.asarray(origin, np.float64)).tolist())

    def flat_patch(self, cover: Cover, normal: Sequence[float] | np.ndarray) -> int:
        """A patch for a plane of this normal, textured upright (or north-up when it lies flat)."""
        x, y, z = normal.tolist() if isinstance(normal, np.ndarray) else normal
        length = (x * x + y * y + z * z) ** 0.5
        x, y, z, k = x / length, y / length, z / length, cover.density
        flat = (x * x + y * y) ** 0.5
        if flat < 0.43:
            return self._row(cover, (k, 0.0, 0.0, 0.0, -k, 0.0), (0.0, 0.0))
        across = (-y / flat * k, x / flat * k, 0.0)
        return self._row(cover, (*across, x * z / flat * k, y * z / flat * k, -flat * k), (0.0, 0.0))

    def _row(self, cover: Cover, mapping: Sequence[float], offset: Sequence[float]) -> int:
        """In the order of the columns above. Plain numbers: a car has a hundred patches, a photograph many cars."""
        c = cover
        kind = (c.tile, c.density, c.material, c.gloss, c.facade, c.instance)
        self._rows.append((*mapping, *offset, *c.tint, *kind))
        return len(self._rows) - 1

    def triangles(self, corners: np.ndarray, patch: int | np.ndarray) -> None:
        """Add triangles [K, 3, 3]."""
        corners = np.asarray(corners, np.float64).reshape(-1, 3, 3)
        self._triangles.append(corners)
        self._patch.append(np.full(len(corners), patch, np.int32))

    def quads(self, corners: np.ndarray, patch: int | np.ndarray) -> None:
        """Add quads [K, 4, 3], each cut into two triangles."""
        q = np.asarray(corners, np.float64).reshape(-1, 4, 3)
        self._triangles.append(q.take(_CUT, axis=1).reshape(-1, 3, 3))
        self._patch.append(np.full((len(q), 2), np.reshape(patch, (-1, 1)), np.int32).reshape(-1))

    def solid(self, corners: np.ndarray, cover: Cover) -> None:
        """A hexahedron [8, 3] (bottom then top, each counter-clockwise from above) covered alike on its six sides."""
        sides = np.asarray(corners, np.float64)[_SIDES]
        normals = cross(sides[:, 2] - sides[:, 0], sides[:, 3] - sides[:, 1])
        keep = np.flatnonzero((normals * normals).sum(1) > 1e-18)
        self.quads(sides[keep], np.array([self.flat_patch(cover, normal) for normal in normals[keep].tolist()]))

    def build(self) -> Mesh:
        triangles = np.concatenate(self._triangles) if self._triangles else np.zeros((0, 3, 3))
        normals = cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        keep = length[:, 0] > 1e-10
        normals = normals[keep] / length[keep]
        patch = np.concatenate(self._patch)[keep] if self._patch else np.zeros(0, np.int32)
        table = np.array(self._rows, np.float32).reshape(-1, NUM_COLUMNS)
        return Mesh(triangles[keep].astype(np.float32), patch.astype(np.int32), normals.astype(np.float32), table)


_CUT = (0, 1, 2, 0, 2, 3)  # corners of a quad's two triangles
SIDES = ((3, 2, 1, 0), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7))
_SIDES = np.array(SIDES)


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products of rows [K, 3]; numpy's own is five times slower on few rows."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], 1)


def box_corners(
    low: np.ndarray, high: np.ndarray, turn: np.ndarray | None = None, at: np.ndarray | None = None
) -> np.ndarray:
    """Corners [8, 3] of an axis-aligned box, rotated by `turn` [3, 3] and moved to `at` [3]."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    base = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    corners = np.array([(*p, z0) for p in base] + [(*p, z1) for p in base], np.float64)
    return (corners if turn is None else corners @ turn.T) + (0 if at is None else at)


def prism(a: np.ndarray, b: np.ndarray, radius: float, sides: int = 6, taper: float = 1.0) -> np.ndarray:
    """Side quads [sides, 4, 3] of a rod from a to b; `taper` scales the radius at b."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    axis = (b - a) / np.linalg.norm(b - a)
    x, y, z = axis
    side = np.array([y, -x, 0.0]) if abs(z) < 0.9 else np.array([0.0, z, -y])
    side /= np.linalg.norm(side)
    other = cross(axis[None], side[None])[0]
    angle = np.linspace(0, 2 * np.pi, sides + 1)[:, None]
    ring = np.cos(angle) * side + np.sin(angle) * other
    low, high = a + radius * ring, b + radius * taper * ring
    return np.stack([low[:-1], low[1:], high[1:], high[:-1]], 1)


def ellipsoid(
    centre: np.ndarray, radii: np.ndarray, turn: np.ndarray | None = None, rings: int = 6, sides: int = 10
) -> np.ndarray:
    """Quads [rings * sides, 4, 3] of an ellipsoid."""
    grid = _unit_ball(rings, sides) * radii
    grid = (grid if turn is None else grid @ turn.T) + np.asarray(centre)
    return grid.reshape(-1, 3).take(_ball_quads(rings, sides), axis=0)


@lru_cache(maxsize=8)
def _ball_quads(rings: int, sides: int) -> np.ndarray:
    """Corners int [rings * sides, 4] of the quads of `_unit_ball`."""
    grid = np.arange((rings + 1) * (sides + 1)).reshape(rings + 1, sides + 1)
    return np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], 2).reshape(-1, 4)


@lru_cache(maxsize=8)
def _unit_ball(rings: int, sides: int) -> np.ndarray:
    polar = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)[:, None]
    around = np.linspace(0, 2 * np.pi, sides + 1)
    flat = np.stack([np.cos(around), np.sin(around)], -1) * np.cos(polar)[..., None]
    return np.concatenate([flat, np.broadcast_to(np.sin(polar)[..., None], (rings + 1, sides + 1, 1))], -1)


def rotation_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
