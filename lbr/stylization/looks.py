"""The looks: each takes a scene apart from its day and gives it another light and weather.

A look is a function (scene, generator, strength) -> RGB uint8 [H, W, 3]. Every draw comes from the generator, so a
copy is a function of (photograph, look, seed). Strength 0 leaves about the day, 1 is the look, above 1 exaggerates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from lbr.stylization import weather
from lbr.stylization.lighting import (
    add_glare,
    draw_bulbs,
    flattened,
    lamp_light,
    place_lamps,
    sky_light,
)
from lbr.stylization.openings import sign_light, window_light
from lbr.stylization.scene import Scene, enlarge, luminance, shrink
from lbr.stylization.sensor import Development, develop, scene_key

Look = Callable[[Scene, np.random.Generator, float], np.ndarray]

# Linear RGB of night skies: black, blue-black, brown and orange glow of a town under clouds.
NIGHT_SKIES = np.array([[0.3, 0.33, 0.42], [0.25, 0.42, 1.0], [1.2, 0.85, 0.55], [1.6, 0.7, 0.25]], np.float32)


def night(scene: Scene, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Dark sky, lamps, lit windows and shops, colour casts, noise, glare."""
    return _finish_night(scene, _night_light(scene, rng, strength), rng, strength)


def night_rain(scene: Scene, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Night, with lights mirrored in the wet ground, a veil, streaks and drops on the lens."""
    light = _night_light(scene, rng, strength)
    key = scene_key(light, scene.sky)
    light = weather.wet_ground(light, scene, rng, strength * rng.uniform(0.7, 1.0))
    haze = key * rng.uniform(0.3, 0.8) * np.array([1.1, 0.95, 0.85], np.float32)
    light = weather.veil(light, scene, strength * rng.uniform(0.003, 0.012), haze)
    light = add_glare(light, strength * rng.uniform(0.3, 0.7), 3 * key)
    near = enlarge(shrink(light, 24), scene.shape)  # drops in the air shine where light is
    light += (
        (strength * rng.uniform(0.2, 0.6)) * weather.streaks(scene.shape, rng, rng.uniform(0.3, 1))[..., None] * near
    )
    light = weather.lens_drops(light, rng, int(rng.integers(0, round(28 * strength) + 1)))
    return _finish_night(scene, light, rng, strength)


def dusk(scene: Scene, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Weak blue light from above, a sky from deep blue to a warm horizon, first windows and lamps."""
    strong = strength * rng.uniform(0.75, 1.0)
    day_key = scene_key(scene.light, scene.sky)
    albedo = flattened(scene, min(1.0, 0.6 * strong))
    blue = np.array([rng.uniform(0.6, 0.9), rng.uniform(0.8, 0.95), rng.uniform(1.15, 1.5)], np.float32)
    light = albedo * _mixed(np.ones(3, np.float32), blue, strong)
    lamps = place_lamps(scene, rng, int(rng.integers(0, 4)))
    light += albedo * lamp_light(scene, lamps) * np.float32(0.35 * strong)
    windows = window_light(scene, rng, rng.uniform(0.05, 0.3), rng.uniform(0.2, 0.7))
    light += windows * np.float32(strong * day_key * rng.uniform(1.0, 2.5))
    top = np.array([0.35, 0.55, 1.1], np.float32) * day_key * rng.uniform(0.7, 1.6)
    glow = [[1.9, 1.0, 0.5], [1.7, 0.95, 0.95], [0.9, 1.0, 1.4]][int(rng.integers(3))]
    bottom = np.array(glow, np.float32) * day_key * rng.uniform(1.2, 2.6)
    light += _mixed(scene.above, sky_light(scene, top, bottom, rng.uniform(0.3, 0.9)), min(1.0, strong))
    draw_bulbs(light, scene, lamps, 8 * day_key * strong)
    light = add_glare(light, 0.25 * strong, 3 * day_key)
    key = _toward(day_key, rng.uniform(0.035, 0.11), strong)
    how = Development(
        key, blur_px=rng.uniform(0, 0.7) * strong, shot=rng.uniform(0.0002, 0.0012) * strong,
        read=rng.uniform(0.0005, 0.003) * strong, dark_colour=1 - 0.4 * min(1.0, strong),
        contrast=rng.uniform(1.0, 1.15), vignette=rng.uniform(0, 0.35),
    )  # fmt: skip
    return develop(light, key / scene_key(light, scene.sky), how, rng, scene.grey)


def rain(scene: Scene, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Flat grey light under a grey sky, a veil that grows with distance, wet ground, streaks, drops on the lens."""
    strong = strength * rng.uniform(0.7, 1.0)
    day_key = scene_key(scene.light, scene.sky)
    light = flattened(scene, min(1.0, 0.7 * strong))
    grey = np.array([0.95, 1.0, 1.06], np.float32) * day_key * rng.uniform(1.1, 1.7)
    light = light + _mixed(scene.above, sky_light(scene, 0.8 * grey, grey, rng.uniform(0.1, 0.5)), min(1.0, strong))
    light = weather.wet_ground(light, scene, rng, strong)
    light = weather.veil(light, scene, strong * rng.uniform(0.002, 0.009), 0.8 * grey)
    near = enlarge(shrink(light, 24), scene.shape)
    fall = (strong * rng.uniform(0.15, 0.5)) * weather.streaks(scene.shape, rng, rng.uniform(0.3, 1))[..., None]
    light += fall * (1.5 * near + 0.2 * grey - light)
    light = weather.lens_drops(light, rng, int(rng.integers(0, round(24 * strong) + 1)))
    key = _toward(day_key, rng.uniform(0.07, 0.18), strong, most=2.0)
    how = Development(
        key, blur_px=rng.uniform(0, 0.8) * strong, shot=rng.uniform(0.0001, 0.0006) * strong, read=0.002 * strong,
        colour=1 - rng.uniform(0.25, 0.5) * strong, dark_colour=1 - 0.5 * min(1.0, strong),
        contrast=rng.uniform(0.85, 1.0), vignette=rng.uniform(0, 0.2),
    )  # fmt: skip
    return develop(light, key / scene_key(light, scene.sky), how, rng, scene.grey)


def snow(scene: Scene, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """Flat light, a white sky, snow on the ground, on ledges, rims and leaves, and flakes in the air."""
    strong = strength * rng.uniform(0.7, 1.0)
    day_key = scene_key(scene.light, scene.sky)
    light = flattened(scene, min(1.0, 0.75 * strong))
    white = np.array([0.97, 1.0, 1.05], np.float32) * max(day_key, 0.08) * rng.uniform(2.3, 3.2)
    cover = weather.lying_snow(scene, rng, strong * rng.uniform(0.9, 1.15))[..., None]
    texture = np.clip((luminance(light) / max(day_key, 1e-3))[..., None], 0, 2)
    light = light + cover * (white * (0.75 + 0.15 * texture) - light)
    light = light + _mixed(scene.above, sky_light(scene, 0.85 * white, white, 0.2), min(1.0, strong))
    light = weather.veil(light, scene, strong * rng.uniform(0.001, 0.008), 0.8 * white)
    falling = weather.flakes(scene.shape, rng, strong * rng.uniform(0.1, 1.6))[..., None]
    light += falling * (1.05 * white - light)
    key = _toward(day_key, rng.uniform(0.2, 0.36), strong, most=3.0)
    cool = rng.uniform(0, 0.08) * strong
    how = Development(
        key, blur_px=rng.uniform(0, 0.6) * strong, shot=0.0003 * strong, read=0.001 * strong,
        colour=1 - rng.uniform(0.2, 0.45) * strong, dark_colour=0.8, cast=(1 - cool, 1.0, 1 + cool),
        contrast=rng.uniform(0.8, 1.0),
    )  # fmt: skip
    return develop(light, key / scene_key(light, scene.sky), how, rng, scene.grey)


LOOKS: Mapping[str, Look] = {"night": night, "dusk": dusk, "rain": rain, "night-rain": night_rain, "snow": snow}


def _night_light(scene: Scene, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Linear light float32 [H, W, 3] of the scene by night, relative to the day's."""
    strong = min(1.0, strength)
    albedo = flattened(scene, 0.85 * strong)
    base = scene_key(albedo, scene.sky)
    sky = NIGHT_SKIES[rng.choice(len(NIGHT_SKIES), p=[0.35, 0.25, 0.25, 0.15])]
    lamps = place_lamps(scene, rng, int(rng.integers(2, 8)))
    ambient = np.exp(rng.uniform(-4.2, -2.0)) * (0.5 + 0.5 * sky / max(float(sky.max()), 0.5))
    irradiance = _mixed(np.float32(1), ambient.astype(np.float32) + lamp_light(scene, lamps), strong)
    light = albedo * irradiance
    lit = scene_key(light, scene.sky)
    emitted = window_light(scene, rng, rng.uniform(0.03, 0.35), rng.uniform(0.0, 0.8))
    emitted += sign_light(scene, rng, rng.uniform(0, 0.7))
    emitted *= np.float32(strong * lit * np.exp(rng.uniform(0.7, 2.1)))
    around = add_glare(emitted, 1.2, 0.0) - emitted  # what they throw on walls and pavement about them
    light += emitted + around * np.minimum(albedo / base, 2.0)
    darkest = sky * (lit * np.exp(rng.uniform(-3.2, -0.6)))
    above = sky_light(scene, 0.7 * darkest, darkest * rng.uniform(1.0, 2.5), rng.uniform(0.1, 0.7))
    light += _mixed(scene.above, above, strong)
    draw_bulbs(light, scene, lamps, strong * lit * rng.uniform(20, 80))
    return add_glare(light, strong * rng.uniform(0.2, 0.9), 3 * lit)


def _finish_night(scene: Scene, light: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    strong = strength * rng.uniform(0.8, 1.0)
    day_key = scene_key(scene.light, scene.sky)
    dark = min(np.exp(rng.uniform(np.log(0.018), np.log(0.16))), 0.6 * day_key)
    key = _toward(day_key, dark, strength)
    balance = rng.uniform(0.85, 1.15, 2)
    how = Development(
        key, blur_px=rng.uniform(0.0, 1.1) * strong, shake_px=rng.uniform(-3, 4.5) * strong,
        shot=np.exp(rng.uniform(np.log(0.0001), np.log(0.0009))) * strong, read=rng.uniform(0.02, 0.07) * key * strong,
        colour=1 - rng.uniform(-0.1, 0.3) * strong, dark_colour=1 - min(1.0, rng.uniform(0.4, 0.8) * strong),
        cast=(float(balance[0]), 1.0, float(balance[1])), contrast=rng.uniform(1.0, 1.2), vignette=rng.uniform(0, 0.5),
    )  # fmt: skip
    return develop(light, key / scene_key(light, scene.sky), how, rng, scene.grey)


def _mixed(day: np.ndarray | np.float32, other: np.ndarray, share: float) -> np.ndarray:
    return other if share == 1 else day + np.float32(share) * (other - day)


def _toward(day_key: float, key: float, share: float, most: float = 1.3) -> float:
    """A key between the day's and another, by their logarithms; never brighter than `most` times the day's."""
    return float(min(most * day_key, day_key ** (1 - min(share, 1.0)) * key ** min(share, 1.0)))
