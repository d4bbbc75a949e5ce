"""A whole folder of photographs: every photograph's copies, each written whole or not at all, resumed where it was."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lbr.errors import DataError
from lbr.io.images import ImageFolder, read_image, write_image
from lbr.io.text_lists import Problem
from lbr.parallel import ParallelSettings, parallel_map
from lbr.stylization.looks import LOOKS
from lbr.stylization.scene import take_apart
from lbr.stylization.settings import StylizeSettings

# name of a photograph -> its sky mask (bool [H, W]) or depth (float32 [H, W] metres), or None where there is none
MaskOf = Callable[[str], np.ndarray | None]


@dataclass(frozen=True)
class MaskFolder:
    """Masks as images of the photographs' relative names with another suffix: white (over 127) is sky."""

    root: Path
    suffix: str = ".png"

    def __call__(self, name: str) -> np.ndarray | None:
        path = (self.root / name).with_suffix(self.suffix)
        return read_image(path)[..., 0] > 127 if path.exists() else None


def stylize_folder(
    source: ImageFolder,
    names: Sequence[str],
    target_root: Path,
    settings: StylizeSettings,
    parallel: ParallelSettings,
    sky: MaskOf | None = None,
    depth: MaskOf | None = None,
) -> list[Problem]:
    """Write target_root/<variant>/<name> for every photograph and variant; copies that exist are kept.

    sky, depth: how to get a photograph's mask or depth, where there are any (they must pickle for the backends
    'processes' and 'ray'); where they give None, it is estimated from the image. Returns what could not be done, one
    per photograph, in the order of the names.
    """
    todo = [name for name in dict.fromkeys(names) if not all(p.exists() for p in _targets(target_root, settings, name))]
    work = StylizeImage(source, target_root, settings, sky, depth)
    return [problem for _, problem in parallel_map(work, todo, parallel, "stylise") if problem is not None]


@dataclass(frozen=True)
class StylizeImage:
    """Photograph's name -> None once its copies are written, or the problem."""

    source: ImageFolder
    target_root: Path
    settings: StylizeSettings
    sky: MaskOf | None = None
    depth: MaskOf | None = None

    def __call__(self, name: str) -> Problem | None:
        try:
            image = self.source.read(name)
            scene = take_apart(image, *(mask(name) if mask else None for mask in (self.sky, self.depth)))
            for variant, path in zip(
                self.settings.variants, _targets(self.target_root, self.settings, name), strict=True
            ):
                if not path.exists():
                    look, rng = draw_look(self.settings, variant, name)
                    write_image(path, LOOKS[look](scene, rng, self.settings.strength), self.settings.jpeg_quality)
        except DataError as error:
            return Problem(name, str(error))
        return None


def draw_look(settings: StylizeSettings, variant: str, name: str) -> tuple[str, np.random.Generator]:
    """The look of a photograph's copy in `variant`, and the generator that its draws come from."""
    looks = settings.variants[variant]
    key = [settings.seed, zlib.crc32(variant.encode()), zlib.crc32(name.encode())]
    look = looks[int(np.random.default_rng(key).integers(len(looks)))]
    return look, np.random.default_rng([*key, zlib.crc32(look.encode())])


def _targets(root: Path, settings: StylizeSettings, name: str) -> list[Path]:
    return [root / variant / name for variant in settings.variants]
