"""How long a training is: asked for in epochs, sized by the data, and shortened to a number of minutes."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lbr.io.files import atomic_path
from lbr.recognition.settings import TrainingSettings

PLAN = "plan.json"
BASE_STEPS, STEPS_PER_INSTANCE, STEPS_PER_IMAGE = 250, 20, 5  # of 16 images
USUAL_BATCH = 16
VALIDATIONS = 20  # of a training whose `validate_every` is auto
WARMING_STEPS, MEASURED_STEPS = 2, 5  # what is loaded ahead must not pass for fast
READ_IMAGES = 4


@dataclass(frozen=True)
class Plan:
    """What was decided before the first step, and kept: a resumed run goes by it, whatever it would measure now.

    asked: epochs that were set, or that the rule gave. epochs: those that are trained, fewer where `max_minutes` ends
    before. expected_minutes: of all of it, as measured at the start; None where nothing was measured. least: whether
    they are the fewest that there may be, which take longer than `max_minutes`.
    """

    epochs: int
    asked: int
    validate_every: int
    expected_minutes: float | None = None
    least: bool = False

    def __str__(self) -> str:
        if self.expected_minutes is None:
            return f"{self.epochs} epochs"
        shortened = f" of {self.asked}, shortened to fit" if self.epochs < self.asked else ""
        least = " (max_minutes is too short here even for that)" if self.least else ""
        return f"{self.epochs} epochs{shortened}, expected to take {self.expected_minutes:.1f} minutes{least}"


@dataclass(frozen=True)
class Cost:
    """Seconds, measured: of an epoch of each part of `growing`, of one validation, of reading all images once, and of
    measuring all that."""

    epochs: tuple[float, ...]
    validation: float
    reading: float
    measuring: float = 0.0

    @property
    def epoch(self) -> float:
        """Of the mean epoch: the parts of `growing` are equally long."""
        return sum(self.epochs) / len(self.epochs)

    def agreed(self, agree: Callable[[float], float]) -> Cost:
        """The same cost in all processes that train together."""
        return Cost(tuple(map(agree, self.epochs)), *map(agree, (self.validation, self.reading, self.measuring)))


def automatic_epochs(num_images: int, num_instances: int, batch_size: int) -> int:
    """Epochs for about 250 + 20 for each instance + 5 for each image steps of 16 images; as many images in any batch.

    For Muon's steps: 14 photographs with 8 instances get 480 of them, the embedded town (154 and 48) 1,980, Aachen
    (6,697 and 451) 42,760, which is 102 epochs where 120 were published.
    """
    steps = BASE_STEPS + STEPS_PER_INSTANCE * num_instances + STEPS_PER_IMAGE * num_images
    per_epoch = math.ceil(num_images / batch_size) * batch_size / USUAL_BATCH
    return max(1, math.ceil(steps / per_epoch))


def make_plan(training: TrainingSettings, num_images: int, num_instances: int, measure: Callable[[], Cost]) -> Plan:
    """Size a training. `measure` is called only where `max_minutes` asks for it.

    The time that is left after reading the images and validating is given to epochs, at least one for each part of
    `growing`: where not even those fit, on a machine that is slow or busy, it takes longer, and the plan says so.
    """
    asked = training.epochs
    if asked == "auto":
        asked = automatic_epochs(num_images, num_instances, training.batch_size)
    if training.max_minutes is None:
        return Plan(asked, asked, _validate_every(training, asked))
    cost, every = measure(), training.validate_every
    # the last epoch is validated, and what comes out of the training once more
    fixed = cost.measuring + cost.reading + cost.validation * (2 if every != "auto" else VALIDATIONS + 1)
    each = cost.epoch + (cost.validation / every if every != "auto" else 0.0)
    fitting, least = math.floor((60 * training.max_minutes - fixed) / each), min(asked, len(training.growing))
    epochs = max(least, min(asked, fitting))
    return Plan(epochs, asked, _validate_every(training, epochs), (fixed + epochs * each) / 60, fitting < least)


def _validate_every(training: TrainingSettings, epochs: int) -> int:
    every = training.validate_every
    return max(1, math.ceil(epochs / VALIDATIONS)) if every == "auto" else every


def has_plan(folder: Path) -> bool:
    return (folder / PLAN).is_file()


def read_plan(folder: Path) -> Plan:
    """The plan of a run that was begun in `folder`."""
    return Plan(**json.loads((folder / PLAN).read_text(encoding="utf-8")))


def keep_plan(folder: Path, plan: Plan) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / PLAN) as temporary:
        temporary.write_text(json.dumps(asdict(plan)), encoding="utf-8")


def seconds_each(work: Callable[[], object]) -> float:
    """Seconds of one call of `work`, the mean over some, after those that warm up."""
    for _ in range(WARMING_STEPS):
        work()
    start = time.perf_counter()
    for _ in range(MEASURED_STEPS):
        work()
    return (time.perf_counter() - start) / MEASURED_STEPS


def reading_seconds(reads: Sequence[Callable[[], object]], num_files: int, workers: int) -> float:
    """Seconds that reading `num_files` files takes `workers` processes, from the mean of `reads`, each done once."""
    start = time.perf_counter()
    for read in reads:
        read()
    mean = (time.perf_counter() - start) / max(1, len(reads))
    return mean * num_files / max(1, workers)
