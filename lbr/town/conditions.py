"""Light, weather and season of a photograph. Radiances are linear; a white wall under the day's overcast sky is 1."""

from __future__ import annotations

from dataclasses import dataclass, replace

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Condition:
    """One row of the table below.

    zenith, horizon: sky radiance · clouds: 0 clear .. 1 closed · ambient: irradiance from an open sky · sun: direct
    irradiance, `elevation` its range in degrees · lamps: strength of street lamps · rooms, shops: share that is lit ·
    haze: extinction per metre · wet, snow: 0..1 · drops, streaks, flakes: how many, 0..1 · summer: share of leafy trees
    (per town, a draw) · target: what the exposure meter aims at · max_gain: its limit · noise: of the sensor ·
    blur: range of the blur's deviation in pixels · balance: white balance · crowd: share of people and traffic,
    0 leaves nothing that moves
    """

    name: str
    zenith: Rgb
    horizon: Rgb
    clouds: float
    ambient: Rgb
    sun: Rgb = (0.0, 0.0, 0.0)
    elevation: tuple[float, float] = (35.0, 50.0)
    lamps: float = 0.0
    rooms: float = 0.0
    shops: float = 0.0
    haze: float = 0.0012
    wet: float = 0.0
    snow: float = 0.0
    drops: float = 0.0
    streaks: float = 0.0
    flakes: float = 0.0
    summer: float = 0.75
    target: float = 0.14
    max_gain: float = 8.0
    noise: float = 0.35
    blur: tuple[float, float] = (0.3, 0.5)
    balance: Rgb = (1.0, 1.0, 1.0)
    crowd: float = 1.0

    @property
    def dark(self) -> bool:
        return self.lamps > 0.5


_OVERCAST = Condition("overcast", (0.8, 0.86, 0.95), (0.95, 0.97, 1.0), 1.0, (0.97, 0.99, 1.04))
_NIGHT = Condition(
    "night", (0.0012, 0.0016, 0.003), (0.006, 0.0055, 0.006), 0.35, (0.0045, 0.005, 0.0075), lamps=1.0, rooms=0.36,
    shops=0.75, haze=0.0004, target=0.078, max_gain=9.0, noise=5.0, blur=(0.75, 1.6), balance=(0.96, 1.0, 1.12),
    crowd=0.5,
)  # fmt: skip

CONDITIONS: dict[str, Condition] = {
    c.name: c
    for c in (
        _OVERCAST,
        Condition(
            "sun", (0.22, 0.4, 0.85), (0.75, 0.88, 1.05), 0.3, (0.4, 0.48, 0.62), (1.75, 1.6, 1.3), (28, 55),
            target=0.16, crowd=1.3,
        ),
        Condition(
            "dawn", (0.16, 0.22, 0.38), (0.85, 0.55, 0.42), 0.4, (0.26, 0.27, 0.34), (0.55, 0.34, 0.17), (6, 13),
            haze=0.0025, target=0.15, noise=0.7, crowd=0.4, balance=(1.03, 1.0, 0.97), shops=0.3, rooms=0.15, lamps=0.1,
        ),
        Condition(
            "dusk", (0.035, 0.055, 0.13), (0.26, 0.15, 0.13), 0.5, (0.085, 0.1, 0.16), lamps=0.7, rooms=0.35,
            shops=0.85,
            target=0.14, max_gain=6, noise=1.3, blur=(0.6, 1.0), crowd=0.9, balance=(1.0, 1.0, 1.05),
        ),
        _NIGHT,
        replace(
            _OVERCAST, name="rain", zenith=(0.42, 0.46, 0.52), horizon=(0.55, 0.58, 0.62), ambient=(0.55, 0.58, 0.63),
            haze=0.004, wet=0.8, drops=0.7, streaks=0.6, shops=0.5, rooms=0.1, crowd=0.5, noise=0.7, blur=(0.5, 0.9),
        ),
        replace(_NIGHT, name="night-rain", wet=1.0, drops=0.8, streaks=0.7, haze=0.004, crowd=0.3, blur=(0.8, 1.6)),
        replace(
            _OVERCAST, name="snow", zenith=(0.78, 0.82, 0.9), horizon=(0.9, 0.92, 0.95), ambient=(0.95, 0.98, 1.06),
            haze=0.005, snow=1.0, flakes=0.6, summer=0.0, crowd=0.5, shops=0.3, target=0.24,
        ),
    )
}  # fmt: skip
