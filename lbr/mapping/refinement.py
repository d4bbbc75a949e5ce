"""What structure from motion is polished with: intrinsics set free, points triangulated anew, robust bundle adjustment.

COLMAP's mapper keeps one focal length, the principal point at the middle and squared errors. Where a camera took enough
photographs they tell more of it, and false matches that survive its filter pull less on a Cauchy loss.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from copy import deepcopy
from pathlib import Path

import pycolmap
from pydantic import Field

from lbr.mapping.adjustment import robust_options
from lbr.mapping.database import update_cameras
from lbr.settings import Settings

OPENCV = pycolmap.CameraModelId.OPENCV
SPREADABLE = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL")  # with one focal length: they become OPENCV


class ModelRefinementSettings(Settings):
    """The last steps of structure from motion.

    min_camera_images: a camera with so many images of a model has its principal point, both focal lengths and four
    coefficients of distortion refined (COLMAP's OPENCV model). min_axis_images: with so many, its principal point in
    the model that it has, whose focal length is one. Fewer images cannot tell them: of twelve sets of three or four of
    strecha's photographs a free principal point made eight worse, of nine of five or six none.
    """

    rounds: int = Field(default=2, ge=0, description="of triangulation and adjustment; 0 leaves COLMAP's result")
    min_camera_images: int = Field(default=8, ge=3)
    min_axis_images: int = Field(default=5, ge=3)
    loss_scale_px: float = Field(default=0.5, gt=0, description="of the Cauchy loss")
    max_reprojection_error_px: float = Field(default=4.0, gt=0)


def refine_model(
    model: pycolmap.Reconstruction, database: Path, given: set[int], settings: ModelRefinementSettings, seed: int
) -> tuple[pycolmap.Reconstruction, bool]:
    """A model refined as the settings say, and whether its principal points stayed where they were.

    They do where, set free, they left the photograph, or the distortion lost its bounds: what the photographs do not
    tell runs off, and COLMAP makes no point by such a camera.
    given: ids of the cameras whose intrinsics stay as they are. database: of the model's images, with two-view
    geometries; its cameras are brought up to date with the model's.
    """
    if not settings.rounds:
        return model, False
    impossible = _impossible(model)
    free = _refined(deepcopy(model), database, given, settings, seed)
    if _impossible(free) <= impossible:
        return free, False
    most = model.num_reg_images() + 1
    fixed = settings.model_copy(update={"min_camera_images": most, "min_axis_images": most})
    return _refined(model, database, given, fixed, seed), True


def _impossible(model: pycolmap.Reconstruction) -> set[int]:
    """The ids of the cameras by whose intrinsics COLMAP's triangulation makes no points."""
    limits = pycolmap.IncrementalMapperOptions()
    bounds = limits.min_focal_length_ratio, limits.max_focal_length_ratio, limits.max_extra_param
    return {camera_id for camera_id, camera in model.cameras.items() if camera.has_bogus_params(*bounds)}


def _refined(
    model: pycolmap.Reconstruction, database: Path, given: set[int], settings: ModelRefinementSettings, seed: int
) -> pycolmap.Reconstruction:
    free = _free_intrinsics(model, given, settings)
    _adjust(model, given, free, 2 * settings.loss_scale_px)  # wider at first: intrinsics still move
    for _ in range(settings.rounds):
        model = _triangulate(model, database, settings, seed)
        _adjust(model, given, free, settings.loss_scale_px)
    return model


def _free_intrinsics(model: pycolmap.Reconstruction, given: set[int], settings: ModelRefinementSettings) -> set[int]:
    """The ids of the cameras whose principal points are to be refined. Those with images enough become OPENCV ones,
    from their present focal length and first coefficient."""
    counts = Counter(model.image(i).camera_id for i in model.reg_image_ids())
    for camera_id, camera in model.cameras.items():
        few = counts[camera_id] < settings.min_camera_images
        if camera_id in given or few or camera.model.name not in SPREADABLE:
            continue
        focal, cx, cy, *radial = camera.params
        camera.model = OPENCV
        camera.params = [focal, focal, cx, cy, radial[0] if radial else 0.0, 0.0, 0.0, 0.0]
    least = min(settings.min_axis_images, settings.min_camera_images)
    return {camera_id for camera_id in model.cameras if counts[camera_id] >= least} - given


def _adjust(model: pycolmap.Reconstruction, given: set[int], free: set[int], loss_scale_px: float) -> None:
    """Robust bundle adjustment of poses, points and intrinsics; free: whose principal points are refined, beside which
    those of others stay as they are."""
    options, config = robust_options(loss_scale_px), pycolmap.BundleAdjustmentConfig()
    options.refine_principal_point = bool(free)
    for image_id in model.reg_image_ids():
        config.add_image(image_id)
    for camera_id in model.cameras:
        if camera_id in given or (free and camera_id not in free):
            config.set_constant_cam_intrinsics(camera_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    pycolmap.create_default_bundle_adjuster(options, config, model).solve()
    model.update_point_3d_errors()


def _triangulate(
    model: pycolmap.Reconstruction, database: Path, settings: ModelRefinementSettings, seed: int
) -> pycolmap.Reconstruction:
    """Points anew from all verified matches, under the present poses and intrinsics."""
    options = pycolmap.IncrementalPipelineOptions()
    options.extract_colors, options.num_threads, options.random_seed = False, 1, seed
    options.mapper.filter_max_reproj_error = settings.max_reprojection_error_px
    update_cameras(database, model)
    with tempfile.TemporaryDirectory() as folder:
        return pycolmap.triangulate_points(
            model, database, folder, folder, clear_points=True, options=options, refine_intrinsics=False
        )
