"""Recognition of one image or many: `predict(model, image) -> InstancePrediction`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from lbr.io.images import resize
from lbr.networks import pick_device
from lbr.recognition.checkpoints import Checkpoint, load_checkpoint, load_published
from lbr.recognition.inference import ReadyNetwork
from lbr.recognition.network import Recognition
from lbr.recognition.samples import normalised
from lbr.recognition.settings import PredictionSettings, PspSettings, RecognitionSettings
from lbr.types import InstancePrediction, InstanceVocabulary


@dataclass(eq=False)
class Recognizer:
    """A trained network, ready to name the instances of photographs."""

    checkpoint: Checkpoint
    settings: PredictionSettings

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
        output = self.forward(images)
        sizes = [(image.shape[1], image.shape[0]) for image in images]
        return [self._read(output, row, size) for row, size in enumerate(sizes)]

    @torch.inference_mode()
    def forward(self, images: Sequence[np.ndarray]) -> Recognition:
        """The network's raw output, float32."""
        batch = normalised(np.stack([resize(image, self.checkpoint.input_size) for image in images]))
        if self.checkpoint.colour_order == "bgr":
            batch = batch.flip(1)
        return self.network(batch.to(self.device))

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


def make_recognizer(settings: RecognitionSettings, path: Path, vocabulary: InstanceVocabulary) -> Recognizer:
    """The recogniser of a configuration, from a checkpoint of ours or, where one is set, a published one.

    Raises ConfigError when the checkpoint is not of `vocabulary`, or is something else.
    """
    published = settings.published
    if published is not None and path == published.path:
        psp = settings.network if isinstance(settings.network, PspSettings) else None
        return Recognizer(load_published(path, vocabulary, published.colour_order, psp), settings.prediction)
    return Recognizer(load_checkpoint(path, vocabulary), settings.prediction)


def load_recognizer(path: Path, settings: PredictionSettings | None = None) -> Recognizer:
    """A recogniser from a checkpoint of ours. Raises ConfigError when it is missing or is something else."""
    return Recognizer(load_checkpoint(path), settings or PredictionSettings())


def predict(model: Recognizer, image: np.ndarray) -> InstancePrediction:
    """The instances of a photograph, RGB uint8 [H, W, 3], as a notebook wants it."""
    return model.predict(image)
