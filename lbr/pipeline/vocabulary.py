"""The instances of a dataset: its vocabulary, read or made."""

from __future__ import annotations

import numpy as np

from lbr.errors import DataError
from lbr.io.labels import (
    mask_path,
    pack_colours,
    read_colour_ids,
    read_vocabulary,
    vocabulary_of_colours,
    write_vocabulary,
)  # fmt: skip
from lbr.pipeline.changes import VOCABULARY
from lbr.pipeline.stage import Context
from lbr.pipeline.workspace import Recipe, digest_masks, making
from lbr.types import InstanceVocabulary
from lbr.visualization import colours as palette

BACKGROUND = InstanceVocabulary(np.zeros(1, np.int64), np.zeros(1, np.int32))  # no instance at all
NUM_COLOURS = 2**24


def load_vocabulary(context: Context) -> InstanceVocabulary:
    """The instances of the map: the dataset's, and behind them those that came with additions (`lbr extend`)."""
    grown = context.workspace.additions / VOCABULARY
    return read_vocabulary(grown) if grown.is_file() and context.added else load_own_vocabulary(context)


def with_instances(vocabulary: InstanceVocabulary, count: int) -> InstanceVocabulary:
    """The vocabulary with `count` instances behind its last, each in a colour of its own: hues in golden steps, moved
    by the least where two would meet."""
    classes = np.arange(vocabulary.num_classes, vocabulary.num_classes + count, dtype=np.int32)
    colours, used = vocabulary.colours.tolist(), set(vocabulary.colours.tolist())
    for wanted in pack_colours(palette.by_instance(classes)).tolist():
        colour = next(c for step in range(NUM_COLOURS) if (c := (wanted + step) % NUM_COLOURS) not in used)
        used.add(colour)
        colours.append(colour)
    return InstanceVocabulary(np.array(colours, np.int64), np.append(vocabulary.classes, classes))


def load_own_vocabulary(context: Context) -> InstanceVocabulary:
    """The dataset's vocabulary; where none is named, that of the colours that two label images or more show.

    The latter is kept in the workspace. Raises DataError without label images, StaleOutput when they have changed.
    """
    labels, output = context.labels, context.workspace.vocabulary
    if labels.vocabulary is not None:
        return read_vocabulary(labels.vocabulary)
    if labels.masks is None:
        raise DataError("the dataset has neither label images nor a vocabulary: set dataset.labels, dataset.vocabulary")
    paths = [path for name in context.dataset.db_names if (path := mask_path(labels.masks, name)).is_file()]
    recipe = Recipe("vocabulary", {}, {"labels": digest_masks(labels.masks, context.dataset.db_names)})
    if not context.reusable(output, recipe):
        with making(output, recipe) as work:
            vocabulary = vocabulary_of_colours(np.unique(read_colour_ids(path)) for path in paths)
            write_vocabulary(output, vocabulary)
            work.facts["summary"] = f"{vocabulary.num_classes - 1} instances in {len(paths)} label images"
    return read_vocabulary(output)
