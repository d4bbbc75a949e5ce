"""What a look works on: the photograph as light, parted into sky and the rest, with ground and distances."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lbr.errors import DataError
from lbr.io.images import to_grey
from lbr.stylization.sky import estimate_sky, guided_filter, soften_sky

SKY_M = 400.0  # distance given to the sky and to pixels without a depth
CAMERA_HEIGHT_M = 1.6  # assumed where distances are guessed
GUESSED_WALL_M = 18.0  # distance of the facades in a photograph without depth
FOCAL_SIDES = 0.85  # assumed focal length in longer sides of the image; it only places lamps
MIN_SIDE = 16
MAX_GROUND = 0.42  # of the height; what is even farther up is taken for a wall
MAX_GROUND_EDGE = 20  # grey levels between neighbours at a longer side of 256 pixels

_LINEAR = np.where(
    np.arange(256) <= 10, np.arange(256) / 255 / 12.92, ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4
).astype(np.float32)


@dataclass(frozen=True)
class Scene:
    """A photograph taken apart; light is linear, 1 = white of the photograph.

    light: float32 [H, W, 3], the scene without its sky (premultiplied: zero in the sky, mixed at its rim)
    above: float32 [H, W, 3], the light of the sky, premultiplied too: light + above is the photograph
    clouds: float32 [H, W], luminance of the old sky relative to its mean; 1 elsewhere
    sky: float32 [H, W], share of sky in the pixel · ground: float32 [H, W], share of walkable ground
    depth: float32 [H, W] metres along the optical axis, guessed where none was given · horizon: its row, px
    grey: a photograph without colour, whose copies have none either
    """

    light: np.ndarray
    above: np.ndarray
    clouds: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    depth: np.ndarray
    horizon: float
    grey: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.sky.shape[0], self.sky.shape[1]

    def points(self, side: int = 128) -> np.ndarray:
        """3D points float32 [h, w, 3] in the camera's frame (metres, y down) on a grid of that longer side."""
        small = shrink(self.depth, side)
        (height, width), focal = small.shape, FOCAL_SIDES * max(small.shape)
        x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / focal
        horizon = self.horizon * height / self.depth.shape[0]
        y = (np.arange(height, dtype=np.float32)[:, None] + 0.5 - np.float32(horizon)) / focal
        return np.stack([x * small, y * small, small], axis=2)


def take_apart(image: np.ndarray, sky: np.ndarray | None = None, depth: np.ndarray | None = None) -> Scene:
    """The scene in RGB uint8 [H, W, 3]. `sky` bool [H, W]; `depth` float32 [H, W] metres, 0, nan or inf = unknown.

    Raises DataError for an image that is too small or a mask of another size.
    """
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise DataError(f"an image of {width}x{height} pixels is too small to restyle ({MIN_SIDE} at least)")
    for what, array in (("sky mask", sky), ("depth", depth)):
        if array is not None and array.shape != (height, width):
            raise DataError(f"the {what} has shape {array.shape}, the image {(height, width)}; make them equal")
    share = soften_sky(image, estimate_sky(image) if sky is None else sky.astype(bool))
    photograph = cv2.LUT(np.ascontiguousarray(image), _LINEAR)
    light, clouds = _without_sky(photograph, share)
    if depth is None:
        ground = find_ground(image, share)
        depth, horizon = guess_depth(share, ground)
    else:
        depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(SKY_M)).astype(np.float32)
        ground, horizon = ground_of_depth(depth)
    flat = image.reshape(-1, 3)[:: max(1, height * width // 20000)].astype(np.int16)
    grey = bool(np.ptp(flat, axis=1).max(initial=0) <= 3)
    return Scene(light, photograph - light, clouds, share, ground, depth, horizon, grey)


def shrink(array: np.ndarray, side: int) -> np.ndarray:
    """The array [H, W(, C)] averaged down until its longer side is at most `side`."""
    height, width = array.shape[:2]
    scale = min(1.0, side / max(height, width))
    return cv2.resize(
        array, (max(2, round(width * scale)), max(2, round(height * scale))), interpolation=cv2.INTER_AREA
    )


def enlarge(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A small smooth array [h, w(, C)] at (height, width)."""
    return cv2.resize(array, shape[::-1], interpolation=cv2.INTER_LINEAR)


def luminance(light: np.ndarray) -> np.ndarray:
    """float32 [H, W] of linear RGB (BT.709)."""
    return cv2.transform(light, np.array([[0.2126, 0.7152, 0.0722]], np.float32))


def guess_depth(sky: np.ndarray, ground: np.ndarray) -> tuple[np.ndarray, float]:
    """Distances float32 [H, W] of level ground that ends at a wall `GUESSED_WALL_M` away, and the horizon's row."""
    height, width = sky.shape
    slope = CAMERA_HEIGHT_M * FOCAL_SIDES * max(height, width)  # metres times pixels below the horizon
    horizon = contact_row(ground) - slope / GUESSED_WALL_M
    below = np.arange(height, dtype=np.float32)[:, None] + 0.5 - np.float32(horizon)
    wall = GUESSED_WALL_M * (1 + np.maximum(-below / height, 0))
    depth = np.where(ground > 0.5, np.minimum(slope / np.maximum(below, 1), wall), wall)
    return np.where(sky > 0.5, np.float32(SKY_M), depth.astype(np.float32)), float(horizon)


def contact_row(ground: np.ndarray) -> float:
    """Row in which the ground meets what stands on it (median over the columns); low in the image without ground."""
    tops = np.argmax(ground > 0.5, axis=0)
    tops = tops[(ground > 0.5).any(axis=0)]
    return float(np.median(tops)) if len(tops) > 0.2 * ground.shape[1] else 0.95 * ground.shape[0]


def find_ground(image: np.ndarray, sky: np.ndarray) -> np.ndarray:
    """Share of ground float32 [H, W], from the image: from the bottom border up to the first edge of each column.

    Rather too little than too much: a column whose first edge is far up is cut where its neighbours end.
    """
    small = cv2.GaussianBlur(shrink(image, 256), (0, 0), 1.2)
    height, width = small.shape[:2]
    chroma = small.astype(np.float32) / np.maximum(small.sum(axis=2, dtype=np.float32), 30)[..., None]
    usual_chroma = np.median(chroma[-max(2, height // 16) :].reshape(-1, 3), axis=0)
    spread = np.abs(chroma - usual_chroma).sum(axis=2) > 0.1
    edge = cv2.morphologyEx(to_grey(small), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > MAX_GROUND_EDGE
    stop = edge | spread | (shrink(sky, 256) > 0.2)
    stop[-max(2, height // 60) :] = False  # what lies on the very border says little
    tall = np.where(stop.any(axis=0), np.argmax(stop[::-1], axis=0), height)
    usual = float(np.median(tall))
    if usual > MAX_GROUND * height:
        usual = 0.06 * height  # no edge between ground and wall: only the lowest rows are safe
    tall = np.minimum(tall, 1.35 * usual + 1).astype(np.float32)[None]
    calm = cv2.morphologyEx(tall, cv2.MORPH_OPEN, np.ones((1, max(3, width // 20)), np.uint8))  # no narrow spikes
    tall = np.minimum(cv2.blur(calm, (max(3, width // 40), 1)), tall)[0]
    rows = np.arange(height, 0, -1, dtype=np.float32)[:, None]
    share = np.clip(tall - rows + 0.5, 0, 1).astype(np.float32)
    soft = guided_filter(to_grey(image).astype(np.float32) / 255.0, enlarge(share, image.shape[:2]), 4, 1e-3)
    return np.clip(soft, 0.0, 1.0)


def ground_of_depth(depth: np.ndarray) -> tuple[np.ndarray, float]:
    """Share of ground float32 [H, W], and the horizon's row, from depth in metres.

    On a plane 1 / depth grows evenly with the row, from 0 at the horizon: a line through the lowest rows.
    """
    height = depth.shape[0]
    rows = np.arange(height, dtype=np.float32) + 0.5
    lowest = np.s_[-max(4, height // 10) :]
    slope, offset = np.polyfit(rows[lowest], np.median(1 / depth[lowest], axis=1), 1)
    horizon = -offset / slope if slope > 1e-7 else np.inf
    if not -0.5 * height < horizon < 0.9 * height:
        return np.zeros(depth.shape, np.float32), height / 2
    near = np.abs(depth * (slope * (rows - horizon))[:, None] - 1.0) < 0.06
    return cv2.GaussianBlur(near.astype(np.float32), (0, 0), 1.0), float(horizon)


def _without_sky(light: np.ndarray, sky: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The light of all but the sky, premultiplied by its share, and the clouds (see `Scene`)."""
    if not sky.any():
        return light, np.ones(sky.shape, np.float32)
    small, weight = shrink(light, 128), shrink(sky, 128)
    weight = np.where(weight > 0.9, weight, 0)
    reach = 0.04 * max(weight.shape)
    total = cv2.GaussianBlur(weight, (0, 0), reach)[..., None]
    mean = (small * weight[..., None]).sum(axis=(0, 1)) / max(float(weight.sum()), 1e-6)
    local = (cv2.GaussianBlur(small * weight[..., None], (0, 0), reach) + 1e-4 * mean) / (total + 1e-4)
    behind = enlarge(local.astype(np.float32), sky.shape)
    rest = np.minimum(light - sky[..., None] * behind, (1 - sky)[..., None] * light)
    clouds = luminance(light) / max(float(luminance(mean.astype(np.float32)[None, None])[0, 0]), 0.02)
    return np.maximum(rest, 0), np.where(sky > 0.5, np.clip(clouds, 0.3, 2.0), np.float32(1))
