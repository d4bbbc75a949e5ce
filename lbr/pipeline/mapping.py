"""The stage `reconstruct`: 3D points from the matches, and the map of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from lbr.errors import ConfigError
from lbr.features.sift_daynight import SiftDayNightSettings, of_sift
from lbr.io.colmap import posed_cameras, read_models, write_models
from lbr.io.colmap_arrays import ModelArrays, model_arrays
from lbr.io.features_file import FeatureFile
from lbr.io.matches_file import MatchFile
from lbr.io.text_lists import Problem
from lbr.mapping.map import FORMAT, VERSION, Map, Units, build_map, write_map
from lbr.mapping.places import join_places
from lbr.mapping.sfm import Motion, SfmSettings, structure_from_motion
from lbr.mapping.triangulation import triangulate, verify_pairs, with_points_of_all
from lbr.matching import guidance
from lbr.parallel import ParallelSettings
from lbr.pipeline.changes import changes_of
from lbr.pipeline.matching import matches_of
from lbr.pipeline.stage import Context, Report, identities, made, reused
from lbr.pipeline.workspace import Making, Recipe, digest_files, making
from lbr.retrieval.pairs import Pair
from lbr.types import Camera, Matches


def reconstruct(context: Context) -> list[Report]:
    """3D points: triangulated with the given poses, or structure from motion; and the map of them."""
    workspace, output = context.workspace, context.workspace.map
    inputs = identities(workspace.db_features, workspace.matches)
    inputs |= {"model": digest_files(context.dataset.model_files), "format": f"{FORMAT} {VERSION}"}
    recipe = Recipe("reconstruct", context.dump("reconstruction", "seed"), inputs)
    if context.reusable(output, recipe):
        return [reused(output)]
    lost = _lost_changes(context)
    with making(output, recipe) as work, FeatureFile(workspace.db_features) as features:
        work.problems += lost
        _write_sfm(context, features, work)
        arrays, place = join_places([model_arrays(model) for model in read_models(workspace.sfm)])
        descriptors = (features.read(name).descriptors for name in arrays.names)
        units: Units = "model" if isinstance(context.config.reconstruction, SfmSettings) else "metres"
        arrays = _with_sources(arrays, context.dataset.cameras)
        scene = build_map(arrays, descriptors, json.loads(features.extractor or "{}"), place, units)
        said = context.dataset.said_cameras
        scene = replace(scene, said={name: said[name] for name in scene.names if name in said})
        bare = [n for n, count in zip(scene.names, np.diff(scene.offsets), strict=True) if count == 0]
        work.problems.extend(Problem(n, "no 3D point is seen in it: no query can be localized by it") for n in bare)
        write_map(output, scene)
        work.facts["summary"] = map_summary(scene) + _places_text(scene) + _motion_text(work)
    return [made(output)]


def _with_sources(arrays: ModelArrays, cameras: Mapping[str, Camera]) -> ModelArrays:
    """The model, whose cameras say whether the dataset gave them or they were refined with it."""
    pairs = zip(arrays.names, arrays.cameras, strict=True)
    told = (replace(camera, source="given" if cameras[name].is_known else "map") for name, camera in pairs)
    return replace(arrays, cameras=tuple(told))


def map_summary(scene: Map) -> str:
    return (
        f"{len(scene)} images, {len(scene.points):,} points, {len(scene.keypoints):,} observations, "
        f"mean error {scene.point_errors.mean():.2f} px, mean track {scene.track_lengths.mean():.1f}"
    )


def _places_text(scene: Map) -> str:
    """How many places there are, and how many images each has; nothing where it is one."""
    if scene.num_places == 1:
        return ""
    sizes = ", ".join(str(count) for count in np.bincount(scene.place))
    return f"; {scene.num_places} separate places ({sizes} images), each in a frame of its own"


def _motion_text(work: Making) -> str:
    """What structure from motion had to do otherwise: pairs left out again, places whose intrinsics ran off."""
    text, pairs, held = "", work.facts.get("false_joins", 0), work.facts.get("held", 0)
    if pairs:
        text += f"; {pairs} pairs of photographs are alike but not of one place, and were left out"
    if held:
        text += f"; {held} place(s) keep principal points, or all intrinsics, as guessed: photographs do not tell them"
    return text


def _lost_changes(context: Context) -> list[Problem]:
    """What was added to the map that is about to be made anew, or taken from it: the new one knows nothing of it."""
    log = changes_of(context.workspace).log
    if not log:
        return []
    calls = ", ".join(f"{change.verb} of {len(change.names)} images" for change in log)
    return [Problem("map", f"made anew from the dataset, so without its changes ({calls}); call these verbs again")]


def _write_sfm(context: Context, features: FeatureFile, work: Making) -> None:
    """The COLMAP model sfm/ (of several places: the others in sfm/1, ...), of the db images that have features."""
    dataset, settings, seed = context.dataset, context.config.reconstruction, context.config.seed
    names = [name for name in dataset.db_names if name in features]
    cameras = {name: dataset.cameras[name] for name in names}
    keypoints, sift = _keypoints(context, features, names)
    with MatchFile(context.workspace.matches) as matches:
        if isinstance(settings, SfmSettings):
            found = dict(_all_matches(matches))
            motion = _from_motion(cameras, keypoints, found, sift, settings, seed, context.config.parallel)
            models = _with_points_of_all(context, motion, keypoints, found, apart=sift is not None)
            _tell(motion, names, work)
        elif dataset.poses is None:
            raise ConfigError("reconstruction.name=triangulation needs dataset.model; use reconstruction.name=sfm")
        else:
            poses = {name: dataset.poses[name] for name in names}
            verified = verify_pairs(cameras, poses, keypoints, _all_matches(matches), settings)
            models = [triangulate(cameras, poses, keypoints, verified, settings, seed)]
    write_models(context.workspace.sfm, models)


def _keypoints(
    context: Context, features: FeatureFile, names: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
    """Of each image its keypoints [N, 2]; and which of them are SIFT's, bool [N], where those alone make poses."""
    settings = context.config.reconstruction
    two_kinds = isinstance(context.config.extractor, SiftDayNightSettings)
    apart = two_kinds and isinstance(settings, SfmSettings) and settings.poses_by == "sift"
    keypoints, sift = {}, {}
    for name in names:
        found = features.read(name)
        keypoints[name] = found.keypoints
        if apart:
            sift[name] = of_sift(found.descriptors)
    return keypoints, sift if apart else None


def _from_motion(
    cameras: dict[str, Camera], keypoints: dict[str, np.ndarray], matches: dict[Pair, Matches],
    posing: dict[str, np.ndarray] | None, settings: SfmSettings, seed: int, parallel: ParallelSettings,
) -> Motion:  # fmt: skip
    """Structure from motion, by the keypoints `posing` where not all make poses."""
    chosen = {pair: found.indices for pair, found in matches.items()}
    if posing is not None:
        chosen = {(a, b): found[posing[a][found[:, 0]]] for (a, b), found in chosen.items()}
    chosen = {pair: found for pair, found in chosen.items() if len(found) >= settings.min_matches}
    return structure_from_motion(cameras, keypoints, chosen, settings, seed, parallel)


def _with_points_of_all(
    context: Context, motion: Motion, keypoints: dict[str, np.ndarray], matches: dict[Pair, Matches], apart: bool
) -> list[Any]:
    """The models of structure from motion with points also of keypoints that made no poses (apart: there are such), and
    of what guided matching finds with these."""
    config, left_out, models = context.config, set(motion.left_out), []
    guided = guidance(config.matcher) is not None
    if not guided and not apart:
        return motion.models
    for model in motion.models:
        cameras, poses = posed_cameras(model)
        found = {p: m for p, m in matches.items() if poses.keys() >= set(p) and p not in left_out}
        if guided:
            views = {name: (cameras[name], pose) for name, pose in poses.items()}
            features, pairs = (context.workspace.db_features,), sorted(found)
            found = dict(matches_of(features, config.matcher, pairs, config.parallel, "match again", views))
        models.append(with_points_of_all(model, keypoints, found, config.seed))
    return models


def _tell(motion: Motion, names: list[str], work: Making) -> None:
    inside = {name for model in motion.models for name in posed_cameras(model)[0]}
    for name in (name for name in names if name not in inside):
        why = (
            "placed with intrinsics that no camera has, and left out" if name in motion.unsettled else "not registered"
        )
        work.problems.append(Problem(name, f"{why} by structure from motion"))
    work.facts["false_joins"], work.facts["held"] = len(motion.left_out), motion.held
    if motion.still_joined:
        images = len({name for pair in motion.still_joined for name in pair})
        why = f"{images} images look through walls that others see: places that look alike were joined, and poses "
        why += "there may be wrong; raise reconstruction.false_joins.rounds"
        work.problems.append(Problem("map", why))


def _all_matches(matches: MatchFile) -> Iterator[tuple[Pair, Matches]]:
    for first in matches.first_names():
        for second, found in matches.read(first).items():
            yield (first, second), found
