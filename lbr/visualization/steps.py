"""The search for a query as a list: where the candidates of each step came from, which they were, what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from lbr.visualization import colours as palette
from lbr.visualization.markup import element, key, text

MAX_STEPS, MAX_NAMES = 8, 4


def search_list(steps: Sequence[Mapping[str, Any]], colours: Mapping[int, palette.Colour] | None) -> str:
    """The steps of one query, those between the first few and the last as a count; nothing for a search of one step
    over everything, whose outcome the query's reason tells already."""
    if not steps or (len(steps) == 1 and steps[0]["source"] == "exhaustive"):
        return ""
    shown = list(steps) if len(steps) <= MAX_STEPS else [*steps[: MAX_STEPS - 1], steps[-1]]
    items = [element("li", *_words(step, colours), value=steps.index(step) + 1) for step in shown]
    if len(shown) < len(steps):
        items.insert(-1, element("li", text(f"{len(steps) - len(shown)} more steps"), class_="soft", value=MAX_STEPS))
    return element("p", text("The search:"), class_="soft") + element("ol", *items, class_="steps")


def _words(step: Mapping[str, Any], colours: Mapping[int, palette.Colour] | None) -> list[str]:
    source, names = str(step["source"]), [PurePosixPath(name).name for name in step["names"]]
    if step.get("instance"):
        shade = palette.by_instance(np.array([step["instance"]]), colours).tolist()[0]
        head = key(source, palette.css(shade))
    else:
        head = text(source)
    listed = ", ".join(names[:MAX_NAMES]) + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")
    outcome = f"{step['outcome']}, {step['inliers']} inliers" if step["outcome"] == "accepted" else step["outcome"]
    return [head, text(f" {listed}: {outcome}")]
