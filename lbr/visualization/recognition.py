"""Recognition as a picture: the photograph, its facades, how sure the network is of them."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from lbr.io.images import resize
from lbr.recognition.masks import full_mask
from lbr.types import InstancePrediction
from lbr.visualization.colours import Colour, css
from lbr.visualization.overlays import draw_instances


def recognition_picture(
    image: np.ndarray, prediction: InstancePrediction, width: int, colours: Mapping[int, Colour] | None = None
) -> np.ndarray:  # fmt: skip
    """RGB uint8 [h, 3 * width, 3]: photograph | facades over it | confidence, dark to bright.

    image: RGB uint8 [H, W, 3]. colours: RGB of instances; without, a fixed colour each.
    """
    height = max(1, round(width * image.shape[0] / image.shape[1]))
    small = resize(image, (width, height))
    ids, confidence = full_mask(prediction, (width, height))
    return np.hstack([small, draw_instances(small, ids, colours, opacity=0.6), confidence_picture(confidence)])


def confidence_picture(confidence: np.ndarray) -> np.ndarray:
    """Confidences float [H, W] in 0..1 -> RGB uint8 [H, W, 3]."""
    levels = np.round(255 * np.clip(confidence, 0, 1)).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def confidence_stops(num: int = 9) -> list[str]:
    """`#rrggbb` of a legend from confidence 0 to 1."""
    return [css(colour) for colour in confidence_picture(np.linspace(0, 1, num)[None])[0].tolist()]


def facades_picture(
    image: np.ndarray, prediction: InstancePrediction, colours: Mapping[int, Colour] | None = None, opacity: float = 0.4
) -> np.ndarray:
    """RGB uint8 [H, W, 3]: the recognised facades over the photograph."""
    ids, _ = full_mask(prediction, (image.shape[1], image.shape[0]))
    return draw_instances(image, ids, colours, opacity)
