"""Instances that came with additions to the map are known by prototypes until the network has learned them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lbr.errors import DataError
from lbr.io.labels import mask_path, read_mask
from lbr.io.text_lists import Problem
from lbr.parallel import parallel_map
from lbr.pipeline.changes import label_image_of_added
from lbr.pipeline.stage import Context, identities
from lbr.pipeline.vocabulary import load_own_vocabulary, load_vocabulary
from lbr.pipeline.workspace import Recipe, digest_files, digest_named, making, read_manifest, reusable
from lbr.types import InstanceVocabulary

if TYPE_CHECKING:
    from lbr.recognition.prototypes import Prototypes

MOST_IMAGES = 300  # of the map's own, to learn what known instances look like


def checkpoint_path(context: Context) -> Path:
    """The checkpoint to recognise with: the one that is named, else what `train` made."""
    settings = context.config.recognition
    return settings.weights or (settings.published.path if settings.published else context.workspace.recognition)


def checkpoint_identity(context: Context) -> dict[str, str]:
    """What a prediction depends on: the named file, or how the workspace's own was trained. Raises DataError."""
    settings, path = context.config.recognition, checkpoint_path(context)
    if path == context.workspace.recognition:
        return identities(path)
    order = {"colour_order": settings.published.colour_order} if settings.published else {}
    return {"weights": digest_files([path]), **order}


def make_prototypes(context: Context) -> Path | None:
    """prototypes.npz, made anew where the network or the label images are others; None where nothing needs them:
    no new instances in the map, or a network that has learned them."""
    vocabulary, own = load_vocabulary(context), load_own_vocabulary(context)
    new = np.setdiff1d(vocabulary.classes, own.classes)
    if not len(new):
        return None
    # torch, which a run that reuses everything need not wait for
    from lbr.recognition.checkpoints import load_checkpoint

    path, output = checkpoint_path(context), context.workspace.prototypes
    if context.config.recognition.published is None and load_checkpoint(path).vocabulary == vocabulary:
        return None
    images = _labelled(context)
    recipe = Recipe("prototypes", {}, {
        **checkpoint_identity(context), "labels": digest_named(images),
    })  # fmt: skip
    if not reusable(output, recipe, True):
        with making(output, recipe) as work:
            work.problems += _pool(context, images, new)
            work.facts["summary"] = f"{len(new)} instances that the network has not learned"
    return output


def made_prototypes(context: Context, vocabulary: InstanceVocabulary) -> Prototypes | None:
    """As they were made, of this network and of instances of `vocabulary`; None where there are none."""
    from lbr.recognition.prototypes import read_prototypes

    path = context.workspace.prototypes
    manifest = read_manifest(path)
    if manifest is None or not checkpoint_identity(context).items() <= manifest["inputs"].items():
        return None
    found = read_prototypes(path)
    return found if np.isin(found.classes, vocabulary.classes).all() else None


def _labelled(context: Context) -> dict[str, Path]:
    """Label images of all photographs added and of some of the dataset's, by name."""
    dataset, masks = context.dataset, context.labels.masks
    found: dict[str, Path] = {}
    if masks is not None:
        own = [name for name in dataset.db_names if mask_path(masks, name).is_file()]
        found = {name: mask_path(masks, name) for name in own[:: max(1, len(own) // MOST_IMAGES)]}
    for name in context.added:
        mask = label_image_of_added(context.workspace, masks, name)
        if mask.is_file():
            found[name] = mask
    return found


def _pool(context: Context, masks: Mapping[str, Path], new: np.ndarray) -> list[Problem]:
    """Writes the prototypes of the new instances; what images could not be read."""
    from lbr.io.labels import without_classes
    from lbr.recognition.predict import make_recognizer
    from lbr.recognition.prototypes import Pooling, write_prototypes

    vocabulary = load_vocabulary(context)
    learned = without_classes(vocabulary, new)
    recognizer = make_recognizer(context.config.recognition, checkpoint_path(context), learned)
    pooling, problems, images = Pooling(vocabulary.num_classes), [], context.images

    def described(item: tuple[str, Path]) -> tuple[np.ndarray, np.ndarray] | Problem:
        name, mask = item
        try:
            cells = recognizer.cells(images.read(name))
            return cells, read_mask(mask, vocabulary, (cells.shape[1], cells.shape[0]))
        except DataError as error:
            return Problem(name, str(error))

    for _, found in parallel_map(described, list(masks.items()), context.config.parallel.model_copy(
        update={"backend": "threads"}
    ), "prototypes"):  # fmt: skip
        if isinstance(found, Problem):
            problems.append(found)
        else:
            pooling.add(*found)
    prototypes = pooling.prototypes(new.tolist())
    if prototypes is None:
        raise DataError("not one labelled image could be read to make prototypes from")
    write_prototypes(context.workspace.prototypes, prototypes)
    return problems
