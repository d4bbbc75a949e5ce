"""The section `recognition` of a configuration. Here and not beside its readers, as those import torch, which takes
seconds that `lbr config` or `lbr evaluate` need not wait."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lbr.recognition.augment import AugmentSettings
from lbr.recognition.ranking import EvidenceRanking, RankingConfig
from lbr.settings import ConfigPath, Settings

Precision = Literal["auto", "float32", "bfloat16"]
ColourOrder = Literal["rgb", "bgr"]
Share = Annotated[float, Field(ge=0, le=1)]


class NetworkSettings(Settings):
    """Common to all networks. encoder: a name of segmentation-models-pytorch, `tu-...` for one of timm's."""

    encoder: str = "resnext101_32x4d"
    encoder_weights: str | None = Field(default=None, description="'imagenet', 'ssl', ... (downloaded); null: random")
    encoder_depth: int = Field(default=4, ge=3, le=5)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    prune: bool = Field(default=True, description="drop the encoder's stages beyond its depth, which never run")


class PspSettings(NetworkSettings):
    """The published network: pyramid pooling on the last encoder map (Zhao et al., CVPR 2017)."""

    name: Literal["pspf"] = "pspf"
    channels: int = Field(default=2048, ge=8)
    upsampling: int = Field(default=8, ge=1)


class DeepLabSettings(NetworkSettings):
    """Atrous pyramid on the last map, joined with the map at stride 4 (Chen et al., ECCV 2018)."""

    name: Literal["deeplabv3p"] = "deeplabv3p"
    channels: int = Field(default=256, ge=8)
    atrous_rates: tuple[int, int, int] = (12, 24, 36)
    upsampling: int = Field(default=2, ge=1)


NetworkConfig = Annotated[PspSettings | DeepLabSettings, Field(discriminator="name")]


class LossSettings(Settings):
    """Weights of the two heads, and of what is hard or rare within the first."""

    segmentation: float = Field(default=1.0, ge=0)
    classification: float = Field(default=1.0, ge=0)
    hard_ratio: float = Field(default=0.7, gt=0, le=1, description="share of the pixels, the hardest, that count")
    rare_power: float = Field(
        default=0.0, ge=0, le=1, description="class weights = (median frequency / frequency) ** this; 0: all alike"
    )


class OptimizerSettings(Settings):
    """Common to all optimizers. encoder_factor: the encoder learns at this share of the rate."""

    rate: float = Field(default=1e-4, gt=0)
    encoder_factor: float = Field(default=0.1, gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)


class AdamSettings(OptimizerSettings):
    name: Literal["adam"] = "adam"


class AdamWSettings(OptimizerSettings):
    name: Literal["adamw"] = "adamw"


class SgdSettings(OptimizerSettings):
    name: Literal["sgd"] = "sgd"
    momentum: float = Field(default=0.9, ge=0, lt=1)


class MuonSettings(OptimizerSettings):
    """Orthogonal steps for the convolutions inside the network, AdamW's for heads, norms and what works by channel."""

    name: Literal["muon"] = "muon"
    momentum: float = Field(default=0.95, ge=0, lt=1)


OptimizerConfig = Annotated[AdamSettings | AdamWSettings | SgdSettings | MuonSettings, Field(discriminator="name")]


class StepSchedule(Settings):
    """Times `gamma` at each milestone (epochs)."""

    name: Literal["step"] = "step"
    milestones: tuple[int, ...] = (80, 100)
    gamma: float = Field(default=0.1, gt=0, le=1)


class PolySchedule(Settings):
    """(1 - iteration / iterations) ** power."""

    name: Literal["poly"] = "poly"
    power: float = Field(default=0.9, gt=0)


class CosineSchedule(Settings):
    """Linear warm-up over a share of the iterations, then half a cosine down to 0."""

    name: Literal["cosine"] = "cosine"
    warmup: float = Field(default=0.05, ge=0, lt=1)


class PlateauSchedule(Settings):
    """Times `gamma` after `patience` validations without a better score."""

    name: Literal["plateau"] = "plateau"
    gamma: float = Field(default=0.3, gt=0, lt=1)
    patience: int = Field(default=5, ge=0)


ScheduleConfig = Annotated[StepSchedule | PolySchedule | CosineSchedule | PlateauSchedule, Field(discriminator="name")]


class TrainingSettings(Settings):
    """How the network is trained. The defaults are the published ones, where the paper or its code give them."""

    epochs: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=120, description="auto: about 250 + 20 for each instance + 5 for each image steps of 16 images"
    )
    max_minutes: float | None = Field(
        default=None, gt=0, description="fewer epochs where the first steps, measured, say that all would take longer"
    )
    batch_size: int = Field(default=16, ge=1, le=1024)
    growing: tuple[float, ...] = Field(
        default=(1.0,),
        min_length=1,
        description="the input's size, as shares of input_size, over equal parts of epochs",
    )
    chunks: int = Field(
        default=1,
        ge=1,
        description="forward and backward passes that a batch is cut into; a CPU's cores share them, a process each",
    )
    optimizer: OptimizerConfig = AdamSettings()
    schedule: ScheduleConfig = StepSchedule()
    loss: LossSettings = LossSettings()
    augmentation: AugmentSettings = AugmentSettings()
    stylized: Share | tuple[Share, Share] = Field(
        default=2 / 3,
        description="probability that a stylised copy is drawn, where there are some; two: rising over the epochs",
    )
    on_the_fly: Literal["missing", "always", "never"] = Field(
        default="missing", description="night and haze of the augmentation: where stylised copies are missing, ..."
    )
    holdout: float = Field(default=0.05, ge=0, lt=1, description="share of the db images that choose the best weights")
    holdout_list: ConfigPath | None = Field(default=None, description="names of held-out images, instead of a share")
    validate_every: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=5, description="epochs; training is saved as often, to go on from; auto: a twentieth of all"
    )
    start_from: ConfigPath | None = Field(
        default=None, description="a checkpoint of ours, of any place: its encoder and decoder are gone on with"
    )
    average: float = Field(
        default=0.0, ge=0, lt=1, description="decay, for each step, of running average weights, which are used; 0: none"
    )
    patience: int | None = Field(default=None, ge=1, description="stop after so many validations without a better one")
    overfit_batch: bool = Field(default=False, description="learn one batch by heart, unaugmented: a check of the code")
    workers: int = Field(default=0, ge=0, description="processes that prepare samples; 0: this one does")
    detail: float = Field(
        default=1.5, ge=1, le=8, description="photographs are kept this much larger than input_size, for crops"
    )
    cache_mb: int = Field(default=2048, ge=0, description="memory of each process for decoded photographs")
    precision: Precision = "auto"
    device: str = "auto"


class PredictionSettings(Settings):
    """top_k: classes kept for each cell. feature: how the global feature is pooled from the last encoder map."""

    top_k: int = Field(default=10, ge=1)
    min_confidence: float = Field(default=1e-3, ge=0, lt=1, description="a rank below this probability is left empty")
    feature: Literal["max", "mean"] = "max"
    pictures: bool = Field(default=True, description="write masks, confidences and pictures beside the predictions")
    precision: Precision = "auto"
    device: str = "auto"


class PublishedCheckpoint(Settings):
    """A checkpoint of the research code: its Aachen network was trained on RGB, RobotCar's on BGR."""

    path: ConfigPath
    colour_order: ColourOrder = "rgb"


class RecognitionSettings(Settings):
    """weights: a checkpoint to use instead of the workspace's own, which `lbr train` makes."""

    network: NetworkConfig = PspSettings()
    input_size: tuple[int, int] = Field(default=(256, 256), description="width, height; the aspect is not kept")
    weights: ConfigPath | None = None
    published: PublishedCheckpoint | None = None
    training: TrainingSettings = TrainingSettings()
    prediction: PredictionSettings = PredictionSettings()
    ranking: RankingConfig = EvidenceRanking()
