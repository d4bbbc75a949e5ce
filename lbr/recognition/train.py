"""Training of the recognition network: from labelled images to the best checkpoint, resumable at every validation."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from lbr.errors import DataError
from lbr.io.files import atomic_path
from lbr.networks import pick_device
from lbr.parallel import limit_threads, num_cores
from lbr.recognition.augment import AugmentSettings
from lbr.recognition.calibration import Calibration, fit_calibration
from lbr.recognition.checkpoints import Checkpoint
from lbr.recognition.losses import Losses, rarity_weights, recognition_loss
from lbr.recognition.network import RecognitionNetwork, make_network
from lbr.recognition.optimization import autocast, channels_last, make_optimizer
from lbr.recognition.processes import Processes, agree, mean_over, processes, shared, unsynchronised
from lbr.recognition.samples import (
    Batching,
    LabelledImage,
    Photographs,
    TrainingSamples,
    check_sizes,
    growing_sizes,
    hold_out,
    load_chunks,
)
from lbr.recognition.schedules import Schedule
from lbr.recognition.settings import RecognitionSettings
from lbr.recognition.validation import HeldOut, Validation, validate
from lbr.types import InstanceVocabulary

STATE, LOG = "training.pt", "training.jsonl"


@dataclass
class Progress:
    """What has been done: epochs, the best held-out score and its weights, validations since, one record for each."""

    epoch: int = 0
    best_score: float = -1.0
    best_state: dict[str, torch.Tensor] = field(default_factory=dict)
    validations_since: int = 0
    records: list[dict[str, float]] = field(default_factory=list)


def train(
    images: Sequence[LabelledImage],
    vocabulary: InstanceVocabulary,
    settings: RecognitionSettings,
    folder: Path,
    seed: int,
    events: Path | None = None,
) -> tuple[Checkpoint, Progress]:
    """Train on labelled images; returns the network of the best held-out score, calibrated, and what was done.

    folder: holds the state that a killed run goes on from (to the bit, on one process) and the log. events: folder of
    tensorboard's files, by default below `folder`.
    Under torchrun each process takes its share of every batch. Raises DataError for images that cannot be used.
    """
    check_sizes(images)
    training = settings.training
    with processes(pick_device(training.device)) as own:
        limit_threads(max(1, num_cores() // own.world))
        torch.manual_seed(seed)
        network = channels_last(make_network(settings.network, vocabulary.num_classes), own.device)
        trainer = Trainer(network, images, vocabulary, settings, seed, own)
        progress = trainer.run(folder, events or folder / "tensorboard")
        network.load_state_dict(progress.best_state)
        found = validate(network, trainer.held_out, settings, own.device) if trainer.held_out.images else None
    return _checkpoint(network, vocabulary, settings, found), progress


class Trainer:
    """One training run: the network with its optimizer, schedule and data."""

    def __init__(
        self,
        network: RecognitionNetwork,
        images: Sequence[LabelledImage],
        vocabulary: InstanceVocabulary,
        settings: RecognitionSettings,
        seed: int,
        own: Processes,
    ) -> None:
        self.network, self.settings, self.seed, self.own = network, settings, seed, own
        training = settings.training
        self.training = training
        photographs = Photographs(vocabulary, settings.input_size, training.cache_mb)
        chosen, held = self._split(images)
        if not chosen:
            raise DataError("no labelled image to train on: see dataset.labels and the problems above")
        self.held_out = HeldOut(held, photographs, settings.input_size)
        augmentation = None if training.overfit_batch else augmentation_for(settings, chosen)
        sizes = growing_sizes(settings.input_size, training.growing, training.epochs)
        self.samples = TrainingSamples(chosen, photographs, sizes, augmentation, seed, training.stylized)
        chunks = max(training.chunks, own.world)
        batch = min(training.batch_size, len(chosen)) if training.overfit_batch else training.batch_size
        if batch % chunks or chunks % own.world:
            raise DataError(f"a batch of {batch} cannot be cut into {chunks} chunks for {own.world} processes")
        self.batching = Batching(len(chosen), batch, chunks, own.rank, own.world)
        self.optimizer = make_optimizer(network, training.optimizer)
        self.schedule = Schedule(training.schedule, self.optimizer, training.epochs, self.batching.num_batches)
        self.class_weights = self._class_weights(photographs, chosen, vocabulary)
        self.parallel = shared(network, own)

    def _split(self, images: Sequence[LabelledImage]) -> tuple[list[LabelledImage], list[LabelledImage]]:
        training = self.training
        if training.overfit_batch:
            return list(images[: training.batch_size]), []
        if training.holdout_list is None:
            return hold_out(images, training.holdout, self.seed)
        if not training.holdout_list.is_file():
            raise DataError(f"{training.holdout_list}: no such list of held-out images")
        names = set(training.holdout_list.read_text(encoding="utf-8").split())
        return [v for v in images if v.name not in names], [v for v in images if v.name in names]

    def _class_weights(
        self, photographs: Photographs, images: Sequence[LabelledImage], vocabulary: InstanceVocabulary
    ) -> torch.Tensor | None:
        power = self.training.loss.rare_power
        if power == 0:
            return None
        counts = torch.zeros(vocabulary.num_classes, dtype=torch.float64)
        for item in tqdm(images, "count classes", unit="", disable=not self.own.is_first):
            mask = torch.from_numpy(photographs.mask(item.mask).astype("int64")).flatten()
            counts += torch.bincount(mask, minlength=vocabulary.num_classes)
        weights = rarity_weights(counts, power)
        return None if weights is None else weights.to(self.own.device)

    def run(self, folder: Path, events: Path) -> Progress:
        """Train from where `folder` says an earlier run was, to the last epoch or until nothing gets better."""
        folder.mkdir(parents=True, exist_ok=True)
        progress = self._resume(folder / STATE)
        writer = SummaryWriter(str(events)) if self.own.is_first else None
        training = self.training
        total = training.epochs * self.batching.num_batches
        every = 0.1 if sys.stderr.isatty() else 30
        bar = tqdm(desc="train", total=total, unit="step", mininterval=every, disable=not self.own.is_first)
        bar.update(progress.epoch * self.batching.num_batches)
        with bar:
            keys = self.batching.epochs(progress.epoch, training.epochs, self.seed)
            chunks = iter(load_chunks(self.samples, keys, training.workers))
            while progress.epoch < training.epochs and not self._is_stale(progress):
                record = self._epoch(progress.epoch, chunks, bar)
                progress.epoch += 1
                self.schedule.epoch()
                if progress.epoch % training.validate_every == 0 or progress.epoch == training.epochs:
                    self._validate(progress, record)
                    self._save(folder, progress, writer)
        return progress

    def _is_stale(self, progress: Progress) -> bool:
        patience = self.training.patience
        return patience is not None and progress.validations_since >= patience

    def _epoch(self, epoch: int, chunks: Iterator, bar: tqdm) -> dict[str, float]:
        self.network.train()
        sums = torch.zeros(4, dtype=torch.float64)
        own = self.batching.chunks // self.own.world
        count = own * self.batching.num_batches
        for number, (images, masks) in enumerate(islice(chunks, count)):
            last = (number + 1) % own == 0
            # dropout is drawn by what is trained, not by who trains it
            torch.manual_seed(hash((self.seed, epoch, number // own, self.own.rank * own + number % own)) % 2**63)
            sums += self._step(images, masks, own, last)
            if last:
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                self.schedule.iteration()
                done = sums / (number + 1)
                bar.update()
                bar.set_postfix(loss=f"{done[0]:.3f}", accuracy=f"{100 * done[3]:.1f}%", refresh=False)
        sums = mean_over(self.own, sums / count)
        named = dict(zip(Losses._fields, sums.tolist(), strict=True))
        return {"epoch": epoch + 1, "rate": self.optimizer.param_groups[-1]["lr"], **named}

    def _step(self, images: torch.Tensor, masks: torch.Tensor, chunks: int, last: bool) -> torch.Tensor:
        """Forward and backward of one chunk; the numbers of its `Losses`."""
        device = self.own.device
        images = images.to(device, memory_format=torch.channels_last)
        with nullcontext() if last else unsynchronised(self.parallel):
            with autocast(self.training.precision, device):
                output = self.parallel(images)
            losses = recognition_loss(output, masks.to(device), self.training.loss, self.class_weights)
            (losses.total / chunks).backward()
        if not torch.isfinite(losses.total):
            raise DataError(
                f"the loss became {float(losses.total.detach())}: lower recognition.training.optimizer.rate"
            )
        return losses.numbers()

    def _validate(self, progress: Progress, record: dict[str, float]) -> None:
        score = record["accuracy"]
        if self.held_out.images:
            if self.own.is_first:
                score = validate(self.network, self.held_out, self.settings, self.own.device).accuracy
            score = agree(self.own, score)
            record["held_out_accuracy"] = score
        self.schedule.validation(score)
        progress.records.append(record)
        progress.validations_since += 1
        if score > progress.best_score:
            progress.best_score, progress.validations_since = score, 0
            progress.best_state = {k: v.detach().cpu().clone() for k, v in self.network.state_dict().items()}

    def _resume(self, path: Path) -> Progress:
        if not path.is_file():
            return Progress()
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        return Progress(**state["progress"])

    def _save(self, folder: Path, progress: Progress, writer: SummaryWriter | None) -> None:
        if writer is None:
            return
        record = progress.records[-1]
        for name, value in record.items():
            writer.add_scalar(name, value, int(record["epoch"]))
        writer.flush()
        with atomic_path(folder / LOG) as temporary:
            temporary.write_text("".join(json.dumps(r) + "\n" for r in progress.records), encoding="utf-8")
        state = {
            "network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(), "progress": vars(progress),
        }  # fmt: skip
        with atomic_path(folder / STATE) as temporary:
            torch.save(state, temporary)


def augmentation_for(settings: RecognitionSettings, images: Sequence[LabelledImage]) -> AugmentSettings:
    """The augmentation, without its night and haze where stylised copies (or the configuration) make them needless."""
    training = settings.training
    copies = any(len(item.images) > 1 for item in images)
    if training.on_the_fly == "always" or (training.on_the_fly == "missing" and not copies):
        return training.augmentation
    return training.augmentation.model_copy(update={"night": 0.0, "haze": 0.0})


def _checkpoint(
    network: RecognitionNetwork, vocabulary: InstanceVocabulary, settings: RecognitionSettings, found: Validation | None
) -> Checkpoint:
    calibration, scores = Calibration(), {}
    if found is not None:
        calibration = fit_calibration(found.logits, found.target, found.presence, found.present)
        scores = {"held_out_images": float(len(found.presence)), "held_out_accuracy": found.accuracy}
    return Checkpoint(
        network, settings.network, vocabulary, settings.input_size, "rgb", calibration.temperature,
        (calibration.factor, calibration.shift), scores,
    )  # fmt: skip
