"""Scores and calibration against cases done by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lbr.recognition.calibration import fit_calibration, sample_cells
from lbr.recognition.metrics import first_right, mean_average_precision, score_image, summarise
from lbr.recognition.ranking import EvidenceRanking, PublishedRanking
from lbr.types import InstancePrediction

RANKING = EvidenceRanking()


def prediction(mask: list, confidence: float | list = 0.9, presence: list | None = None) -> InstancePrediction:
    ids = np.array(mask, np.uint16)[..., None]
    confidences = np.broadcast_to(np.array(confidence, np.float32), ids.shape[:2])[..., None]
    present = np.array(presence or [0.5] * 5, np.float32)
    return InstancePrediction(ids, confidences.copy(), present, np.zeros(4, np.float32), (8, 8))


def test_pixels_and_iou_by_hand():
    """Right: 3 of 4 cells, then 1 of 4. Class 0: 2 right of 3 true, 3 named; 1: 1 of 3 and 3; 2: 1 of 2 and 2."""
    scores = [
        score_image(prediction([[0, 0], [1, 2]]), np.array([[0, 0], [2, 2]]), RANKING),
        score_image(prediction([[1, 1], [0, 2]]), np.array([[1, 0], [1, 1]]), RANKING),
    ]
    found = summarise(scores)
    assert (found.num, found.shown) == (2, 2)
    assert found.pixel_accuracy == pytest.approx(100 * 4 / 8)
    assert found.mean_iou == pytest.approx(100 * np.mean([2 / (3 + 3 - 2), 1 / (3 + 3 - 1), 1 / (2 + 2 - 1)]))


def test_classes_that_are_only_named_do_not_count_in_the_iou():
    found = summarise([score_image(prediction([[1, 3]]), np.array([[1, 1]]), RANKING)])
    assert found.mean_iou == pytest.approx(50)


def test_the_truth_may_be_of_any_size():
    truth = np.kron(np.array([[0, 0], [2, 2]]), np.ones((10, 15), int))
    assert summarise([score_image(prediction([[0, 0], [2, 2]]), truth, RANKING)]).pixel_accuracy == 100


@pytest.mark.parametrize(
    "ranked, seen, place", [([3, 1, 2], [1], 2), ([3, 1, 2], [2, 3], 1), ([3], [4], 0), ([], [4], 0), ([3], [], -1)]
)
def test_the_place_of_the_first_right_instance(ranked: list, seen: list, place: int):
    assert first_right(np.array(ranked, int), np.array(seen, int)) == place


def test_success_with_the_first():
    """Ranks 1, 3, none, and an image without any instance, which is no query."""
    areas = [[1] * 8, [2] * 5 + [3] * 2 + [1], [2] * 8, [2] * 8]
    truths = [[1] * 8, [1] * 8, [1] * 8, [0] * 8]
    scores = [score_image(prediction([a]), np.array([t]), RANKING) for a, t in zip(areas, truths, strict=True)]
    assert [s.rank for s in scores] == [1, 3, 0, -1]
    found = summarise(scores)
    assert (found.num, found.shown) == (4, 3)
    assert found.first == pytest.approx((100 / 3, 200 / 3, 200 / 3, 200 / 3, 200 / 3))


def test_a_speck_is_not_in_sight():
    truth = np.zeros((40, 50), int)
    truth[0, 0] = 1  # 1 of 2000 cells
    p = prediction(np.ones((40, 50), int))
    assert score_image(p, truth, RANKING).rank == -1
    truth[0, :2] = 1
    assert score_image(p, truth, RANKING).rank == 1


def test_an_empty_truth_is_scored_for_its_pixels():
    score = score_image(prediction([[0, 1]]), np.zeros((2, 4), int), RANKING)
    assert score.rank == -1 and not score.present.any()
    found = summarise([score])
    assert (found.shown, found.pixel_accuracy, found.presence_map) == (0, 50.0, 0.0) and found.first == (0.0,) * 5


def test_nothing_to_score_is_said():
    with pytest.raises(ValueError, match="no image has a true mask"):
        summarise([])


def test_the_ranking_that_is_asked_for_is_scored():
    """A stray sure cell leads the published order alone."""
    p = prediction([[2] + [1] * 199], [[0.99] + [0.8] * 199])
    truth = np.array([[1] * 200])
    assert [score_image(p, truth, r).rank for r in (EvidenceRanking(), PublishedRanking())] == [1, 2]


def test_average_precision_by_hand():
    """Class 0 at places 1 and 3: (1 + 2/3) / 2; class 1 at place 2: 1/2; class 2 never occurs."""
    scores = np.array([[0.9, 0.9, 0.5], [0.8, 0.5, 0.9], [0.7, 0.1, 0.1]])
    present = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]], bool)
    assert mean_average_precision(scores, present) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    assert mean_average_precision(scores, np.zeros((3, 3), bool)) == 0


def test_presence_is_scored_without_the_background():
    """Class 1 is shown by the second image only, whose presence is lower."""
    scores = [
        score_image(prediction([[1, 0]], presence=[0, 0.9, 0]), np.array([[0, 0]]), RANKING),
        score_image(prediction([[1, 0]], presence=[0, 0.2, 0]), np.array([[1, 0]]), RANKING),
    ]
    assert summarise(scores).presence_map == pytest.approx(50)


def test_calibration_error_by_hand():
    """0.9 sure and 3 of 4 right; 0.5 sure and 1 of 4 right: (4 * .15 + 4 * .25) / 8, over two images."""
    scores = [
        score_image(prediction([[1, 1, 1, 1]], 0.9), np.array([[1, 1, 1, 0]]), RANKING),
        score_image(prediction([[1, 1, 1, 1]], 0.5), np.array([[1, 0, 0, 0]]), RANKING),
    ]
    assert summarise(scores).calibration_error == pytest.approx(0.2, abs=1e-6)


def test_sure_and_right_has_no_calibration_error():
    assert summarise([score_image(prediction([[1, 1]], 1.0), np.array([[1, 1]]), RANKING)]).calibration_error == 0


def drawn(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("scale", [3.0, 0.5])
def test_the_temperature_undoes_a_scale(scale: float):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20000, 6, generator=generator) * 2
    truth = drawn(logits, generator)
    presence = torch.randn(3000, 6, generator=generator)
    present = torch.bernoulli((1.5 * presence - 0.7).sigmoid(), generator=generator)
    found = fit_calibration(logits * scale, truth, presence, present)
    assert found.temperature == pytest.approx(scale, rel=0.05)
    assert found.factor == pytest.approx(1.5, rel=0.05) and found.shift == pytest.approx(-0.7, abs=0.05)


def test_a_choice_of_cells_keeps_logits_with_their_truth():
    truth = torch.arange(2 * 30 * 20).reshape(2, 30, 20)
    logits = torch.stack([truth, -truth], 1).float()
    cells, chosen = sample_cells(logits, truth, 50)
    assert cells.shape == (100, 2) and torch.equal(cells, torch.stack([chosen, -chosen], 1).float())
    assert len(set(chosen.tolist())) == 100 and sum(chosen < 600) == 50
    assert len(sample_cells(logits, truth, 10_000)[1]) == 1200
