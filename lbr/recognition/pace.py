"""How fast this machine trains a network of recognition."""

from __future__ import annotations

import torch

from lbr.networks import channels_last, pick_device
from lbr.recognition.network import make_network
from lbr.recognition.optimization import autocast
from lbr.recognition.planning import seconds_each
from lbr.recognition.settings import RecognitionSettings

IMAGES, CLASSES = 4, 32  # of the step that is timed: classes take next to nothing


def step_seconds(settings: RecognitionSettings) -> float:
    """Seconds for one photograph of the network's size, there and back, by all cores in one process."""
    device = pick_device(settings.training.device)
    random = settings.network.model_copy(update={"encoder_weights": None})
    network = channels_last(make_network(random, CLASSES), device).train()
    width, height = settings.input_size
    images = torch.zeros(IMAGES, 3, height, width, device=device)

    def step() -> None:
        with autocast(settings.training.precision, device):
            segmentation = network(images).segmentation
        segmentation.float().mean().backward()

    return seconds_each(step) / IMAGES
