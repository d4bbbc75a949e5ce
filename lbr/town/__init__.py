"""The embedded town: streets with distinctive facades, photographed in all lights, with exact truth.

Names load their modules when they are first asked for: every verb reads `TownConfig`, few of them the renderer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lbr.town.config import TownConfig
    from lbr.town.export import TownSummary, photograph, write_town
    from lbr.town.pictures import contact_sheet, overview_picture, photographs_of, places, plan_picture
    from lbr.town.render import View, render_view
    from lbr.town.scenery import Scenery, stage
    from lbr.town.viewpoints import Shot
    from lbr.town.world import Town, build_town

_HOMES = {
    "config": ("TownConfig",), "export": ("TownSummary", "photograph", "write_town"),
    "pictures": ("contact_sheet", "overview_picture", "photographs_of", "places", "plan_picture"),
    "render": ("View", "render_view"), "scenery": ("Scenery", "stage"), "viewpoints": ("Shot",),
    "world": ("Town", "build_town"),
}  # fmt: skip

__all__ = [
    "Scenery", "Shot", "Town", "TownConfig", "TownSummary", "View", "build_town", "contact_sheet",
    "overview_picture", "photograph", "photographs_of", "places", "plan_picture", "render_view", "stage", "write_town",
]  # fmt: skip


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"lbr.town.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
