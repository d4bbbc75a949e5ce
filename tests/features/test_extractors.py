"""The contract of every local feature in the table, learned ones with random weights from a checkpoint file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy.spatial import cKDTree

from lbr.errors import ConfigError
from lbr.features import EXTRACTORS, ExtractorConfig, make_extractor
from lbr.features.extractor import Extractor
from lbr.parallel import ParallelSettings, parallel_map

SIZE = (160, 96)  # of the picture's textured middle, which lies in a grey frame
FRAME = 48


def aliked_weights() -> dict[str, Any]:
    from kornia.feature import ALIKED

    return ALIKED(model_name="aliked-t16").state_dict()


def disk_weights() -> dict[str, Any]:
    from kornia.feature import DISK

    return DISK().state_dict()


def xfeat_weights() -> dict[str, Any]:
    from kornia.feature import XFeat

    return XFeat().net.state_dict()


def resnetxn_weights() -> dict[str, Any]:
    from lbr.features.resnetxn_network import ResNetXNNetwork

    return ResNetXNNetwork().state_dict()


def daynight_weights() -> dict[str, Any]:
    from lbr.features.daynight_network import DayNightNetwork

    return DayNightNetwork().state_dict()


# name -> (settings that make a random network find something, its weights, the width of its descriptors,
# the shift in pixels that it is equivariant to, the share of keypoints that must follow)
CASES: dict[str, tuple[dict[str, Any], Callable[[], dict] | None, int, int, float]] = {
    "sift": ({"spread_px": None}, None, 128, 1, 0.95),
    "aliked": ({"model": "aliked-t16", "detection_threshold": 0.0}, aliked_weights, 64, 32, 0.8),
    "disk": ({}, disk_weights, 128, 32, 0.5),
    "xfeat": ({"detection_threshold": 0.0}, xfeat_weights, 64, 32, 0.8),
    "resnetxn": ({}, resnetxn_weights, 128, 32, 0.8),
    "daynight": ({}, daynight_weights, 64, 32, 0.8),
    "sift+daynight": ({}, daynight_weights, 128, 32, 0.8),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name, (_, make, *_) in CASES.items():
        if make is not None:
            torch.save(make(), folder / f"{name}.pth")
    return {name: folder / f"{name}.pth" for name, case in CASES.items() if case[1]}


@pytest.fixture(scope="module")
def build(weights: dict[str, Path]) -> Callable[..., Extractor]:
    def made(name: str, **options: Any) -> Extractor:
        config = {"name": name, "max_keypoints": 200, **CASES[name][0], **options}
        if name in weights:
            config = {"weights": weights[name], "device": "cpu", **config}
        return make_extractor(TypeAdapter(ExtractorConfig).validate_python(config))

    return made


@pytest.fixture(scope="module", params=EXTRACTORS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def extractor(name: str, build: Callable) -> Extractor:
    return build(name)


def picture(dx: int = 0, dy: int = 0) -> np.ndarray:
    """A smooth random texture in a grey frame, moved by (dx, dy)."""
    noise = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    texture = np.clip((cv2.GaussianBlur(noise, (0, 0), 1.5).astype(float) - 127) * 4 + 127, 0, 255)
    framed = np.full((SIZE[1] + 2 * FRAME, SIZE[0] + 2 * FRAME, 3), 127, np.uint8)
    framed[FRAME + dy : FRAME + dy + SIZE[1], FRAME + dx : FRAME + dx + SIZE[0]] = texture
    return framed


def test_every_variant_of_the_table_is_tested_here():
    assert CASES.keys() == EXTRACTORS.keys()


def test_shapes_types_norms_and_order(name: str, extractor: Extractor):
    found = extractor.extract(picture())
    assert 50 < len(found) <= 200
    assert found.image_size == (SIZE[0] + 2 * FRAME, SIZE[1] + 2 * FRAME)
    assert found.descriptors.shape == (len(found), CASES[name][2])
    assert (found.keypoints.dtype, found.scores.dtype, found.descriptors.dtype) == (np.float32,) * 3
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-4)
    assert (found.keypoints >= 0).all() and (found.keypoints < found.image_size).all()
    assert (np.diff(found.scores) <= 0).all() and np.isfinite(found.scores).all()
    assert len(np.unique(found.keypoints, axis=0)) > 0.5 * len(found)


def test_the_same_image_gives_the_same_bits(extractor: Extractor, build: Callable, name: str):
    first, again, other = extractor.extract(picture()), extractor.extract(picture()), build(name).extract(picture())
    for found in (again, other):
        for part in ("keypoints", "scores", "descriptors"):
            assert getattr(first, part).tobytes() == getattr(found, part).tobytes()


def test_the_number_of_workers_changes_no_bit(name: str, build: Callable):
    found = []
    for workers in (1, 3):
        pictures = [picture(dx) for dx in range(3)]
        settings = ParallelSettings(workers=workers)
        found.append([features for _, features in parallel_map(build(name).extract, pictures, settings, "x")])
    for one, other in zip(*found, strict=True):
        for part in ("keypoints", "scores", "descriptors"):
            assert getattr(one, part).tobytes() == getattr(other, part).tobytes(), part


def test_daynight_does_not_depend_on_the_number_of_threads(build: Callable):
    """So a photograph in a notebook has the features that it has in a pipeline."""
    before, found = torch.get_num_threads(), []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append(build("daynight").extract(picture()))
    torch.set_num_threads(before)
    for part in ("keypoints", "scores", "descriptors"):
        assert len({getattr(features, part).tobytes() for features in found}) == 1, part


def test_a_shifted_image_shifts_the_keypoints(name: str, build: Callable):
    """A network is equivariant to shifts by its stride; SIFT to any, to a tenth of a pixel."""
    *_, stride, share = CASES[name]
    extractor = build(name, max_keypoints=2000 if name == "sift" else 200)
    for shift in ((7, -5), (13, 22)) if stride == 1 else ((stride, -stride), (0, stride)):
        a, b = extractor.extract(picture()), extractor.extract(picture(*shift))
        distance, nearest = cKDTree(b.keypoints).query(a.keypoints + np.array(shift))
        followed = distance < 0.1
        assert followed.mean() > share
        same = np.einsum("nd,nd->n", a.descriptors, b.descriptors[nearest])[followed]
        assert np.median(same) > 0.99


def test_keypoints_of_the_shrunk_image_are_brought_back(name: str, build: Callable):
    """The textured middle is where the keypoints are, whatever size the extractor worked at."""
    large = cv2.resize(picture(), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    found = build(name, max_size=max(picture().shape)).extract(large)
    direct = build(name).extract(picture())
    assert found.image_size == (large.shape[1], large.shape[0])
    distance, _ = cKDTree(direct.keypoints * 2).query(found.keypoints)
    assert (distance < 1.0).mean() > 0.5, "in the large image's pixels"


@pytest.mark.parametrize("shape", [(97, 131), (64, 48)])
def test_odd_and_small_sizes_work(name: str, extractor: Extractor, shape: tuple[int, int]):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)
    found = extractor.extract(image)
    assert found.image_size == (shape[1], shape[0])
    assert (found.keypoints >= 0).all() and (found.keypoints < found.image_size).all()


def test_fewer_keypoints_are_the_best_of_more(name: str, build: Callable):
    few, many = (build(name, max_keypoints=n).extract(picture()) for n in (20, 200))
    assert len(few) <= 20 < len(many)
    if name != "aliked":  # its threshold depends on how many are asked for
        np.testing.assert_array_equal(few.scores, many.scores[: len(few)])


learned = [name for name, case in CASES.items() if case[1]]


@pytest.mark.parametrize("name", learned, indirect=True)
def test_the_weights_of_the_file_are_used(name: str, build: Callable, weights: dict[str, Path], tmp_path: Path):
    state = torch.load(weights[name], weights_only=True)
    other = {k: v * 1.5 + 0.01 if v.is_floating_point() else v for k, v in state.items()}
    torch.save({"state_dict": other}, tmp_path / "other.pth")
    changed = build(name, weights=tmp_path / "other.pth").extract(picture())
    assert changed.descriptors.tobytes() != build(name).extract(picture()).descriptors.tobytes()


@pytest.mark.parametrize("name", learned, indirect=True)
def test_weights_that_cannot_be_used_are_one_clear_line(name: str, build: Callable, weights: dict[str, Path], tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "cut.pth").write_bytes(weights[name].read_bytes()[:1000])
    state = torch.load(weights[name], weights_only=True)
    torch.save({k: v for k, v in list(state.items())[1:]}, tmp_path / "missing.pth")
    torch.save({**state, "extra": torch.zeros(3)}, tmp_path / "extra.pth")
    torch.save([1, 2, 3], tmp_path / "list.pth")
    for file in ("none", "text", "empty", "cut", "missing", "extra", "list"):
        with pytest.raises(ConfigError, match=file) as error:
            build(name, weights=tmp_path / f"{file}.pth")
        assert "\n" not in str(error.value)
