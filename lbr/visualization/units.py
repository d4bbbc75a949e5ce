"""Numbers as a person reads them. What is not known, not finite or infinite is a dash, never `nan`."""

from __future__ import annotations

import math
from typing import TypeGuard

UNKNOWN = "–"


def metres(value: float | None) -> str:
    """A length given in metres, in mm, cm, m or km."""
    if not is_known(value):
        return UNKNOWN
    size = abs(value)
    if size < 0.00995:
        return f"{_digits(1000 * value, 2)} mm"
    if size < 0.995:
        return f"{_digits(100 * value, 2)} cm"
    return f"{_digits(value, 3)} m" if size < 995 else f"{_digits(value / 1000, 3)} km"


def length(value: float | None, metres_per_unit: float | None) -> str:
    """A length in units of a map, in metres where it is known how long they are."""
    if metres_per_unit is None:
        return f"{_digits(value, 3)} units" if is_known(value) else UNKNOWN
    return metres(value * metres_per_unit) if is_known(value) else UNKNOWN


def limit(value: float) -> str:
    """A round length given in metres (a threshold, a tick), without needless digits: 5 mm, 25 cm, 5 m."""
    if not is_known(value):
        return UNKNOWN
    for unit, size in (("km", 1000.0), ("m", 1.0), ("cm", 0.01), ("mm", 0.001)):
        if value >= size * 0.9999:
            return f"{value / size:.4g} {unit}"
    return f"{1000 * value:.4g} mm"


def degrees(value: float | None) -> str:
    """An angle given in degrees."""
    return f"{_digits(value, 2)}°" if is_known(value) else UNKNOWN


def seconds(value: float | None) -> str:
    """A duration given in seconds, in ms, s, min or h."""
    if not is_known(value):
        return UNKNOWN
    if value < 0.0995:
        return f"{_digits(1000 * value, 2)} ms"
    if value < 99.5:
        return f"{_digits(value, 2 if value < 9.95 else 3)} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def percent(value: float | None) -> str:
    """A share given in percent, with one digit unless it is all, none, or tiny."""
    if not is_known(value):
        return UNKNOWN
    return f"{value:.0f} %" if value in (0, 100) else f"{value:.1f} %"


def count(value: float | None) -> str:
    """A number of things, with thin spaces between thousands; one digit where it is no whole number."""
    if not is_known(value):
        return UNKNOWN
    return f"{value:,.0f}".replace(",", "\u2009") if float(value).is_integer() else f"{value:,.1f}"


def is_known(value: float | None) -> TypeGuard[float]:
    """Whether there is a finite number."""
    return value is not None and math.isfinite(value)


def _digits(value: float, digits: int) -> str:
    """With so many significant digits, and no exponent."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, 4)}f}"
