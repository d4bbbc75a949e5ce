import numpy as np
import pytest

from lbr.retrieval.vlad import global_descriptors, visual_words, vlad


def places(num: int, views: int, noise: float) -> list[np.ndarray]:
    """`views` sets of noisy copies of the local descriptors of each of `num` places, of changing number and order."""
    rng = np.random.default_rng(3)
    sets = []
    for _ in range(num):
        truth = rng.normal(size=(60, 32))
        for _ in range(views):
            seen = rng.permutation(60)[: rng.integers(40, 60)]
            local = truth[seen] + noise * rng.normal(size=(len(seen), 32))
            sets.append((local / np.linalg.norm(local, axis=1, keepdims=True)).astype(np.float16))
    return sets


def test_views_of_one_place_are_the_most_alike():
    local = places(12, 3, 0.3)
    vectors = global_descriptors(local, visual_words(local, 16, seed=0))
    cosine = vectors @ vectors.T
    np.testing.assert_allclose(np.diag(cosine), 1, atol=1e-5)
    np.fill_diagonal(cosine, -1)
    nearest = np.argsort(-cosine, axis=1)[:, :2]
    right = nearest // 3 == np.arange(36)[:, None] // 3
    assert right.mean() > 0.9


def test_vlad_is_the_normalised_sum_of_residuals():
    words = np.array([[0.0, 0], [10, 0]], np.float32)
    found = vlad(np.array([[1.0, 0], [1, 2], [10, 3]], np.float32), words)
    by_word = np.array([[2.0, 2], [0, 3]])
    expected = (by_word / np.linalg.norm(by_word, axis=1, keepdims=True)).ravel() / np.sqrt(2)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_order_of_the_descriptors_does_not_matter_and_none_give_zeros():
    local, *others = places(4, 1, 0.1)  # residuals of the words' own descriptors would add up to nothing
    words = visual_words(others, 8, seed=1)
    np.testing.assert_allclose(vlad(local, words), vlad(local[::-1], words), atol=1e-5)
    assert not vlad(local[:0], words).any()


def test_the_same_seed_gives_the_same_words_and_no_descriptors_are_an_error():
    local = places(4, 1, 0.1)
    np.testing.assert_array_equal(visual_words(local, 8, 5), visual_words(local, 8, 5))
    with pytest.raises(ValueError, match="no local descriptors"):
        visual_words([local[0][:0]], 8, 5)
