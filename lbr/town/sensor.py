"""From radiance to a photograph: exposure, vignette, blur, noise, white balance, tone curve."""

from __future__ import annotations

import cv2
import numpy as np

from lbr.town.arrays import f32
from lbr.town.conditions import Condition
from lbr.town.config import TownSpec

_STEPS = 4095
_X = np.linspace(0, 1, _STEPS + 1) ** 2 * 6.0  # exposure values of the table, finer in the dark
_FILM = np.clip(
    _X * (2.51 * _X + 0.03) / (_X * (2.43 * _X + 0.59) + 0.14), 0, 1
)  # ACES curve as fitted by K. Narkowicz
_CURVE = np.round(np.where(_FILM <= 0.0031308, 12.92 * _FILM, 1.055 * _FILM ** (1 / 2.4) - 0.055) * 255).astype(
    np.uint8
)
READ_NOISE = 0.0035
SHOT_NOISE = 0.012


def expose(light: np.ndarray, condition: Condition, rng: np.random.Generator, config: TownSpec) -> np.ndarray:
    """Radiance float32 [H, W, 3] -> uint8 [H, W, 3]."""
    height, width = light.shape[:2]
    gain = _meter(light, condition) * np.exp(rng.normal(0, 0.12))
    gain *= config.night_exposure if condition.dark else 1.0
    balance = np.asarray(condition.balance) * np.exp(rng.normal(0, 0.025, 3))
    x = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
    y = (np.arange(height, dtype=np.float32) + 0.5) / height - 0.5
    falloff = 1 - rng.uniform(0.25, 0.6) * (x[None, :] ** 2 + (y[:, None] * height / width) ** 2)
    photons = light * (falloff[..., None] * f32(gain * balance))
    photons = _blurred(photons, condition, rng)
    noise = condition.noise * (config.night_noise if condition.dark else 1.0)
    deviation = np.sqrt(np.maximum(photons, 0) * f32(SHOT_NOISE**2) + f32(READ_NOISE**2)) * f32(noise * 2)
    photons += deviation * _grain((height, width), rng)
    index = np.sqrt(np.clip(photons, 0, 6) * f32(1 / 6)) * f32(_STEPS)
    return _CURVE.take(index.astype(np.int16))


def _meter(light: np.ndarray, condition: Condition) -> float:
    """Gain that brings the log mean of the picture's middle to the condition's target."""
    height, width = light.shape[:2]
    middle = light[height // 6 :: 5, width // 10 : -width // 10 : 5].mean(2)
    return float(min(condition.target / np.exp(np.log(middle + 2e-3).mean()), condition.max_gain))


def _grain(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Sensor noise [H, W, 3] of unit deviation, a little smeared as demosaicing leaves it."""
    noise = rng.standard_normal((*shape, 3), np.float32)
    return cv2.GaussianBlur(noise, (3, 3), 0.55) * f32(1.75)


def _blurred(photons: np.ndarray, condition: Condition, rng: np.random.Generator) -> np.ndarray:
    """Lens softness, and the shake of long exposures."""
    scale = photons.shape[1] / 640
    sigma = rng.uniform(*condition.blur) * scale
    out = cv2.GaussianBlur(photons, (0, 0), max(sigma, 0.3))
    if condition.dark:
        shake, angle = abs(rng.normal(0, 1.1)) * scale, rng.uniform(0, np.pi)
        size = 2 * int(np.ceil(shake)) + 1
        if size > 1:
            kernel = np.zeros((size, size), np.float32)
            for t in np.linspace(-shake, shake, 15):
                kernel[round(size // 2 + t * np.sin(angle)), round(size // 2 + t * np.cos(angle))] += 1 / 15
            out = cv2.filter2D(out, -1, kernel)
    return out
