"""Photographs as the finding of instances sees them: small, in Lab, with poses in the level frame; and who sees
what."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy import sparse

from lbr.geometry.gravity import Ground
from lbr.geometry.pose import Pose
from lbr.io.colmap import cam_from_img, img_from_cam
from lbr.io.images import resize
from lbr.mapping.map import Map
from lbr.types import Camera

PIXELS = 360**2  # of a small photograph


@dataclass(frozen=True, eq=False)
class View:
    """A small photograph: lab float32 [H, W, 3] (each 0..255), its camera, cam_from_level."""

    lab: np.ndarray
    camera: Camera
    pose: Pose

    @cached_property
    def rays(self) -> np.ndarray:
        """float64 [H, W, 3]: directions through the pixels' centres, level frame, of depth 1."""
        height, width = self.lab.shape[:2]
        x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        flat = cam_from_img(self.camera, np.stack([x, y], -1).reshape(-1, 2))
        return (np.column_stack([flat, np.ones(len(flat))]) @ self.pose.R).reshape(height, width, 3)

    def project(self, xyz: np.ndarray) -> np.ndarray:
        """Points [N, 3] of the level frame -> pixels of the small photograph float64 [N, 2]; nan behind the camera."""
        return img_from_cam(self.camera, self.pose.apply(xyz))


def small_size(camera: Camera) -> tuple[int, int]:
    """(width, height) of the small copy of a camera's photograph, never larger than it."""
    scale = min(1.0, np.sqrt(PIXELS / (camera.width * camera.height)))
    return max(1, round(camera.width * scale)), max(1, round(camera.height * scale))


def view_of(image: np.ndarray, camera: Camera, level_pose: Pose) -> View:
    """A photograph RGB uint8 [H, W, 3] made small."""
    size = small_size(camera)
    lab = cv2.cvtColor(resize(image, size), cv2.COLOR_RGB2LAB).astype(np.float32)
    return View(lab, camera.scaled(*size), level_pose)


def level_pose(scene: Map, image: int, ground: Ground) -> Pose:
    """cam_from_level of an image of the map."""
    pose = scene.pose(image)
    return Pose(pose.R @ ground.level_from_world.T, pose.t)


def level_centres(scene: Map, ground: Ground) -> np.ndarray:
    """float64 [I, 3]: where the cameras of the map stand in the level frame."""
    centres: np.ndarray = scene.centres @ ground.level_from_world.T
    return centres


def sightings(scene: Map) -> sparse.csr_matrix:
    """CSR [P, I]: which points of the map are seen in which images; the data are indices of observations + 1."""
    images = np.repeat(np.arange(len(scene)), np.diff(scene.offsets))
    numbers = np.arange(1, len(images) + 1)
    seen = sparse.csr_matrix((numbers, (np.asarray(scene.point_index), images)), (len(scene.points), len(scene)))
    return seen
