"""Prototypes of instances that were not learned: on cells whose truth is known, in files, and in a recogniser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lbr.errors import ConfigError, DataError
from lbr.recognition.checkpoints import save_checkpoint
from lbr.recognition.network import make_network
from lbr.recognition.predict import Recognizer, make_recognizer
from lbr.recognition.prototypes import NEVER, Pooling, Prototypes, read_prototypes, with_prototypes, write_prototypes
from lbr.recognition.settings import PublishedCheckpoint, RecognitionSettings
from lbr.types import InstancePrediction, InstanceVocabulary
from tests.recognition.squares import NETWORK, VOCABULARY
from tests.recognition.test_predict import IMAGE, SETTINGS, checkpoint

GRID, WIDTH = (12, 16), 24
GROWN = InstanceVocabulary(np.append(VOCABULARY.colours, [9, 10]), np.arange(6, dtype=np.int32))


def cells_of(mask: np.ndarray, seed: int, noise: float = 0.1) -> np.ndarray:
    """Unit features of the cells of a mask: a direction for each class, and noise."""
    directions = np.linalg.qr(np.random.default_rng(5).normal(size=(WIDTH, WIDTH)))[0]
    cells = directions[mask] + noise * np.random.default_rng(seed).normal(size=(*mask.shape, WIDTH))
    return (cells / np.linalg.norm(cells, axis=-1, keepdims=True)).astype(np.float32)


def bands(*classes: int) -> np.ndarray:
    """A mask of upright bands of these classes."""
    return np.repeat(np.array(classes), GRID[1] // len(classes))[None, :].repeat(GRID[0], 0)


def pooled(new: tuple[int, ...] = (4,)) -> Prototypes:
    pooling = Pooling(6)
    for seed, mask in enumerate((bands(0, 1, 2, 3), bands(1, 2), bands(3, 0), bands(4, 0))):
        pooling.add(cells_of(mask, seed), mask)
    found = pooling.prototypes(new)
    assert found is not None
    return found


def prediction_of(mask: np.ndarray, confidence: float) -> InstancePrediction:
    """A network that knows 0..3: sure of those, and for what it does not know at a loss."""
    ids = np.stack([np.where(mask > 3, 2, mask), np.where(mask > 3, 0, (mask + 1) % 4)], -1).astype(np.uint16)
    first = np.where(mask > 3, 0.4, confidence).astype(np.float32)
    return InstancePrediction(
        ids, np.stack([first, (1 - first) / 2], -1), np.zeros(4, np.float32), np.zeros(8, np.float32), (64, 48)
    )  # fmt: skip


def test_cells_of_the_new_instance_are_named_and_the_others_stay():
    mask = bands(4, 1, 0, 3)
    before = prediction_of(mask, 0.9)
    after = with_prototypes(before, cells_of(mask, 99), pooled())
    new = mask == 4
    assert (after.mask[new] == 4).mean() > 0.8, "a tenth is beyond the threshold"
    np.testing.assert_array_equal(after.mask[~new], before.mask[~new])
    np.testing.assert_allclose(after.confidence[~new], before.confidence[~new], atol=0.02)
    named = after.mask == 4
    left = before.confidence[named] * (1 - after.confidence[named])
    np.testing.assert_allclose(after.confidences[named][:, 1], left, rtol=1e-5, err_msg="the rest is shared as before")
    assert after.ids.shape == before.ids.shape and (np.diff(after.confidences, axis=-1) <= 0).all()
    assert (after.confidences.sum(-1) <= 1 + 1e-5).all() and after.confidences.min() >= 0
    assert len(after.presence) == 5 and after.presence[4] > 0.5 and (after.presence[:4] == 0).all()


def test_what_is_neither_known_nor_new_is_not_named():
    mask = bands(5, 5)
    after = with_prototypes(prediction_of(mask, 0.9), cells_of(mask, 98), pooled())
    assert (after.mask == 4).mean() == 0


def test_a_sure_network_is_not_overruled():
    mask = bands(4, 4)
    before = replace(prediction_of(mask, 0.9), confidences=np.full((*mask.shape, 2), [0.97, 0.01], np.float32))
    after = with_prototypes(before, cells_of(mask, 97), pooled())
    assert (after.mask == 2).all()


def test_a_network_that_is_sure_of_the_background_alone_is_overruled():
    mask = bands(4, 1, 0, 3)
    before, new = prediction_of(mask, 0.9), mask == 4
    before.ids[new], before.confidences[new] = (0, 2), (0.95, 0.02)
    after = with_prototypes(before, cells_of(mask, 99), pooled())
    assert (after.mask[new] == 4).mean() > 0.8


def test_a_new_instance_without_cells_is_never_named():
    found = pooled((4, 5))
    assert found.thresholds[1] == np.float32(NEVER) and found.thresholds[0] < 1
    mask = bands(5, 4)
    after = with_prototypes(prediction_of(mask, 0.9), cells_of(mask, 96), found)
    assert not (after.ids == 5)[after.confidences > 1e-3].any()
    alone = Pooling(6)
    alone.add(cells_of(bands(4, 0), 0), bands(4, 0))
    assert (alone.prototypes([4]).thresholds == np.float32(NEVER)).all(), "nothing known to judge by"
    assert Pooling(6).prototypes([4]) is None


def test_a_file_is_read_as_it_was_written(tmp_path: Path):
    written, path = pooled(), tmp_path / "prototypes.npz"
    write_prototypes(path, written)
    found = read_prototypes(path)
    for name in ("classes", "vectors", "thresholds"):
        np.testing.assert_array_equal(getattr(found, name), getattr(written, name))
    assert found.width == written.width and path.stat().st_size < 5000
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="broken prototypes"):
        read_prototypes(path)
    with path.open("wb") as file:
        np.savez(file, format=np.array("lbr-prototypes"), version=np.array(9))
    with pytest.raises(DataError, match="version 9, wanted lbr-prototypes version 1"):
        read_prototypes(path)


def test_a_recogniser_uses_them_until_its_network_has_learned_the_instances(tmp_path: Path):
    """The prototype is the feature of the image's own corner: the corner is named after it."""
    path = tmp_path / "c.pt"
    save_checkpoint(path, checkpoint(temperature=50.0))
    plain = make_recognizer(RecognitionSettings(prediction=SETTINGS), path, VOCABULARY)
    cells = plain.cells(IMAGE)
    np.testing.assert_allclose(np.linalg.norm(cells, axis=-1), 1, atol=1e-5)
    assert cells.shape[:2] == plain.predict(IMAGE).mask.shape
    corner = cells[2, 3]
    known = Prototypes(np.array([4, 5], np.int32), np.stack([corner, -corner]), np.array([0.995, NEVER]), 1e-3)
    settings = RecognitionSettings(prediction=SETTINGS)
    with pytest.raises(ConfigError, match="another vocabulary"):
        make_recognizer(settings, path, GROWN)
    model = make_recognizer(settings, path, GROWN, known)
    found = model.predict(IMAGE)
    assert found.mask[2, 3] == 4 and 0 < (found.mask == 4).mean() < 0.9
    assert (found.mask[cells @ corner < 0.98] != 4).all()
    other = checkpoint()
    learned = Recognizer(replace(other, vocabulary=GROWN), SETTINGS)
    assert learned.prototypes is None


def test_a_published_checkpoint_may_have_prototypes_too(tmp_path: Path):
    published = PublishedCheckpoint(path=tmp_path / "p.pth", colour_order="bgr")
    whole = make_network(NETWORK.model_copy(update={"prune": False}), 4)
    torch.save({"model": whole.state_dict()}, published.path)
    settings = RecognitionSettings(network=NETWORK, published=published, prediction=SETTINGS)
    corner = make_recognizer(settings, published.path, VOCABULARY).cells(IMAGE)[2, 3]
    known = Prototypes(np.array([4, 5], np.int32), np.stack([corner, -corner]), np.array([-1, NEVER]), 1e-3)
    found = make_recognizer(settings, published.path, GROWN, known).predict(IMAGE)
    assert found.presence.shape == (6,) and (found.ids == 4).any()
