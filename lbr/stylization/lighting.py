"""Light that replaces the day's: even illumination, lamps that stand in the street, night and evening skies, glare."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lbr.stylization.scene import CAMERA_HEIGHT_M, FOCAL_SIDES, Scene, enlarge, luminance, shrink
from lbr.stylization.sky import guided_filter

# Linear RGB of luminance about one: sodium, warm LED, neutral LED, cold LED, mercury (greenish).
LAMP_COLOURS = np.array(
    [[1.75, 0.86, 0.18], [1.45, 0.94, 0.48], [1.15, 0.98, 0.78], [0.92, 1.02, 1.1], [0.8, 1.08, 0.85]], np.float32
)
LAMP_ODDS = np.array([0.25, 0.35, 0.2, 0.12, 0.08])


@dataclass(frozen=True)
class Lamp:
    """position: float [3] metres in the camera's frame · colour: linear RGB [3], its strength included
    reach: metres at which its light has fallen to a third · bulb: radius in metres of the bright body; 0 = not seen"""

    position: np.ndarray
    colour: np.ndarray
    reach: float
    bulb: float


def flattened(scene: Scene, amount: float) -> np.ndarray:
    """Scene.light float32 [H, W, 3] with sun and shadow evened out; `amount` 0..1 of their logarithm is removed.

    The illumination is what an edge-keeping filter leaves of the luminance, the sky left out.
    """
    small = shrink(scene.light, 160)
    inside = np.maximum(1 - shrink(scene.sky, 160), 0)
    level = np.log(luminance(small) / np.maximum(inside, 0.05) + 0.004)
    mean = float((level * inside).sum() / max(float(inside.sum()), 1e-6))
    level = np.where(inside > 0.3, level, mean).astype(np.float32)
    base = guided_filter(level, level, max(4, max(level.shape) // 8), 0.15)
    gain = np.exp(np.clip(amount * (mean - base), -1.6, 1.6))
    return scene.light * enlarge(gain.astype(np.float32), scene.shape)[..., None]


def place_lamps(scene: Scene, rng: np.random.Generator, count: int) -> list[Lamp]:
    """Street lamps before points of the scene that are drawn at random: 3..8 m up, now and then low (floodlights)."""
    points = scene.points()
    usable = np.argwhere(shrink(scene.sky, 128) < 0.2)
    colours = LAMP_COLOURS[rng.choice(len(LAMP_COLOURS), 2, p=LAMP_ODDS)]
    lamps = []
    for _ in range(count):
        row, column = usable[rng.integers(len(usable))] if len(usable) else (0, 0)
        x, _, z = points[row, column]
        height = 0.4 if rng.random() < 0.15 else rng.uniform(3.0, 7.5)
        before = min(rng.uniform(1.2, 4.5), 0.6 * float(z))
        position = np.array([x, CAMERA_HEIGHT_M - height, z - before], np.float32)
        strength = np.exp(rng.normal(0, 0.6)) * (0.6 if height < 1 else 1.0)
        tint = colours[rng.integers(2)] * rng.uniform(0.92, 1.08, 3)
        bulb = rng.uniform(0.08, 0.2) if height > 1 and rng.random() < 0.55 else 0.0
        lamps.append(Lamp(position, (strength * tint).astype(np.float32), rng.uniform(1.3, 4.5), bulb))
    return lamps


def lamp_light(scene: Scene, lamps: list[Lamp]) -> np.ndarray:
    """Irradiance float32 [H, W, 3] of the lamps, by distance in space."""
    points = scene.points()
    total = np.zeros_like(points)
    for lamp in lamps:
        away = points - lamp.position
        squared = np.einsum("ijk,ijk->ij", away, away)
        total += ((1.0 + squared / lamp.reach**2) ** -1.5)[..., None] * lamp.colour
    return enlarge(total.astype(np.float32), scene.shape)


def draw_bulbs(light: np.ndarray, scene: Scene, lamps: list[Lamp], brightness: float) -> None:
    """Add the bright bodies of the lamps that are seen to `light` [H, W, 3], in place."""
    height, width = scene.shape
    focal = FOCAL_SIDES * max(height, width)
    for lamp in lamps:
        x, y, z = (float(value) for value in lamp.position)
        if lamp.bulb == 0 or z < 1.0:
            continue
        centre = (int(x / z * focal + width / 2), int(y / z * focal + scene.horizon))
        radius = max(1, round(lamp.bulb / z * focal))
        if 0 <= centre[0] < width and 0 <= centre[1] < height and scene.sky[centre[1], centre[0]] < 0.5:
            core = np.clip(lamp.colour * 0.5 + 0.5, 0, None) * brightness
            cv2.circle(light, centre, radius, tuple(float(c) for c in core), cv2.FILLED, cv2.LINE_AA)


def sky_light(scene: Scene, top: np.ndarray, bottom: np.ndarray, cloudiness: float) -> np.ndarray:
    """A new sky float32 [H, W, 3], premultiplied by its share: linear RGB from `top` to `bottom` at its lowest rows.

    The old sky's clouds stay as a pattern of strength `cloudiness`.
    """
    if not scene.sky.any():
        return np.zeros_like(scene.light)
    rows = np.flatnonzero((scene.sky > 0.5).any(axis=1))
    lowest = max(8, int(rows[-1]) if len(rows) else 8)
    ramp = np.clip(np.arange(scene.shape[0], dtype=np.float32) / lowest, 0, 1)[:, None] ** 1.6
    colour = top * (1 - ramp) + bottom * ramp
    pattern = enlarge(cv2.GaussianBlur(shrink(scene.clouds, 160), (0, 0), 1.0), scene.shape)
    shade = np.clip(1 + cloudiness * (pattern - 1), 0.2, 2.0) * scene.sky
    return shade[..., None] * colour[:, None, :].astype(np.float32)


def add_glare(light: np.ndarray, amount: float, threshold: float) -> np.ndarray:
    """`light` [H, W, 3] and what the lens scatters of all that is brighter than `threshold`: near, wide, veiling."""
    small = shrink(light, 256)
    bright = np.minimum(np.maximum(small - threshold, 0), 40 * threshold)
    near, wide = shrink(bright, 128), shrink(bright, 48)
    halo = 0.5 * cv2.GaussianBlur(bright, (0, 0), 1.5)
    halo += enlarge(0.3 * cv2.GaussianBlur(near, (0, 0), 3.0), halo.shape[:2])
    halo += enlarge(0.2 * cv2.GaussianBlur(wide, (0, 0), 4.5), halo.shape[:2])
    return light + enlarge(np.float32(amount) * halo, light.shape[:2])
