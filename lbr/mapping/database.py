"""COLMAP's database, written for pycolmap to triangulate or reconstruct from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pycolmap

from lbr.io.files import remove

CALIBRATED = pycolmap.TwoViewGeometryConfiguration.CALIBRATED.value
Pair = tuple[str, str]


def write_database(
    path: Path, model: pycolmap.Reconstruction, keypoints: Mapping[str, np.ndarray], matches: Mapping[Pair, np.ndarray],
    verified: bool,
) -> None:  # fmt: skip
    """Write the cameras, images and keypoints of a model, and matches int [M, 2] of its pairs.

    verified: the matches are written as two-view geometries with their configuration (without it pycolmap 4
    passes over them in silence and triangulates nothing); otherwise as raw matches, to be verified.
    """
    remove(path)
    with pycolmap.Database.open(path) as database, pycolmap.DatabaseTransaction(database):
        _write_views(database, model)
        ids = {image.name: image.image_id for image in model.images.values()}
        for name, xy in keypoints.items():
            database.write_keypoints(ids[name], xy.astype(np.float32))
        for (first, second), indices in matches.items():
            indices = indices.astype(np.uint32)
            if verified:
                geometry = pycolmap.TwoViewGeometry(config=CALIBRATED, inlier_matches=indices)
                database.write_two_view_geometry(ids[first], ids[second], geometry)
            else:
                database.write_matches(ids[first], ids[second], indices)


def _write_views(database: pycolmap.Database, model: pycolmap.Reconstruction) -> None:
    for camera in model.cameras.values():
        database.write_camera(camera, use_camera_id=True)
    for rig in model.rigs.values():
        database.write_rig(rig, use_rig_id=True)
    for frame in model.frames.values():  # before its images, which refer to it
        database.write_frame(frame, use_frame_id=True)
    for image in model.images.values():
        database.write_image(image, use_image_id=True)


def forget_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Take the two-view geometries of pairs out of a database; of those that have none nothing is said."""
    with pycolmap.Database.open(path) as database, pycolmap.DatabaseTransaction(database):
        ids = {image.name: image.image_id for image in database.read_all_images()}
        for first, second in pairs:
            database.delete_two_view_geometry(ids[first], ids[second])


def update_cameras(path: Path, model: pycolmap.Reconstruction) -> None:
    """Give the cameras of a database the intrinsics that they have in the model."""
    with pycolmap.Database.open(path) as database:
        for camera in model.cameras.values():
            database.update_camera(camera)
