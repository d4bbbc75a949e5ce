"""Training of the recognition network: from labelled images to the best checkpoint, resumable at every validation."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from lbr.errors import DataError
from lbr.io.files import atomic_path
from lbr.io.images import read_image
from lbr.networks import channels_last, pick_device
from lbr.parallel import limit_threads, num_cores
from lbr.recognition.augment import AugmentSettings
from lbr.recognition.calibration import fit_calibration
from lbr.recognition.checkpoints import Checkpoint, start_from
from lbr.recognition.losses import Losses, recognition_loss
from lbr.recognition.material import Material, gather
from lbr.recognition.network import RecognitionNetwork, make_network
from lbr.recognition.optimization import RunningAverage, autocast, make_optimizer
from lbr.recognition.planning import (
    MEASURED_STEPS,
    READ_IMAGES,
    WARMING_STEPS,
    Cost,
    Plan,
    has_plan,
    keep_plan,
    make_plan,
    read_plan,
    reading_seconds,
    seconds_each,
)
from lbr.recognition.processes import Processes, agree, mean_over, processes, shared, unsynchronised
from lbr.recognition.samples import Batching, LabelledImage, TrainingSamples, growing_sizes, load_chunks
from lbr.recognition.schedules import Schedule
from lbr.recognition.settings import DeepLabSettings, RecognitionSettings
from lbr.recognition.validation import HeldOut, augmented_views, validate
from lbr.types import InstanceVocabulary

STATE, LOG = "training.pt", "training.jsonl"
CALIBRATION_VIEWS = 64  # of all held-out images together


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

    folder: holds the state that a killed run goes on from (to the bit, on one process), the plan and the log. events:
    folder of tensorboard's files, by default below `folder`.
    Under torchrun each process takes its share of every batch. Raises DataError for images that cannot be used.
    """
    material = gather(images, vocabulary, settings, seed)
    training = settings.training
    with processes(pick_device(training.device)) as own:
        limit_threads(max(1, num_cores() // own.world))
        torch.manual_seed(seed)
        network = make_network(settings.network, vocabulary.num_classes)
        if training.start_from is not None:
            start_from(network, settings.network, training.start_from)
        network = channels_last(network, own.device)
        plan = _plan(network, material, settings, folder, own)
        trainer = Trainer(network, material, settings, plan, own)
        progress = trainer.run(folder, events or folder / "tensorboard")
        network.load_state_dict(progress.best_state)
        checkpoint = Checkpoint(network, settings.network, vocabulary, settings.input_size)
        if material.held:
            checkpoint = _judged(checkpoint, trainer)
    return checkpoint, progress


def _plan(
    network: RecognitionNetwork, material: Material, settings: RecognitionSettings, folder: Path, own: Processes
) -> Plan:
    """How long to train, as decided when the run was first started, or now; the first process says it."""

    def measure() -> Cost:
        cost = Trainer(deepcopy(network), material, settings, _trial(settings), own).cost()
        return cost.agreed(partial(agree, own))

    def make() -> Plan:
        return make_plan(settings.training, len(material.chosen), material.vocabulary.num_classes - 1, measure)

    kept = bool(agree(own, float(has_plan(folder))))
    plan = read_plan(folder) if kept else make()
    if settings.training.epochs not in ("auto", plan.asked):
        raise DataError(
            f"{folder}: a training of {plan.asked} epochs was begun there, now {settings.training.epochs} are asked "
            "for: name another folder, or remove it"
        )
    if own.is_first and not kept:
        keep_plan(folder, plan)
    if own.is_first:
        tqdm.write(f"train: {plan}", file=sys.stderr)
    return plan


def _trial(settings: RecognitionSettings) -> Plan:
    """An epoch of each part of `growing`."""
    parts = len(settings.training.growing)
    return Plan(parts, parts, parts)


class Trainer:
    """One training run: the network with its optimizer, schedule and data."""

    def __init__(
        self,
        network: RecognitionNetwork,
        material: Material,
        settings: RecognitionSettings,
        plan: Plan,
        own: Processes,
    ) -> None:
        self.network, self.settings, self.plan, self.own = network, settings, plan, own
        self.material, self.seed = material, material.seed
        training, chosen = settings.training, material.chosen
        self.training = training
        self.held_out = HeldOut(material.held, material.photographs, settings.input_size)
        augmentation = None if training.overfit_batch else augmentation_for(settings, chosen)
        sizes = growing_sizes(settings.input_size, training.growing, plan.epochs)
        stylized = training.stylized if isinstance(training.stylized, tuple) else (training.stylized,) * 2
        self.samples = TrainingSamples(chosen, material.photographs, sizes, augmentation, self.seed, stylized)
        self.batching = _batching(settings, len(chosen), own)
        self.optimizer = make_optimizer(network, training.optimizer)
        self.schedule = Schedule(training.schedule, self.optimizer, plan.epochs, self.batching.num_batches)
        weights = material.class_weights(training.loss.rare_power, own.is_first)
        self.class_weights = None if weights is None else weights.to(own.device)
        self.average = RunningAverage(network, training.average) if training.average else None
        self.parallel = shared(network, own)

    def cost(self) -> Cost:
        """What an epoch of each size, a validation and reading all images take, measured; changes the network."""
        training, batching = self.training, self.batching
        own, start = batching.chunks // batching.world, time.perf_counter()
        seconds: dict[tuple[int, int], float] = {}
        for part, size in enumerate(self.samples.sizes):
            if size in seconds:
                continue
            batch = list(islice(batching.epoch(part, self.seed), own))  # again and again: read in the first step
            chunks = iter(load_chunks(self.samples, batch * (WARMING_STEPS + MEASURED_STEPS), training.workers))
            seconds[size] = batching.num_batches * seconds_each(partial(self._train_batch, part, 0, chunks))
        validation = 0.0
        if self.held_out.images:
            validation = seconds_each(lambda: validate(self.network, self.held_out, self.settings, self.own.device))
        items = self.material.chosen
        reads = [partial(read_image, item.images[0]) for item in items[:READ_IMAGES]]
        files = sum(len(item.images) for item in items)
        reading = reading_seconds(reads, files, training.workers)
        epochs = tuple(seconds[size] for size in self.samples.sizes)
        return Cost(epochs, validation, reading, time.perf_counter() - start)

    def run(self, folder: Path, events: Path) -> Progress:
        """Train from where `folder` says an earlier run was, to the last epoch or until nothing gets better."""
        folder.mkdir(parents=True, exist_ok=True)
        progress = self._resume(folder / STATE)
        writer = SummaryWriter(str(events)) if self.own.is_first else None
        training = self.training
        epochs = self.plan.epochs
        total = epochs * self.batching.num_batches
        every = 0.1 if sys.stderr.isatty() else 30
        bar = tqdm(desc="train", total=total, unit="step", mininterval=every, disable=not self.own.is_first)
        bar.update(progress.epoch * self.batching.num_batches)
        with bar:
            keys = self.batching.epochs(progress.epoch, epochs, self.seed)
            chunks = iter(load_chunks(self.samples, keys, training.workers))
            while progress.epoch < epochs and not self._is_stale(progress):
                record = self._epoch(progress.epoch, chunks, bar)
                progress.epoch += 1
                self.schedule.epoch()
                if progress.epoch % self.plan.validate_every == 0 or progress.epoch == epochs:
                    self._validate(progress, record)
                    self._save(folder, progress, writer)
        return progress

    def _is_stale(self, progress: Progress) -> bool:
        patience = self.training.patience
        return patience is not None and progress.validations_since >= patience

    def _epoch(self, epoch: int, chunks: Iterator, bar: tqdm) -> dict[str, float]:
        self.network.train()
        sums = torch.zeros(4, dtype=torch.float64)
        for number in range(self.batching.num_batches):
            sums += self._train_batch(epoch, number, chunks)
            done = sums / (number + 1)
            bar.update()
            bar.set_postfix(loss=f"{done[0]:.3f}", accuracy=f"{100 * done[3]:.1f}%", refresh=False)
        sums = mean_over(self.own, sums / self.batching.num_batches)
        named = dict(zip(Losses._fields, sums.tolist(), strict=True))
        return {"epoch": epoch + 1, "rate": self.optimizer.param_groups[-1]["lr"], **named}

    def _train_batch(self, epoch: int, number: int, chunks: Iterator) -> torch.Tensor:
        """One step of the optimizer from this process's chunks of a batch; their mean numbers of `Losses`."""
        own = self.batching.chunks // self.own.world
        sums = torch.zeros(4, dtype=torch.float64)
        for chunk, (images, masks) in enumerate(islice(chunks, own)):
            # dropout is drawn by what is trained, not by who trains it
            torch.manual_seed(hash((self.seed, epoch, number, self.own.rank * own + chunk)) % 2**63)
            sums += self._step(images, masks, own, last=chunk + 1 == own)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.iteration()
        if self.average:
            self.average.step(self.network)
        return sums / own

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
        network = self.average.network if self.average else self.network
        if self.held_out.images:
            if self.own.is_first:
                score = validate(network, self.held_out, self.settings, self.own.device)
            score = agree(self.own, score)
            record["held_out_accuracy"] = score
        self.schedule.validation(score)
        progress.records.append(record)
        progress.validations_since += 1
        if score > progress.best_score:
            progress.best_score, progress.validations_since = score, 0
            progress.best_state = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}

    def _resume(self, path: Path) -> Progress:
        if not path.is_file():
            return Progress()
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average:
            self.average.load_state_dict(state["average"])
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
            "average": self.average.state_dict() if self.average else {},
        }  # fmt: skip
        with atomic_path(folder / STATE) as temporary:
            torch.save(state, temporary)


def _batching(settings: RecognitionSettings, num_samples: int, own: Processes) -> Batching:
    """How batches are cut. Raises DataError where they cannot be cut evenly, or too finely for the network."""
    training = settings.training
    chunks = max(training.chunks, own.world)
    batch = min(training.batch_size, num_samples) if training.overfit_batch else training.batch_size
    if batch % chunks or chunks % own.world:
        raise DataError(f"a batch of {batch} cannot be cut into {chunks} chunks for {own.world} processes")
    if batch == chunks and isinstance(settings.network, DeepLabSettings):
        raise DataError(
            f"a batch of {batch} in {chunks} chunks has one image in each, and deeplabv3p normalises over the images "
            "of a chunk: set recognition.training.batch_size to twice that or more, or network.name=pspf"
        )
    return Batching(num_samples, batch, chunks, own.rank, own.world)


def augmentation_for(settings: RecognitionSettings, images: Sequence[LabelledImage]) -> AugmentSettings:
    """The augmentation, without its night and haze where stylised copies (or the configuration) make them needless."""
    training = settings.training
    copies = any(len(item.images) > 1 for item in images)
    if training.on_the_fly == "always" or (training.on_the_fly == "missing" and not copies):
        return training.augmentation
    return training.augmentation.model_copy(update={"night": 0.0, "haze": 0.0})


def _judged(checkpoint: Checkpoint, trainer: Trainer) -> Checkpoint:
    """With the scores of the held-out images, and calibrated on augmented views of them."""
    settings, held = trainer.settings, trainer.material.held
    accuracy = validate(checkpoint.network, trainer.held_out, settings, trainer.own.device)
    sizes = [settings.input_size] * math.ceil(CALIBRATION_VIEWS / len(held))
    samples = trainer.samples.of(held, sizes)
    views = augmented_views(checkpoint.network, samples, settings, trainer.own.device)
    found = fit_calibration(views.logits, views.target, views.presence, views.present)
    return replace(
        checkpoint, temperature=found.temperature, presence_scale=(found.factor, found.shift),
        scores={"held_out_images": float(sum(len(i.images) for i in held)), "held_out_accuracy": accuracy},
    )  # fmt: skip
