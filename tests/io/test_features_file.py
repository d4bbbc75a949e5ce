from pathlib import Path

import h5py
import numpy as np
import pytest

from lbr.errors import DataError
from lbr.io.features_file import FeatureFile, write_features, write_hloc_features
from lbr.types import LocalFeatures
from tests.synthetic import unit_rows

NAMES = ["db/1.jpg", "db/a name with spaces.v2.jpg", "query/night/x y.png"]


def features(num: int = 40, seed: int = 0, labels: bool = False) -> LocalFeatures:
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, [1600, 1200], (num, 2)).astype(np.float32)
    ids = rng.integers(0, 70000, num).astype(np.int32) if labels else None
    return LocalFeatures(keypoints, rng.random(num).astype(np.float32), unit_rows(num, 32, rng), (1600, 1200), ids)


def assert_equal_features(a: LocalFeatures, b: LocalFeatures, keypoint_tolerance: float = 0.0) -> None:
    np.testing.assert_allclose(a.keypoints, b.keypoints, atol=keypoint_tolerance, rtol=0)
    np.testing.assert_allclose(a.descriptors, b.descriptors, atol=5e-4)
    assert a.image_size == b.image_size


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "features.h5"
    write_features(path, ((name, features(seed=i)) for i, name in enumerate(NAMES)), "an extractor")
    return path


def test_round_trip(file: Path):
    with FeatureFile(file) as found:
        assert found.names == sorted(NAMES)
        assert found.extractor == "an extractor"
        for i, name in enumerate(NAMES):
            assert_equal_features(found.read(name), features(seed=i))
            np.testing.assert_array_equal(found.read(name).scores, features(seed=i).scores)
            assert name in found
        assert "db/2.jpg" not in found


def test_keypoints_are_float32_and_descriptors_float16(file: Path):
    """float16 would move a keypoint by half a pixel at 1600."""
    with h5py.File(file) as raw:
        group = raw[NAMES[0]]
        assert (group["keypoints"].dtype, group["descriptors"].dtype) == (np.float32, np.float16)
        assert raw.attrs["pixel_origin"] == "corner"
    with FeatureFile(file) as found:
        np.testing.assert_array_equal(found.read(NAMES[0]).keypoints, features(seed=0).keypoints)


def test_labels_round_trip_and_are_none_when_nothing_was_labelled(tmp_path: Path):
    write_features(tmp_path / "f.h5", [("a", features(labels=True)), ("b", features())])
    with FeatureFile(tmp_path / "f.h5") as found:
        np.testing.assert_array_equal(found.read("a").labels, features(labels=True).labels)
        assert found.read("b").labels is None


def test_an_image_without_keypoints_round_trips(tmp_path: Path):
    write_features(tmp_path / "f.h5", [("a", features(0))])
    with FeatureFile(tmp_path / "f.h5") as found:
        assert len(found.read("a")) == 0 and found.read("a").descriptors.shape == (0, 32)


def test_hlocs_layout_is_written(tmp_path: Path):
    write_hloc_features(tmp_path / "f.h5", [(NAMES[0], features())])
    with h5py.File(tmp_path / "f.h5") as raw:
        group = raw[NAMES[0]]
        np.testing.assert_allclose(group["keypoints"][()], features().keypoints - 0.5, atol=1e-4)
        assert group["descriptors"].shape == (32, 40)
        np.testing.assert_array_equal(group["image_size"][()], [1600, 1200])


def test_hlocs_layout_is_read(tmp_path: Path):
    truth = features()
    with h5py.File(tmp_path / "f.h5", "w") as raw:
        group = raw.create_group(NAMES[2])
        group["keypoints"], group["descriptors"] = truth.keypoints - 0.5, truth.descriptors.T
        group["image_size"], group["scores"] = np.array([1600, 1200]), truth.scores
    with FeatureFile(tmp_path / "f.h5") as found:
        assert found.is_hloc and found.names == [NAMES[2]]
        assert_equal_features(found.read(NAMES[2]), truth, keypoint_tolerance=1e-4)


def test_hlocs_files_without_scores_or_size_are_read(tmp_path: Path):
    with h5py.File(tmp_path / "f.h5", "w") as raw:
        group = raw.create_group("a.jpg")
        group["keypoints"], group["descriptors"] = np.array([[99.2, 49.0]], np.float32), np.ones((32, 1))
    with FeatureFile(tmp_path / "f.h5") as found:
        read = found.read("a.jpg")
        assert (read.keypoints < read.image_size).all() and read.scores.tolist() == [1]


def test_a_missing_name_says_what_to_do(file: Path):
    with FeatureFile(file) as found, pytest.raises(DataError, match="no features of 'db/9.jpg'.*run extract again"):
        found.read("db/9.jpg")


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        FeatureFile(tmp_path / "none.h5")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_one_clear_line(file: Path, share: float):
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(DataError, match="not a whole h5 file.*delete it") as error:
        FeatureFile(file)
    assert "\n" not in str(error.value)


def test_text_named_h5_is_one_clear_line(tmp_path: Path):
    (tmp_path / "f.h5").write_text("this is no h5\n" * 100)
    with pytest.raises(DataError, match="not a whole h5 file") as error:
        FeatureFile(tmp_path / "f.h5")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", range(8))
def test_damage_in_the_middle_is_a_data_error_or_harmless(file: Path, seed: int):
    rng = np.random.default_rng(seed)
    data = bytearray(file.read_bytes())
    start = int(rng.integers(0, len(data) - 600))
    data[start : start + 600] = rng.bytes(600)
    file.write_bytes(bytes(data))
    try:
        with FeatureFile(file) as found:
            for name in found.names:
                found.read(name)
    except DataError as error:
        assert "\n" not in str(error)


def test_another_version_and_another_format_are_refused(tmp_path: Path):
    for attributes in ({"format": "lbr-features", "version": 99}, {"format": "lbr-matches", "version": 1}):
        with h5py.File(tmp_path / "f.h5", "w") as raw:
            raw.attrs.update(attributes)
        with pytest.raises(DataError, match="wanted lbr-features version 1"):
            FeatureFile(tmp_path / "f.h5")


def test_an_h5_of_something_else_is_refused(tmp_path: Path):
    with h5py.File(tmp_path / "f.h5", "w") as raw:
        raw["temperatures"] = np.zeros(3)
    with pytest.raises(DataError, match="neither in our format nor in hloc's"):
        FeatureFile(tmp_path / "f.h5")


def test_a_failure_while_writing_leaves_the_old_file(file: Path):
    def items():
        yield "a", features()
        raise RuntimeError("disk full")

    before = file.read_bytes()
    with pytest.raises(RuntimeError):
        write_features(file, items())
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]
