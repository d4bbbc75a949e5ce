"""The stage `index`: which db images show which instance, and the instance of every observation of the map."""

from __future__ import annotations

import os

import numpy as np

from lbr.errors import DataError
from lbr.features.labelling import labels_at
from lbr.io.files import remove
from lbr.io.predictions_file import PredictionFile
from lbr.io.text_lists import Problem
from lbr.mapping.map import Map, open_map
from lbr.parallel import parallel_map
from lbr.pipeline.searching import LABELS
from lbr.pipeline.stage import Context, Report, identities, made, reused
from lbr.pipeline.vocabulary import load_vocabulary
from lbr.pipeline.workers import ReadMask
from lbr.pipeline.workspace import Recipe, digest_masks, making
from lbr.retrieval.index import build_index, shares_of_mask, write_index


def make_index(context: Context) -> list[Report]:
    """index/: the instance index of the map's images, with labels.npy, the instance of each of its observations."""
    workspace, masks = context.workspace, context.labels.masks
    if masks is None:
        raise DataError("the dataset has no label images to index: set dataset.labels to their folder")
    scene = open_map(workspace.map)
    inputs = identities(workspace.map, workspace.db_predictions)
    inputs["labels"] = digest_masks(masks, scene.names)
    recipe = Recipe("index", context.dump("index"), inputs)
    if context.reusable(workspace.index, recipe):
        return [reused(workspace.index)]
    with making(workspace.index, recipe) as work:
        shares: dict[str, dict[int, float]] = {}
        labels = np.zeros(len(scene.point_index), np.int32)
        worker, names = ReadMask(masks, load_vocabulary(context)), [(name, name) for name in scene.names]
        for (name, _), found in parallel_map(worker, names, context.config.parallel, "index"):
            if isinstance(found, Problem):
                work.problems.append(found)
            shares[name] = {} if isinstance(found, Problem) else shares_of_mask(found["mask"])
            if not isinstance(found, Problem):
                _label(scene, name, found["mask"], labels)
        with PredictionFile(workspace.db_predictions) as file:
            features = {name: file.read(name).feature for name in scene.names if name in file}
        index = build_index(shares, features, load_vocabulary(context).num_classes, context.config.index.min_share)
        unfinished = workspace.index.with_name(f".{workspace.index.name}.{recipe.identity}.tmp")
        write_index(unfinished, index)
        np.save(unfinished / LABELS, labels)
        remove(workspace.index)
        os.replace(unfinished, workspace.index)
        work.facts["summary"] = (
            f"{np.count_nonzero(np.diff(index.by_instance.indptr))} instances in {len(index)} images, "
            f"{np.diff(index.offsets).mean():.1f} each; {100 * np.mean(labels > 0):.0f} % of the observations labelled"
        )
    return [made(workspace.index)]


def _label(scene: Map, name: str, mask: np.ndarray, labels: np.ndarray) -> None:
    """Write the instances of one image's observations into `labels`, int32 [O]."""
    image = scene.index_of(name)
    span = scene.observations(image)
    labels[span] = labels_at(scene.keypoints[span], scene.camera(image).size, mask)
