"""What a camera would see of the facades, on a coarse grid of rays, and whether other cameras see it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.town.mesh import INSTANCE
from lbr.town.world import Town

PROBE = (16, 12)  # rays across and down
NEAR, FAR = 4.0, 26.0  # metres between which a facade is worth a photograph
TOO_CLOSE = 1.5  # metres before the lens that must be free
CELL = 1.5  # metres of facade that count as one spot
MAX_TURN = np.cos(np.radians(20))  # two views of a spot match well up to this angle between their rays
MAX_ZOOM = 1.5  # and up to this ratio of their distances

ENOUGH = 4  # so many other views of a spot, as foliage, cars and light take some away


@dataclass(frozen=True, eq=False)
class Seen:
    """The K rays that meet a facade at a useful distance: instance int [K], spot int [K] (a cell of a facade),
    direction float [K, 3] of the ray, distance float [K]; share = K / all rays."""

    instance: np.ndarray
    spot: np.ndarray
    direction: np.ndarray
    distance: np.ndarray
    share: float


def probe(town: Town, pose: Pose, camera: Camera) -> Seen:
    """Look through a camera. Leaves hide what is behind them; nothing counts with something right before the lens."""
    x, y = np.meshgrid((np.arange(PROBE[0]) + 0.5) / PROBE[0], (np.arange(PROBE[1]) + 0.5) / PROBE[1])
    (fx, fy), (cx, cy) = camera.focal, camera.matrix[:2, 2]
    local = np.stack([(x * camera.width - cx) / fx, (y * camera.height - cy) / fy, np.ones_like(x)], -1).reshape(-1, 3)
    rays = local / np.linalg.norm(local, axis=1, keepdims=True) @ pose.R
    hits, leaf = town.static.scene.trace(pose.centre, rays), town.leaves.scene.trace(pose.centre, rays).distance
    mesh = town.static.mesh
    instance = mesh.table[mesh.patch[np.maximum(hits.face, 0)], INSTANCE].astype(int)
    useful = (hits.face >= 0) & (instance > 0) & (hits.distance > NEAR) & (hits.distance < np.minimum(FAR, leaf))
    useful &= (np.minimum(hits.distance, leaf) < TOO_CLOSE).mean() < 0.02
    instance, distance, rays = instance[useful], hits.distance[useful], rays[useful]
    return Seen(instance, _spots(town, instance, pose.centre + distance[:, None] * rays), rays, distance, useful.mean())


def _spots(town: Town, instance: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A number for the cell of the facade that each point [K, 3] lies in."""
    shown, which = np.unique(instance, return_inverse=True)
    facades = [town.plan.facades[k - 1] for k in shown]
    starts = np.array([f.start for f in facades]).reshape(-1, 2)[which]
    rights = np.array([f.right[:2] for f in facades]).reshape(-1, 2)[which]
    along = np.einsum("ij,ij->i", points[:, :2] - starts, rights)
    return (instance * 1000 + np.floor(along / CELL).astype(int)) * 1000 + np.floor(points[:, 2] / CELL).astype(int)


@dataclass(frozen=True, eq=False)
class Pool:
    """The rays of several views, by spot: spot int [K] ascending, view int [K] (which of them), direction [K, 3],
    distance [K]. Looking a spot up costs the same however many views there are."""

    spot: np.ndarray
    view: np.ndarray
    direction: np.ndarray
    distance: np.ndarray
    num_views: int


def pool(views: Sequence[Seen]) -> Pool:
    """The views' rays in the order of their spots."""
    if not views:
        return Pool(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)), np.zeros(0), 0)
    spot = np.concatenate([v.spot for v in views])
    order = np.argsort(spot, kind="stable")
    owner = np.repeat(np.arange(len(views)), [len(v.spot) for v in views])
    direction, distance = (np.concatenate([getattr(v, key) for v in views]) for key in ("direction", "distance"))
    return Pool(spot[order], owner[order], direction[order], distance[order], len(views))


def support(view: Seen, others: Pool) -> float:
    """How much of a view others share: the share of its rays whose spot ENOUGH other views see from a like direction
    and distance, fewer counting in part."""
    if not len(view.spot) or not others.num_views:
        return 0.0
    first, last = (np.searchsorted(others.spot, view.spot, side) for side in ("left", "right"))
    mine = np.repeat(np.arange(len(first)), last - first)
    theirs = np.arange(len(mine)) - np.repeat(np.cumsum(last - first) - last, last - first)
    turn = np.einsum("ij,ij->i", view.direction[mine], others.direction[theirs])
    zoom = view.distance[mine] / others.distance[theirs]
    alike = (turn > MAX_TURN) & (zoom < MAX_ZOOM) & (zoom > 1 / MAX_ZOOM)
    sees = np.zeros((len(view.spot), others.num_views), bool)
    sees[mine[alike], others.view[theirs[alike]]] = True
    return float(np.minimum(sees.sum(1), ENOUGH).mean() / ENOUGH * view.share)
