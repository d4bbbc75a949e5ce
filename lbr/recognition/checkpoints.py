"""Checkpoints of the recognition network: ours, which say all that a prediction depends on, and the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from lbr.errors import ConfigError
from lbr.io.files import atomic_path
from lbr.networks import load_strictly, read_weights, unwrapped
from lbr.recognition.network import RecognitionNetwork, make_network
from lbr.recognition.settings import ColourOrder, NetworkConfig, PspSettings
from lbr.types import InstanceVocabulary

FORMAT, VERSION = "lbr-recognition", 1


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network with what its masks mean and how its input must look.

    input_size: (width, height). colour_order: of the three input channels. temperature: logits of the segmentation
    are divided by it; presence_scale: (factor, shift) of the classification head's logits. Both are calibrations.
    scores: of the held-out images, as told when it was trained.
    """

    network: RecognitionNetwork
    settings: NetworkConfig
    vocabulary: InstanceVocabulary
    input_size: tuple[int, int]
    colour_order: ColourOrder = "rgb"
    temperature: float = 1.0
    presence_scale: tuple[float, float] = (1.0, 0.0)
    scores: Mapping[str, float] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint, half: bool = False) -> None:
    """Write a checkpoint. half: weights as float16, half the size, for shipping (statistics stay float32)."""
    vocabulary = checkpoint.vocabulary
    content = {
        "format": FORMAT,
        "version": VERSION,
        "network": checkpoint.settings.model_dump(mode="json", exclude={"encoder_weights"}),
        "vocabulary": torch.tensor([vocabulary.colours.tolist(), vocabulary.classes.tolist()]),
        "input_size": list(checkpoint.input_size),
        "colour_order": checkpoint.colour_order,
        "temperature": checkpoint.temperature,
        "presence_scale": list(checkpoint.presence_scale),
        "scores": dict(checkpoint.scores),
        "state_dict": {k: stored(k, v, half) for k, v in checkpoint.network.state_dict().items()},
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def stored(name: str, tensor: torch.Tensor, half: bool) -> torch.Tensor:
    """A tensor of a state dict as a file has it. half: as float16, but for the statistics of norms."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() and "running" not in name else tensor


def load_checkpoint(path: Path, wanted: InstanceVocabulary | None = None) -> Checkpoint:
    """Read a checkpoint of ours; `wanted`: the data's vocabulary, which must be the checkpoint's.

    Raises ConfigError when the file is missing, broken, of another kind or version, or of another vocabulary.
    """
    content = read_weights(path)
    if content.get("format") != FORMAT:
        raise ConfigError(
            f"{path}: not a checkpoint of lbr's recognition; for a published one set recognition.published"
        )
    if content["version"] != VERSION:
        raise ConfigError(f"{path}: version {content['version']}, this lbr reads {VERSION}; train it again")
    settings = _network_settings(content["network"], path)
    colours, classes = content["vocabulary"].numpy()
    vocabulary = InstanceVocabulary(colours, classes.astype("int32"))
    if wanted is not None:
        check_vocabulary(path, vocabulary, wanted)
    network = make_network(settings, vocabulary.num_classes)
    load_strictly(network, content["state_dict"], path)
    width, height = content["input_size"]
    factor, shift = content["presence_scale"]
    return Checkpoint(
        network, settings, vocabulary, (width, height), content["colour_order"], content["temperature"],
        (factor, shift), content["scores"],
    )  # fmt: skip


def start_from(network: RecognitionNetwork, settings: NetworkConfig, path: Path) -> None:
    """Give a new network the encoder and decoder of a checkpoint of ours; its heads, which name things, stay new.

    Raises ConfigError when the checkpoint is not to be had, or is of another network than `settings` describe.
    """
    learned = load_checkpoint(path)
    free = {"dropout", "encoder_weights", "prune"}  # what changes neither names nor shapes of what is taken
    own, other = (s.model_dump(mode="json", exclude=free) for s in (settings, learned.settings))
    if own != other:
        key = next(k for k in {**own, **other} if own.get(k) != other.get(k))
        raise ConfigError(
            f"{path}: has recognition.network.{key}={other.get(key)}, the network to train {own.get(key)}; "
            "make them alike, or set recognition.training.start_from to null"
        )
    _take_body(network, learned)


def without_heads(learned: Checkpoint) -> Checkpoint:
    """What another place may start from: encoder and decoder of a checkpoint, with heads that name nothing."""
    network = make_network(learned.settings, classes=1)
    _take_body(network, learned)
    nothing = InstanceVocabulary(learned.vocabulary.colours[:1], learned.vocabulary.classes[:1])
    return Checkpoint(network, learned.settings, nothing, learned.input_size, learned.colour_order)


def _take_body(network: RecognitionNetwork, learned: Checkpoint) -> None:
    """Give a network the encoder and decoder of a checkpoint; its heads stay as they are."""
    network.encoder.load_state_dict(learned.network.encoder.state_dict())
    network.decoder.load_state_dict(learned.network.decoder.state_dict())


def load_published(
    path: Path, vocabulary: InstanceVocabulary, colour_order: ColourOrder, settings: PspSettings | None = None
) -> Checkpoint:
    """Read a checkpoint of the published code: bare, under 'model' or 'state_dict', with or without 'module.'.

    Raises ConfigError when its classes are not the vocabulary's, or a tensor is missing, unknown or of another shape.
    """
    state = unwrapped(read_weights(path))
    head = state.get("seghead.0.weight")
    if head is not None and len(head) != vocabulary.num_classes:
        raise ConfigError(f"{path}: knows {len(head)} classes, the vocabulary {vocabulary.num_classes}")
    settings = (settings or PspSettings()).model_copy(update={"prune": False})
    network = make_network(settings, vocabulary.num_classes)
    load_strictly(network, state, path)
    return Checkpoint(network, settings, vocabulary, (256, 256), colour_order)


def check_vocabulary(path: Path, own: InstanceVocabulary, wanted: InstanceVocabulary) -> None:
    """Raises ConfigError, saying what differs, when a checkpoint names other instances than the data."""
    if own == wanted:
        return
    extra = len(set(own.colours.tolist()) - set(wanted.colours.tolist()))
    lacking = len(set(wanted.colours.tolist()) - set(own.colours.tolist()))
    detail = f"{extra} of its colours are not in the data's, {lacking} of the data's not in it"
    raise ConfigError(
        f"{path}: made for another vocabulary ({len(own.colours)} instances, the data {len(wanted.colours)}; "
        f"{detail if extra or lacking else 'the same colours, other classes'}); train it again"
    )


def _network_settings(stored: dict[str, Any], path: Path) -> NetworkConfig:
    try:
        return TypeAdapter(NetworkConfig).validate_python(stored)
    except ValidationError as error:
        raise ConfigError(
            f"{path}: describes a network that this lbr does not know ({error.errors()[0]['msg']})"
        ) from None
