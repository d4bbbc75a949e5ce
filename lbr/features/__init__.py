"""Local features: keypoints and descriptors of one image. A new one is a file and two lines here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from lbr.features.aliked import Aliked, AlikedSettings
from lbr.features.daynight import DayNight, DayNightSettings
from lbr.features.disk import Disk, DiskSettings
from lbr.features.extractor import Extractor
from lbr.features.resnetxn import ResNetXN, ResNetXNSettings
from lbr.features.sift import Sift, SiftSettings
from lbr.features.sift_daynight import SiftDayNight, SiftDayNightSettings
from lbr.features.xfeat import XFeat, XFeatSettings

EXTRACTORS: dict[str, Any] = {
    "sift": Sift, "daynight": DayNight, "sift+daynight": SiftDayNight, "aliked": Aliked, "disk": Disk, "xfeat": XFeat,
    "resnetxn": ResNetXN,
}  # fmt: skip
ExtractorConfig = Annotated[
    SiftSettings
    | DayNightSettings
    | SiftDayNightSettings
    | AlikedSettings
    | DiskSettings
    | XFeatSettings
    | ResNetXNSettings,
    Field(discriminator="name"),
]
WEIGHTS_DIGEST = "weights_digest"  # of a record, beside the configuration: tells the same weights wherever they lie


def make_extractor(config: ExtractorConfig, pool: int = 1) -> Extractor:
    """The extractor of a configuration; learned ones load their weights here. pool: so many times the keypoints."""
    return EXTRACTORS[config.name](config.model_copy(update={"max_keypoints": config.max_keypoints * pool}))


def config_of_record(record: Mapping[str, Any]) -> ExtractorConfig:
    """The configuration in what a map or a feature file says of its local feature. Raises ValidationError."""
    settings = {key: value for key, value in record.items() if key != WEIGHTS_DIGEST}
    return TypeAdapter(ExtractorConfig).validate_python(settings)
