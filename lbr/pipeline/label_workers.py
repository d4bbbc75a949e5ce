"""What `parallel_map` runs for the stage `label`: pictures of walls, ids of pixels, label images with corrections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lbr.errors import DataError
from lbr.geometry.gravity import Ground
from lbr.io.images import ImageFolder, write_image
from lbr.io.labels import mask_path, read_mask, unpack_colours, write_mask
from lbr.mapping.instances.find import ImageTask, Painted, Scene, canvases
from lbr.mapping.instances.pixels import label_pixels, spread_labels
from lbr.mapping.instances.texture import Canvas, Texture, paint
from lbr.mapping.instances.views import View, level_pose, small_size, view_of
from lbr.mapping.instances.walls import Wall
from lbr.mapping.map import Map
from lbr.pipeline.workers import Arrays, Worker
from lbr.types import InstanceVocabulary
from lbr.visualization import colours as palette
from lbr.visualization.instances import preview

CACHED_VIEWS = 200  # of 360 x 360 pixels x 3 float32: 0.3 GB
PREVIEW_WIDTH = 640


class PaintWallItem(NamedTuple):
    """A wall to paint: its plane, its canvas, and (first column, last column, images) of its stretches."""

    wall: Wall
    canvas: Canvas
    parts: list[tuple[int, int, np.ndarray]]


def wall_items(scene: Scene, place: int) -> dict[str, PaintWallItem]:
    """The walls of a place that are worth to be painted, by keys of their own."""
    return {f"wall {place}.{k}": PaintWallItem(*wall) for k, wall in enumerate(canvases(scene))}


def painted(item: PaintWallItem, arrays: Arrays) -> Painted:
    """What `PaintWall` made of a wall."""
    return item.wall, item.canvas, Texture(**arrays)


@dataclass
class PaintWall(Worker[PaintWallItem]):
    """A wall -> arrays of its texture. Photographs that cannot be read are left out: LabelImage says so of each."""

    images: ImageFolder
    scene: Map
    ground: Ground

    @cached_property
    def view(self) -> Any:
        return lru_cache(CACHED_VIEWS)(self._read)

    def _read(self, image: int) -> View | None:
        try:
            photograph = self.images.read(self.scene.names[image])
        except DataError:
            return None
        return view_of(photograph, self.scene.camera(image), level_pose(self.scene, image, self.ground))

    def make(self, item: PaintWallItem) -> Arrays:
        texture = paint(item.wall, item.canvas, item.parts, self.view)
        return {"lab": texture.lab, "agreement": texture.agreement, "views": texture.views}


@dataclass
class InstancesOfImage(Worker[ImageTask]):
    """An image -> `ids` uint16 [H, W] of its pixels, as stored."""

    images: ImageFolder

    def make(self, item: ImageTask) -> Arrays:
        photograph = self.images.read(item.name)
        size = (photograph.shape[1], photograph.shape[0])
        if not item.by_planes:
            return {"ids": spread_labels(item.keypoints, item.labels, small_size(item.camera), size)}
        view = view_of(photograph, item.camera, item.pose)
        return {"ids": label_pixels(view, item.pieces, item.keypoints, item.labels, size, item.unseen)}


@dataclass
class LabelImage(InstancesOfImage):
    """An image -> its label image, below `folder`, in the colours of the found instances; no arrays."""

    folder: Path
    vocabulary: InstanceVocabulary

    def make(self, item: ImageTask) -> Arrays:
        write_mask(mask_path(self.folder, item.name), super().make(item)["ids"], self.vocabulary)
        return {}


@dataclass
class DrawLabels(Worker[str]):
    """Image name -> its label image and its preview below `folder`; `shares` float32 [num + 1], what each id fills of
    it.

    table: the id that each found id becomes (0: dropped). names: of ids, for the preview.
    """

    images: ImageFolder
    found: Path
    folder: Path
    vocabulary: InstanceVocabulary
    table: np.ndarray
    names: Mapping[int, str]

    @cached_property
    def colours(self) -> dict[int, palette.Colour]:
        return {k: (r, g, b) for k, (r, g, b) in enumerate(unpack_colours(self.vocabulary.colours).tolist()) if k}

    def make(self, name: str) -> Arrays:
        ids = self.table[read_mask(mask_path(self.found, name), self.vocabulary)]
        write_mask(mask_path(self.folder, name), ids, self.vocabulary)
        photograph = self.images.read(name)
        picture = preview(photograph, ids, self.colours, self.names, PREVIEW_WIDTH)
        write_image((self.folder / "previews" / name).with_suffix(".jpg"), picture)
        shares = np.bincount(ids.ravel(), minlength=len(self.table)) / ids.size
        return {"shares": shares.astype(np.float32)}
