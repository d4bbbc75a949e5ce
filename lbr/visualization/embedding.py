"""Pictures as `data:` addresses inside the page, small enough for the page's budget."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from lbr.io.images import resize

QUALITIES = (82, 64)
BASE64 = 4 / 3  # characters of an address for each byte of its picture


def jpeg_uri(image: np.ndarray, max_bytes: int) -> str:
    """RGB uint8 [H, W, 3] -> a JPEG of at most `max_bytes`, by lower quality first, then by fewer pixels."""
    while True:
        for quality in QUALITIES:
            data = _encode(image, "JPEG", quality=quality)
            if len(data) <= max_bytes:
                return _uri("jpeg", data)
        height, width = image.shape[:2]
        if max(height, width) <= 32:
            return _uri("jpeg", data)
        scale = float(np.clip(0.95 * (max_bytes / len(data)) ** 0.6, 0.2, 0.9))
        image = resize(image, (max(1, int(width * scale)), max(1, int(height * scale))))


def png_uri(image: np.ndarray, colours: int = 24) -> str:
    """RGB uint8 [H, W, 3] of few colours -> a PNG with a palette."""
    buffer = io.BytesIO()
    Image.fromarray(image).quantize(colours, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return _uri("png", buffer.getvalue())


def _encode(image: np.ndarray, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
