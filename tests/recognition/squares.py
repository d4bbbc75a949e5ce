"""Photographs of coloured squares with their label images, small enough to learn in seconds; settings to match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lbr.io.images import write_image
from lbr.io.labels import write_mask
from lbr.recognition.augment import AugmentSettings
from lbr.recognition.samples import LabelledImage
from lbr.recognition.settings import AdamSettings, NetworkConfig, PspSettings, RecognitionSettings, TrainingSettings
from lbr.types import InstanceVocabulary

SIZE = (48, 48)
PAINT = np.array([[90, 90, 90], [230, 40, 40], [40, 200, 60], [60, 60, 240]], np.uint8)  # of classes 0..3
VOCABULARY = InstanceVocabulary(np.array([0, 0x0A141E, 0x0A1428, 0x14141E]), np.arange(4, dtype=np.int32))
NETWORK = PspSettings(encoder="resnet18", encoder_depth=3, channels=16, dropout=0.0)
STILL = AugmentSettings(
    crop_area=(1, 1), crop_ratio=(1, 1), rotation_deg=0, perspective=0, brightness=0, contrast=0, saturation=0, hue=0,
    blur=0, noise=0, occlusion=0, night=0, haze=0,
)  # fmt: skip


def square_mask(rng: np.random.Generator, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Classes [H, W]: two of the three squares, side by side, on background."""
    width, height = size
    mask = np.zeros((height, width), np.int32)
    for half, label in enumerate(rng.choice([1, 2, 3], 2, False)):
        x, y = half * width // 2 + rng.integers(1, 6), rng.integers(2, height // 3)
        mask[y : y + height // 2, x : x + width // 2 - 8] = label
    return mask


def write_squares(
    folder: Path, num: int, size: tuple[int, int] = SIZE, vocabulary: InstanceVocabulary = VOCABULARY
) -> list[LabelledImage]:
    rng, found = np.random.default_rng(7), []
    for number in range(num):
        mask = square_mask(rng, size)
        noisy = PAINT[mask] + rng.normal(0, 8, (*mask.shape, 3))
        item = LabelledImage(f"db/{number}.png", (folder / f"images/{number}.png",), folder / f"masks/{number}.png")
        write_image(item.images[0], np.clip(noisy, 0, 255).astype(np.uint8))
        write_mask(item.mask, mask, vocabulary)
        found.append(item)
    return found


def settings(network: NetworkConfig = NETWORK, **training: Any) -> RecognitionSettings:
    """Training of a few seconds at most, in float32 on the CPU."""
    options = {
        "epochs": 2, "batch_size": 4, "optimizer": AdamSettings(rate=3e-3, encoder_factor=1), "augmentation": STILL,
        "holdout": 0.0, "validate_every": 1, "precision": "float32", "device": "cpu",
    }  # fmt: skip
    return RecognitionSettings(network=network, input_size=SIZE, training=TrainingSettings(**{**options, **training}))
