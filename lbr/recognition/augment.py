"""Other views and other light of a training photograph, drawn at random: one warp, then colours.

Everything is decided by the generator that is given, so a sample depends on the seed, the epoch and its name alone.
"""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import Field

from lbr.recognition.weather import grain, hazy, night
from lbr.settings import Settings


class AugmentSettings(Settings):
    """How far a training sample may be from its photograph.

    Mirroring is off: a mirrored facade is not that facade but one that stands nowhere, with its signs and doors on
    the wrong side; where near twins differ by just that, mirroring teaches to confuse them.
    """

    crop_area: tuple[float, float] = Field(default=(0.3, 1.0), description="share of the photograph that is cut out")
    crop_ratio: tuple[float, float] = Field(default=(0.75, 4 / 3), description="change of its width to height")
    rotation_deg: float = Field(default=8.0, ge=0, le=180)
    perspective: float = Field(default=0.08, ge=0, lt=0.5, description="corners move by up to this share of the sides")
    mirror: float = Field(default=0.0, ge=0, le=1, description="probability; published 0.5")
    brightness: float = Field(default=0.25, ge=0, lt=1)
    contrast: float = Field(default=0.25, ge=0, lt=1)
    saturation: float = Field(default=0.25, ge=0, lt=1)
    hue: float = Field(default=0.05, ge=0, le=0.5, description="of the colour circle; published 0.15")
    blur: float = Field(default=0.2, ge=0, le=1, description="probability of a blur of up to 1.5 px")
    noise: float = Field(default=0.3, ge=0, le=1, description="probability of sensor noise")
    occlusion: float = Field(default=0.3, ge=0, le=1, description="probability of a grey box that hides some of it")
    night: float = Field(default=0.25, ge=0, le=1, description="probability of a night look made on the fly")
    haze: float = Field(default=0.1, ge=0, le=1, description="probability of rain, fog or snow in the air, on the fly")


def augment(
    image: np.ndarray, mask: np.ndarray, size: tuple[int, int], settings: AugmentSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random view of (width, height) `size`: image uint8 [h, w, 3], mask int32 [h, w]; outside is black, class 0.

    image: RGB uint8 [H, W, 3], already in the aspect of `size`. mask: int32 [H, W].
    """
    view, labels = _warp(image, mask, size, settings, rng)
    view, labels = _occlude(view, labels, settings, rng)
    return _shade(view, settings, rng), labels


def _warp(
    image: np.ndarray, mask: np.ndarray, size: tuple[int, int], settings: AugmentSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Crop, rotation, perspective and mirroring as one homography, so that pixels are interpolated once."""
    corners = _corners(settings, rng) * np.array([image.shape[1], image.shape[0]]) - 0.5
    target = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]]) - 0.5  # cv2: from the pixel's centre
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), target.astype(np.float32))
    view = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR)
    labels = cv2.warpPerspective(mask.astype(np.float32), matrix, size, flags=cv2.INTER_NEAREST)
    return view, labels.astype(np.int32)


def _corners(settings: AugmentSettings, rng: np.random.Generator) -> np.ndarray:
    """float [4, 2]: corners of the view (from top left, clockwise) in the photograph, whose sides are 1."""
    ratio = np.exp(rng.uniform(*np.log(settings.crop_ratio)))
    area = rng.uniform(*settings.crop_area)
    half = np.minimum(np.sqrt([area * ratio, area / ratio]), 1.0) / 2
    centre = rng.uniform(half, 1 - half)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    corners += rng.uniform(-1, 1, (4, 2)) * settings.perspective * 2 * half
    angle = np.radians(rng.uniform(-1, 1) * settings.rotation_deg)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if rng.random() < settings.mirror:
        corners = corners[[1, 0, 3, 2]]
    return corners @ rotation.T + centre


def _occlude(
    image: np.ndarray, mask: np.ndarray, settings: AugmentSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A box of noisy grey, of class 0, standing on the lower half, as cars and people do."""
    if rng.random() >= settings.occlusion:
        return image, mask
    height, width = mask.shape
    w, h = (rng.uniform(0.08, 0.35, 2) * (width, height)).astype(int)
    x, y = rng.integers(0, width - w + 1), rng.integers((height - h) // 2, height - h + 1)
    image, mask = image.copy(), mask.copy()
    patches = rng.normal(0, rng.uniform(2, 40), (-(-h // 8), -(-w // 8), 3)) + rng.uniform(20, 220, 3)
    image[y : y + h, x : x + w] = cv2.resize(np.clip(patches, 0, 255).astype(np.uint8), (int(w), int(h)))
    mask[y : y + h, x : x + w] = 0
    return image, mask


def _shade(image: np.ndarray, settings: AugmentSettings, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < settings.night:
        image = night(image, rng)
    elif rng.random() < settings.haze:
        image = hazy(image, rng)
    image = _jitter(image, settings, rng)
    if rng.random() < settings.blur:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.5))
    if rng.random() < settings.noise:
        image = np.clip(image + rng.uniform(1, 12) * grain(image.shape, rng), 0, 255).astype(np.uint8)
    return image


def _jitter(image: np.ndarray, settings: AugmentSettings, rng: np.random.Generator) -> np.ndarray:
    """Hue, saturation (in HSV), then contrast and brightness as one table."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    shift = round(180 * rng.uniform(-1, 1) * settings.hue)  # cv2's hues are 0..179
    values = np.arange(256)
    hues = ((values + shift) % 180).astype(np.uint8)
    saturations = np.clip(values * (1 + rng.uniform(-1, 1) * settings.saturation), 0, 255).astype(np.uint8)
    table = np.stack([hues, saturations, values.astype(np.uint8)], 1)[None]
    image = cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB)
    gain = 1 + rng.uniform(-1, 1) * settings.contrast
    level = 1 + rng.uniform(-1, 1) * settings.brightness
    middle = float(image.mean())
    return cv2.LUT(image, np.clip(((values - middle) * gain + middle) * level, 0, 255).astype(np.uint8))
