"""Where the sky is, from the photograph alone: bright or blue, smooth, from the top border down to an edge.

Made to miss a sky rather than to take a facade for one: a region that looks like a wall is dropped as a whole.
"""

from __future__ import annotations

import cv2
import numpy as np

WORK_SIDE = 320  # the mask is found at this longer side and refined at full size
MAX_DETAIL = 0.012  # mean absolute high-pass in a window, of values 0..1: clouds are below, plaster and brick above
MAX_EDGE = 0.055  # change between neighbouring pixels that a sky does not cross
MAX_HOLES = 0.015  # share of a region that it may enclose and that is dark: panes in a wall are more
MAX_REACH = 0.7  # of the height: what goes on below is a wall, a wet road or the sea
MAX_REACH_GREY = 0.4  # in a grey photograph, where a sunlit wall has a sky's looks
MAX_UNDER = 0.05  # share of a region that may lie under something dark: wires and branches, not windows
MIN_SMOOTH_SHARE = 0.4  # of a cloudy sky
MIN_AREA = 0.004  # of the image
MIN_TOP = 0.04  # of the top border
MIN_CONTRAST = 1.2  # how much brighter than what it borders on, unless it is bluer
MIN_OVERCAST = 0.85  # of the brightest: a grey sky is among the brightest things of a day


def estimate_sky(image: np.ndarray) -> np.ndarray:
    """Sky mask, bool [H, W], of a day photograph RGB uint8 [H, W, 3]; all False where no region is convincing."""
    height, width = image.shape[:2]
    scale = min(1.0, WORK_SIDE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    mask = _find(small)
    if not mask.any():
        return np.zeros((height, width), bool)
    return soften_sky(image, cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)) > 0.5


def soften_sky(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Share of sky in each pixel, float32 [H, W] in 0..1: `mask` [H, W] aligned with the image's edges near its rim.

    A guided filter (He, Sun, Tang 2013) with the blue channel as guide. Farther than 1 % of the longer side from the
    mask's rim nothing changes.
    """
    if not mask.any():
        return np.zeros(mask.shape, np.float32)
    reach = max(1, round(0.005 * max(mask.shape)))
    guide = np.ascontiguousarray(image[..., 2]).astype(np.float32) / 255.0
    hard = mask.astype(np.uint8)
    filtered = guided_filter(guide, hard.astype(np.float32), reach, 3e-4)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (4 * reach + 1, 4 * reach + 1))
    outer, inner = cv2.dilate(hard, kernel), cv2.erode(hard, kernel, borderType=cv2.BORDER_REPLICATE)
    sharpened = np.clip((filtered - 0.5) * 1.4 + 0.5, 0.0, 1.0)
    return np.where(inner > 0, np.float32(1), np.where(outer > 0, sharpened, np.float32(0)))


def guided_filter(guide: np.ndarray, values: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """`values` [H, W] smoothed within `radius` pixels, but along the edges of `guide` [H, W] (variance above `eps`)."""

    def mean(array: np.ndarray) -> np.ndarray:
        return cv2.blur(array, (2 * radius + 1, 2 * radius + 1))

    mean_guide, mean_values = mean(guide), mean(values)
    variance = mean(guide * guide) - mean_guide * mean_guide
    slope = (mean(guide * values) - mean_guide * mean_values) / (variance + eps)
    return mean(slope) * guide + mean(mean_values - slope * mean_guide)


def _find(small: np.ndarray) -> np.ndarray:
    """uint8 [h, w]: the sky in float32 RGB [h, w, 3]. A cloudy sky is tried first, then its smooth parts alone."""
    strict, loose = _candidates(small)
    taken = np.zeros(strict.shape, np.uint8)
    for region in _regions(loose):
        if strict[region].mean() >= MIN_SMOOTH_SHARE and not _is_wall(region, small):
            taken |= _closed(region)
    for region in _regions(strict & (taken == 0)):
        if not _is_wall(region, small):
            taken |= region.astype(np.uint8)
    if not _has_colour(small):
        taken = _largest(taken)
    return _grown(taken, small)


def _grown(mask: np.ndarray, small: np.ndarray, steps: int = 5) -> np.ndarray:
    """uint8 [h, w]: the mask grown over neighbours that look like the sky beside them, and by one pixel at least.

    Closes the gap to the roofs that the tests of smoothness leave.
    """
    if not mask.any():
        return mask
    inside = mask.astype(np.float32)
    total = cv2.GaussianBlur(inside, (0, 0), 4) + 1e-4
    beside = cv2.GaussianBlur(small * inside[..., None], (0, 0), 4) / total[..., None]
    darker, lighter = (cv2.max(cv2.max(r, g), b) for r, g, b in (cv2.split(beside - small), cv2.split(small - beside)))
    alike = ((darker < 0.07) & (lighter < 0.12) & (total > 2e-3)).astype(np.uint8)
    for _ in range(steps):
        mask = cv2.max(mask, cv2.min(cv2.dilate(mask, np.ones((3, 3), np.uint8)), alike))
    return mask


def _candidates(small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two masks bool [h, w]: smooth pixels of a sky's colour, and those that a cloud may have besides."""
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    detail = cv2.blur(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.5)), (5, 5))
    edge = cv2.morphologyEx(cv2.GaussianBlur(grey, (3, 3), 0), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    red, green, blue = cv2.split(small)
    bluish = (blue - red > 0.05) & (blue >= green - 0.01) & (blue > 0.35)
    neutral = (blue - red > -0.04) & (np.abs(green - red) < 0.07)
    hazy = (blue - red > -0.13) & (np.abs(green - red) < 0.1) & (grey > 0.7)
    bright = grey > max(0.55, float(np.quantile(grey, 0.6)))
    strict = (bluish | (neutral & bright)) & (detail < MAX_DETAIL) & (edge < MAX_EDGE)
    loose = (bluish | ((neutral | hazy) & bright)) & (detail < 2 * MAX_DETAIL) & (edge < 2 * MAX_EDGE)
    return strict, strict | loose


def _regions(mask: np.ndarray) -> list[np.ndarray]:
    """Connected regions bool [h, w] of `mask` that are large and begin at the top border."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    height, width = labels.shape
    wide = np.bincount(labels[0], minlength=count) >= MIN_TOP * width
    large = stats[:, cv2.CC_STAT_AREA] >= MIN_AREA * height * width
    return [labels == label for label in np.flatnonzero(wide & large) if label]


def _largest(mask: np.ndarray) -> np.ndarray:
    """uint8 [h, w]: the largest region of a mask. In grey, others are as often bright walls as skies."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    return mask if count < 3 else (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)


def _closed(region: np.ndarray) -> np.ndarray:
    """uint8 [h, w]: the region with what it encloses; the image's top border counts as enclosing."""
    padded = cv2.copyMakeBorder(region.astype(np.uint8), 1, 0, 0, 0, cv2.BORDER_CONSTANT, value=1)
    contours, _ = cv2.findContours(padded, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.ascontiguousarray(cv2.drawContours(np.zeros_like(padded), contours, -1, 1, cv2.FILLED)[1:])


def _is_wall(region: np.ndarray, small: np.ndarray) -> bool:
    """Whether a region bool [h, w] lies around or under dark things, comes far down, or is no brighter than below."""
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    filled = _closed(region)
    level = float(grey[region].mean())
    dim = (grey < 0.75 * level) & (small[..., 2] - small[..., 0] < 0.25)  # not the blue between clouds
    dark = (cv2.erode(dim.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0) & ~region
    panes = dark & (filled > 0)
    under = np.logical_or.accumulate(dark, axis=0) & region
    low = filled[round((MAX_REACH if _has_colour(small) else MAX_REACH_GREY) * len(filled)) :].sum()
    total = filled.sum()
    if panes.sum() > MAX_HOLES * total or under.sum() > MAX_UNDER * total or low > 0.02 * total:
        return True
    ring = (cv2.dilate(filled, np.ones((9, 9), np.uint8)) > 0) & (cv2.dilate(filled, np.ones((5, 5), np.uint8)) == 0)
    if not ring.any():
        return False
    inside, outside = small[region].mean(axis=0), small[ring].mean(axis=0)
    if inside[2] - inside[0] > outside[2] - outside[0] + 0.08:  # bluer than what it borders on
        return False
    spans = region[0].mean() > 0.6 and total > 0.15 * region.size and under.sum() < 0.01 * total
    if spans and level >= 0.9 * float(np.quantile(grey, 0.98)):
        return False
    dull = _has_colour(small) and level < MIN_OVERCAST * float(np.quantile(grey, 0.98))
    return bool(dull or level < MIN_CONTRAST * grey[ring].mean())


def _has_colour(image: np.ndarray) -> bool:
    return float(np.abs(image[..., 0] - image[..., 2]).max()) > 0.02
