"""The stage `index`: which db images show which instance, and the instance of every observation of the map."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lbr.errors import DataError
from lbr.features.labelling import labels_at
from lbr.io.files import remove
from lbr.io.labels import mask_path, vocabulary_digest, write_vocabulary
from lbr.io.predictions_file import PredictionFile
from lbr.io.text_lists import Problem
from lbr.mapping.map import Map, open_map
from lbr.matching.nearest import Nearest, NearestSettings
from lbr.parallel import parallel_map
from lbr.pipeline.changes import changes_of, label_image_of_added
from lbr.pipeline.searching import LABELS, VOCABULARY
from lbr.pipeline.stage import Context, Report, identities, made, reused
from lbr.pipeline.vocabulary import load_vocabulary
from lbr.pipeline.workers import ReadMask
from lbr.pipeline.workspace import Making, Recipe, digest_named, made_as, making, read_manifest, reusable
from lbr.retrieval.index import build_index, shares_of_mask, write_index
from lbr.retrieval.lookalikes import look_alikes
from lbr.types import InstanceVocabulary, LocalFeatures

BETWEEN_INSTANCES = NearestSettings(ratio=0.92)  # of SIFT as of learned features: a homography tells what is right


def make_index(context: Context) -> list[Report]:
    """index/: the instance index of the map's images, with labels.npy, the instance of each of its observations, and
    the vocabulary."""
    workspace = context.workspace
    if context.labels.masks is None:
        raise DataError("the dataset has no label images to index: set dataset.labels to their folder")
    scene = open_map(workspace.map)
    masks, vocabulary = label_images(context, scene), load_vocabulary(context)
    inputs = identities(workspace.map, workspace.db_predictions)
    inputs |= {"labels": digest_named(masks), "vocabulary": vocabulary_digest(vocabulary)}
    recipe = Recipe("index", context.dump("index"), inputs)
    if reusable(workspace.index, recipe, context.overwrite or _is_of_the_map_before(context)):
        return [reused(workspace.index)]
    with making(workspace.index, recipe) as work:
        shares, labels = _shown(context, scene, masks, vocabulary, work)
        with PredictionFile(workspace.db_predictions) as file:
            features = {name: file.read(name).feature for name in scene.names if name in file}
        settings = context.config.index
        views = _views(scene, labels, settings.look_alikes.max_keypoints)
        alike = look_alikes(views, Nearest(BETWEEN_INSTANCES).match, settings.look_alikes)
        index = build_index(shares, features, vocabulary.num_classes, settings.min_share, alike)
        unfinished = workspace.index.with_name(f".{workspace.index.name}.{recipe.identity}.tmp")
        write_index(unfinished, index)
        np.save(unfinished / LABELS, labels)
        write_vocabulary(unfinished / VOCABULARY, vocabulary)
        remove(workspace.index)
        os.replace(unfinished, workspace.index)
        work.facts["summary"] = (
            f"{np.count_nonzero(np.diff(index.by_instance.indptr))} instances in {len(index)} images, "
            f"{np.diff(index.offsets).mean():.1f} each, pairs of look-alikes: {len(alike)}; "
            f"{100 * np.mean(labels > 0):.0f} % of the observations labelled"
        )
    return [made(workspace.index)]


def _shown(
    context: Context, scene: Map, masks: Mapping[str, Path], vocabulary: InstanceVocabulary, work: Making
) -> tuple[dict[str, dict[int, float]], np.ndarray]:
    """How much of each image is of which instance, and the instance of each observation, int32 [O]."""
    bare = [name for name, path in masks.items() if context.makes_labels and not path.is_file()]
    if bare:  # of places without instances; those of the dataset's labels are told one by one
        first = f"first: {masks[bare[0]]}"
        work.problems.append(Problem("labels", f"{len(bare)} images have none, so show no instance ({first})"))
    shares: dict[str, dict[int, float]] = {name: {} for name in bare}
    there = {name: path for name, path in masks.items() if name not in shares}
    labels = np.zeros(len(scene.point_index), np.int32)
    worker = ReadMask(vocabulary)
    for (name, _), found in parallel_map(worker, list(there.items()), context.config.parallel, "index"):
        if isinstance(found, Problem):
            work.problems.append(found)
            shares[name] = {}
        else:
            shares[name] = shares_of_mask(found["mask"])
            _label(scene, name, found["mask"], labels)
    return shares, labels


def _views(scene: Map, labels: np.ndarray, most: int) -> dict[int, LocalFeatures]:
    """Of each instance its keypoints, `most` of them, in the db image that has most. labels: of the observations."""
    image = np.repeat(np.arange(len(scene)), np.diff(scene.offsets))
    pairs, count = np.unique(labels.astype(np.int64) * len(scene) + image, return_counts=True)
    ascending = pairs[np.argsort(count, kind="stable")].tolist()  # the last one of an instance stays
    shown_in = {pair // len(scene): pair % len(scene) for pair in ascending}
    views, scene = {}, scene.labelled(labels)
    for instance in sorted(shown_in.keys() - {0}):
        features = scene.features(shown_in[instance])
        views[instance] = features.select(features.labels == instance).top(most)
    return views


def label_images(context: Context, scene: Map) -> dict[str, Path]:
    """Where the label images of the map's images are or would be, in their order."""
    masks, workspace = context.labels.masks, context.workspace
    if masks is None:
        return {}
    added = set(changes_of(workspace).added)
    return {n: label_image_of_added(workspace, masks, n) if n in added else mask_path(masks, n) for n in scene.names}


def _is_of_the_map_before(context: Context) -> bool:
    """Whether the index is of this map as it was before its last changes: then it follows them without being asked."""
    made, log = read_manifest(context.workspace.index), changes_of(context.workspace).log
    if made is None or not log:
        return False
    manifest = read_manifest(context.workspace.map) or {}
    return made["inputs"].get("map") in {made_as(manifest), *(change.made for change in log)}


def _label(scene: Map, name: str, mask: np.ndarray, labels: np.ndarray) -> None:
    """Write the instances of one image's observations into `labels`, int32 [O]."""
    image = scene.index_of(name)
    span = scene.observations(image)
    labels[span] = labels_at(scene.keypoints[span], scene.camera(image).size, mask)
