"""Light that depends on the place alone, computed once: how much of the sky each corner of each face sees."""

from __future__ import annotations

import numpy as np

from lbr.town.mesh import Mesh
from lbr.town.scene import RayScene

NUM_RAYS = 48


def hemisphere(count: int) -> np.ndarray:
    """Directions [count, 3] around +z with cosine density (a Fibonacci spiral)."""
    k = np.arange(count) + 0.5
    radius, angle = np.sqrt(k / count), k * np.pi * (3 - np.sqrt(5))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - radius**2)], 1)


def sky_visibility(mesh: Mesh) -> np.ndarray:
    """Fraction of the cosine-weighted hemisphere that is open, float32 [F, 3] per corner of a mesh's faces."""
    triangles, normals, scene = mesh.triangles, mesh.normals, RayScene(mesh.triangles)
    centre = triangles.mean(1, keepdims=True)
    corners = triangles + 0.04 * (centre - triangles) + 0.02 * normals[:, None]
    flat = corners.reshape(-1, 3)
    facing = np.repeat(normals, 3, 0)
    key = np.round(np.hstack([triangles.reshape(-1, 3) * 20, facing * 8])).astype(np.int32)
    _, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    open_sky = np.zeros(len(first), np.float32)
    origin, normal = flat[first].astype(np.float32), facing[first]
    side = np.where(np.abs(normal[:, 2:]) < 0.9, [[0, 0, 1.0]], [[1.0, 0, 0]])
    u = np.cross(side, normal)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = np.cross(normal, u)
    for x, y, z in hemisphere(NUM_RAYS):
        direction = (x * u + y * v + z * normal).astype(np.float32)
        open_sky += ~scene.blocked(origin, direction, 60.0)
    return (open_sky / NUM_RAYS)[inverse.reshape(-1)].reshape(-1, 3)
