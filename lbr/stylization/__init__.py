"""Day photographs made to look like night, dusk, rain, night-rain and snow, pixel for pixel in place.

Training data for a recogniser: the labels of a photograph fit its copies. Light and weather are put on photometrically,
from the image alone or with a sky mask and depth; nothing of the town's renderer is in it.
"""

from __future__ import annotations

import numpy as np

from lbr.errors import ConfigError
from lbr.stylization.folder import MaskFolder, stylize_folder
from lbr.stylization.looks import LOOKS
from lbr.stylization.scene import take_apart
from lbr.stylization.settings import StylizeSettings
from lbr.stylization.sky import estimate_sky

__all__ = ["LOOKS", "MaskFolder", "StylizeSettings", "estimate_sky", "stylize", "stylize_folder"]


def stylize(
    image: np.ndarray,
    look: str,
    rng: np.random.Generator,
    sky: np.ndarray | None = None,
    depth: np.ndarray | None = None,
    strength: float = 1.0,
) -> np.ndarray:
    """A copy RGB uint8 [H, W, 3] of `image` RGB uint8 [H, W, 3] in a look of `LOOKS`, every pixel in its place.

    sky: bool [H, W], estimated from the image where None · depth: float32 [H, W] metres along the optical axis (0, nan
    or inf where unknown), guessed where None · strength: 0 (about the day) .. 1.5. A photograph in grey stays grey.
    Raises ConfigError for an unknown look, DataError for an image that is too small or a mask of another size.
    """
    if look not in LOOKS:
        raise ConfigError(f"there is no look '{look}'; choose from {', '.join(LOOKS)}")
    return LOOKS[look](take_apart(image, sky, depth), rng, strength)
