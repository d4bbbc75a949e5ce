"""Two views of one photograph, each in its own light, and the homography between them.

A pair is drawn by (seed, number) alone, so that a run is the same whatever the workers, and goes on where it was.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from torch.utils.data import Dataset

from lbr.geometry.pixels import fit_within
from lbr.io.images import read_image, resize
from lbr.learning.settings import LearningSettings
from lbr.recognition.augment import shade
from lbr.stylization import LOOKS, take_apart

# The first copy is one by night, which SIFT cannot bridge; the others are any.
FIRST_LOOKS, OTHER_LOOKS = (
    ("night", "night", "night", "night-rain"),
    ("night", "night", "dusk", "rain", "snow"),
)
SCALES = (0.55, 2.0)  # photograph pixels in a pixel of the first view
ROTATION_DEG, WIDE_ROTATION_DEG, WIDE = 7.0, 25.0, 0.2  # deviation; a share of the views is turned further
PERSPECTIVE, ASPECT, SHIFT = 0.10, 0.2, 0.3  # of the sides; logarithm; of the first view's half side

Versions = list[np.ndarray]  # a photograph, RGB uint8 [H, W, 3], and its copies, of the same size


def with_copies(path: Path, settings: LearningSettings) -> Versions:
    """A photograph and its stylised copies. Raises DataError for one that cannot be read or is too small for a view."""
    image = read_image(path)
    image = resize(image, fit_within((image.shape[1], image.shape[0]), settings.photograph_px))
    rng = np.random.default_rng([settings.seed, zlib.crc32(path.name.encode())])
    scene = take_apart(image)
    looks = [rng.choice(OTHER_LOOKS if k else FIRST_LOOKS) for k in range(settings.copies)]
    return [image, *(LOOKS[look](scene, rng, 1.0) for look in looks)]


class ViewPairs(Dataset):
    """step -> (views float32 [B, 2, S, S], grey in 0..1; b_from_a float32 [B, 3, 3], of pixels from the first's
    centre)."""

    def __init__(self, photographs: Sequence[Versions], settings: LearningSettings) -> None:
        self.photographs, self.settings = photographs, settings

    def __len__(self) -> int:
        return self.settings.steps

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.settings.seed, step])
        chosen = rng.integers(len(self.photographs), size=self.settings.batch_size)
        pairs = [draw_pair(self.photographs[k], self.settings, rng) for k in chosen]
        views, homographies = zip(*pairs, strict=True)
        return np.stack(views), np.stack(homographies).astype(np.float32)


def draw_pair(
    versions: Versions, settings: LearningSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Views float32 [2, S, S] of one photograph, and b_from_a float [3, 3]."""
    height, width = versions[0].shape[:2]
    side, most = settings.view_px, 0.49 * min(height, width)
    least = SCALES[0] * side / 2
    first = np.exp(rng.uniform(np.log(least), np.log(max(least, min(SCALES[1] * side / 2, most)))))
    halves = (first, float(np.clip(first * np.exp(rng.uniform(-1, 1) * settings.zoom), 0.4 * side / 2, most)))
    margin = np.minimum(max(halves), np.array([width, height]) / 2)
    centre = rng.uniform(margin, np.maximum(margin, [width, height] - margin))
    views, homographies = [], []
    for k, half in enumerate(halves):
        corners = _corners(centre + k * rng.uniform(-SHIFT, SHIFT, 2) * first, half, rng)
        day = rng.random() < settings.day or len(versions) == 1
        image = versions[0 if day else rng.integers(1, len(versions))]
        view, homography = _view(image, corners, side, 2 * half / side)
        views.append(_grey(shade(view, settings.light, rng), rng))
        homographies.append(homography)
    return np.stack(views), homographies[1] @ np.linalg.inv(homographies[0])


def _corners(centre: np.ndarray, half: float, rng: np.random.Generator) -> np.ndarray:
    """float [4, 2]: corners of a view (from top left, clockwise) in the photograph, pixels from its corner."""
    ratio = np.exp(rng.uniform(-ASPECT, ASPECT))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half * [ratio, 1 / ratio]
    corners += rng.uniform(-1, 1, (4, 2)) * PERSPECTIVE * 2 * half
    angle = rng.normal(0, ROTATION_DEG)
    if rng.random() < WIDE:
        angle += rng.uniform(-WIDE_ROTATION_DEG, WIDE_ROTATION_DEG)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return corners @ np.array([[cos, -sin], [sin, cos]]).T + centre


def _view(image: np.ndarray, corners: np.ndarray, side: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """A view of side x side pixels, and the homography to it from `image`, pixels from the first's centre.

    What shrinks is averaged before it is warped.
    """
    there = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32) - np.float32(0.5)
    homography = cv2.getPerspectiveTransform(corners.astype(np.float32) - np.float32(0.5), there)
    source, to_source = image, np.eye(3)
    if scale > 1.3:
        size = (round(image.shape[1] / scale), round(image.shape[0] / scale))
        x, y = size[0] / image.shape[1], size[1] / image.shape[0]
        source = resize(image, size)
        to_source = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    warp = homography @ np.linalg.inv(to_source)
    view = cv2.warpPerspective(source, warp, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return view, homography


def _grey(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32 [H, W] in 0..1 of RGB uint8 [H, W, 3], the channels weighed a little at random: cameras differ."""
    weights = np.array([0.299, 0.587, 0.114]) * np.exp(rng.normal(0, 0.25, 3))
    return image.astype(np.float32) @ (weights / weights.sum() / 255).astype(np.float32)
