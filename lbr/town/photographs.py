"""Photographs in place of painted facades (`town.textures=DIR`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from lbr.errors import ConfigError, DataError
from lbr.io.images import SUFFIXES, image_size, list_images, read_image
from lbr.io.text_lists import Problem
from lbr.town.canvas import Canvas
from lbr.town.design import FacadeDesign
from lbr.town.plan import Plan

MIN_BRIGHTNESS = 75.0  # mean grey of a photograph taken by day
MIN_SIDE = 200  # pixels
HEIGHTS = (5.5, 13.0)  # metres a facade may have
NUM_ROOMS = 6  # per row and column
GLASS_SHARE = 0.22  # of a photograph at most, its darkest parts
GLASS_DARKNESS = 0.75  # of the median grey: what is brighter is wall
FOOT_M = 0.5  # pavement and cars at the bottom of a photograph are no windows


@dataclass(frozen=True)
class Choice:
    """A photograph for each facade, None where there is none for it, and what was looked at and left out."""

    paths: tuple[Path | None, ...]
    problems: tuple[Problem, ...]


def choose_photographs(folder: Path, plan: Plan, seed: int) -> Choice:
    """A daylight photograph for each facade, in an order drawn by the seed: no two facades share one but near twins.

    Facades stay without where there are too few. Raises ConfigError when there is no photograph to use, DataError
    without the folder.
    """
    names = list_images(folder)
    if not names:
        raise ConfigError(f"town.textures={folder}: no photographs there ({' '.join(sorted(SUFFIXES))})")
    wanted = [f.index for f in plan.facades if f.twin_of is None]
    usable: list[Path] = []
    problems: list[Problem] = []
    for k in np.random.default_rng([seed, 3]).permutation(len(names)):
        if len(usable) == len(wanted):
            break
        fault = _fault(folder / names[k])
        if fault is None:
            usable.append(folder / names[k])
        else:
            problems.append(Problem(names[k], f"left out as a facade: {fault}"))
    if not usable:
        raise ConfigError(f"town.textures={folder}: none of {len(names)} photographs is of use ({problems[0]})")
    if len(usable) < len(wanted):
        painted = f"usable photographs {len(usable)}, facades {len(wanted)}: the others are painted"
        problems.append(Problem(str(folder), painted))
    of = dict(zip(wanted, usable, strict=False))
    return Choice(tuple(of.get(f.index if f.twin_of is None else f.twin_of) for f in plan.facades), tuple(problems))


def _fault(path: Path) -> str | None:
    """Why a photograph cannot be a facade; None when it can."""
    try:
        if min(image_size(path)) < MIN_SIDE:
            return f"smaller than {MIN_SIDE} px"
        brightness = float(read_image(path).mean())
    except DataError as error:
        return str(error)
    return None if brightness >= MIN_BRIGHTNESS else f"too dark (mean grey {brightness:.0f} of {MIN_BRIGHTNESS:.0f})"


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
    """The photograph on the facade, cut to its shape. What is darkest in it between its foot and its cornice is taken
    for window glass, so that panes shine by day and rooms can be lit at night."""
    canvas = Canvas(design.width, design.top, texel_m)
    picture = _cut(read_image(path), design.width / design.top)
    method = cv2.INTER_AREA if picture.shape[1] > canvas.shape[1] else cv2.INTER_CUBIC
    canvas.colour[:] = np.clip(cv2.resize(picture, canvas.shape[::-1], interpolation=method), 0, 255)
    grey = cv2.GaussianBlur(canvas.colour.mean(2), (0, 0), 0.06 / texel_m)
    limit = min(np.quantile(grey, GLASS_SHARE), GLASS_DARKNESS * np.median(grey))
    head = min((b.box[1] for b in design.blocks), default=design.top)
    walls = canvas.window(0.0, FOOT_M, design.width, head)
    canvas.glass[walls] = np.clip((limit - grey[walls]) / 25.0, 0, 1)
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
