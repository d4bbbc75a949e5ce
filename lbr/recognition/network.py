"""The recognition network: an encoder of any kind, a segmentation head, a classification head, a global feature.

`pspf` is the published one: its state dict has the published names, shapes and order. `deeplabv3p` keeps the
encoder's finer map as well, so that the borders of its masks follow the facades.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from lbr.errors import ConfigError
from lbr.recognition.settings import DeepLabSettings, NetworkConfig, NetworkSettings, PspSettings
from lbr.recognition.vision import segmentation_models


class Recognition(NamedTuple):
    """Output of the network for B images and C classes.

    segmentation: logits [B, C, h, w]. presence: logits [B, C], one for each class, of "the image shows it".
    maximum, mean: [B, D], the last encoder map pooled over the image.
    """

    segmentation: torch.Tensor
    presence: torch.Tensor
    maximum: torch.Tensor
    mean: torch.Tensor


class RecognitionNetwork(nn.Module):
    """encoder -> decoder -> seghead; last encoder map -> cls_head. Names as in the published checkpoints.

    forward: float [B, 3, H, W], normalised; H and W multiples of `stride`.
    """

    def __init__(self, encoder: Any, decoder: nn.Module, channels: int, upsampling: int, classes: int) -> None:
        super().__init__()
        head = segmentation_models().base.SegmentationHead
        features = encoder.out_channels[-1]
        self.encoder = encoder
        self.decoder = decoder
        self.seghead = head(channels, classes, kernel_size=3, upsampling=upsampling)
        self.cls_head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes))
        self.num_classes = classes
        self.feature_dim = int(features)

    def forward(self, images: torch.Tensor) -> Recognition:
        return self.described(images)[0]

    def described(self, images: torch.Tensor) -> tuple[Recognition, torch.Tensor]:
        """As `forward`, with the decoder's map [B, D, h', w'] that the segmentation is read from."""
        maps = self.encoder(images)
        last, decoded = maps[-1], self.decoder(maps)
        output = Recognition(self.seghead(decoded), self.cls_head(last), last.amax(dim=(2, 3)), last.mean(dim=(2, 3)))
        return output, decoded


def make_network(settings: NetworkConfig, classes: int) -> RecognitionNetwork:
    """A network with random weights, or with pretrained ones in its encoder.

    Raises ConfigError for an encoder that is unknown or whose weights cannot be had.
    """
    return _pyramid(settings, classes) if isinstance(settings, PspSettings) else _atrous(settings, classes)


def _pyramid(settings: PspSettings, classes: int) -> RecognitionNetwork:
    encoder = _encoder(settings)
    decoder = segmentation_models().decoders.pspnet.decoder.PSPDecoder(
        encoder.out_channels, out_channels=settings.channels, dropout=settings.dropout
    )
    return RecognitionNetwork(encoder, decoder, settings.channels, settings.upsampling, classes)


def _atrous(settings: DeepLabSettings, classes: int) -> RecognitionNetwork:
    stride = min(16, 2**settings.encoder_depth)
    encoder = _encoder(settings, output_stride=stride)
    decoder = segmentation_models().decoders.deeplabv3.decoder.DeepLabV3PlusDecoder(
        encoder.out_channels, settings.encoder_depth, settings.channels, settings.atrous_rates, stride,
        aspp_separable=True, aspp_dropout=settings.dropout,
    )  # fmt: skip
    return RecognitionNetwork(encoder, decoder, settings.channels, settings.upsampling, classes)


def _encoder(settings: NetworkSettings, **options: Any) -> Any:
    get_encoder = segmentation_models().encoders.get_encoder
    try:
        encoder = get_encoder(
            settings.encoder, depth=settings.encoder_depth, weights=settings.encoder_weights, **options
        )
    except (KeyError, ValueError) as error:
        raise ConfigError(f"recognition.network.encoder={settings.encoder}: {str(error).splitlines()[0]}") from None
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"recognition.network.encoder_weights={settings.encoder_weights}: could not be downloaded "
            f"({type(error).__name__}); set it to null to start from random weights"
        ) from None
    if settings.prune:
        for stage in range(settings.encoder_depth, 5):  # layer1 gives the map at depth 2
            if hasattr(encoder, f"layer{stage}"):
                setattr(encoder, f"layer{stage}", nn.Identity())
    return encoder
