"""The rendered scene with three instances, the thirds of its box; how it is recognised by a network hardly trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from lbr.io.colmap import project
from lbr.io.labels import mask_path, write_mask
from lbr.types import InstanceVocabulary
from tests.synthetic import RenderedScene, box_points

VOCABULARY = InstanceVocabulary(np.array([0, 0x0A141E, 0x0A1428, 0x14141E]), np.arange(4, dtype=np.int32))
MASK = (120, 90)  # a quarter of the photographs: label images may be of another size
CONFIG = """
candidates: {name: progressive, images_per_step: 2}
recognition:
  input_size: [64, 64]
  network: {name: pspf, encoder: resnet18, encoder_depth: 3, channels: 16, dropout: 0}
  training: {epochs: 1, batch_size: 4, holdout: 0.2, precision: float32, device: cpu, on_the_fly: never}
  prediction: {device: cpu, precision: float32, top_k: 3, pictures: false}
"""
LABELLED = ["localization={matcher: {name: instancewise}}", "parallel.workers=1"]


def true_mask(scene: RenderedScene, name: str) -> np.ndarray:
    """Classes [H, W] of one photograph: the left, the middle and the right third of the box of points."""
    points = box_points(150)
    third = 1 + np.digitize(points[:, 0], np.quantile(points[:, 0], [1 / 3, 2 / 3]))
    xy = project(scene.camera, scene.poses[name], points) * (np.array(MASK) / scene.camera.size)
    column, row = np.meshgrid(np.arange(MASK[0]) + 0.5, np.arange(MASK[1]) + 0.5)
    distance, nearest = cKDTree(xy).query(np.stack([column, row], -1).reshape(-1, 2))
    return np.where(distance < 6, third[nearest], 0).reshape(MASK[::-1]).astype(np.int32)


def write_masks(scene: RenderedScene, root: Path) -> None:
    """Label images of the db images of a copy of the scene at `root`."""
    for name in scene.db:
        path = mask_path(root / "global_seg_instance", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, true_mask(scene, name), VOCABULARY)
