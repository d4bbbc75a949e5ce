"""Night and weather made on the fly, from the photograph alone, for training without stylised copies.

Cheap (about a millisecond) and random rather than right: the network shall not rely on how light falls.
"""

from __future__ import annotations

import cv2
import numpy as np

GAMMA = 2.2
_LINEAR = (np.arange(256, dtype=np.float32) / 255) ** np.float32(GAMMA)
_ENCODED = np.round(255 * np.linspace(0, 1, 4096) ** (1 / GAMMA)).astype(np.uint8)


def night(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """RGB uint8 [H, W, 3] under few lamps: uneven light, a colour cast, noise, and a camera that exposes for it."""
    light = _LINEAR[image] * _uneven(image.shape[:2], rng)[..., None] * _cast(rng)
    light *= np.float32(rng.uniform(0.15, 0.8) / (float(np.percentile(light[::4, ::4], 97)) + 1e-6))
    shot, read = np.float32(rng.uniform(0, 0.02)), np.float32(rng.uniform(0, 0.02) ** 2)
    light += grain(light.shape, rng) * np.sqrt(light * shot + read)
    return _ENCODED[(np.clip(light, 0, 1) * (len(_ENCODED) - 1)).astype(np.int32)]


def hazy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """RGB uint8 [H, W, 3] through rain, fog or snow: a grey veil, thicker further up, and streaks in the air."""
    height, width = image.shape[:2]
    thickness = np.linspace(rng.uniform(0.1, 0.6), rng.uniform(0, 0.3), height, dtype=np.float32)[:, None, None]
    veil = rng.uniform(120, 235) + rng.uniform(-12, 12, 3).astype(np.float32)
    through = image * (1 - thickness) + veil * thickness
    drops = (rng.random((height, width)) < rng.uniform(0, 0.01)).astype(np.float32)
    length = int(rng.integers(1, 12))
    streaks = cv2.filter2D(drops, -1, np.ones((length, 1), np.float32))[..., None]
    return np.clip(through + rng.uniform(10, 90) * streaks, 0, 255).astype(np.uint8)


def cast_shadow(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """RGB uint8 [H, W, 3] with the shadow of something beyond the picture: darker and bluer, with a soft edge.

    The shadow is the part of the picture on one side of a roof line, a line through it with one or two steps. Before,
    the rest may be lit by a warmer sun, so that a photograph taken under clouds has both.
    """
    height, width = image.shape[:2]
    direction, middle = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8, 2) * (width, height)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    along = (x - middle[0]) * np.float32(np.cos(direction)) + (y - middle[1]) * np.float32(np.sin(direction))
    across = (x - middle[0]) * np.float32(-np.sin(direction)) + (y - middle[1]) * np.float32(np.cos(direction))
    for _ in range(int(rng.integers(0, 3))):
        step = rng.uniform(-0.25, 0.25) * height
        along += np.where(across > rng.uniform(-0.4, 0.4) * width, np.float32(step), np.float32(0))
    softness = rng.uniform(0.004, 0.04) * width
    shade = np.clip(along / np.float32(softness) + np.float32(0.5), 0, 1)[..., None]
    depth = rng.uniform(0.2, 0.6)  # light that is left: the sky's, which is bluer than the sun's
    dark = (depth * np.array([0.92, 1.0, 1.12])).astype(np.float32)
    lit = (rng.uniform(1.0, 1.5) * np.array([1.04, 1.0, 0.94])).astype(np.float32)
    light = _LINEAR[image] * (lit + shade * (dark - lit))
    return _ENCODED[(np.clip(light, 0, 1) * (len(_ENCODED) - 1)).astype(np.int32)]


def grain(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """float32 of `shape` [H, W, 3]: unit Gaussian noise, repeated in tiles, as drawing it takes most of the time."""
    tile = rng.standard_normal((min(64, shape[0]), shape[1], 3), np.float32)
    return np.tile(tile, (-(-shape[0] // len(tile)), 1, 1))[: shape[0]]


def _uneven(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """float32 [H, W]: a smooth random field of light, factors of ten between its lamps and its corners."""
    cells = rng.integers(3, 8, 2)
    field = rng.normal(0, rng.uniform(0.3, 1.3), cells).astype(np.float32)
    return np.exp(cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC))


def _cast(rng: np.random.Generator) -> np.ndarray:
    """float32 [3]: between sodium lamps (orange) and moonlight (blue)."""
    warm, cool = np.array([1.0, 0.66, 0.36]), np.array([0.55, 0.7, 1.0])
    mix = rng.random()
    return (mix * warm + (1 - mix) * cool).astype(np.float32)
