"""Points from matches of images whose poses and intrinsics are known and stay fixed (METHOD.md 10)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Literal

import numpy as np
import pycolmap
from pydantic import Field

from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose, round_origin
from lbr.io.colmap import build_model, posed_cameras
from lbr.mapping.database import Pair, write_database
from lbr.mapping.verification import normalised_rays, sampson_distance
from lbr.settings import Settings
from lbr.types import Matches


class TriangulationSettings(Settings):
    """Points from the given poses. Thresholds in pixels and degrees; the last three are COLMAP's."""

    name: Literal["triangulation"] = "triangulation"
    max_epipolar_error_px: float = Field(default=4.0, gt=0, description="against the given poses")
    min_matches: int = Field(default=15, ge=1, description="pairs with fewer after verification are dropped")
    max_reprojection_error_px: float = Field(default=4.0, gt=0)
    min_triangulation_angle_deg: float = Field(default=1.5, gt=0)
    max_angle_error_deg: float = Field(default=2.0, gt=0)


def verify_pairs(
    cameras: Mapping[str, Camera], poses: Mapping[str, Pose], keypoints: Mapping[str, np.ndarray],
    matches: Iterator[tuple[Pair, Matches]], settings: TriangulationSettings,
) -> dict[Pair, np.ndarray]:  # fmt: skip
    """Matches int32 [M, 2] of each pair that agree with the known poses; pairs with too few are left out."""
    rays = {name: normalised_rays(cameras[name], xy) for name, xy in keypoints.items()}
    verified: dict[Pair, np.ndarray] = {}
    for (a, b), found in matches:
        i, j = found.indices.T
        focal = (np.mean(cameras[a].focal) + np.mean(cameras[b].focal)) / 2
        error_px = focal * sampson_distance(rays[a][i], rays[b][j], poses[b] @ poses[a].inverse())
        kept = found.indices[error_px <= settings.max_epipolar_error_px]
        if len(kept) >= settings.min_matches:
            verified[a, b] = kept
    return verified


def triangulate(
    cameras: Mapping[str, Camera], poses: Mapping[str, Pose], keypoints: Mapping[str, np.ndarray],
    verified: Mapping[Pair, np.ndarray], settings: TriangulationSettings, seed: int = 0,
) -> pycolmap.Reconstruction:  # fmt: skip
    """Triangulate verified matches with COLMAP's triangulator, poses and intrinsics fixed.

    keypoints: float32 [N, 2] by image, corner-origin, for every image of `cameras`. Raises DataError when no pair
    was verified or no point came out, with what to look at.
    """
    if not verified:
        raise DataError("no image pair has matches that agree with the given poses; look at the poses and the pairs")
    origin = round_origin(np.array([pose.centre for pose in poses.values()]))
    model = build_model(cameras, {name: pose.about(origin) for name, pose in poses.items()})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "database.db")
        write_database(path, model, keypoints, verified, verified=True)
        found = _triangulated(model, path, settings, seed)
    if found.num_points3D() == 0:
        raise DataError(
            f"triangulation made no point out of {sum(map(len, verified.values()))} matches of {len(verified)} pairs: "
            "the poses and the matches do not fit each other, or the cameras share one place"
        )
    if origin.any():
        found.transform(pycolmap.Sim3d(1.0, pycolmap.Rotation3d(), origin))
    return found


def with_points_of_all(
    model: pycolmap.Reconstruction, keypoints: Mapping[str, np.ndarray], matches: Mapping[Pair, Matches], seed: int = 0
) -> pycolmap.Reconstruction:
    """The same images, poses and intrinsics, with points also of all matches between them that agree with those."""
    cameras, poses = posed_cameras(model)
    inside = ((pair, found) for pair, found in matches.items() if all(name in poses for name in pair))
    kept, settings = {name: keypoints[name] for name in poses}, TriangulationSettings()
    verified = verify_pairs(cameras, poses, kept, inside, settings)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "database.db")
        write_database(path, model, kept, verified, verified=True)
        return _triangulated(deepcopy(model), path, settings, seed, clear=False)


def _triangulated(
    model: pycolmap.Reconstruction, database: Path, settings: TriangulationSettings, seed: int, clear: bool = True
) -> pycolmap.Reconstruction:
    """clear: without the points that the model has."""
    out = database.parent / "out"
    out.mkdir()
    return pycolmap.triangulate_points(
        model, database, database.parent, out, clear_points=clear, options=_options(settings, seed),
        refine_intrinsics=False,
    )  # fmt: skip


def _options(settings: TriangulationSettings, seed: int) -> pycolmap.IncrementalPipelineOptions:
    options = pycolmap.IncrementalPipelineOptions()
    options.ba_refine_sensor_from_rig = False  # or the second camera of a rig moves
    options.extract_colors = False
    options.random_seed = seed
    options.num_threads = 1  # more would not be faster here, and sums would depend on their order
    options.mapper.filter_max_reproj_error = settings.max_reprojection_error_px
    options.mapper.filter_min_tri_angle = settings.min_triangulation_angle_deg
    options.triangulation.min_angle = settings.min_triangulation_angle_deg
    options.triangulation.create_max_angle_error = settings.max_angle_error_deg
    options.triangulation.continue_max_angle_error = settings.max_angle_error_deg
    return options
