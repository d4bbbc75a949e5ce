from collections.abc import Callable
from pathlib import Path

import pytest

from lbr.config import load_config
from lbr.pipeline.estimate import (
    GUIDED,
    TRAINING_STARTS_S,
    Pace,
    clock,
    estimate,
    measure,
    num_pairs,
    training_seconds,
)
from lbr.pipeline.stage import Context
from tests.synthetic import RenderedScene


@pytest.fixture
def load(tmp_path: Path, scene: RenderedScene, write_config: Callable) -> Callable:
    path = write_config(tmp_path, scene.root)
    return lambda *overrides: load_config(path, overrides)


def test_two_photographs_are_timed_and_the_rest_is_counted(load: Callable):
    context = Context(load("parallel.workers=1", "pairs.name=exhaustive"))
    pace = measure(context)
    assert pace.match > 0 and 0 < pace.extract < 30 and 0 < pace.train < 30
    found = estimate(context, Pace(extract=2.0, match=0.06), ["extract", "match", "localize", "evaluate"])
    assert found["extract"] == pytest.approx(2 * 10) and found["match"] == pytest.approx(0.06 * 21)
    assert found["localize"] > 3 * 7 * 0.06 and "evaluate" not in found
    twice = estimate(Context(load("parallel.workers=2")), Pace(2.0, 0.06), ["extract"])
    assert twice["extract"] == pytest.approx(10)


def test_along_epipolar_lines_pairs_take_longer_and_without_poses_they_are_matched_twice(load: Callable):
    def seconds(*overrides: str) -> dict[str, float]:
        context = Context(load("parallel.workers=1", "pairs.name=exhaustive", *overrides))
        return estimate(context, Pace(extract=2.0, match=0.06), ["match", "reconstruct"])

    plain, sfm, guided = 0.06 * 21, ("reconstruction.name=sfm", "dataset.model=null"), "matcher.guided={}"
    assert seconds()["match"] == pytest.approx(plain) and seconds(guided)["match"] == pytest.approx(GUIDED * plain)
    assert seconds(*sfm, guided)["match"] == pytest.approx(plain)
    more = seconds(*sfm, guided)["reconstruct"] - seconds(*sfm)["reconstruct"]
    assert more == pytest.approx(GUIDED * plain)


def test_pairs_are_counted_as_they_will_be_chosen(load: Callable):
    assert num_pairs(load("pairs.name=exhaustive"), 100) == 4950
    similar = load("pairs.name=similar", "pairs.num_neighbours=20", "pairs.num_following=4")
    assert num_pairs(similar, 1000) == 0.75 * 24 * 1000 and num_pairs(similar, 5) == 10


def test_training_is_cut_off_where_the_configuration_cuts_it_off(load: Callable):
    long = ("recognition.training.epochs=auto", "recognition.training.max_minutes=4")
    assert training_seconds(load(*long), 150, 0.1, 0.01) == 240


def test_training_takes_whole_batches_at_the_sizes_that_it_grows_through(load: Callable):
    training = ("recognition.training.epochs=10", "recognition.training.batch_size=16")
    full = training_seconds(load(*training, "recognition.training.growing=[1]"), 14, 0.1, 0.01)
    half = training_seconds(load(*training, "recognition.training.growing=[0.5,1]"), 14, 0.1, 0.01)
    assert full - TRAINING_STARTS_S == pytest.approx(10 * 16 * 0.11)
    assert half - TRAINING_STARTS_S == pytest.approx(10 * 16 * (0.625 * 0.1 + 0.01))


def test_the_clock():
    assert (clock(75), clock(0.4), clock(3600)) == ("1:15", "0:00", "60:00")
