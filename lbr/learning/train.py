"""Training of the local feature, from photographs to weights; a killed run goes on from its last save, to the bit."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from lbr.errors import DataError
from lbr.features.daynight_network import DayNightNetwork
from lbr.io.files import atomic_path
from lbr.learning.losses import Losses, learning_loss
from lbr.learning.settings import LearningSettings
from lbr.learning.views import Versions, ViewPairs, with_copies
from lbr.networks import channels_last, pick_device
from lbr.parallel import ParallelSettings, limit_threads, num_cores, parallel_map
from lbr.recognition.optimization import RunningAverage, autocast, make_optimizer
from lbr.recognition.schedules import Schedule
from lbr.recognition.settings import CosineSchedule

STATE, LOG = "training.pt", "training.jsonl"
MAX_NORM = 5.0  # of the gradient


def learn(paths: Sequence[Path], settings: LearningSettings, folder: Path, device: str = "auto") -> DayNightNetwork:
    """The running average of the weights after `settings.steps` steps on views of the photographs.

    folder: holds the state that a killed run goes on from, and the log. Raises DataError where no photograph is usable.
    """
    photographs = read_photographs(paths, settings)
    limit_threads(num_cores())
    torch.manual_seed(settings.seed)
    network = channels_last(DayNightNetwork(), pick_device(device))
    return Learner(network, settings, folder).run(photographs)


def read_photographs(paths: Sequence[Path], settings: LearningSettings) -> list[Versions]:
    """The photographs with their copies; one that cannot be used is said and left out."""
    found: list[Versions] = []
    make = partial(_tried, settings=settings)
    for path, versions in parallel_map(make, paths, ParallelSettings(backend="processes"), "photographs and copies"):
        if isinstance(versions, str):
            tqdm.write(f"left out: {path}: {versions}", file=sys.stderr)
        else:
            found.append(versions)
    if not found:
        raise DataError(f"none of {len(paths)} photographs can be used to learn a local feature from")
    return found


def _tried(path: Path, settings: LearningSettings) -> Versions | str:
    try:
        return with_copies(path, settings)
    except DataError as error:
        return str(error)


class Learner:
    """One training run: the network with its optimizer and schedule, and the folder that they are kept in."""

    def __init__(self, network: DayNightNetwork, settings: LearningSettings, folder: Path) -> None:
        self.network, self.settings, self.folder = network, settings, folder
        self.device = str(next(network.parameters()).device)
        self.optimizer = make_optimizer(network, settings.optimizer)
        self.schedule = Schedule(CosineSchedule(warmup=0.03), self.optimizer, 1, settings.steps)
        self.average = RunningAverage(network, settings.average)
        self.step, self.records = 0, list[dict[str, float]]()

    def run(self, photographs: Sequence[Versions]) -> DayNightNetwork:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        every = 0.1 if sys.stderr.isatty() else 30
        self.network.train()
        sums = torch.zeros(len(Losses._fields), dtype=torch.float64)
        with tqdm(desc="learn", total=self.settings.steps, initial=self.step, unit="step", mininterval=every) as bar:
            for views, b_from_a in self._batches(photographs):
                sums += self._train(views, b_from_a)
                bar.update()
                if self.step % self.settings.save_every == 0 or self.step == self.settings.steps:
                    self._save(sums / (self.step - self._saved()))
                    bar.set_postfix(self._shown(), refresh=False)
                    sums.zero_()
        return self.average.network

    def _batches(self, photographs: Sequence[Versions]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        pairs = ViewPairs(photographs, self.settings)
        steps = range(self.step, self.settings.steps)
        return iter(DataLoader(pairs, sampler=steps, batch_size=None, num_workers=self.settings.workers))

    def _train(self, views: torch.Tensor, b_from_a: torch.Tensor) -> torch.Tensor:
        """One step of the optimizer; the numbers of its `Losses`."""
        torch.manual_seed(hash((self.settings.seed, self.step)) % 2**63)
        images = torch.cat([views[:, 0], views[:, 1]])[:, None].to(self.device, memory_format=torch.channels_last)
        with autocast(self.settings.precision, self.device):
            maps = self.network.trunk(images)
        output = self.network.heads(*(each.float() for each in maps))
        losses = learning_loss(output, b_from_a.to(self.device), self.settings)
        if not torch.isfinite(losses.total):
            raise DataError(f"the loss became {float(losses.total.detach())}: lower the optimizer's rate")
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.iteration()
        self.average.step(self.network)
        self.step += 1
        return losses.numbers().cpu()

    def _saved(self) -> int:
        return int(self.records[-1]["step"]) if self.records else 0

    def _shown(self) -> dict[str, str]:
        last = self.records[-1]
        return {key: f"{last[key]:.3f}" for key in ("total", "matched", "repeated", "error_px")}

    def _resume(self) -> None:
        path = self.folder / STATE
        if not path.is_file():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["settings"] != self.settings.model_dump(mode="json"):
            raise DataError(
                f"{self.folder}: a training with other settings was begun there: name another folder, or remove it"
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.average.load_state_dict(state["average"])
        self.step, self.records = state["step"], state["records"]

    def _save(self, means: torch.Tensor) -> None:
        self.records.append({"step": self.step, **dict(zip(Losses._fields, means.tolist(), strict=True))})
        with atomic_path(self.folder / LOG) as temporary:
            temporary.write_text("".join(json.dumps(r) + "\n" for r in self.records), encoding="utf-8")
        state = {
            "settings": self.settings.model_dump(mode="json"), "step": self.step, "records": self.records,
            "network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(), "average": self.average.state_dict(),
        }  # fmt: skip
        with atomic_path(self.folder / STATE) as temporary:
            torch.save(state, temporary)
