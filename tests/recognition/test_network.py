"""The published network: names, wiring, and the files it comes in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from lbr.errors import ConfigError
from lbr.recognition.checkpoints import Checkpoint, load_checkpoint, load_published, save_checkpoint
from lbr.recognition.network import make_network
from lbr.recognition.predict import Recognizer
from lbr.recognition.settings import DeepLabSettings, PredictionSettings, PspSettings
from lbr.types import InstanceVocabulary
from tests.conftest import SHARED
from tests.recognition.squares import NETWORK, SIZE, VOCABULARY

PUBLISHED = {  # dataset: classes, sha256 of the lines `name [shape] dtype` of its checkpoint, in order
    "aachen": (452, "b36d62a40a66810b8d02dd8e5c8da0dcccedd5e9151dc9eac83fc2e4e72e799c"),
    "robotcar": (692, "ada65bf02ad2dfc0539bfafb5fae27696259a8106490fbe168feae924678247e"),
}
WRAPPINGS = {
    "bare": lambda s: s,
    "model": lambda s: {"model": s, "epoch": 3},
    "state_dict": lambda s: {"state_dict": s, "best": 0.5},
    "module": lambda s: {f"module.{k}": v for k, v in s.items()},
    "model and module": lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
    "state_dict and module": lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
}


def digest(state: Mapping[str, tuple[list[int], str]]) -> str:
    lines = "".join(f"{name} {shape} {dtype}\n" for name, (shape, dtype) in state.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def small(seed: int = 0, classes: int = 4) -> torch.nn.Module:
    torch.manual_seed(seed)
    return make_network(NETWORK, classes).eval()


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_names_shapes_and_order_are_the_published_ones(dataset: str):
    classes, wanted = PUBLISHED[dataset]
    with torch.device("meta"):
        network = make_network(PspSettings(prune=False), classes)
    state = {k: (list(v.shape), str(v.dtype).removeprefix("torch.")) for k, v in network.state_dict().items()}
    assert len(state) == 654 and digest(state) == wanted


@pytest.mark.shared
@pytest.mark.parametrize("dataset", PUBLISHED)
def test_the_digests_are_of_the_reference_lists(dataset: str):
    path = SHARED / f"reference/state_dict_pspf_{dataset}.json"
    if not path.is_file():
        pytest.skip(f"no {path}")
    listed = json.loads(path.read_text())["state_dict"]
    assert digest({name: (row["shape"], row["dtype"]) for name, row in listed.items()}) == PUBLISHED[dataset][1]


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_wrapping_loads(tmp_path: Path, wrapping: str):
    network = make_network(NETWORK.model_copy(update={"prune": False}), 4).eval()
    torch.save(WRAPPINGS[wrapping](network.state_dict()), tmp_path / "w.pth")
    found = load_published(tmp_path / "w.pth", VOCABULARY, "bgr", NETWORK)
    assert found.colour_order == "bgr" and found.input_size == (256, 256)
    state = found.network.state_dict()
    assert list(state) == list(network.state_dict())
    assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())


def test_weights_that_do_not_fit_are_described(tmp_path: Path):
    path = tmp_path / "w.pth"
    whole = make_network(NETWORK.model_copy(update={"prune": False}), 4).state_dict()
    damaged = {
        r"1 missing \(cls_head\.2\.bias": {k: v for k, v in whole.items() if k != "cls_head.2.bias"},
        r"1 unknown \(neck\.weight": {**whole, "neck.weight": torch.zeros(3)},
        r"1 of another shape \(encoder\.conv1\.weight": {**whole, "encoder.conv1.weight": torch.zeros(64, 1, 7, 7)},
    }
    for why, state in damaged.items():
        torch.save({"model": state}, path)
        with pytest.raises(ConfigError, match=rf"w\.pth: .*RecognitionNetwork: {why}"):
            load_published(path, VOCABULARY, "rgb", NETWORK)
    torch.save(whole, path)
    five = InstanceVocabulary(np.arange(5), np.arange(5, dtype=np.int32))
    with pytest.raises(ConfigError, match="knows 4 classes, the vocabulary 5"):
        load_published(path, five, "rgb", NETWORK)


class Harmful:
    """Unpickled, it would run code."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path(self.path),)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path):
    path, proof = tmp_path / "w.pth", tmp_path / "executed"
    harmful = Harmful()
    harmful.path = str(proof)
    for write in (
        lambda: path.write_text("hello"),
        lambda: path.write_bytes(b""),
        lambda: torch.save([1, 2], path),
        lambda: torch.save({"model": harmful}, path),
    ):
        write()
        for load in (lambda: load_published(path, VOCABULARY, "rgb", NETWORK), lambda: load_checkpoint(path)):
            with pytest.raises(ConfigError, match=r"w\.pth") as said:
                load()
            assert len(str(said.value).splitlines()) == 1
    assert not proof.exists()
    with pytest.raises(ConfigError, match="no such weights file"):
        load_checkpoint(tmp_path / "none.pt")


class FixedEncoder(torch.nn.Module):
    """Two maps, whatever the image: the last has 2 channels of 2 x 2."""

    out_channels = (3, 2)
    last = torch.tensor([[[[1.0, 2], [3, 6]], [[-1, -2], [-3, -10]]]])

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [images, self.last]


class LastMap(torch.nn.Module):
    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        return maps[-1]


def fixed_network(upsampling: int = 8) -> torch.nn.Module:
    from lbr.recognition.network import RecognitionNetwork

    network = RecognitionNetwork(FixedEncoder(), LastMap(), 2, upsampling, 3).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.cls_head[2].weight.copy_(torch.tensor([[1.0, 0], [0, 1], [2, 2]]))
        network.cls_head[2].bias.copy_(torch.tensor([0.0, 1, 5]))
        network.seghead[0].weight[0, 0, 1, 1] = 1  # class 0: the first channel as it is
        network.seghead[0].weight[1, 1, 1, 1] = 2  # class 1: twice the second
        network.seghead[0].weight[2, 0, 1, 2] = 1  # class 2: the first channel's neighbour on the right
    return network


def test_the_published_wiring_by_hand():
    """Means 3 and -4, maxima 6 and -1; bilinear upsampling keeps the corners (aligned), as smp's head does."""
    output = fixed_network()(torch.zeros(1, 3, 16, 16))
    segmentation, presence, maximum, mean = output
    assert maximum.tolist() == [[6, -1]] and mean.tolist() == [[3, -4]]
    torch.testing.assert_close(presence, torch.tensor([[3.0, -3, 3]]))
    assert segmentation.shape == (1, 3, 16, 16)
    place = np.arange(16) / 15  # of the output's cells between the input's two, corners aligned
    x, y = np.meshgrid(place, place)
    first = (1 - y) * ((1 - x) * 1 + x * 2) + y * ((1 - x) * 3 + x * 6)
    second = (1 - y) * ((1 - x) * -1 + x * -2) + y * ((1 - x) * -3 + x * -10)
    right = (1 - y) * (1 - x) * 2 + y * (1 - x) * 6
    for plane, wanted in zip(segmentation[0].detach().numpy(), (first, 2 * second, right), strict=True):
        np.testing.assert_allclose(plane, wanted, atol=1e-5)


@pytest.mark.parametrize("feature, wanted", [("max", [6, -1]), ("mean", [3, -4])])
def test_the_global_feature_is_the_pooled_last_map_of_length_1(feature: str, wanted: list[float]):
    checkpoint = Checkpoint(fixed_network(), NETWORK, VOCABULARY, (16, 16))
    model = Recognizer(checkpoint, PredictionSettings(feature=feature, device="cpu", precision="float32"))
    found = model.predict(np.zeros((20, 30, 3), np.uint8))
    np.testing.assert_allclose(found.feature, np.array(wanted) / np.linalg.norm(wanted), atol=1e-6)
    np.testing.assert_allclose(found.presence, 1 / (1 + np.exp([-3.0, 3, -3])), atol=1e-6)


def test_a_pruned_network_says_the_same():
    pruned, whole = small(), make_network(NETWORK.model_copy(update={"prune": False}), 4).eval()
    assert len(pruned.state_dict()) < len(whole.state_dict())
    left_out = whole.load_state_dict(pruned.state_dict(), strict=False)
    assert left_out.unexpected_keys == [] and {k.split(".")[1] for k in left_out.missing_keys} == {"layer3", "layer4"}
    images = torch.randn(2, 3, 64, 64)
    for a, b in zip(pruned(images), whole(images), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize(
    "settings, cells",
    [
        (NETWORK, 64),
        (NETWORK.model_copy(update={"upsampling": 4}), 32),
        (DeepLabSettings(encoder="resnet18", channels=16, encoder_depth=4), 32),
        (DeepLabSettings(encoder="resnet18", channels=16, encoder_depth=5, upsampling=4), 64),
    ],
)
def test_shapes(settings: PspSettings | DeepLabSettings, cells: int):
    network = make_network(settings, 5).eval()
    output = network(torch.randn(2, 3, 64, 64))
    assert output.segmentation.shape == (2, 5, cells, cells) and output.presence.shape == (2, 5)
    assert output.maximum.shape == output.mean.shape == (2, network.feature_dim)
    assert (output.maximum >= output.mean).all() and (output.maximum > output.mean).any()


def test_unknown_encoders_and_weights_are_said():
    with pytest.raises(ConfigError, match="recognition.network.encoder=resnet19"):
        make_network(PspSettings(encoder="resnet19"), 4)
    with pytest.raises(ConfigError, match="resnet18.*moon|moon.*resnet18"):
        make_network(PspSettings(encoder="resnet18", encoder_weights="moon"), 4)


def test_a_checkpoint_of_ours_says_all_that_a_prediction_depends_on(tmp_path: Path):
    kept = Checkpoint(small(), NETWORK, VOCABULARY, SIZE, "bgr", 1.7, (0.5, -2.0), {"held_out_accuracy": 0.9})
    save_checkpoint(tmp_path / "c.pt", kept)
    found = load_checkpoint(tmp_path / "c.pt", VOCABULARY)
    for name in ("settings", "vocabulary", "input_size", "colour_order", "temperature", "presence_scale", "scores"):
        assert getattr(found, name) == getattr(kept, name)
    assert all(torch.equal(found.network.state_dict()[k], v) for k, v in kept.network.state_dict().items())
    with pytest.raises(ConfigError, match="a published one"):
        torch.save(kept.network.state_dict(), tmp_path / "bare.pt")
        load_checkpoint(tmp_path / "bare.pt")
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    torch.save({**content, "version": 99}, tmp_path / "c.pt")
    with pytest.raises(ConfigError, match="version 99, this lbr reads 1"):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize(
    "colours, classes, why",
    [
        ([0, 0x0A141E, 0x0A1428], [0, 1, 2], "4 instances, the data 3; 1 of its colours are not in the data's, 0 of"),
        ([0, 0x0A141E, 0x0A1428, 7], [0, 1, 2, 3], "1 of its colours are not in the data's, 1 of the data's not in it"),
        ([0, 0x0A141E, 0x0A1428, 0x14141E], [0, 1, 3, 2], "the same colours, other classes"),
    ],
)
def test_another_vocabulary_stops_with_what_differs(tmp_path: Path, colours: list, classes: list, why: str):
    save_checkpoint(tmp_path / "c.pt", Checkpoint(small(), NETWORK, VOCABULARY, SIZE))
    wanted = InstanceVocabulary(np.array(colours), np.array(classes, np.int32))
    with pytest.raises(ConfigError, match=why):
        load_checkpoint(tmp_path / "c.pt", wanted)
