"""Elements of HTML and of SVG as text: names and texts are escaped here, numbers are never written as nan or inf."""

from __future__ import annotations

import math
from html import escape as _escape

VOID = frozenset({"br", "hr", "img", "meta"})


def text(value: object) -> str:
    """Plain text as markup."""
    return _escape(str(value), quote=True)


def element(name: str, /, *content: str, **attributes: object) -> str:
    """`<name attributes>content</name>`.

    content: markup already (plain text passes through `text` first). attributes: `stroke_width` becomes
    `stroke-width`, a trailing underscore is dropped (`class_`), True stands alone (`open`), None and False are left
    out, numbers are rounded to two digits and those that are not finite left out.
    """
    opening = " ".join([name, *(_attribute(key, value) for key, value in attributes.items() if _is_written(value))])
    return f"<{opening}>" if name in VOID else f"<{opening}>{''.join(content)}</{name}>"


def svg(size: tuple[float, float], label: str, *content: str, **attributes: object) -> str:
    """An inline SVG of width and height in its own units, as wide as its place; `label` says what it shows."""
    box = f"0 0 {size[0]:g} {size[1]:g}"
    return element("svg", *content, viewBox=box, role="img", aria_label=label, **attributes)


def key(name: str, colour: str) -> str:
    """A dot of a colour with what it stands for."""
    return element("span", element("span", class_="key", style=f"background:{colour}"), text(name), class_="keyed")


def standalone(inline: str) -> str:
    """An inline SVG as the text of an .svg file."""
    return inline.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def path_data(*lines: list[tuple[float, float]]) -> str:
    """The `d` of a path of polylines; points that are not finite are left out."""
    kept = ([(x, y) for x, y in line if math.isfinite(x) and math.isfinite(y)] for line in lines)
    return "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line) for line in kept if line)


def _is_written(value: object) -> bool:
    return value is not None and value is not False and not (isinstance(value, float) and not math.isfinite(value))


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return name
    return f'{name}="{f"{float(value):.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else text(value)}"'
