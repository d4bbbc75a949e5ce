"""What is between the town and the sensor: rain, snowflakes, drops on the lens, the bloom of lamps."""

from __future__ import annotations

import cv2
import numpy as np

from lbr.town.arrays import f32
from lbr.town.conditions import Condition


def add_weather(light: np.ndarray, depth: np.ndarray, condition: Condition, rng: np.random.Generator) -> np.ndarray:
    """Radiance [H, W, 3] with precipitation, bloom and drops."""
    if condition.streaks:
        light = light + _streaks(light.shape, condition, rng) * f32(_ambient(light))
    if condition.flakes:
        light = _flakes(light, condition, rng)
    if condition.dark or condition.wet:
        light = _bloom(light, 0.05 + 0.05 * condition.wet)
    return _drops(light, condition, rng) if condition.drops else light


def _ambient(light: np.ndarray) -> float:
    return float(np.mean(np.minimum(light, 1.0)))


def _streaks(shape: tuple[int, ...], condition: Condition, rng: np.random.Generator) -> np.ndarray:
    """Faint slanted lines."""
    height, width = shape[:2]
    sheet = np.zeros((height, width), np.float32)
    lean = rng.normal(0, 0.12)
    for _ in range(int(condition.streaks * 0.0011 * height * width)):
        x, y = rng.uniform(0, width), rng.uniform(-20, height)
        length = rng.uniform(0.012, 0.05) * height
        end = (round(x + lean * length), round(y + length))
        cv2.line(sheet, (round(x), round(y)), end, float(rng.uniform(0.05, 0.3)), 1, cv2.LINE_8)
    return cv2.GaussianBlur(sheet, (0, 0), 0.7)[..., None]


def _flakes(light: np.ndarray, condition: Condition, rng: np.random.Generator) -> np.ndarray:
    height, width = light.shape[:2]
    cover = np.zeros((height, width), np.float32)
    for _ in range(int(condition.flakes * 0.0014 * height * width)):
        at = (int(rng.integers(width)), int(rng.integers(height)))
        radius = int(np.clip(rng.exponential(0.0022) * height, 0, 0.009 * height))
        cv2.circle(cover, at, radius, float(rng.uniform(0.35, 0.9)), -1, cv2.LINE_8)
    soft = f32(cv2.GaussianBlur(cover, (0, 0), 0.8))[..., None]
    return light + soft * (f32((0.82, 0.84, 0.88)) - light)


def _bloom(light: np.ndarray, share: float) -> np.ndarray:
    """Part of the light above white spreads over its surroundings."""
    size = (light.shape[1] // 4, light.shape[0] // 4)
    small = cv2.resize(np.minimum(light, 12.0), size, interpolation=cv2.INTER_AREA)
    bright = np.maximum(f32(small) - f32(0.5), 0)
    sigma = size[0] / 60
    glow = cv2.GaussianBlur(bright, (0, 0), sigma) + f32(0.7) * cv2.GaussianBlur(bright, (0, 0), 4 * sigma)
    return light + share * cv2.resize(glow, light.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _drops(light: np.ndarray, condition: Condition, rng: np.random.Generator) -> np.ndarray:
    """Water drops on the lens: each shows a blurred, upside-down bit of the scene."""
    height, width = light.shape[:2]
    soft = cv2.GaussianBlur(light, (0, 0), width / 90)
    mask = np.zeros((height, width), np.float32)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    map_x, map_y = x.copy(), y.copy()
    for _ in range(rng.poisson(13 * condition.drops)):
        cx, cy, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.006, 0.022) * width
        area = np.s_[max(0, int(cy - radius)) : int(cy + radius) + 1, max(0, int(cx - radius)) : int(cx + radius) + 1]
        inside = (x[area] - cx) ** 2 + ((y[area] - cy) * 0.85) ** 2
        map_x[area] = np.where(inside < radius**2, cx - 3.0 * (x[area] - cx), map_x[area])
        map_y[area] = np.where(inside < radius**2, cy - 3.0 * (y[area] - cy), map_y[area])
        mask[area] = np.maximum(mask[area], np.clip(1.4 * (1 - inside / radius**2), 0, 1))
    bent = cv2.remap(soft, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    mask = (0.75 * mask)[..., None]
    return light * (1 - mask) + bent * mask
