"""The instances of a dataset: its vocabulary, read or made."""

from __future__ import annotations

import numpy as np

from lbr.io.labels import mask_path, read_colour_ids, read_vocabulary, vocabulary_of_colours, write_vocabulary
from lbr.pipeline.stage import Context
from lbr.types import InstanceVocabulary


def load_vocabulary(context: Context) -> InstanceVocabulary:
    """The dataset's vocabulary; where none is named, that of the colours that two label images or more show."""
    labels, own = context.dataset.labels, context.workspace.vocabulary
    if labels.vocabulary is not None:
        return read_vocabulary(labels.vocabulary)
    if not own.is_file():
        paths = [mask_path(labels.masks, n) for n in context.dataset.db_names] if labels.masks else []
        colours = [np.unique(read_colour_ids(path)) for path in paths if path.is_file()]
        write_vocabulary(own, vocabulary_of_colours(colours))
    return read_vocabulary(own)
