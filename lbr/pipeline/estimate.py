"""How long a flow will take on this machine, to a factor of two: two photographs and a step of training are timed, the
rest is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lbr.config import Config
from lbr.errors import DataError
from lbr.features import make_extractor
from lbr.matching import guidance, make_matcher
from lbr.parallel import single_blas_thread
from lbr.pipeline.stage import Context
from lbr.recognition.planning import automatic_epochs
from lbr.retrieval.pairs import ExhaustivePairs, PosePairs, SimilarPairs
from lbr.types import LocalFeatures

PAIR_SHARE = 0.75  # of neighbours asked for: a pair that both ask for is one
REFERENCE_PAIR_S = 0.06  # one pair of 4096 keypoints on the machine that the seconds below were measured on
MEASURED_S = {  # seconds of one core for one photograph, beside the timed parts
    "pairs": 0.03, "label": 0.6, "stylize": 1.0, "recognise": 0.15, "index": 0.03, "report": 0.25,
}  # fmt: skip
SFM_S, TRIANGULATION_S = 1.6, 0.06  # for one photograph
TIMES = 3  # that a pair is matched: the first waits for libraries, and what else runs disturbs
GUIDED = 2.3  # times the matching of a pair that it takes along epipolar lines
INSTANCES_EACH = 0.3  # for one photograph
TRAINING_STARTS_S, SAMPLE_S = 30.0, 0.01  # its processes and its plan; of one core to draw a view of a photograph
POSE_S, COMPARED = 0.4, 12  # RANSAC and refinement of one query; db images that it is compared with


@dataclass(frozen=True)
class Pace:
    """Seconds of one core: local features of a photograph, matching of a pair of them. train: of all cores, for a
    photograph of the network's size in a step of training."""

    extract: float
    match: float
    train: float = 0.0


def measure(context: Context) -> Pace:
    """Time two photographs of the dataset. Raises DataError when fewer can be read."""
    from lbr.recognition.pace import step_seconds

    extractor, matcher = make_extractor(context.config.extractor), make_matcher(context.config.matcher)
    found: list[LocalFeatures] = []
    seconds = 0.0
    for name in _spread(context.dataset.db_names):
        try:
            start = time.perf_counter()
            found.append(extractor.extract(context.dataset.images.read(name)))
            seconds = time.perf_counter() - start  # of the last: the first waits for libraries to load
        except DataError:
            continue
        if len(found) == 2:
            break
    if len(found) < 2:
        raise DataError(f"{context.dataset.image_root}: fewer than two photographs there can be read")
    with single_blas_thread():  # as in a worker: two beside a busy neighbour are ten times slower
        matched = min(_seconds(lambda: matcher.match(*found)) for _ in range(TIMES))
    return Pace(seconds, matched, step_seconds(context.config.recognition))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def estimate(context: Context, pace: Pace, verbs: Sequence[str]) -> dict[str, float]:
    """Seconds that each of `verbs` will take, with all workers; those that take none are left out."""
    config, dataset = context.config, context.dataset
    photographs, queries, workers = len(dataset.db_names), len(dataset.queries), config.parallel.num_workers
    slower = pace.match / REFERENCE_PAIR_S
    counts = {"recognise": photographs + queries, "report": queries}
    seconds = {verb: slower * s * counts.get(verb, photographs) / workers for verb, s in MEASURED_S.items()}
    seconds["extract"] = pace.extract * (photographs + queries) / workers
    plain = pace.match * num_pairs(config, photographs) / workers
    guided = GUIDED * plain if guidance(config.matcher) else 0.0
    if config.reconstruction.name == "sfm":  # guided by its poses, pairs are matched once more
        seconds["match"], seconds["reconstruct"] = plain, slower * SFM_S * photographs + guided
    else:
        seconds["match"], seconds["reconstruct"] = guided or plain, slower * TRIANGULATION_S * photographs
    seconds["train"] = training_seconds(config, photographs, pace.train, SAMPLE_S * slower / workers)
    compared = COMPARED if context.uses_instances else photographs
    seconds["localize"] = queries * (compared * pace.match + slower * POSE_S) / workers
    return {verb: seconds[verb] for verb in verbs if seconds.get(verb, 0) > 0}


def num_pairs(config: Config, photographs: int) -> float:
    """About how many pairs of photographs will be matched."""
    settings, everything = config.pairs, photographs * (photographs - 1) / 2
    if isinstance(settings, SimilarPairs):
        each = settings.num_neighbours + settings.num_following
    elif isinstance(settings, ExhaustivePairs):
        return everything
    else:
        each = settings.num_neighbours if isinstance(settings, PosePairs) else 20
    return min(everything, PAIR_SHARE * each * photographs)


def training_seconds(config: Config, photographs: int, step_seconds: float, sample_seconds: float) -> float:
    """About how long the network is trained, with INSTANCES_EACH instances for each photograph. step_seconds: for a
    photograph of the network's size; sample_seconds: to draw it."""
    training = config.recognition.training
    if training.epochs == "auto":
        epochs = automatic_epochs(photographs, round(INSTANCES_EACH * photographs) + 1, training.batch_size)
    else:
        epochs = training.epochs
    area = sum(share**2 for share in training.growing) / len(training.growing)
    batches = -(-photographs // training.batch_size)
    seconds = TRAINING_STARTS_S + epochs * batches * training.batch_size * (area * step_seconds + sample_seconds)
    return seconds if training.max_minutes is None else min(seconds, 60 * training.max_minutes)


def clock(seconds: float) -> str:
    """75 -> '1:15'."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _spread(names: Sequence[str]) -> list[str]:
    """All names, those far from each other first, so that two broken ones at the start do not matter."""
    half = max(1, len(names) // 3)
    return [*names[half::half], *names[::half], *names]
