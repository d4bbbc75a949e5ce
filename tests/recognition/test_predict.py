from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lbr.errors import ConfigError
from lbr.recognition.checkpoints import Checkpoint, save_checkpoint
from lbr.recognition.network import make_network
from lbr.recognition.predict import Recognizer, load_recognizer, make_recognizer, predict
from lbr.recognition.settings import PredictionSettings, PublishedCheckpoint, RecognitionSettings
from lbr.types import InstancePrediction, InstanceVocabulary
from tests.recognition.squares import NETWORK, SIZE, VOCABULARY

SETTINGS = PredictionSettings(device="cpu", precision="float32", top_k=3, min_confidence=0.0)
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)


def checkpoint(**options) -> Checkpoint:
    torch.manual_seed(5)
    network = make_network(NETWORK, 4).eval()
    with torch.no_grad():
        network.seghead[0].weight *= 20
    return Checkpoint(network, NETWORK, VOCABULARY, SIZE, **options)


def assert_same(a: InstancePrediction, b: InstancePrediction, atol: float = 0) -> None:
    for name in ("confidences", "presence", "feature"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=atol, rtol=0)
    assert (a.ids == b.ids).mean() >= (1 if atol == 0 else 0.97) and a.image_size == b.image_size


def test_a_prediction_is_what_it_says():
    found = predict(Recognizer(checkpoint(), SETTINGS), IMAGE)
    assert found.ids.shape == found.confidences.shape == (48, 48, 3) and found.image_size == (70, 40)
    assert found.ids.dtype == np.uint16 and found.confidences.dtype == np.float32
    assert found.confidences.min() >= 0 and (found.confidences.sum(-1) <= 1 + 1e-5).all()
    assert (np.diff(found.confidences, axis=-1) <= 0).all()
    assert found.presence.shape == (4,) and (found.presence > 0).all() and (found.presence < 1).all()
    assert np.linalg.norm(found.feature) == pytest.approx(1, abs=1e-5)
    whole = predict(Recognizer(checkpoint(), SETTINGS.model_copy(update={"top_k": 10})), IMAGE)
    assert whole.ids.shape[2] == 4, "no more ranks than classes"
    np.testing.assert_allclose(whole.confidences.sum(-1), 1, atol=1e-5)
    assert (np.sort(whole.ids, -1) == np.arange(4)).all()


def test_confidences_are_softmax_of_the_calibrated_logits():
    model = Recognizer(checkpoint(temperature=2.0, presence_scale=(0.5, -1.0)), SETTINGS)
    output, found = model.forward([IMAGE]), model.predict(IMAGE)
    p = torch.softmax(output.segmentation[0] / 2, 0).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(np.take_along_axis(p, found.ids.astype(int), 2), found.confidences, atol=1e-6)
    np.testing.assert_array_equal(found.mask, p.argmax(-1))
    np.testing.assert_allclose(found.presence, torch.sigmoid(0.5 * output.presence[0] - 1).numpy(), atol=1e-6)


def test_small_confidences_are_empty_but_never_the_first():
    plain = Recognizer(checkpoint(), SETTINGS).predict(IMAGE)
    found = Recognizer(checkpoint(), SETTINGS.model_copy(update={"min_confidence": 0.4})).predict(IMAGE)
    np.testing.assert_array_equal(found.mask, plain.mask)
    assert found.confidence.min() < 0.4
    empty = plain.confidences[..., 1:] < 0.4
    assert empty.any() and not empty.all()
    np.testing.assert_array_equal(found.ids[..., 1:] * ~empty, found.ids[..., 1:])
    np.testing.assert_array_equal(found.confidences[..., 1:] == 0, empty)


def test_several_images_are_each_as_alone():
    model, other = Recognizer(checkpoint(), SETTINGS), IMAGE[::-1, :50].copy()
    for a, b in zip(model.predict_batch([IMAGE, other]), (model.predict(IMAGE), model.predict(other)), strict=True):
        assert_same(a, b, 1e-4)


def test_the_colour_order_is_of_the_channels():
    rgb, bgr = Recognizer(checkpoint(), SETTINGS), Recognizer(checkpoint(colour_order="bgr"), SETTINGS)
    from lbr.recognition.samples import normalised

    own = normalised(IMAGE[None, :, :48].repeat(2, 1)[:, :48])
    with torch.inference_mode():
        wanted = rgb.network(own.flip(1))
    found = bgr.forward([IMAGE[:, :48].repeat(2, 0)[:48]])
    torch.testing.assert_close(found.segmentation, wanted.segmentation)
    assert not torch.allclose(rgb.forward([IMAGE]).segmentation, bgr.forward([IMAGE]).segmentation, atol=1e-3)


def test_a_checkpoint_predicts_as_the_network_did(tmp_path: Path):
    kept = checkpoint(temperature=1.5, presence_scale=(0.7, 0.3))
    wanted = Recognizer(kept, SETTINGS).predict(IMAGE)
    save_checkpoint(tmp_path / "c.pt", kept)
    assert_same(load_recognizer(tmp_path / "c.pt", SETTINGS).predict(IMAGE), wanted)
    save_checkpoint(tmp_path / "half.pt", kept, half=True)
    assert_same(load_recognizer(tmp_path / "half.pt", SETTINGS).predict(IMAGE), wanted, 0.02)
    sizes = [(tmp_path / name).stat().st_size for name in ("half.pt", "c.pt")]
    assert 0.45 < sizes[0] / sizes[1] < 0.6


def test_ours_and_the_published_are_told_apart(tmp_path: Path):
    save_checkpoint(tmp_path / "c.pt", checkpoint())
    torch.save({"model": checkpoint().network.state_dict()}, tmp_path / "p.pth")
    other = InstanceVocabulary(np.array([0, 5]), np.array([0, 1], np.int32))
    assert make_recognizer(RecognitionSettings(), tmp_path / "c.pt", VOCABULARY).checkpoint.input_size == SIZE
    with pytest.raises(ConfigError, match="another vocabulary"):
        make_recognizer(RecognitionSettings(), tmp_path / "c.pt", other)
    published = PublishedCheckpoint(path=tmp_path / "p.pth", colour_order="bgr")
    with pytest.raises(ConfigError, match="knows 4 classes, the vocabulary 2"):
        make_recognizer(RecognitionSettings(network=NETWORK, published=published), published.path, other)
    with pytest.raises(ConfigError, match="set recognition.published"):
        make_recognizer(RecognitionSettings(), tmp_path / "p.pth", VOCABULARY)
