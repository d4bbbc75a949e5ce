from pathlib import Path

import cv2
import numpy as np
import pytest

from lbr.errors import DataError
from lbr.io.h5_file import new_h5
from lbr.io.predictions_file import (
    LEVELS,
    PredictionFile,
    prediction_from_arrays,
    prediction_to_arrays,
    write_predictions,
)
from lbr.types import InstancePrediction

NAMES = ["query/night/a b.1.jpg", "db/z.jpg", "db/a.jpg"]


def some_prediction(seed: int = 0, cells: int = 16, ranks: int = 5, classes: int = 30) -> InstancePrediction:
    """What a trained network says: smooth fields of logits, one of them leading nearly everywhere."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 6, (6, 6, classes)).astype(np.float32)
    logits = np.stack(
        [cv2.resize(coarse[..., c], (cells, cells), interpolation=cv2.INTER_CUBIC) for c in range(classes)], 2
    )
    p = np.exp(logits - logits.max(2, keepdims=True))
    p /= p.sum(2, keepdims=True)
    ids = np.argsort(-p, axis=2, kind="stable")[..., :ranks]
    confidences = np.take_along_axis(p, ids, 2)
    ids[confidences < 1e-3], confidences[confidences < 1e-3] = 0, 0
    feature = rng.normal(size=64)
    return InstancePrediction(
        ids.astype(np.uint16), confidences.astype(np.float32), rng.random(classes).astype(np.float32),
        (feature / np.linalg.norm(feature)).astype(np.float32), (640, 480),
    )  # fmt: skip


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, dict[str, InstancePrediction]]:
    predictions = {name: some_prediction(i) for i, name in enumerate(NAMES)}
    write_predictions(tmp_path / "p.h5", ((n, prediction_to_arrays(p)) for n, p in predictions.items()), "abc")
    return tmp_path / "p.h5", predictions


def test_what_is_written_is_read(written: tuple[Path, dict[str, InstancePrediction]]):
    path, predictions = written
    with PredictionFile(path) as file:
        assert file.names == sorted(NAMES) and file.vocabulary == "abc"
        assert NAMES[0] in file and "db/b.jpg" not in file
        for name, wanted in predictions.items():
            found = file.read(name)
            np.testing.assert_array_equal(found.ids, wanted.ids)
            assert found.ids.dtype == np.uint16 and found.confidences.dtype == np.float32
            step = np.sqrt(wanted.confidences)  # kept to half a level of the root
            assert (np.abs(np.sqrt(found.confidences) - step) <= 0.5 / LEVELS + 1e-6).all()
            np.testing.assert_allclose(found.presence, wanted.presence, atol=5e-4)
            np.testing.assert_allclose(found.feature, wanted.feature, atol=5e-4)
            assert found.image_size == (640, 480)
        features = file.features()
        np.testing.assert_allclose(features, [predictions[n].feature for n in file.names], atol=5e-4)


def test_an_id_whose_confidence_rounds_to_nothing_is_empty():
    p = some_prediction()
    ids, confidences = np.full_like(p.ids, 7), np.full_like(p.confidences, 1e-6)
    found = prediction_from_arrays(
        prediction_to_arrays(InstancePrediction(ids, confidences, p.presence, p.feature, p.image_size))
    )
    assert not found.ids.any() and not found.confidences.any()
    confidences[:] = 1e-4
    found = prediction_from_arrays(
        prediction_to_arrays(InstancePrediction(ids, confidences, p.presence, p.feature, p.image_size))
    )
    assert (found.ids == 7).all() and (found.confidences > 5e-5).all()


def test_of_a_db_image_the_first_rank_is_kept():
    p = some_prediction()
    found = prediction_from_arrays(prediction_to_arrays(p, ranks=1))
    assert found.ids.shape == (16, 16, 1)
    np.testing.assert_array_equal(found.mask, p.mask)
    np.testing.assert_allclose(found.confidence, p.confidence, atol=5e-3)


def facades(cells: int, classes: int, ranks: int) -> InstancePrediction:
    """A sure network's picture of a street: five facades under a sky, soft borders, some doubt about what is what."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:cells, :cells] + 0.5
    logits = np.full((cells, cells, classes), -20.0)
    logits[..., 0] = 0
    edges = np.linspace(0.05, 0.95, 6) * cells
    for i, (left, right) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        lean = rng.normal(0, 0.2) * (y - cells / 2)
        inside = np.minimum(np.minimum(x + lean - left, right - x - lean), y - rng.uniform(0.1, 0.4) * cells)
        logits[..., 5 * i + 1] = 4 * inside
        doubt = cv2.resize(rng.normal(-6, 3, (4, 4)), (cells, cells), interpolation=cv2.INTER_CUBIC)
        logits[..., 5 * i + 2] = logits[..., 5 * i + 1] + np.minimum(doubt, -4)
    p = np.exp(logits - logits.max(2, keepdims=True))
    p /= p.sum(2, keepdims=True)
    ids = np.argsort(-p, axis=2, kind="stable")[..., :ranks]
    confidences = np.take_along_axis(p, ids, 2)
    ids[confidences < 1e-3], confidences[confidences < 1e-3] = 0, 0
    feature = rng.normal(0, 1 / 32, 1024).astype(np.float32)
    presence = rng.random(classes).astype(np.float32)
    return InstancePrediction(ids.astype(np.uint16), confidences.astype(np.float32), presence, feature, (1600, 1200))


@pytest.mark.parametrize("ranks, limit", [(None, 60_000), (1, 8_000)])
def test_files_are_small(tmp_path: Path, ranks: int | None, limit: int):
    """The research code: 1.97 MB of the ten ranks of an image. Uncompressed here: 491 kB and 49 kB."""
    arrays = prediction_to_arrays(facades(128, 450, 10), ranks)
    write_predictions(tmp_path / "p.h5", ((f"{n}.jpg", arrays) for n in range(20)), "abc")
    assert (tmp_path / "p.h5").stat().st_size / 20 < limit
    with PredictionFile(tmp_path / "p.h5") as file:
        assert file.read("0.jpg").ids.shape == (128, 128, ranks or 10)


def test_a_file_cut_short_is_one_error(written: tuple[Path, dict[str, InstancePrediction]]):
    path, _ = written
    whole = path.read_bytes()
    for length in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"p\.h5") as said, PredictionFile(path) as file:
            for name in NAMES:
                file.read(name)
        assert len(str(said.value).splitlines()) == 1


def test_what_is_not_in_it_is_said(written: tuple[Path, dict[str, InstancePrediction]], tmp_path: Path):
    with PredictionFile(written[0]) as file, pytest.raises(DataError, match="no prediction of 'db/b.jpg'.*recognise"):
        file.read("db/b.jpg")
    with pytest.raises(DataError, match="no such file"):
        PredictionFile(tmp_path / "none.h5")
    with new_h5(tmp_path / "other.h5", format="lbr-matches", version=1):
        pass
    with pytest.raises(DataError, match="lbr-matches version 1, wanted lbr-predictions version 1"):
        PredictionFile(tmp_path / "other.h5")


def test_a_failed_writing_leaves_nothing(tmp_path: Path):
    def items():
        yield "a.jpg", prediction_to_arrays(some_prediction())
        raise DataError("stopped")

    with pytest.raises(DataError, match="stopped"):
        write_predictions(tmp_path / "p.h5", items(), "abc")
    assert list(tmp_path.iterdir()) == []
