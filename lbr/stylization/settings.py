"""Settings of the stylised copies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lbr.settings import Settings

LookName = Literal["night", "dusk", "rain", "night-rain", "snow"]
# A folder directly below the copies' root.
VariantName = Annotated[str, Field(pattern=r"^[^/\\.][^/\\]*$")]
Looks = Annotated[tuple[LookName, ...], Field(min_length=1)]


class StylizeSettings(Settings):
    """variants: folder of copies -> the looks that each photograph's copy there is drawn from.

    strength 0 leaves about the day, 1 is the look, up to 1.5 exaggerates. A copy depends on (seed, name, folder, look)
    and the photograph alone.
    """

    variants: dict[VariantName, Looks] = Field(
        default={"images_aug1": ("night", "night-rain"), "images_aug2": ("dusk", "rain", "snow")}, min_length=1
    )
    strength: float = Field(default=1.0, ge=0.0, le=1.5)
    jpeg_quality: int = Field(default=92, ge=30, le=100)
    seed: int = Field(default=0, ge=0)
