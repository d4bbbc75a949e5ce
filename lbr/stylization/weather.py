"""What the weather puts before the lens: veil, wet ground, streaks, drops on the lens, flakes, lying snow."""

from __future__ import annotations

import cv2
import numpy as np

from lbr.stylization.scene import Scene, enlarge, luminance, shrink

VEIL_FAR_M = 150.0  # the sky counts as this far


def veil(light: np.ndarray, scene: Scene, per_m: float, colour: np.ndarray) -> np.ndarray:
    """`light` [H, W, 3] seen through air that takes `per_m` of it each metre and scatters linear RGB `colour` [3]."""
    clear = np.exp(-np.float32(per_m) * np.minimum(scene.depth, VEIL_FAR_M))
    clear = cv2.GaussianBlur(clear, (0, 0), 0.003 * max(scene.shape) + 0.3)[..., None]
    return light * clear + (1 - clear) * colour.astype(np.float32)


def wet_ground(light: np.ndarray, scene: Scene, rng: np.random.Generator, amount: float) -> np.ndarray:
    """`light` [H, W, 3] with a darker ground that mirrors what stands on it, smeared along the columns."""
    if float(scene.ground.mean()) < 0.004 or amount <= 0:
        return light
    height, width = scene.shape
    ground = scene.ground > 0.5
    top = np.where(ground.any(axis=0), np.argmax(ground, axis=0), height).astype(np.float32)
    top = cv2.blur(cv2.medianBlur(top[None], 5), (max(3, width // 40), 1))[0]
    rows = np.arange(height, dtype=np.float32)[:, None]
    ripple = smooth_noise(rng, (height, width), 0.012) * 0.008 * height
    source = np.clip(2 * top - rows - 1, 0, height - 1)
    columns = np.broadcast_to(np.arange(width, dtype=np.float32), (height, width)) + ripple
    smeared = cv2.blur(light, (max(1, width // 200), max(3, height // 14)))
    mirrored = cv2.remap(smeared, columns, source.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    far = 1 - np.clip((rows - top) / np.maximum(height - top, 1), 0, 1)
    puddles = np.clip(0.6 + 0.5 * smooth_noise(rng, (height, width), 0.05), 0.1, 1)
    share = (amount * scene.ground * puddles * (0.3 + 0.5 * far * far))[..., None]
    dark = 1 - 0.45 * amount * scene.ground[..., None]
    return light * dark * (1 - share) + mirrored * share


def streaks(shape: tuple[int, int], rng: np.random.Generator, density: float) -> np.ndarray:
    """Share float32 [H, W] of light that falling drops take over: thin lines, all of nearly one slant."""
    size = (max(8, shape[0] * 2 // 3), max(8, shape[1] * 2 // 3))
    total = np.zeros(size, np.float32)
    slant = rng.uniform(-0.25, 0.25)
    for length, strength in ((0.03, 0.5), (0.07, 0.9)):
        drops = (rng.random(size, np.float32) < density * 0.01 * (0.03 / length)).astype(np.float32)
        half = max(2, round(length * size[0] / 2))
        kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
        lean = round(slant * half)
        cv2.line(kernel, (half - lean, 0), (half + lean, 2 * half), 1.0, 1, cv2.LINE_AA)
        total += strength * cv2.filter2D(drops, -1, kernel * (6.0 / kernel.sum()))
    return np.clip(enlarge(total, shape), 0, 1)


def lens_drops(light: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    """`light` [H, W, 3] with drops on the lens: each shows its wide surroundings, small, blurred, upside down."""
    height, width = light.shape[:2]
    small = cv2.GaussianBlur(shrink(light, 160), (0, 0), 1.0)
    scale = small.shape[1] / width
    broad = small.reshape(-1, 3).mean(axis=0)
    result = light.copy()
    for _ in range(count):
        radius = max(3, round(height * 0.006 * np.exp(rng.uniform(0, 1.7))))
        x, y = int(rng.integers(radius, max(radius + 1, width - radius))), int(rng.integers(0, height))
        top, bottom = max(0, y - radius), min(height, y + radius)
        left, right = max(0, x - radius), min(width, x + radius)
        mask = _drop(radius, rng)[top - y + radius : bottom - y + radius, left - x + radius : right - x + radius]
        around = small[
            max(0, int((y - 5 * radius) * scale)) : int((y + 5 * radius) * scale) + 2,
            max(0, int((x - 5 * radius) * scale)) : int((x + 5 * radius) * scale) + 2,
        ]
        seen = cv2.resize(np.ascontiguousarray(around[::-1, ::-1]), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
        part = result[top:bottom, left:right]
        # Upside down, so the sky's light is in its lower half; its rim shows what is dark.
        shade = (0.45 + 1.1 * np.linspace(0, 1, mask.shape[0], dtype=np.float32)[:, None] ** 1.5) * (0.4 + 0.6 * mask)
        part += mask[..., None] * ((0.6 * seen + 0.4 * broad) * shade[..., None] - part)
    return result


def flakes(shape: tuple[int, int], rng: np.random.Generator, density: float) -> np.ndarray:
    """Share float32 [H, W] of light that flakes take over: many small far ones, few large blurred near ones."""
    total = np.zeros(shape, np.float32)
    for sigma, number, strength in ((0.0011, 900, 0.8), (0.0022, 260, 0.85), (0.006, 25, 0.5)):
        radius = max(0.6, sigma * max(shape))
        places = np.zeros(shape, np.float32)
        count = rng.poisson(density * number)
        places[rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)] = rng.uniform(0.5, 1.0, count)
        spread = cv2.GaussianBlur(places, (0, 0), 0.9 * radius, sigmaY=1.15 * radius)
        total = np.maximum(total, np.clip(spread * (strength * 2 * np.pi * radius * radius), 0, strength))
    return total


def lying_snow(scene: Scene, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Share float32 [H, W] of surface under snow: ground, what lies open to the sky's rim, ledges, leaves."""
    value = np.sqrt(luminance(scene.light))
    side = max(scene.shape)
    bright = cv2.morphologyEx(value, cv2.MORPH_TOPHAT, np.ones((max(3, side // 90), 1), np.uint8))
    ledges = cv2.blur(cv2.erode(bright, np.ones((1, max(3, side // 60)), np.uint8)), (max(3, side // 60), 1))
    ledges = np.clip(ledges * 14 - 0.2, 0, 1) * (1 - scene.sky)
    drop = max(2, side // 160)
    rim = np.zeros_like(value)
    rim[drop:] = np.maximum(0, scene.sky[:-drop] - scene.sky[drop:])
    rim *= 1 - scene.sky
    patches = np.clip(1.0 + 0.2 * smooth_noise(rng, scene.shape, 0.04), 0.4, 1)
    open_ground = np.clip(1.6 * scene.ground - 0.3, 0, 1) * patches
    cover = np.maximum(np.maximum(open_ground, 0.85 * rim), np.maximum(0.8 * ledges, _leaves(scene, value)))
    return np.clip(amount * cover, 0, 0.95)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> np.ndarray:
    """Noise float32 [H, W] of mean 0 and deviation about 1, smooth over `scale` of the longer side."""
    step = max(1.0, scale * max(shape))
    size = (max(4, round(shape[0] / step)), max(4, round(shape[1] / step)))
    coarse = rng.standard_normal(size, np.float32)
    fine = rng.standard_normal((2 * size[0], 2 * size[1]), np.float32)
    large = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return large + 0.5 * cv2.resize(fine, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _leaves(scene: Scene, value: np.ndarray) -> np.ndarray:
    """Share [H, W] of green plants, more on their bright sides."""
    red, green, blue = cv2.split(scene.light)
    green_share = np.clip((green / (np.maximum(red, blue) + 0.01) - 1.02) * 5, 0, 1)
    local = cv2.blur(value, (max(3, max(value.shape) // 80),) * 2)
    rough = cv2.blur(np.abs(value - local), (max(5, max(value.shape) // 40),) * 2) / (local + 0.02)
    green_share *= np.clip((rough - 0.12) * 10, 0, 1)  # foliage, not a green wall
    return green_share * np.clip(0.45 + 2.5 * (value - local), 0.1, 0.85) * (1 - scene.sky)


def _drop(radius: int, rng: np.random.Generator) -> np.ndarray:
    """Soft mask [2r, 2r] of a drop that is not quite round."""
    y, x = np.mgrid[-radius:radius, -radius:radius].astype(np.float32) + 0.5
    angle = np.arctan2(y, x)
    bulge = 1 + 0.12 * np.sin(2 * angle + rng.uniform(0, 6)) + 0.06 * np.sin(3 * angle + rng.uniform(0, 6))
    return np.clip((0.85 - np.hypot(x, y) / radius * bulge) * 0.35 * radius + 0.3, 0, 0.92)
