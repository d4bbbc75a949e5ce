from __future__ import annotations

import numpy as np
import pytest
import torch

from lbr.recognition.losses import hard_cross_entropy, presence_of, rarity_weights, recognition_loss, shrink_masks
from lbr.recognition.network import Recognition
from lbr.recognition.settings import LossSettings


def some_logits(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """[2, 3, 5, 4] and targets."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 5, 4, generator=generator) * 2, torch.randint(0, 3, (2, 5, 4), generator=generator)


def plain_cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The loss of each pixel and its class, flat."""
    z, t = logits.numpy().astype(np.float64).transpose(0, 2, 3, 1).reshape(-1, 3), target.numpy().ravel()
    return np.log(np.exp(z).sum(1)) - z[np.arange(len(t)), t], t


@pytest.mark.parametrize("ratio", [1.0, 0.7, 0.31, 0.001])
@pytest.mark.parametrize("weights", [None, [1.0, 0.2, 5.0]])
def test_the_hardest_pixels_count(ratio: float, weights: list[float] | None):
    logits, target = some_logits()
    losses, classes = plain_cross_entropy(logits, target)
    kept = np.argsort(-losses)[: max(1, int(ratio * 40))]
    w = np.ones(3) if weights is None else np.array(weights)
    wanted = np.average(losses[kept], weights=w[classes[kept]])
    found = hard_cross_entropy(logits, target, ratio, None if weights is None else torch.tensor(weights))
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_all_pixels_is_the_mean_of_torch():
    logits, target = some_logits()
    wanted = torch.nn.functional.cross_entropy(logits, target)
    torch.testing.assert_close(hard_cross_entropy(logits, target, 1.0), wanted)


def parts(output: Recognition, masks: torch.Tensor, **weights: float):
    return recognition_loss(output, masks, LossSettings(hard_ratio=1, **weights))


def test_the_configured_weights_act():
    """The research code's weight of 2 never reached the loss."""
    logits, masks = some_logits()
    output = Recognition(logits, torch.randn(2, 3, generator=torch.Generator().manual_seed(3)), *torch.zeros(2, 2, 1))
    plain, double, triple = (
        parts(output, masks),
        parts(output, masks, classification=2),
        parts(output, masks, segmentation=3),
    )
    s, c = float(plain.segmentation), float(plain.classification)
    assert s == pytest.approx(plain_cross_entropy(logits, masks)[0].mean(), rel=1e-5)
    present = np.array([[float(k in m) for k in range(3)] for m in masks.numpy()])
    p = 1 / (1 + np.exp(-output.presence.double().numpy()))
    assert c == pytest.approx(-np.log(np.where(present == 1, p, 1 - p)).mean(), rel=1e-5)
    assert float(plain.total) == pytest.approx(s + c)
    assert float(double.total) == pytest.approx(s + 2 * c) and float(double.classification) == pytest.approx(c)
    assert float(triple.total) == pytest.approx(3 * s + c)
    assert float(plain.accuracy) == pytest.approx(float((logits.argmax(1) == masks).double().mean()))
    torch.testing.assert_close(plain.numbers(), torch.tensor([float(v) for v in plain], dtype=torch.float64))


def test_masks_are_brought_to_the_logits_and_presence_is_of_the_whole_mask():
    """A pixel that no cell takes is in the image all the same."""
    masks = torch.zeros(1, 8, 8, dtype=torch.int64)
    masks[:, 4:] = 2
    masks[0, 0, 0] = 1
    small = shrink_masks(masks, torch.zeros(1, 3, 2, 2))
    assert small.tolist() == [[[0, 0], [2, 2]]] and small.dtype == torch.int64
    assert presence_of(masks, 4).tolist() == [[1, 1, 1, 0]]
    assert presence_of(torch.tensor([[[3, 3]], [[0, 1]]]), 4).tolist() == [[0, 0, 0, 1], [1, 1, 0, 0]]


def test_rare_classes_weigh_more():
    counts = torch.tensor([800.0, 100, 0, 25])
    assert rarity_weights(counts, 0) is None
    torch.testing.assert_close(rarity_weights(counts, 1), torch.tensor([0.125, 1, 1, 4]))
    torch.testing.assert_close(rarity_weights(counts, 0.5), torch.tensor([0.125**0.5, 1, 1, 2]))
