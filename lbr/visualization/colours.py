"""The colours of everything that is drawn: calm, told apart by the colour-blind, the same in pictures and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

Colour = tuple[int, int, int]  # red, green, blue, 0..255

INK, SOFT, FAINT, PAPER = "#1f2933", "#66727f", "#dfe4e9", "#ffffff"
ACCENT, TRUTH = "#0b7285", "#7b2d8b"
STATUS = {"refined": "#2b8a6e", "verified": "#3b78c2", "weak": "#d08a1d", "failed": "#c2413b"}
CATEGORIES = ("#3b78c2", "#d97925", "#2b8a6e", "#a4508b", "#8a6d3b", "#c2413b", "#5b6abf", "#6b8e23")


def rgb(colour: str) -> Colour:
    """`#rrggbb` -> (r, g, b)."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def css(colour: Sequence[int]) -> str:
    """(r, g, b) -> `#rrggbb`."""
    return "#" + "".join(f"{part:02x}" for part in colour)


def by_condition(conditions: list[str]) -> dict[str, str]:
    """A colour for each condition; 'all', of several, is the ink."""
    several = len(conditions) > 1
    named = [c for c in conditions if not (several and c == "all")]
    colours = {c: CATEGORIES[i % len(CATEGORIES)] for i, c in enumerate(named)}
    return {c: colours.get(c, INK) for c in conditions}


def by_depth(depth: np.ndarray) -> np.ndarray:
    """Depths [N] in metres -> RGB uint8 [N, 3], near warm and far cool, by the logarithm between `depth_range`."""
    near, far = depth_range(depth)
    share = (np.log(np.clip(depth, near, far)) - np.log(near)) / max(np.log(far / near), 1e-9)
    return _turbo(1 - share)


def depth_range(depth: np.ndarray) -> tuple[float, float]:
    """(nearest, farthest) in metres that colours tell apart: the 2nd and 98th percentile of the positive depths."""
    positive = depth[np.isfinite(depth) & (depth > 0)]
    if not len(positive):
        return 1.0, 10.0
    near, far = np.percentile(positive, [2, 98])
    return float(near), float(max(far, near * 1.05))


def depth_stops(num: int = 9) -> list[str]:
    """`#rrggbb` of a legend from near to far."""
    return [css(colour) for colour in _turbo(1 - np.linspace(0, 1, num)).tolist()]


def by_instance(labels: np.ndarray, colours: Mapping[int, Colour] | None = None) -> np.ndarray:
    """Instance ids [...] -> RGB uint8 [..., 3]: that of `colours`, else one of its own, background (0) grey."""
    labels = np.asarray(labels, np.int64)
    if not labels.size:
        return np.zeros((*labels.shape, 3), np.uint8)
    hue = (labels * 0.6180339887498949) % 1.0 * 179
    value = np.where(labels % 2, 235, 200)
    hsv = np.stack([hue, np.where(labels % 3, 190, 130), value], -1).astype(np.uint8)
    shape = labels.shape
    coloured = cv2.cvtColor(hsv.reshape(-1, 1, 3), cv2.COLOR_HSV2RGB).reshape(*shape, 3)
    coloured = np.where((labels > 0)[..., None], coloured, np.uint8(150))
    for instance in np.unique(labels).tolist() if colours else []:
        if colours and instance in colours:
            coloured[labels == instance] = colours[instance]
    return coloured


def _turbo(share: np.ndarray) -> np.ndarray:
    """[N] in 0..1 -> RGB uint8 [N, 3], without the map's dark ends."""
    levels = np.round(255 * (0.08 + 0.84 * np.clip(share, 0, 1))).astype(np.uint8).reshape(-1, 1)
    return cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[:, 0, ::-1] if len(levels) else np.zeros((0, 3), np.uint8)
