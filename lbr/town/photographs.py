"""Photographs in place of painted facades (`town.textures=DIR`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from lbr.errors import ConfigError
from lbr.io.images import SUFFIXES, image_size, read_image
from lbr.town.canvas import Canvas
from lbr.town.design import FacadeDesign
from lbr.town.plan import Plan

MIN_BRIGHTNESS = 75.0  # mean grey of a photograph taken by day
MIN_SIDE = 200  # pixels
HEIGHTS = (5.5, 13.0)  # metres a facade may have
NUM_ROOMS = 6  # per row and column


def choose_photographs(folder: Path, plan: Plan, seed: int) -> list[Path]:
    """A daylight photograph per facade, in an order drawn by the seed; near twins share theirs.

    Raises ConfigError when the folder holds none.
    """
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in SUFFIXES)
    order = np.random.default_rng([seed, 3]).permutation(len(files))
    chosen: list[Path] = []
    for path in (files[k] for k in order):
        if len(chosen) == len(plan.facades):
            break
        if min(image_size(path)) >= MIN_SIDE and read_image(path).mean() >= MIN_BRIGHTNESS:
            chosen.append(path)
    if not chosen:
        raise ConfigError(f"town.textures={folder}: no daylight photographs of at least {MIN_SIDE} px there")
    models = [f.index if f.twin_of is None else f.twin_of for f in plan.facades]
    return [chosen[k % len(chosen)] for k in models]


def flat_design(design: FacadeDesign, path: Path) -> FacadeDesign:
    """The design with its relief taken off and its eave as high as the photograph's shape asks."""
    width, height = image_size(path)
    eave = float(np.clip(design.width * height / width, *HEIGHTS))
    style = replace(design.style, storeys=(0.0, eave), roof="eaves")
    cornice = tuple(b for b in design.blocks if b.kind == "cornice")
    lift = eave - design.style.eave
    blocks = tuple(replace(b, box=(b.box[0], b.box[1] + lift, b.box[2], b.box[3] + lift)) for b in cornice)
    outline = ((0.0, eave), (design.width, eave))
    return replace(design, style=style, outline=outline, openings=(), blocks=blocks)


def photograph_facade(path: Path, design: FacadeDesign, texel_m: float) -> Canvas:
    """The photograph on the facade, cut to its shape. Its darkest parts are taken for window glass, so that rooms can
    be lit at night."""
    canvas = Canvas(design.width, design.top, texel_m)
    picture = _cut(read_image(path), design.width / design.top)
    canvas.colour[:] = cv2.resize(picture, canvas.shape[::-1], interpolation=cv2.INTER_CUBIC)
    grey = cv2.GaussianBlur(canvas.colour.mean(2), (0, 0), 0.06 / texel_m)
    canvas.glass[:] = np.clip((np.quantile(grey, 0.22) - grey) / 25.0, 0, 1)
    rows, cols = np.indices(canvas.shape)
    rooms = 1 + (rows * NUM_ROOMS // canvas.shape[0]) * NUM_ROOMS + cols * NUM_ROOMS // canvas.shape[1]
    canvas.lights[:] = np.where(canvas.glass > 0.2, rooms, 0)
    return canvas


def _cut(picture: np.ndarray, aspect: float) -> np.ndarray:
    """The middle of a picture in the wanted shape (width / height), its bottom kept."""
    height, width = picture.shape[:2]
    if width > aspect * height:
        keep = max(1, round(aspect * height))
        return picture[:, (width - keep) // 2 : (width - keep) // 2 + keep]
    return picture[height - max(1, round(width / aspect)) :]
