"""A drawn street by day, with its masks: what the tests of the looks stand on."""

from __future__ import annotations

import cv2
import numpy as np


def make_street(width=320, height=240, wall=(205, 180, 150), sky=True, seed=0):
    """RGB uint8 [H, W, 3], sky mask bool [H, W], depth float32 [H, W]: sky, a house with windows, a road."""
    rng = np.random.default_rng(seed)
    horizon, top = round(0.8 * height), round(0.25 * height) if sky else 0
    image = np.empty((height, width, 3), np.float32)
    image[:] = wall
    image += rng.normal(0, 9, (height, width, 1))  # plaster
    for x in range(width // 16, width - width // 10, width // 7):
        for y in range(top + height // 20, horizon - height // 8, height // 6):
            right, bottom = x + width // 14, y + height // 10
            cv2.rectangle(image, (x, y), (right, bottom), (50, 55, 60), cv2.FILLED)
            cv2.rectangle(image, (x - 2, bottom), (right + 2, bottom + 2), (235, 235, 235), cv2.FILLED)
    image[horizon:] = (115, 112, 108)
    image[horizon:] += rng.normal(0, 3, (height - horizon, width, 1))
    mask = np.zeros((height, width), bool)
    if sky:
        image[:top] = np.linspace((120, 165, 225), (185, 205, 235), top)[:, None]
        mask[:top] = True
    depth = np.full((height, width), 15.0, np.float32)
    rows = np.arange(horizon, height) + 0.5 - height / 2
    depth[horizon:] = (15.0 * (horizon - height / 2) / rows)[:, None]
    depth[mask] = 0
    return np.clip(image, 0, 255).astype(np.uint8), mask, depth
