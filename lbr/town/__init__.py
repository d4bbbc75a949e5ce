"""The embedded town: streets with distinctive facades, photographed in all lights, with exact truth."""

from lbr.town.config import TownConfig
from lbr.town.export import TownSummary, photograph, write_town
from lbr.town.pictures import contact_sheet, overview_picture, photographs_of, places, plan_picture
from lbr.town.render import View, render_view
from lbr.town.scenery import Scenery, stage
from lbr.town.viewpoints import Shot
from lbr.town.world import Town, build_town

__all__ = [
    "Scenery", "Shot", "Town", "TownConfig", "TownSummary", "View", "build_town", "contact_sheet",
    "overview_picture", "photograph", "photographs_of", "places", "plan_picture", "render_view", "stage", "write_town",
]  # fmt: skip
