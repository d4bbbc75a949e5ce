"""The contract of every matcher in the table, LightGlue with random weights from a checkpoint file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from lbr.errors import ConfigError
from lbr.matching import MATCHERS, Matcher, MatcherConfig, make_matcher
from lbr.types import LocalFeatures
from tests.synthetic import unit_rows

WIDTH = 128  # of ALIKED's descriptors


def features(num: int, seed: int = 0) -> LocalFeatures:
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, [320, 240], (num, 2)).astype(np.float32)
    return LocalFeatures(keypoints, np.ones(num, np.float32), unit_rows(num, WIDTH, rng), (320, 240))


def save_lightglue(folder: Path, feature: str) -> Path:
    from kornia.feature import LightGlue

    torch.manual_seed(0)
    options = {k: v for k, v in LightGlue.features[feature].items() if k != "weights"}
    torch.save(LightGlue(features=None, weights=None, **options).state_dict(), folder / f"{feature}.pth")
    return folder / f"{feature}.pth"


@pytest.fixture(scope="module")
def lightglue_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_lightglue(tmp_path_factory.mktemp("weights"), "aliked")


@pytest.fixture(scope="module")
def build(lightglue_weights: Path) -> Callable[..., Matcher]:
    options = {
        "nearest": {"ratio": 0.95},
        "lightglue": {"features": "aliked", "weights": lightglue_weights, "min_score": 0.0, "device": "cpu"},
        "instancewise": {"within": {"ratio": 0.95}, "across": {"ratio": 0.95}},
    }

    def made(name: str, **changes: Any) -> Matcher:
        assert options.keys() == MATCHERS.keys()
        return make_matcher(TypeAdapter(MatcherConfig).validate_python({"name": name, **options[name], **changes}))

    return made


@pytest.fixture(scope="module", params=MATCHERS)
def matcher(request: pytest.FixtureRequest, build: Callable) -> Matcher:
    return build(request.param)


def test_indices_scores_and_order(matcher: Matcher):
    a, b = features(150), features(170, 1)
    found = matcher.match(a, b)
    assert 0 < len(found) <= 150
    assert found.indices.dtype == np.int32 and found.scores.dtype == np.float32
    assert (found.indices >= 0).all() and (found.indices < [150, 170]).all()
    assert (np.diff(found.indices[:, 0]) > 0).all(), "ordered by the first image, each keypoint once"
    assert len(np.unique(found.indices[:, 1])) == len(found)
    assert np.isfinite(found.scores).all() and (found.scores <= 1 + 1e-5).all()


def test_the_same_input_gives_the_same_bits(matcher: Matcher):
    a, b = features(80), features(90, 1)
    first, again = matcher.match(a, b), matcher.match(a, b)
    assert first.indices.tobytes() == again.indices.tobytes() and first.scores.tobytes() == again.scores.tobytes()


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (0, 0)])
def test_nothing_matches_nothing(matcher: Matcher, sizes: tuple[int, int]):
    found = matcher.match(features(sizes[0]), features(sizes[1], 1))
    assert len(found) == 0 and found.indices.shape == (0, 2)


@pytest.mark.parametrize("sizes", [(1, 1), (1, 7), (7, 1)])
def test_one_keypoint_is_no_special_case(matcher: Matcher, sizes: tuple[int, int]):
    found = matcher.match(features(sizes[0]), features(sizes[1], 1))
    assert len(found) <= 1 and found.indices.shape == (len(found), 2)


def test_inputs_are_left_as_they_were(matcher: Matcher):
    a, b = features(30), features(40, 1)
    matcher.match(a, b)
    np.testing.assert_array_equal(a.descriptors, features(30).descriptors)
    np.testing.assert_array_equal(b.keypoints, features(40, 1).keypoints)


def test_lightglue_drops_what_is_under_the_least_score(build: Callable):
    a, b = features(150), features(170, 1)
    every = build("lightglue").match(a, b)
    limit = float(np.median(every.scores))
    fewer = build("lightglue", min_score=limit).match(a, b)
    assert 0 < len(fewer) < len(every) and (fewer.scores > limit).all()


def test_lightglue_refuses_weights_of_another_feature(build: Callable):
    with pytest.raises(ConfigError, match="weights are not of LightGlue"):
        build("lightglue", features="superpoint")


def test_lightglue_for_sift_says_what_is_missing(tmp_path: Path, build: Callable):
    with pytest.raises(ConfigError, match="scales and orientations"):
        build("lightglue", features="sift", weights=save_lightglue(tmp_path, "sift"))


def test_lightglue_takes_weights_for_xfeat(tmp_path: Path, build: Callable):
    """Whose configuration in kornia has a threshold of its own; the least score of the settings counts."""
    small = replace_descriptors(features(60), 64), replace_descriptors(features(60, 1), 64)
    weights = save_lightglue(tmp_path, "xfeat")
    every = build("lightglue", features="xfeat", weights=weights).match(*small)
    none = build("lightglue", features="xfeat", weights=weights, min_score=1.0).match(*small)
    assert len(every) > 0 and len(none) == 0


def replace_descriptors(found: LocalFeatures, width: int) -> LocalFeatures:
    rows = unit_rows(len(found), width, np.random.default_rng(len(found)))
    return LocalFeatures(found.keypoints, found.scores, rows, found.image_size)
