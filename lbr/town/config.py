"""What a town is asked to be. A preset (`size`) fills whatever is left open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from lbr.errors import ConfigError
from lbr.settings import ConfigPath, Settings

# map letters: B a block of houses, S a square; the outer ring of the drawing is one row of houses
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "blocks": ("BBB", "BSB", "BBB"),
        "width": 256, "height": 192, "texel_m": 0.025,
        "num_db": 8, "num_sequence": 0, "num_day": 2, "num_night": 2, "num_stations": 8, "num_per_traverse": 1,
        "stretch_m": 16.0,  # so that eight photographs see the same houses
    },
    "demo": {
        "blocks": ("BBBB", "BBSB", "BSBB", "BBBB"),
        "width": 640, "height": 480, "texel_m": 0.0125,
        "num_db": 150, "num_sequence": 12, "num_day": 40, "num_night": 40, "num_stations": 50, "num_per_traverse": 4,
    },
    "large": {
        "blocks": ("BBBBBBBB", "BBBSBBBB", "BSBBBSBB", "BBBBBBBB", "BBSBBBSB", "BBBBBBBB"),
        "width": 640, "height": 480, "texel_m": 0.0167,
        "num_db": 1500, "num_sequence": 100, "num_day": 200, "num_night": 200, "num_stations": 500,
        "num_per_traverse": 20,
    },
}  # fmt: skip


class TownConfig(Settings):
    """The section `town` of a configuration. A field left at None is taken from the preset named by `size`."""

    size: Literal["tiny", "demo", "large"] = "demo"
    layout: Literal["aachen", "robotcar"] = "aachen"
    seed: int = Field(default=7, ge=0)
    walk: int = Field(default=0, ge=0, description="another number: the same town, photographed from elsewhere")
    blocks: tuple[str, ...] | None = Field(default=None, description="the map: B block, S square, one string per row")
    width: int | None = Field(default=None, ge=32, description="image width in pixels")
    height: int | None = Field(default=None, ge=32, description="image height in pixels")
    texel_m: float | None = Field(default=None, gt=0, description="size of a facade texel in metres")
    textures: ConfigPath | None = Field(
        default=None, description="folder of facade photographs used instead of painted facades"
    )
    num_db: int | None = Field(default=None, ge=1)
    num_sequence: int | None = Field(default=None, ge=0, description="frames of images/sequences (aachen)")
    num_day: int | None = Field(default=None, ge=0, description="day queries (aachen)")
    num_night: int | None = Field(default=None, ge=0, description="night queries (aachen)")
    num_stations: int | None = Field(
        default=None, ge=1, description="stops of the reference drive, three images each (robotcar)"
    )
    num_per_traverse: int | None = Field(default=None, ge=0, description="stops of each traverse (robotcar)")
    night_exposure: float = Field(default=1.0, gt=0, description="light that a night photograph gets; less is harder")
    night_noise: float = Field(default=1.0, ge=0, description="factor on the sensor noise at night")
    stretch_m: float | None = Field(default=None, gt=0, description="metres of streets photographed; null: all")
    off_path_m: float = Field(
        default=3.0, ge=0, description="how far queries leave the path of the db cameras, sideways"
    )

    def resolved(self) -> TownSpec:
        """With every open field filled from the preset. Raises ConfigError for a bad map."""
        values = self.model_dump(exclude={"size"})
        values |= {key: value for key, value in PRESETS[self.size].items() if values[key] is None}
        rows = values["blocks"]
        if len(rows) < 3 or len(rows[0]) < 3 or len({len(row) for row in rows}) > 1 or set("".join(rows)) - set("BS"):
            raise ConfigError(f"town.blocks={rows}: at least 3 rows of 3, equally long, of the letters B and S")
        return TownSpec(**values)


@dataclass(frozen=True)
class TownSpec:
    """A TownConfig with nothing left open."""

    layout: str
    seed: int
    walk: int
    blocks: tuple[str, ...]
    width: int
    height: int
    texel_m: float
    textures: Path | None
    num_db: int
    num_sequence: int
    num_day: int
    num_night: int
    num_stations: int
    num_per_traverse: int
    night_exposure: float
    night_noise: float
    stretch_m: float | None
    off_path_m: float
