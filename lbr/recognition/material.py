"""What is trained on: the labelled images that teach, those held out, and where their pixels are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from lbr.errors import DataError
from lbr.recognition.losses import rarity_weights
from lbr.recognition.samples import LabelledImage, Photographs, check_sizes, hold_out
from lbr.recognition.settings import RecognitionSettings, TrainingSettings
from lbr.types import InstanceVocabulary


@dataclass(frozen=True, eq=False)
class Material:
    """chosen: images that are learned from; held: those that choose the best weights. seed: of all that is drawn."""

    chosen: list[LabelledImage]
    held: list[LabelledImage]
    photographs: Photographs
    vocabulary: InstanceVocabulary
    seed: int

    def class_weights(self, power: float, shows_progress: bool) -> torch.Tensor | None:
        """Weights float [C] that make rare classes count more; None when `power` is 0."""
        if power == 0:
            return None
        counts = torch.zeros(self.vocabulary.num_classes, dtype=torch.float64)
        for item in tqdm(self.chosen, "count classes", unit="", disable=not shows_progress):
            mask = torch.from_numpy(self.photographs.mask(item.mask).astype("int64")).flatten()
            counts += torch.bincount(mask, minlength=self.vocabulary.num_classes)
        return rarity_weights(counts, power)


def gather(
    images: Sequence[LabelledImage], vocabulary: InstanceVocabulary, settings: RecognitionSettings, seed: int
) -> Material:
    """Split labelled images into those to learn from and those held out. Raises DataError for images without use."""
    check_sizes(images)
    chosen, held = _split(images, settings.training, seed)
    if not chosen:
        raise DataError("no labelled image to train on: see dataset.labels and the problems above")
    training = settings.training
    return Material(
        chosen, held, Photographs(vocabulary, settings.input_size, training.cache_mb, training.detail), vocabulary, seed
    )


def _split(
    images: Sequence[LabelledImage], training: TrainingSettings, seed: int
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    if training.overfit_batch:
        return list(images[: training.batch_size]), []
    if training.holdout_list is None:
        return hold_out(images, training.holdout, seed)
    if not training.holdout_list.is_file():
        raise DataError(f"{training.holdout_list}: no such list of held-out images")
    names = set(training.holdout_list.read_text(encoding="utf-8").split())
    return [v for v in images if v.name not in names], [v for v in images if v.name in names]
