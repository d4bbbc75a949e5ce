"""From light to a photograph: exposure, blur, noise that depends on the signal, tone, colour."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lbr.stylization.scene import enlarge, luminance

NOMINAL_SIDE = 640
_STEPS, _BRIGHTEST = 16384, 4.0
_x = np.arange(_STEPS) * _BRIGHTEST / (_STEPS - 1)
# Highlights roll off: up to a half the curve is a line, from there it bends towards white. Then sRGB.
_x = np.where(_x < 0.5, _x, 1 - 0.5 * np.exp(1 - 2 * _x))
_ENCODE = np.round(255 * np.where(_x <= 0.0031308, 12.92 * _x, 1.055 * _x ** (1 / 2.4) - 0.055)).astype(np.uint8)


@dataclass(frozen=True)
class Development:
    """Blurs are in pixels of an image whose longer side is `NOMINAL_SIDE`.

    key: linear luminance 0..1 that the 70th percentile of the scene below the sky is brought to
    blur_px: sigma · shake_px: length of an even motion blur, both ways · shot, read: noise of light x has the variance
    shot * x + read^2 · colour: saturation kept in the light, `dark_colour` in the dark · cast: gains of R, G, B
    contrast: exponent of the tone curve about the key · vignette: light lost in the corners, 0..1"""

    key: float
    blur_px: float = 0.0
    shake_px: float = 0.0
    shot: float = 0.0
    read: float = 0.0
    colour: float = 1.0
    dark_colour: float = 1.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    vignette: float = 0.0


def scene_key(light: np.ndarray, sky: np.ndarray) -> float:
    """70th percentile of the luminance of linear RGB [H, W, 3] outside the sky [H, W]."""
    step = max(1, int(np.sqrt(sky.size / 20000)))
    values = luminance(np.ascontiguousarray(light[::step, ::step]))[sky[::step, ::step] < 0.5]
    return max(float(np.quantile(values, 0.7)), 1e-5) if values.size else 0.2


def develop(light: np.ndarray, exposure: float, how: Development, rng: np.random.Generator, grey: bool) -> np.ndarray:
    """RGB uint8 [H, W, 3] of linear light float32 [H, W, 3] times `exposure`. `grey`: without any colour."""
    light = light * (np.array(how.cast, np.float32) * np.float32(exposure))
    light = _blurred(light, how, rng)
    if how.vignette > 0:
        light *= _vignette(light.shape[:2], how.vignette)[..., None]
    level = luminance(light)
    keep = how.colour - (how.colour - how.dark_colour) * (0.03 / (0.03 + level))
    light -= level[..., None]
    light *= keep[..., None]
    light += level[..., None]
    if how.shot > 0 or how.read > 0:
        light += _noise(level, how, rng, grey)
    gain = np.float32((_STEPS - 1) / _BRIGHTEST)
    if how.contrast != 1.0:
        light *= gain * cv2.pow(np.maximum(level, 1e-4) / how.key, how.contrast - 1)[..., None]
    else:
        light *= gain
    if grey:
        light = np.repeat(luminance(light)[..., None], 3, axis=2)
    return np.take(_ENCODE, np.clip(light, 0, _STEPS - 1, out=light).astype(np.uint16))


def _blurred(light: np.ndarray, how: Development, rng: np.random.Generator) -> np.ndarray:
    scale = max(light.shape[:2]) / NOMINAL_SIDE
    shake, sigma, angle = scale * how.shake_px, scale * how.blur_px, rng.uniform(0, np.pi)
    if shake >= 2:
        half = int(np.ceil(shake / 2))
        kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
        dx, dy = shake / 2 * np.cos(angle), shake / 2 * np.sin(angle)
        ends = [(round((half + sign * dx) * 16), round((half + sign * dy) * 16)) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
        kernel += kernel[::-1, ::-1]  # even, so that nothing moves
        light = cv2.filter2D(light, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    return cv2.GaussianBlur(light, (0, 0), sigma) if sigma > 0.2 else light


def _noise(level: np.ndarray, how: Development, rng: np.random.Generator, grey: bool) -> np.ndarray:
    """Noise [H, W, 3]: mostly in the luminance, and in blots of two pixels in the colour."""
    height, width = level.shape
    sigma = np.sqrt(how.shot * np.maximum(level, 0) + how.read**2)
    noise: np.ndarray = rng.standard_normal((height, width), np.float32)[..., None]
    if not grey:
        small = rng.standard_normal(((height + 1) // 2, (width + 1) // 2, 3), np.float32)
        noise = np.float32(0.8) * noise + np.float32(0.8) * enlarge(small, (height, width))
    return noise * sigma[..., None]


def _vignette(shape: tuple[int, int], amount: float) -> np.ndarray:
    height, width = shape
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height * 2 - 1
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / width * 2 - 1
    return 1 - np.float32(amount) * (x * x + y * y) / 2
