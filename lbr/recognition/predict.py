"""Recognition of one image or many: `predict(model, image) -> InstancePrediction`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from lbr.io.images import resize
from lbr.io.labels import without_classes
from lbr.networks import pick_device
from lbr.recognition.checkpoints import Checkpoint, load_checkpoint, load_published
from lbr.recognition.inference import ReadyNetwork
from lbr.recognition.network import Recognition
from lbr.recognition.prototypes import Prototypes, with_prototypes
from lbr.recognition.samples import normalised
from lbr.recognition.settings import PredictionSettings, PspSettings, RecognitionSettings
from lbr.types import InstancePrediction, InstanceVocabulary


@dataclass(eq=False)
class Recognizer:
    """A trained network, ready to name the instances of photographs."""

    checkpoint: Checkpoint
    settings: PredictionSettings
    prototypes: Prototypes | None = None  # of instances that the network has not learned

    def __post_init__(self) -> None:
        self.device = pick_device(self.settings.device)
        self.network = ReadyNetwork(
            self.checkpoint.network, self.settings.precision, self.device, self.checkpoint.input_size
        )

    def predict(self, image: np.ndarray) -> InstancePrediction:
        """RGB uint8 [H, W, 3] -> what is where in it."""
        return self.predict_batch([image])[0]

    def predict_batch(self, images: Sequence[np.ndarray]) -> list[InstancePrediction]:
        """Photographs RGB uint8 [H, W, 3], of any sizes, in one pass."""
        output, decoded = self._run(images)
        sizes = [(image.shape[1], image.shape[0]) for image in images]
        found = [self._read(output, row, size) for row, size in enumerate(sizes)]
        if self.prototypes is None:
            return found
        return [
            with_prototypes(one, cells, self.prototypes)
            for one, cells in zip(found, _cells(output, decoded), strict=True)
        ]

    def cells(self, image: np.ndarray) -> np.ndarray:
        """float32 [h, w, D]: unit features of the cells of an image's segmentation."""
        return _cells(*self._run([image]))[0]

    @torch.inference_mode()
    def forward(self, images: Sequence[np.ndarray]) -> Recognition:
        """The network's raw output, float32."""
        return self._run(images)[0]

    @torch.inference_mode()
    def _run(self, images: Sequence[np.ndarray]) -> tuple[Recognition, torch.Tensor]:
        """The raw output, and the decoder's map, float32."""
        batch = normalised(np.stack([resize(image, self.checkpoint.input_size) for image in images]))
        if self.checkpoint.colour_order == "bgr":
            batch = batch.flip(1)
        return self.network.described(batch.to(self.device))

    @torch.inference_mode()
    def _read(self, output: Recognition, row: int, size: tuple[int, int]) -> InstancePrediction:
        logits = output.segmentation[row].permute(1, 2, 0) / self.checkpoint.temperature
        count = min(self.settings.top_k, logits.shape[-1])
        best, ids = logits.topk(count, dim=-1)  # before the softmax, which needs its sum alone
        confidences = (best - logits.logsumexp(-1, keepdim=True)).exp()
        empty = confidences < self.settings.min_confidence
        empty[..., 0] = False
        factor, shift = self.checkpoint.presence_scale
        pooled = output.maximum if self.settings.feature == "max" else output.mean
        return InstancePrediction(
            ids.masked_fill(empty, 0).cpu().numpy().astype(np.uint16),
            confidences.masked_fill(empty, 0).cpu().numpy(),
            torch.sigmoid(factor * output.presence[row] + shift).cpu().numpy(),
            F.normalize(pooled[row], dim=0).cpu().numpy(),
            size,
        )


@torch.inference_mode()
def _cells(output: Recognition, decoded: torch.Tensor) -> list[np.ndarray]:
    """For each image float32 [h, w, D], the decoder's map on the grid of the segmentation, normalised."""
    fitted = F.interpolate(decoded, output.segmentation.shape[-2:], mode="bilinear", align_corners=False)
    return list(F.normalize(fitted, dim=1).permute(0, 2, 3, 1).cpu().numpy())


def make_recognizer(
    settings: RecognitionSettings, path: Path, vocabulary: InstanceVocabulary, prototypes: Prototypes | None = None
) -> Recognizer:
    """The recogniser of a configuration, from a checkpoint of ours or, where one is set, a published one.

    prototypes: of instances of `vocabulary` that came after training; a network that has learned them needs them no
    more. Raises ConfigError when the checkpoint is not of `vocabulary`, or is something else.
    """
    published = settings.published
    if prototypes is not None:
        learned = without_classes(vocabulary, prototypes.classes)
        if published is not None or not _knows(path, vocabulary):
            return replace(make_recognizer(settings, path, learned), prototypes=prototypes)
    if published is not None and path == published.path:
        psp = settings.network if isinstance(settings.network, PspSettings) else None
        return Recognizer(load_published(path, vocabulary, published.colour_order, psp), settings.prediction)
    return Recognizer(load_checkpoint(path, vocabulary), settings.prediction)


def _knows(path: Path, vocabulary: InstanceVocabulary) -> bool:
    """Whether a checkpoint of ours is of this vocabulary."""
    return load_checkpoint(path).vocabulary == vocabulary


def load_recognizer(path: Path, settings: PredictionSettings | None = None) -> Recognizer:
    """A recogniser from a checkpoint of ours. Raises ConfigError when it is missing or is something else."""
    return Recognizer(load_checkpoint(path), settings or PredictionSettings())


def predict(model: Recognizer, image: np.ndarray) -> InstancePrediction:
    """The instances of a photograph, RGB uint8 [H, W, 3], as a notebook wants it."""
    return model.predict(image)
