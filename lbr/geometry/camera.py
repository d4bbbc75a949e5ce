"""Camera intrinsics, in COLMAP's models. Projection itself is pycolmap's (`io/colmap.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# model -> (names of its parameters in COLMAP's order)
MODELS: dict[str, tuple[str, ...]] = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
    "OPENCV_FISHEYE": ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4"),
    "FULL_OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "FOV": ("fx", "fy", "cx", "cy", "omega"),
    "SIMPLE_RADIAL_FISHEYE": ("f", "cx", "cy", "k"),
    "RADIAL_FISHEYE": ("f", "cx", "cy", "k1", "k2"),
    "THIN_PRISM_FISHEYE": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "sx1", "sy1"),
}


@dataclass(frozen=True)
class Camera:
    """Intrinsics: model name (a key of MODELS), width and height in pixels, params in COLMAP's order.

    `source` says where the focal length comes from: 'given', 'map' (of db photographs of the same camera, refined with
    the map), 'queries' (of queries of the same camera, estimated together), 'exif' or 'guess'; the last two let the
    localizer estimate it anew. body: which camera took the photograph, '' when nobody says; photographs of one body,
    size and focal length have one camera. spreads: standard deviations of params, of source 'queries'; () of others.
    Raises ValueError for an unknown model, a wrong number of parameters, a size or a focal length that is not positive.
    """

    model: str
    width: int
    height: int
    params: tuple[float, ...]
    source: str = "given"
    body: str = ""
    spreads: tuple[float, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"unknown camera model '{self.model}'; known: {', '.join(MODELS)}")
        object.__setattr__(self, "params", tuple(float(p) for p in self.params))
        expected = MODELS[self.model]
        if len(self.params) != len(expected):
            raise ValueError(
                f"camera model {self.model} takes {len(expected)} parameters ({' '.join(expected)}), "
                f"not {len(self.params)}"
            )
        if self.width <= 0 or self.height <= 0 or not np.isfinite(self.params).all() or min(self.focal) <= 0:
            raise ValueError(
                f"camera {self.model} {self.width}x{self.height}: the size and the focal length must be positive"
            )

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    @property
    def is_known(self) -> bool:
        """Whether the focal length was measured, and is not to be estimated anew."""
        return self.source in ("given", "map", "queries")

    @property
    def focal(self) -> tuple[float, float]:
        """(fx, fy) in pixels."""
        return (self.params[0], self.params[1]) if MODELS[self.model][0] == "fx" else (self.params[0], self.params[0])

    @property
    def principal_point(self) -> tuple[float, float]:
        """(cx, cy) in pixels."""
        first = MODELS[self.model].index("cx")
        return self.params[first], self.params[first + 1]

    @property
    def matrix(self) -> np.ndarray:
        """float64 [3, 3]: the pinhole part K, without distortion."""
        fx, fy = self.focal
        cx, cy = self.principal_point
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])

    def unlike(self, size: tuple[int, int]) -> str:
        """'is 640x480, its camera 320x240' of an image of another (width, height) than the camera's; '' of the same."""
        return "" if size == self.size else f"is {size[0]}x{size[1]}, its camera {self.width}x{self.height}"

    def is_shaped(self, size: tuple[int, int]) -> bool:
        """Whether an image of this (width, height) has the camera's aspect ratio, to a pixel."""
        sx, sy = size[0] / self.width, size[1] / self.height
        return abs(sx * self.height - size[1]) <= 1 or abs(sy * self.width - size[0]) <= 1

    def scaled(self, width: int, height: int) -> Camera:
        """The camera of the same photograph resized to width x height (distortion is in normalised coordinates).

        Raises ValueError when the aspect ratio differs by more than a pixel.
        """
        if not self.is_shaped((width, height)):
            raise ValueError(f"{width}x{height} is no resized copy of {self.width}x{self.height}")
        sx, sy = width / self.width, height / self.height
        factor = {"f": (sx + sy) / 2, "fx": sx, "fy": sy, "cx": sx, "cy": sy}
        names = MODELS[self.model]
        params = tuple(p * factor.get(name, 1.0) for name, p in zip(names, self.params, strict=True))
        return Camera(self.model, width, height, params, self.source, self.body)


def camera_of_fields(fields: Mapping[str, Any]) -> Camera:
    """The camera of a record of a result, with `model`, `width`, `height`, `params` and `source`. Raises ValueError as
    `Camera`."""
    return Camera(fields["model"], fields["width"], fields["height"], tuple(fields["params"]), fields["source"])


def guess_camera(width: int, height: int, focal_px: float | None = None, body: str = "") -> Camera:
    """A SIMPLE_RADIAL camera without distortion for a photograph whose intrinsics nobody gave.

    With `focal_px` (from EXIF) the source is 'exif'; without, the focal length is COLMAP's guess,
    1.2 times the longer side, and the source is 'guess'.
    """
    focal, source = (focal_px, "exif") if focal_px else (1.2 * max(width, height), "guess")
    return Camera("SIMPLE_RADIAL", width, height, (focal, width / 2, height / 2, 0.0), source, body)
