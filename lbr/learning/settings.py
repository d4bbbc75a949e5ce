"""Settings of the training of the local feature."""

from __future__ import annotations

from pydantic import Field

from lbr.recognition.augment import AugmentSettings
from lbr.recognition.settings import MuonSettings, Precision
from lbr.settings import Settings


class LearningSettings(Settings):
    """How long, on what, with which weights of the losses (lbr/learning/losses.py)."""

    steps: int = Field(default=5000, ge=1)
    batch_size: int = Field(default=8, ge=1, description="pairs of views in a step")
    view_px: int = Field(default=192, ge=64, multiple_of=16)
    photograph_px: int = Field(default=560, ge=128, description="longer side that photographs are shrunk to")
    copies: int = Field(default=2, ge=0, description="stylised copies of a photograph")
    day: float = Field(default=0.5, ge=0, le=1, description="share of the views that are of the photograph itself")
    zoom: float = Field(default=0.7, ge=0, description="logarithm of the largest ratio of the scales of two views")
    light: AugmentSettings = AugmentSettings(
        shadow=0.2, night=0.2, haze=0.05, gamma=0.5, brightness=0.3, contrast=0.3, hue=0.2, blur=0.3, noise=0.4
    )
    temperature: float = Field(default=0.07, gt=0, description="of the cosines of descriptors")
    agreement: float = Field(default=1.0, ge=0)
    reliability: float = Field(default=0.3, ge=0)
    place: float = Field(default=0.3, ge=0)
    optimizer: MuonSettings = MuonSettings(rate=0.003, weight_decay=0.01)
    average: float = Field(default=0.998, ge=0, lt=1, description="decay of the running average of the weights")
    precision: Precision = "auto"
    save_every: int = Field(default=250, ge=1, description="steps; a killed run goes on from there")
    workers: int = Field(default=1, ge=0, description="processes that draw views")
    seed: int = Field(default=0, ge=0)
