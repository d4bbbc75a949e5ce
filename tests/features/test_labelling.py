from __future__ import annotations

import numpy as np
import pytest

from lbr.features.labelling import favour_instances, labelled, labels_at
from lbr.types import LocalFeatures

MASK = np.array([[1, 2, 3], [4, 5, 6]])  # of an image of 3 x 2 pixels


def features(keypoints: list, scores: list | None = None, labels: list | None = None, size=(3, 2)) -> LocalFeatures:
    num = len(keypoints)
    return LocalFeatures(
        np.float32(keypoints).reshape(num, 2), np.ones(num, np.float32) if scores is None else np.float32(scores),
        np.arange(num, dtype=np.float32)[:, None], size, None if labels is None else np.int32(labels),
    )  # fmt: skip


@pytest.mark.parametrize(
    "xy, label",
    [
        ((0, 0), 1), ((0.99, 0.99), 1), ((1, 0.5), 2), ((0.5, 1), 4), ((2.99, 1.99), 6), ((2.5, 0.2), 3),
        pytest.param((3, 2), 6, id="on the far corner"), pytest.param((-0.01, 0.5), 1, id="rounded out of the image"),
    ],
)  # fmt: skip
def test_the_label_is_that_of_the_pixel_under_the_keypoint(xy: tuple, label: int):
    found = labels_at(np.float32([xy]), (3, 2), MASK)
    assert found.tolist() == [label] and found.dtype == np.int32


@pytest.mark.parametrize("scale", [(1, 1), (2, 2), (3, 5)])
def test_a_mask_of_another_size_covers_the_same_image(scale: tuple[int, int]):
    """Shrunk masks and grown ones: as if the mask were resized by nearest neighbour."""
    xy = np.random.default_rng(0).uniform(0, [3, 2], (500, 2)).astype(np.float32)
    expected = labels_at(xy, (3, 2), MASK)
    assert set(expected) == {1, 2, 3, 4, 5, 6}
    grown = MASK.repeat(scale[1], 0).repeat(scale[0], 1)
    np.testing.assert_array_equal(labels_at(xy, (3, 2), grown), expected)
    size = (3 * scale[0], 2 * scale[1])
    np.testing.assert_array_equal(labels_at(xy * np.float32(scale), size, MASK), expected)


def test_one_label_for_each_keypoint_also_for_none():
    assert labels_at(np.zeros((0, 2), np.float32), (3, 2), MASK).shape == (0,)
    given = features([(0.5, 0.5), (2.5, 1.5)], [0.3, 0.7])
    found = labelled(given, MASK)
    assert found.labels.tolist() == [1, 6] and given.labels is None
    assert found.descriptors is given.descriptors and found.scores is given.scores and found.image_size == (3, 2)


def test_instances_first_by_score_then_the_background_by_score():
    given = features([(0, 0)] * 6, [0.9, 0.2, 0.8, 0.1, 0.5, 0.8], [0, 3, 0, 9, 3, 0])
    assert favour_instances(given, 6).descriptors[:, 0].tolist() == [4, 1, 3, 0, 2, 5]
    few = favour_instances(given, 4)
    assert few.labels.tolist() == [3, 3, 9, 0] and few.scores.tolist() == pytest.approx([0.5, 0.2, 0.1, 0.9])
    assert favour_instances(given, 2).labels.tolist() == [3, 3]
    assert len(favour_instances(given, 99)) == 6


def test_without_labels_there_is_nothing_to_favour():
    with pytest.raises(ValueError, match="without labels"):
        favour_instances(features([(0, 0)]), 1)
