"""One moment in the town: the static world, leaves or none, movable things, the sky, which rooms are lit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lbr.geometry.pose import Pose
from lbr.town.arrays import f32
from lbr.town.conditions import CONDITIONS, Condition
from lbr.town.mesh import INSTANCE, MeshBuilder
from lbr.town.props import Prop, build_prop, place_props
from lbr.town.scene import Hits
from lbr.town.sky import Sky, make_sky
from lbr.town.world import Layer, Town, make_layer

REACH = 45.0  # metres before the camera within which movable things are built
BEHIND = 4.0  # and behind it
ROOM_LIGHTS = ((1.0, 0.66, 0.34), (1.0, 0.78, 0.5), (1.0, 0.88, 0.7), (0.75, 0.85, 1.0), (1.0, 0.58, 0.24))
SHOP_LIGHTS = ((1.0, 0.9, 0.74), (1.0, 0.78, 0.52), (0.95, 0.95, 0.9))


@dataclass(frozen=True, eq=False)
class Scenery:
    """What one camera sees at one moment. Faces of all layers are numbered through.

    patch int32 [F], normals float32 [F, 3], sky float32 [F, 3] per corner, table float32 [columns, P], a column per
    patch; glow float32 [facades + 1, 256, 3]: radiance behind each light id (last row: nothing).
    """

    town: Town
    condition: Condition
    sky_dome: Sky
    layers: tuple[Layer, ...]
    spheres: tuple[np.ndarray | None, ...]
    patch: np.ndarray
    normals: np.ndarray
    sky: np.ndarray
    table: np.ndarray
    glow: np.ndarray
    ambient: np.ndarray

    def trace(self, origins: np.ndarray, directions: np.ndarray, near: np.ndarray | None = None) -> Hits:
        """First hit over all layers. `near` bool [layers, N]: rays that may hit a layer other than the first."""
        best = self.layers[0].scene.trace(origins, directions)
        face, distance, u, v = best.face, best.distance, best.u, best.v
        offset = self.layers[0].scene.num_faces
        for k, layer in enumerate(self.layers[1:], 1):
            rays = np.arange(len(directions)) if near is None else np.flatnonzero(near[k])
            start = origins if np.ndim(origins) == 1 else origins.take(rays, axis=0)
            hits = layer.scene.trace(start, directions.take(rays, axis=0))
            closer = np.flatnonzero(hits.distance < distance.take(rays))
            where = rays[closer]
            face[where], distance[where] = hits.face[closer] + offset, hits.distance[closer]
            u[where], v[where] = hits.u[closer], hits.v[closer]
            offset += layer.scene.num_faces
        return Hits(face, distance, u, v)

    def blocked(self, origins: np.ndarray, directions: np.ndarray, distance: np.ndarray | float = 1e4) -> np.ndarray:
        """bool [N]: anything of any layer within `distance`."""
        out = self.layers[0].scene.blocked(origins, directions, distance)
        for layer in self.layers[1:]:
            rays = np.flatnonzero(~out)
            reach = distance.take(rays) if isinstance(distance, np.ndarray) else distance
            ways = directions if directions.ndim == 1 else directions.take(rays, axis=0)
            out[rays] = layer.scene.blocked(origins.take(rays, axis=0), ways, reach)
        return out


def stage(town: Town, condition: Condition | str, pose: Pose, rng: np.random.Generator) -> Scenery:
    """Set the scene for a camera at `pose` (cam_from_world). Cameras given generators in the same state share the
    moment: all draws are made for the whole town, then only what the camera may see is built."""
    condition = CONDITIONS[condition] if isinstance(condition, str) else condition
    dome = make_sky(condition, rng)
    summer = bool(rng.random() < condition.summer)
    glow = _glow(town, condition, rng)
    light = f32(np.asarray(condition.ambient) * rng.normal(1.0, 0.05))
    props = place_props(town.plan, condition, rng) if condition.crowd else []
    movable, spheres = _build_props(town, props, pose)
    layers = [town.static]
    bounds: list[np.ndarray | None] = [None]
    if summer:
        layers.append(town.leaves)
        bounds.append(town.leaves.clusters)
    if movable.scene.num_faces:
        layers.append(movable)
        bounds.append(spheres)
    shift = np.cumsum([0] + [len(layer.mesh.table) for layer in layers])
    return Scenery(
        town, condition, dome, tuple(layers), tuple(bounds),
        patch=np.concatenate([layer.mesh.patch + s for layer, s in zip(layers, shift[:-1], strict=True)]),
        normals=np.concatenate([layer.mesh.normals for layer in layers]),
        sky=np.concatenate([layer.sky for layer in layers]),
        table=np.concatenate([layer.mesh.table.T for layer in layers], axis=1),
        glow=glow, ambient=light,
    )  # fmt: skip


def _build_props(town: Town, props: list[Prop], pose: Pose) -> tuple[Layer, np.ndarray]:
    """The props before the camera but not around it, and their spheres [K, 4]."""
    builder, centre = MeshBuilder(), pose.centre
    at = np.array([prop.at for prop in props]).reshape(-1, 3)
    radius = np.array([prop.radius for prop in props])
    hung = np.array([prop.facade is not None for prop in props], bool)
    distance = np.linalg.norm(at[:, :2] - centre[:2], axis=1)
    ahead = pose.apply(at)[:, 2]
    seen = (distance < REACH) & (distance > np.where(hung, 1.2, radius + 0.8))
    seen &= (ahead > -BEHIND) & (ahead > 0.25 * distance - radius - 5)
    for k in np.flatnonzero(seen):
        build_prop(builder, props[k], town.palette.stuff)
    lifted = at + np.where(hung, 0.0, 0.9)[:, None] * [0, 0, 1]
    return make_layer(builder.build()), np.column_stack([lifted, radius + 0.4])[seen]


def _glow(town: Town, condition: Condition, rng: np.random.Generator) -> np.ndarray:
    """Radiance behind every window and sign, drawn for the whole town."""
    count = len(town.plan.facades)
    glow = np.zeros((count + 1, 256, 3), np.float32)
    tints = f32(ROOM_LIGHTS)[rng.integers(len(ROOM_LIGHTS), size=(count, 200))]
    lit = rng.random((count, 200)) < condition.rooms
    glow[:-1, :200] = tints * (lit * rng.uniform(0.12, 0.6, (count, 200)))[..., None]
    shop = town.lights.facade >= 0
    where = town.lights.facade[shop], town.lights.light[shop]
    open_late = (rng.random(count) < condition.shops)[where[0]]
    tint = f32(SHOP_LIGHTS)[rng.integers(len(SHOP_LIGHTS), size=count)[where[0]]]
    glow[where] = tint * (open_late * rng.uniform(0.4, 0.75, len(open_late)))[:, None]
    signs = rng.random((count, 56)) < condition.shops
    glow[:-1, 200:] = (0.6 * signs)[..., None] * f32([1.0, 0.97, 0.92])
    glow[:, 0] = 0
    return glow


def instances_of(scenery: Scenery, face: np.ndarray) -> np.ndarray:
    """Instance int32 [N] of the faces hit; 0 for background and for what is no facade."""
    ids = scenery.table[INSTANCE].astype(np.int32)
    return np.where(face >= 0, ids.take(scenery.patch.take(np.maximum(face, 0))), 0)
