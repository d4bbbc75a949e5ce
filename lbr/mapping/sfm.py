"""Structure from motion for photographs without poses: incremental or global, by pycolmap."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pycolmap
from pydantic import Field

from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import build_model
from lbr.io.colmap_arrays import model_arrays
from lbr.mapping.co_observation import co_observation
from lbr.mapping.database import Pair, forget_pairs, update_cameras, write_database
from lbr.mapping.false_joins import FalseJoinSettings, contradicting
from lbr.mapping.refinement import ModelRefinementSettings, refine_model
from lbr.mapping.screening import without_chance_pairs
from lbr.parallel import ParallelSettings, progress_bar
from lbr.settings import Settings

ONE_WORKER = ParallelSettings(workers=1)
Reconstruct = Callable[..., list[pycolmap.Reconstruction]]  # all images, or with the cameras as guessed `only` some


class SfmSettings(Settings):
    """Poses and points from the photographs alone."""

    name: Literal["sfm"] = "sfm"
    method: Literal["incremental", "global"] = "incremental"
    poses_by: Literal["sift", "all"] = Field(
        default="sift",
        description="keypoints of sift+daynight that make poses; points are made of all. Streets that look alike are "
        "joined by what daynight matches",
    )
    min_matches: int = Field(default=15, ge=1, description="pairs with fewer after verification are dropped")
    min_inlier_ratio: float = Field(
        default=0.3, ge=0, le=1, description="chance finds 15 of 100 false matches, and would join places far apart"
    )
    min_model_size: int = Field(default=3, ge=2, description="smaller models are dropped")
    false_joins: FalseJoinSettings = FalseJoinSettings()
    refinement: ModelRefinementSettings = ModelRefinementSettings()


@dataclass(frozen=True, eq=False)
class Motion:
    """What structure from motion found.

    models: largest first (disjoint places give several). left_out: matched pairs of images that are alike, but cannot
    be of one place, as the models that they joined contradicted themselves. still_joined: such pairs that are in the
    models nevertheless, as the rounds had ended. unsettled: images of models that are left out, as no point came out of
    them by any intrinsics. held: how many models have principal points, or all intrinsics, as they were: they ran off.
    """

    models: list[pycolmap.Reconstruction]
    left_out: tuple[Pair, ...]
    still_joined: tuple[Pair, ...]
    unsettled: tuple[str, ...] = ()
    held: int = 0


def structure_from_motion(
    cameras: Mapping[str, Camera], keypoints: Mapping[str, np.ndarray], matches: Mapping[Pair, np.ndarray],
    settings: SfmSettings, seed: int = 0, parallel: ParallelSettings = ONE_WORKER,
) -> Motion:  # fmt: skip
    """Verify the matches and reconstruct; again without the pairs that join what contradicts itself, if there are any.

    No image is in two models: it stays in the largest, and models left with fewer than `min_model_size` are dropped.
    Cameras whose source is 'given' keep their intrinsics; others have them refined, each model its own. Equal cameras
    are one camera.
    The same seed gives the same models, whatever the workers of `parallel`. Raises DataError when no model came out.
    """
    num_pairs = len(matches)
    matches = without_chance_pairs(keypoints, matches, settings.min_inlier_ratio, seed, parallel)
    placeholder = build_model(cameras, {name: Pose.identity() for name in cameras})
    given = {image.camera_id for image in placeholder.images.values() if cameras[image.name].source == "given"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "database.db")
        write_database(path, placeholder, keypoints, matches, verified=False)
        _verify(path, settings, seed, parallel)
        reconstruct = partial(_reconstruct, path, Path(folder), placeholder, given, settings, seed)
        found = _without_false_joins(reconstruct, path, matches.keys(), settings)
        for model in found.models:  # the global mapper holds all cameras or none
            for camera_id in given.intersection(model.cameras):
                model.cameras[camera_id].params = list(placeholder.cameras[camera_id].params)
        found = _refined(found, reconstruct, path, placeholder, given, settings, seed)
    if not found.models:
        raise DataError(_why_no_model(found, len(cameras), len(matches), num_pairs, settings))
    return found


def _why_no_model(found: Motion, images: int, kept: int, pairs: int, settings: SfmSettings) -> str:
    """kept: the pairs, of all that were matched, that share more than chance."""
    if settings.min_model_size > images:
        return f"{images} images are fewer than a model is to have: {settings.min_model_size} (min_model_size)"
    if found.unsettled:
        return (
            f"the intrinsics found for {len(found.unsettled)} images are no camera's, and no point comes out of them: "
            "take photographs from more sides, or such as say their focal length (EXIF)"
        )
    return (
        f"structure from motion found no model in {images} images, with {kept} of {pairs} matched pairs more than "
        "chance: too little overlap, too few matches, or no baseline"
    )


def _verify(database: Path, settings: SfmSettings, seed: int, parallel: ParallelSettings) -> None:
    verifier, two_view = pycolmap.GeometricVerifierOptions(), pycolmap.TwoViewGeometryOptions()
    verifier.num_threads = parallel.num_workers  # each pair has its own random numbers
    two_view.min_num_inliers = settings.min_matches
    two_view.min_inlier_ratio = settings.min_inlier_ratio
    two_view.ransac.random_seed = seed
    pycolmap.geometric_verification(database, verifier, two_view_geometry_options=two_view)


def _without_false_joins(
    reconstruct: Reconstruct, database: Path, pairs: Set[Pair], settings: SfmSettings
) -> Motion:  # fmt: skip
    """Reconstruct from a database of these pairs, until nothing contradicts itself or the rounds have ended."""
    left_out: list[Pair] = []
    for round_ in range(settings.false_joins.rounds + 1):
        models = _disjoint(reconstruct(), settings.min_model_size)
        left = pairs - set(left_out)
        alike = [pair for model in models for pair in _false_pairs(model, left, settings.false_joins)]
        if not alike or round_ == settings.false_joins.rounds:
            break
        forget_pairs(database, alike)
        left_out += alike
    return Motion(models, tuple(left_out), tuple(alike))


def _false_pairs(model: pycolmap.Reconstruction, pairs: Set[Pair], settings: FalseJoinSettings) -> list[Pair]:
    """The pairs of which the one image is of a part of the model that contradicts the part of the other."""
    arrays = model_arrays(model)
    apart = contradicting(co_observation(arrays), settings)
    row = {name: i for i, name in enumerate(arrays.names)}
    return sorted((a, b) for a, b in pairs if a in row and b in row and apart[row[a], row[b]])


def _refined(
    found: Motion, reconstruct: Reconstruct, database: Path, placeholder: pycolmap.Reconstruction, given: set[int],
    settings: SfmSettings, seed: int,
) -> Motion:  # fmt: skip
    """The models refined; one that has no point left is made again with its cameras as they were guessed.

    placeholder: of all cameras, as guessed or given; given: ids of those that keep intrinsics.
    """
    models, held, lost = [], 0, set()
    for model in found.models:
        refined, stayed = refine_model(model, database, given, settings.refinement, seed)
        if refined.num_points3D():
            models.append(refined)
            held += stayed
        else:
            lost |= {model.image(i).name for i in model.reg_image_ids()}
    if lost:
        update_cameras(database, placeholder)
        again = _disjoint(reconstruct(only=lost), settings.min_model_size)
        fixed = [refine_model(model, database, set(model.cameras), settings.refinement, seed)[0] for model in again]
        fixed = [model for model in fixed if model.num_points3D()]
        models, held = models + fixed, held + len(fixed)
    inside = {model.image(i).name for model in models for i in model.reg_image_ids()}
    models.sort(key=lambda model: -model.num_reg_images())
    return replace(found, models=models, unsettled=tuple(sorted(lost - inside)), held=held)


def _disjoint(models: list[pycolmap.Reconstruction], min_size: int) -> list[pycolmap.Reconstruction]:
    """Largest first; COLMAP's mapper places up to 20 images again in a later model."""
    taken: set[str] = set()
    kept: list[pycolmap.Reconstruction] = []
    for model in sorted(models, key=lambda model: -model.num_reg_images()):
        for image in [model.image(i) for i in model.reg_image_ids()]:
            if image.name in taken:
                model.deregister_frame(image.frame_id)
        if model.num_reg_images() >= min_size and model.num_points3D():
            kept.append(model)
            taken |= {model.image(i).name for i in model.reg_image_ids()}
    return sorted(kept, key=lambda model: -model.num_reg_images())


def _reconstruct(
    database: Path, folder: Path, placeholder: pycolmap.Reconstruction, given: set[int], settings: SfmSettings,
    seed: int, only: Set[str] = frozenset(),
) -> list[pycolmap.Reconstruction]:  # fmt: skip
    """The mapper's models. placeholder: of all images and cameras; given: ids of the cameras that keep intrinsics.
    only: images to map alone, whose cameras all keep them."""
    out = folder / "models"
    out.mkdir()
    fixed = bool(only) or len(given) == placeholder.num_cameras()
    if settings.method == "global":
        chosen = _global_options(fixed, settings, seed)
        chosen.image_names = sorted(only)
        found = pycolmap.global_mapping(database, folder, out, chosen)
    else:
        options = _incremental_options(fixed, given, settings, seed)
        options.image_names = sorted(only)
        with progress_bar("structure from motion", placeholder.num_images()) as bar:
            found = pycolmap.incremental_mapping(database, folder, out, options, next_image_callback=bar.update)
    shutil.rmtree(out)
    return [model for model in found.values() if model.num_reg_images() >= settings.min_model_size]


def _incremental_options(
    fixed: bool, given: set[int], settings: SfmSettings, seed: int
) -> pycolmap.IncrementalPipelineOptions:
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed, options.min_model_size, options.num_threads = seed, settings.min_model_size, 1
    options.extract_colors = False
    options.ba_refine_focal_length = options.ba_refine_extra_params = not fixed
    options.constant_cameras = set() if fixed else given
    return options


def _global_options(fixed: bool, settings: SfmSettings, seed: int) -> pycolmap.GlobalPipelineOptions:
    options = pycolmap.GlobalPipelineOptions()
    options.random_seed, options.min_model_size, options.num_threads = seed, settings.min_model_size, 1
    options.mapper.bundle_adjustment.refine_focal_length = not fixed
    options.mapper.bundle_adjustment.refine_extra_params = not fixed
    return options
