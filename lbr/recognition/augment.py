"""Other views and other light of a training photograph, drawn at random: one warp, then colours.

Everything is decided by the generator that is given, so a sample depends on the seed, the epoch and its name alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from pydantic import Field

from lbr.recognition.weather import cast_shadow, grain, hazy, night
from lbr.settings import Settings


class AugmentSettings(Settings):
    """How far a training sample may be from its photograph.

    Mirroring is off: a mirrored facade is not that facade but one that stands nowhere, with its signs and doors on
    the wrong side; where near twins differ by just that, mirroring teaches to confuse them.
    """

    crop_area: tuple[float, float] = Field(
        default=(0.3, 1.0),
        description="share of the photograph that is cut out, every factor as likely; above 1 it is set into another",
    )
    crop_ratio: tuple[float, float] = Field(default=(0.75, 4 / 3), description="change of its width to height")
    rotation_deg: float = Field(default=8.0, ge=0, le=180)
    perspective: float = Field(default=0.08, ge=0, lt=0.5, description="corners move by up to this share of the sides")
    mirror: float = Field(default=0.0, ge=0, le=1, description="probability; published 0.5")
    brightness: float = Field(default=0.25, ge=0, lt=1)
    contrast: float = Field(default=0.25, ge=0, lt=1)
    saturation: float = Field(default=0.25, ge=0, lt=1)
    hue: float = Field(default=0.05, ge=0, le=0.5, description="of the colour circle; published 0.15")
    gamma: float = Field(default=0.0, ge=0, lt=1, description="exponent between 1 - this and its inverse")
    shadow: float = Field(default=0.0, ge=0, le=1, description="probability of a cast shadow, or sun beside one")
    blur: float = Field(default=0.2, ge=0, le=1, description="probability of a blur of up to 1.5 px")
    noise: float = Field(default=0.3, ge=0, le=1, description="probability of sensor noise")
    occlusion: float = Field(default=0.3, ge=0, le=1, description="probability of a grey box that hides some of it")
    night: float = Field(default=0.25, ge=0, le=1, description="probability of a night look made on the fly")
    haze: float = Field(default=0.1, ge=0, le=1, description="probability of rain, fog or snow in the air, on the fly")


Labelled = tuple[np.ndarray, np.ndarray]  # RGB uint8 [H, W, 3] and classes [H, W]


def augment(
    image: np.ndarray, mask: np.ndarray, size: tuple[int, int], settings: AugmentSettings, rng: np.random.Generator,
    around: Callable[[], Labelled] | None = None,
) -> Labelled:  # fmt: skip
    """A random view of (width, height) `size`: image uint8 [h, w, 3], mask int32 [h, w].

    image: RGB uint8 [H, W, 3], already in the aspect of `size`. mask: int32 [H, W]. around: gives another labelled
    photograph, asked for where the view reaches beyond this one; without it, outside is black, class 0.
    """
    corners = _corners(settings, rng)
    view, labels, inside = _warp(image, mask, size, corners)
    if around is not None and not inside.all():
        other, others_labels = _fitted(*around(), size)
        view, labels = np.where(inside[..., None], view, other), np.where(inside, labels, others_labels)
    view, labels = _occlude(view, labels, settings, rng)
    return shade(view, settings, rng), labels


def _warp(
    image: np.ndarray, mask: np.ndarray, size: tuple[int, int], corners: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crop, rotation, perspective and mirroring as one homography, so that pixels are interpolated once.

    Also says which pixels of the view are inside the photograph: bool [h, w]. A view that shrinks the photograph is
    taken from a halved one, as prediction averages over areas where it shrinks.
    """
    across = float(np.linalg.norm((corners[1] - corners[0]) * (image.shape[1], image.shape[0])))
    for _ in range(int(math.log2(max(1.0, across / size[0])))):
        image = cv2.resize(image, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    view = cv2.warpPerspective(image, _homography(corners, image, size), size, flags=cv2.INTER_LINEAR)
    labels = cv2.warpPerspective(
        mask.astype(np.float32), _homography(corners, mask, size), size,
        flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=-1,
    ).astype(np.int32)  # fmt: skip
    inside = np.asarray(labels >= 0)
    return view, np.where(inside, labels, 0), inside


def _homography(corners: np.ndarray, source: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """float [3, 3]: pixels of `source` [H, W, ...] to pixels of the view; cv2 counts both from the pixel's centre."""
    here = corners * np.array([source.shape[1], source.shape[0]]) - 0.5
    there = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]]) - 0.5
    return cv2.getPerspectiveTransform(here.astype(np.float32), there.astype(np.float32))


def _fitted(image: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> Labelled:
    """A whole labelled photograph at (width, height) `size`."""
    labels = cv2.resize(mask.astype(np.uint16), size, interpolation=cv2.INTER_NEAREST_EXACT)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), labels.astype(np.int32)


def _corners(settings: AugmentSettings, rng: np.random.Generator) -> np.ndarray:
    """float [4, 2]: corners of the view (from top left, clockwise) in the photograph, whose sides are 1."""
    ratio = np.exp(rng.uniform(*np.log(settings.crop_ratio)))
    area = np.exp(rng.uniform(*np.log(settings.crop_area)))
    half = np.minimum(np.sqrt([area * ratio, area / ratio]), max(1.0, np.sqrt(area))) / 2
    centre = rng.uniform(np.minimum(half, 1 - half), np.maximum(half, 1 - half))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    corners += rng.uniform(-1, 1, (4, 2)) * settings.perspective * 2 * half
    angle = np.radians(rng.uniform(-1, 1) * settings.rotation_deg)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if rng.random() < settings.mirror:
        corners = corners[[1, 0, 3, 2]]
    return corners @ rotation.T + centre


def _occlude(image: np.ndarray, mask: np.ndarray, settings: AugmentSettings, rng: np.random.Generator) -> Labelled:
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


def shade(image: np.ndarray, settings: AugmentSettings, rng: np.random.Generator) -> np.ndarray:
    """RGB uint8 [H, W, 3] in other light, weather and sharpness; nothing in it moves."""
    if settings.shadow and rng.random() < settings.shadow:
        image = cast_shadow(image, rng)
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
    """Hue, saturation (in HSV), then gamma, contrast and brightness as one table."""
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
    if settings.gamma:
        exponent = np.exp(rng.uniform(-1, 1) * -np.log(1 - settings.gamma))
        bent = 255 * (values / 255) ** exponent
        values = bent * middle / max(1.0, float(bent[image].mean()))  # as bright as before: that is `brightness`
    return cv2.LUT(image, np.clip(((values - middle) * gain + middle) * level, 0, 255).astype(np.uint8))
