"""Rays against triangles: a thin layer over embree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh

from lbr.town.arrays import f32


@dataclass(frozen=True, eq=False)
class Hits:
    """face int32 [N] (-1 = none) · distance float32 [N] along the ray (inf = none) · u, v float32 [N] barycentrics."""

    face: np.ndarray
    distance: np.ndarray
    u: np.ndarray
    v: np.ndarray

    def take(self, index: np.ndarray) -> Hits:
        return Hits(self.face[index], self.distance[index], self.u[index], self.v[index])


class RayScene:
    """Triangles float32 [F, 3, 3] for ray queries; directions are unit vectors, float32.

    The search tree is built at the first query, in the process that asks: embree's threads do not survive a fork.
    """

    in_use = False  # whether this process has started embree

    def __init__(self, triangles: np.ndarray) -> None:
        self.num_faces = len(triangles)
        self._triangles = np.ascontiguousarray(triangles, np.float32)
        self._tree: rtcore_scene.EmbreeScene | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_tree": None}

    @property
    def _scene(self) -> rtcore_scene.EmbreeScene:
        if self._tree is None:
            RayScene.in_use = True
            self._tree = rtcore_scene.EmbreeScene()
            TriangleMesh(self._tree, self._triangles)
        return self._tree

    def trace(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """First hit of each ray."""
        count = len(directions)
        if not self.num_faces or not count:
            u, v = np.zeros((2, count), np.float32)
            return Hits(np.full(count, -1, np.int32), np.full(count, np.inf, np.float32), u, v)
        found = self._scene.run(_full(origins, count), _full(directions, count), output=True)
        face = found["primID"]
        return Hits(face, np.where(face >= 0, found["tfar"], f32(np.inf)), found["u"], found["v"])

    def blocked(self, origins: np.ndarray, directions: np.ndarray, distance: np.ndarray | float = 1e4) -> np.ndarray:
        """bool [N]: whether anything lies within `distance` along each ray."""
        count = len(origins)
        if not self.num_faces or not count:
            return np.zeros(count, bool)
        reach = np.array(np.broadcast_to(f32(distance), count))
        return self._scene.run(_full(origins, count), _full(directions, count), dists=reach, query="OCCLUDED") == 0


def _full(vectors: np.ndarray, count: int) -> np.ndarray:
    """Vectors [3] or [N, 3] as [N, 3] in one piece, which is all that embree reads."""
    return np.ascontiguousarray(np.broadcast_to(vectors, (count, 3)), np.float32)
