"""The published local feature: the names of its checkpoint, and what the research code got wrong (METHOD.md 8, 12)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lbr.errors import ConfigError
from lbr.features.resnetxn import CELL, ResNetXN, ResNetXNSettings
from lbr.features.resnetxn_network import ResNetXNNetwork, sample_descriptors, strongest
from tests.conftest import SHARED
from tests.synthetic import blobs

PUBLISHED = "c919cf0a727ac4765d6b9d8154f45efc5510c661b40becb44f630dc57ce1ba48"  # of lines `name [shape]`, in order


def digest(shapes: dict[str, list[int]]) -> str:
    return hashlib.sha256("".join(f"{name} {shape}\n" for name, shape in shapes.items()).encode()).hexdigest()


@pytest.fixture(scope="module")
def network() -> ResNetXNNetwork:
    torch.manual_seed(0)
    return ResNetXNNetwork().eval()


@pytest.fixture(scope="module")
def weights(network: ResNetXNNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("resnetxn") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def build(weights: Path) -> Callable[..., ResNetXN]:
    return lambda **options: ResNetXN(ResNetXNSettings(weights=weights, device="cpu", **options))


# ---- the checkpoint


def test_names_shapes_and_order_are_those_of_the_published_checkpoint(network: ResNetXNNetwork):
    assert digest({name: list(tensor.shape) for name, tensor in network.state_dict().items()}) == PUBLISHED


def test_the_listing_beside_the_checkout_says_the_same(network: ResNetXNNetwork):
    path = SHARED / "reference/state_dict_resnetxn.json"
    if not path.is_file():
        pytest.skip(f"no {path}")
    listed = json.loads(path.read_text())
    assert digest({name: entry["shape"] for name, entry in listed["state_dict"].items()}) == PUBLISHED
    kinds = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in network.state_dict().items()}
    assert kinds == {name: entry["dtype"] for name, entry in listed["state_dict"].items()}
    assert sum(p.numel() for p in network.parameters()) == listed["n_params"]


@pytest.mark.parametrize("wrapping", ["model", "state_dict", "module.", "model and module."])
def test_however_the_checkpoint_is_wrapped(wrapping: str, network: ResNetXNNetwork, tmp_path: Path):
    state: dict[str, Any] = network.state_dict()
    if "module." in wrapping:
        state = {f"module.{name}": tensor for name, tensor in state.items()}
    if key := wrapping.replace("module.", "").removesuffix(" and "):
        state = {key: state, "epoch": 3}
    torch.save(state, tmp_path / "wrapped.pth")
    found = ResNetXN(ResNetXNSettings(weights=tmp_path / "wrapped.pth", device="cpu")).network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in network.state_dict().items())


def test_without_weights_it_says_what_to_do():
    with pytest.raises(ConfigError, match=r"needs extractor\.weights.*published checkpoint.*README"):
        ResNetXN(ResNetXNSettings())


# ---- detection


def test_heat_is_a_probability(network: ResNetXNNetwork):
    images = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        heat, dense = network(images)
        cells = torch.nn.functional.pixel_unshuffle(heat[:, None], CELL)
    assert heat.shape == (2, 48, 64) and dense.shape == (2, 128, 12, 16)
    assert (heat > 0).all() and (cells.sum(1) < 1).all(), "the dustbin has its share"
    assert (cells.sum(1) > 0.5).all()
    assert torch.allclose(dense.norm(dim=1), torch.ones(2, 12, 16), atol=1e-5)


def test_heat_lies_in_the_pixel_of_its_channel(network: ResNetXNNetwork, monkeypatch: pytest.MonkeyPatch):
    """Channel 8 r + c of a cell is its row r and column c; channel 64 is the dustbin."""
    for channel in (0, 11, 63, 64):
        logits = torch.full((1, 65, 3, 4), -9.0)
        logits[0, channel, 1, 2] = 9.0
        monkeypatch.setattr(network.convPb, "forward", lambda _, fixed=logits: fixed)
        with torch.inference_mode():
            heat, _ = network(torch.rand(1, 3, 24, 32))
        found = torch.nonzero(heat[0] > 0.5).tolist()
        assert found == ([] if channel == 64 else [[8 + channel // 8, 16 + channel % 8]])


def by_hand(heat: np.ndarray, radius: int, threshold: float, border: int) -> list[list[int]]:
    height, width = heat.shape
    return [
        [row, column]
        for row in range(border, height - border)
        for column in range(border, width - border)
        if heat[row, column] > threshold
        and heat[row, column]
        == heat[max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1].max()
    ]


@pytest.mark.parametrize("radius, threshold, border", [(4, 0.001, 4), (1, 0.9, 0), (0, 0.5, 3), (2, 0.0, 1)])
def test_the_strongest_are_local_maxima_inside_the_border(radius: int, threshold: float, border: int):
    heat = np.random.default_rng(3).random((31, 42)).astype(np.float32)
    rows, columns = strongest(torch.from_numpy(heat), radius, threshold, border)
    found = torch.stack([rows, columns], 1).tolist()
    assert found == by_hand(heat, radius, threshold, border) and len(found) > 5


def test_a_maximum_in_the_border_silences_its_neighbours_and_is_none_itself():
    heat = torch.zeros(20, 20)
    heat[3, 10], heat[6, 10] = 0.9, 0.5
    assert len(strongest(heat, 4, 0.001, 4)[0]) == 0
    assert [int(part) for part in strongest(heat, 2, 0.001, 4)] == [6, 10]


def test_an_image_smaller_than_its_border_has_no_keypoints():
    assert len(strongest(torch.rand(8, 8), 4, 0.0, 4)[0]) == 0


# ---- description


def test_descriptors_are_sampled_between_the_centres_of_cells():
    """Cell (i, j) has its centre at pixel 4 i + 1.5 counted from the first pixel's centre. One cell is 1, all others 0
    but for a second channel, which is 1 everywhere: the ratio of the two is the bilinear weight."""
    dense = torch.zeros(2, 4, 5)
    dense[0, 1, 2], dense[1] = 1, 1
    weights = {(9.5, 5.5): 1, (11.5, 5.5): 0.5, (8.5, 5.5): 0.75, (9.5, 7.5): 0.5, (11.5, 4.5): 0.375, (13.5, 5.5): 0}
    found = sample_descriptors(dense, torch.tensor(list(weights)))
    np.testing.assert_allclose(found[:, 0] / found[:, 1], list(weights.values()), atol=1e-5)
    np.testing.assert_allclose(found.norm(dim=1), 1, atol=1e-6)


def test_descriptors_at_the_border_are_those_of_the_last_cell():
    dense = torch.zeros(2, 4, 5)
    dense[0] = torch.arange(20.0).reshape(4, 5) + 1
    dense[1] = 1
    found = sample_descriptors(dense, torch.tensor([[0.0, 0.0], [19.0, 15.0], [19.0, 0.0]]))
    np.testing.assert_allclose(found[:, 0] / found[:, 1], [1, 20, 5], rtol=1e-5)


# ---- scales


class Bright(torch.nn.Module):
    """In place of the network: heat is the picture's brightness, descriptors are all alike."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        _, _, height, width = images.shape
        return images.mean(1), torch.ones(1, 128, height // 4, width // 4)


def bright(extractor: ResNetXN) -> ResNetXN:
    extractor.network = Bright()
    return extractor


def test_at_scale_1_2_the_border_takes_no_more_of_the_image(build: Callable):
    """The research code removed about 30 % of it (METHOD.md 12). Every pixel is a keypoint here but for the border."""
    white = np.full((80, 160, 3), 255, np.uint8)
    for scale, size in ((1.0, (160, 80)), (1.2, (192, 96)), (0.8, (128, 64))):
        found = bright(build(scales=(scale,), nms_radius=0, max_keypoints=10**6)).extract(white)
        assert len(found) == (size[0] - 8) * (size[1] - 8)
        edge = 4.5 / scale
        np.testing.assert_allclose(found.keypoints.min(0), [edge, edge], atol=1e-4)
        np.testing.assert_allclose(found.keypoints.max(0), [160 - edge, 80 - edge], atol=1e-4)


@pytest.mark.parametrize("scale", [1.2, 1.0, 0.8])
def test_a_keypoint_is_where_it_is_at_every_scale(build: Callable, scale: float):
    """Resizing and the half pixel: a blob is found to half a pixel of the scaled image, without a shift on average."""
    places = np.random.default_rng(0).uniform([20, 20], [140, 76], (12, 2))
    off = []
    for place in places:
        found = bright(build(scales=(scale,), detection_threshold=0.5)).extract(blobs((160, 96), [place], 4.0))
        best = found.keypoints[0]
        off.append(best - place)
    assert np.abs(off).max() < 0.6 / min(scale, 1) + 0.05
    assert np.abs(np.mean(off, axis=0)).max() < 0.3


def test_all_scales_are_joined_and_inside_the_image(build: Callable):
    image = np.random.default_rng(1).integers(0, 256, (97, 131, 3)).astype(np.uint8)
    single = {s: build(scales=(s,), max_keypoints=10**6).extract(image) for s in (1.2, 1.0, 0.8)}
    joined = build(scales=(1.2, 1.0, 0.8), max_keypoints=10**6).extract(image)
    assert len(joined) == sum(map(len, single.values())) and all(len(found) > 20 for found in single.values())
    assert (joined.keypoints >= 0).all() and (joined.keypoints < joined.image_size).all()
    assert joined.image_size == (131, 97) and (np.diff(joined.scores) <= 0).all()
    np.testing.assert_allclose(np.linalg.norm(joined.descriptors, axis=1), 1, atol=1e-5)
