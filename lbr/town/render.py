"""A photograph of the town with its truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import cam_from_img
from lbr.town.arrays import f32
from lbr.town.scene import Hits
from lbr.town.scenery import Scenery, instances_of
from lbr.town.sensor import expose
from lbr.town.shading import Rays, radiance
from lbr.town.weather import add_weather

TILE = 8  # pixels; movable things are looked for per tile
EXTRA = f32(((-0.36, -0.2), (0.34, 0.3)))  # pixels; with the centre a slanted row


@dataclass(frozen=True, eq=False)
class View:
    """image uint8 [H, W, 3] RGB · instance_ids int32 [H, W], 0 = background · depth float32 [H, W], metres along the
    optical axis, 0 = sky. Ids and depth belong to the pixels' centres."""

    image: np.ndarray
    instance_ids: np.ndarray
    depth: np.ndarray


@lru_cache(maxsize=8)
def pixel_rays(camera: Camera) -> np.ndarray:
    """Normalised undistorted coordinates float64 [H, W, 2] of the pixels' centres (x + 0.5, y + 0.5)."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    return cam_from_img(camera, np.stack([x, y], -1)).reshape(camera.height, camera.width, 2)


def render_view(scenery: Scenery, pose: Pose, camera: Camera, rng: np.random.Generator) -> View:
    """Photograph the scene from `pose` (cam_from_world). `rng` draws exposure, white balance, noise, drops."""
    grid = pixel_rays(camera)
    near = _near_layers(scenery, pose, grid)
    units, spread = _unit_rays(camera)
    rays = Rays(pose.centre.astype(np.float32), units @ pose.R.astype(np.float32), spread)
    hits = scenery.trace(rays.origin, rays.directions, _per_pixel(near, camera))
    light = radiance(scenery, rays, hits, width=camera.width).reshape(camera.height, camera.width, 3)
    ids = instances_of(scenery, hits.face).reshape(camera.height, camera.width)
    along = rays.directions @ pose.R[2].astype(np.float32)
    depth = np.where(hits.face >= 0, hits.distance * along, 0).astype(np.float32).reshape(ids.shape)
    _smooth_edges(scenery, pose, camera, (rays, hits, near), light)
    light = add_weather(light, depth, scenery.condition, rng)
    return View(expose(light, scenery.condition, rng, scenery.town.config), ids, depth)


@lru_cache(maxsize=8)
def _unit_rays(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions float32 [N, 3] in the camera's frame and the width of a pixel at distance 1."""
    return _units(pixel_rays(camera).reshape(-1, 2), camera)


def _units(grid: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    length = np.sqrt(1.0 + grid[:, 0] ** 2 + grid[:, 1] ** 2)
    units = np.stack([grid[:, 0] / length, grid[:, 1] / length, 1 / length], 1)
    return units.astype(np.float32), (1.0 / (camera.focal[0] * length)).astype(np.float32)


def _near_layers(scenery: Scenery, pose: Pose, grid: np.ndarray) -> np.ndarray:
    """bool [layers, rows, columns] per tile of TILE pixels: whether a layer may be seen in it."""
    half = TILE // 2
    coarse = grid[half::TILE, half::TILE]
    rows, cols = -(-grid.shape[0] // TILE), -(-grid.shape[1] // TILE)
    local = np.concatenate([coarse, np.ones((*coarse.shape[:2], 1))], -1)
    local /= np.linalg.norm(local, axis=-1, keepdims=True)
    margin = np.arctan(np.abs(np.diff(grid[:1, :, 0], axis=1)).max() * TILE)
    out = np.ones((len(scenery.layers), rows, cols), bool)
    for k, spheres in enumerate(scenery.spheres):
        if spheres is None:
            continue
        centres = pose.apply(spheres[:, :3])
        far = np.maximum(np.linalg.norm(centres, axis=1), 1e-6)
        opening = np.arcsin(np.minimum(spheres[:, 3] / far, 1.0)) + margin
        limit = np.where(far > spheres[:, 3], np.cos(np.minimum(opening, np.pi)), -1.0)
        seen = (local.reshape(-1, 3) @ (centres / far[:, None]).T >= limit).any(1).reshape(local.shape[:2])
        out[k] = np.pad(seen, ((0, rows - seen.shape[0]), (0, cols - seen.shape[1])), mode="edge")
    return out


def _per_pixel(near: np.ndarray, camera: Camera) -> np.ndarray:
    big = near.repeat(TILE, 1).repeat(TILE, 2)[:, : camera.height, : camera.width]
    return big.reshape(len(near), -1)


def _smooth_edges(
    scenery: Scenery, pose: Pose, camera: Camera, first: tuple[Rays, Hits, np.ndarray], light: np.ndarray
) -> None:
    """Replace pixels on outlines by the mean of three samples, their own among them (in place)."""
    rays, hits, near = first
    edge = _edges(scenery, rays, hits, light)
    if not len(edge):
        return
    centre, step_x, step_y = (a[edge] for a in _pixel_steps(camera))
    samples = np.concatenate([centre + dx * step_x + dy * step_y for dx, dy in EXTRA])
    units, spread = _units(samples, camera)
    more = Rays(rays.origin, units @ pose.R.astype(np.float32), spread)
    tiles = np.tile(_per_pixel(near, camera)[:, edge], (1, len(EXTRA)))
    extra = radiance(scenery, more, scenery.trace(more.origin, more.directions, tiles))
    flat = light.reshape(-1, 3)
    flat[edge] = (np.minimum(extra, 12.0).reshape(len(EXTRA), -1, 3).sum(0) + np.minimum(flat[edge], 12.0)) / (
        1 + len(EXTRA)
    )


@lru_cache(maxsize=8)
def _pixel_steps(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalised coordinates [N, 2] of the pixels' centres and their change to the next pixel right and below."""
    grid = pixel_rays(camera)
    return grid.reshape(-1, 2), np.gradient(grid, axis=1).reshape(-1, 2), np.gradient(grid, axis=0).reshape(-1, 2)


def _edges(scenery: Scenery, rays: Rays, hits: Hits, light: np.ndarray) -> np.ndarray:
    """Flat indices of pixels where neighbours lie on different surfaces and differ in brightness."""
    height, width = light.shape[:2]
    face = hits.face.reshape(height, width)
    patch = np.where(face >= 0, scenery.patch.take(np.maximum(face, 0)), -1)
    depth = np.where(face >= 0, hits.distance.reshape(height, width), 1e4)
    mean = cv2.transform(light, np.full((1, 3), 1 / 3, np.float32))
    contrast = 0.35 if scenery.condition.dark else 0.1
    grey = np.log2(mean + 0.1 * mean.mean())
    mark = np.zeros((height, width), bool)
    for axis in (0, 1):
        a, b = (np.s_[:-1], np.s_[1:]) if axis == 0 else (np.s_[:, :-1], np.s_[:, 1:])
        gap = np.abs(depth[a] - depth[b]) > 0.03 + 0.012 * np.minimum(depth[a], depth[b])
        differ = ((patch[a] != patch[b]) | gap) & (np.abs(grey[a] - grey[b]) > contrast)
        mark[a] |= differ
        mark[b] |= differ
    return np.flatnonzero(mark)
