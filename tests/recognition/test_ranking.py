from __future__ import annotations

import numpy as np
import pytest

from lbr.recognition.masks import MAX_PLANES, full_mask
from lbr.recognition.ranking import EvidenceRanking, PublishedRanking, RankingConfig, expected_areas, rank_instances
from lbr.types import InstancePrediction

RANKINGS = [PublishedRanking(), EvidenceRanking(), EvidenceRanking(power=1, presence=0, min_evidence=0)]


def prediction(
    ids: np.ndarray, confidences: np.ndarray, classes: int = 8, presence: np.ndarray | None = None
) -> InstancePrediction:
    present = np.full(classes, 0.5, np.float32) if presence is None else presence.astype(np.float32)
    return InstancePrediction(
        np.asarray(ids, np.uint16), np.asarray(confidences, np.float32), present, np.zeros(4, np.float32), (320, 240)
    )


def stray() -> InstancePrediction:
    """40 x 40 cells: facade 3, surely, on the upper half; one cell of 5, as surely; background below, 3 its second."""
    ids, confidences = np.zeros((40, 40, 2)), np.zeros((40, 40, 2))
    ids[:20, :, 0], confidences[:20, :, 0] = 3, 0.95
    ids[20:, :, 1], confidences[20:, :, 0], confidences[20:, :, 1] = 3, 0.6, 0.4
    ids[30, 7, 0], confidences[30, 7] = 5, (0.97, 0.02)
    return prediction(ids, confidences)


def test_the_published_score_by_hand():
    """1: (0.8 + 0.6) / 2 + 10. 2, which leads nowhere: (0.3 + 0.1) / 2 + 9. 3: 0.5 + 10, as its second rank is less."""
    ids = [[[1, 2], [1, 3]], [[3, 2], [0, 4]]]
    confidences = [[[0.8, 0.3], [0.6, 0.4]], [[0.5, 0.1], [0.9, 5e-5]]]
    order, scores = rank_instances(prediction(ids, confidences), PublishedRanking())
    assert order.tolist() == [1, 3, 2], "4 is below 1e-4"
    np.testing.assert_allclose(scores, [10.7, 10.5, 9.2], atol=1e-6)


def test_a_stray_pixel_leads_the_published_order_and_not_ours():
    assert rank_instances(stray(), PublishedRanking())[0].tolist() == [5, 3]
    assert rank_instances(stray(), EvidenceRanking())[0].tolist()[0] == 3
    assert rank_instances(stray(), EvidenceRanking(min_evidence=0))[0].tolist() == [3, 5]
    assert rank_instances(stray(), EvidenceRanking(min_evidence=1e-3))[0].tolist() == [3]


def test_expected_areas():
    areas = expected_areas(stray())
    assert areas[3] == pytest.approx((800 * 0.95 + 799 * 0.4 + 0.02 * 1) / 1600, abs=2e-5)
    assert areas[5] == pytest.approx(0.97 / 1600, abs=1e-6) and len(areas) == 8


def test_the_evidence_score_by_hand():
    """Of 3: the mean probability over the area that it is expected to fill, with the doubt, and what the head says."""
    p = stray()
    p.presence[3] = 0.2
    order, scores = rank_instances(p, EvidenceRanking(power=2, presence=0.1, stray=0.02, min_evidence=0))
    evidence = (800 * 0.95**2 + 799 * 0.4**2) / 1600
    area = (800 * 0.95 + 799 * 0.4) / 1600
    wanted = 0.9 * evidence / (area + 0.02) + 0.1 * 0.2
    assert scores[order.tolist().index(3)] == pytest.approx(wanted, rel=1e-3)


def test_who_is_small_and_sure_comes_before_who_is_large_and_not():
    """But not a few cells: their area is less than that of the doubt."""
    ids, confidences = np.ones((20, 20, 1)), np.full((20, 20, 1), 0.5)
    ids[:2], confidences[:2] = 2, 0.9
    assert rank_instances(prediction(ids, confidences, 3), EvidenceRanking())[0].tolist() == [2, 1]
    ids[:2], confidences[:2] = 1, 0.5
    ids[0, :2], confidences[0, :2] = 2, 0.9
    assert rank_instances(prediction(ids, confidences, 3), EvidenceRanking())[0].tolist() == [1, 2]


def test_the_classification_head_and_the_surest_cells_decide_between_equal_areas():
    ids, confidences = np.zeros((20, 20, 1)), np.full((20, 20, 1), 0.6)
    ids[:5], ids[5:10] = 1, 2
    for presence, first in (([0, 0.1, 0.9], 2), ([0, 0.9, 0.1], 1)):
        p = prediction(ids, confidences, 3, np.array(presence))
        assert rank_instances(p, EvidenceRanking())[0].tolist() == [first, 3 - first]
    confidences[:5] = 0.4
    confidences[:2] = 0.9  # as much in the sum, 2 x .9 + 3 x .4, but surer
    assert rank_instances(prediction(ids, confidences, 3), EvidenceRanking())[0].tolist() == [1, 2]


@pytest.mark.parametrize("settings", RANKINGS)
def test_contract(settings: RankingConfig):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        confidences = -np.sort(-rng.dirichlet(np.full(6, 0.3), (9, 12)), axis=-1)[..., :4]
        ids = rng.permuted(np.broadcast_to(np.arange(6), (9, 12, 6)), axis=-1)[..., :4]
        empty = confidences < 0.02
        confidences[empty], ids[empty] = 0, 0
        p = prediction(ids, confidences, 9)
        order, scores = rank_instances(p, settings)
        assert order.dtype == np.int32 and order.shape == scores.shape and scores.dtype == np.float64
        assert (np.diff(scores) <= 0).all() and np.isfinite(scores).all()
        assert len(set(order.tolist())) == len(order) and 0 not in order
        assert set(order.tolist()) == set(range(1, 6)), "each is somewhere, the others nowhere"


@pytest.mark.parametrize("settings", RANKINGS)
def test_where_nothing_is_nothing_is_named(settings: RankingConfig):
    order, scores = rank_instances(prediction(np.zeros((4, 4, 2)), np.ones((4, 4, 2)) * [1, 0]), settings)
    assert len(order) == len(scores) == 0


def test_masks_at_the_photographs_size():
    """A border between cells of 0.8 and 0.2 lies half-way; 6, everywhere second, leads nowhere and so is nowhere."""
    ids, confidences = np.zeros((4, 8, 3)), np.zeros((4, 8, 3))
    ids[:, :4] = (3, 6, 2)
    ids[:, 4:] = (2, 6, 3)
    confidences[:] = (0.5, 0.3, 0.2)
    p = prediction(ids, confidences)
    classes, sure = full_mask(p)
    assert classes.shape == sure.shape == (240, 320) and classes.dtype == np.uint16 and sure.dtype == np.float32
    assert set(np.unique(classes)) == {2, 3}
    assert (classes[:, :159] == 3).all() and (classes[:, 161:] == 2).all()
    assert sure.max() == pytest.approx(0.5) and sure.min() == pytest.approx(0.35, abs=0.01), "least at the border"
    assert full_mask(p, (16, 4))[0].tolist() == [[3] * 8 + [2] * 8] * 4


def test_where_many_instances_lead_somewhere_the_largest_are_in_the_mask():
    ids = np.ones((8, 8, 1))
    ids[0], ids[7] = np.arange(2, 10)[:, None], np.arange(10, 18)[:, None]
    found, _ = full_mask(prediction(ids, np.full((8, 8, 1), 0.9), 18), (8, 8))
    assert len(np.unique(ids)) > MAX_PLANES and (found[1:7] == 1).all()


def test_a_mask_of_its_own_size_is_what_leads():
    p = stray()
    classes, sure = full_mask(p, (40, 40))
    np.testing.assert_array_equal(classes, p.mask)
    np.testing.assert_allclose(sure, p.confidence)
