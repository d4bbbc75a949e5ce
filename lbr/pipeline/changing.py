"""What `lbr extend` and `lbr remove` share: the map they start from, and what is made anew of the one they leave."""

from __future__ import annotations

from dataclasses import replace

from lbr.errors import DataError
from lbr.mapping.georeference import read_georeferences
from lbr.mapping.map import Map, open_map
from lbr.pipeline.features import check_feature
from lbr.pipeline.geography import is_unplaced
from lbr.pipeline.georeference import georeference_map
from lbr.pipeline.indexing import make_index
from lbr.pipeline.mapping import reconstruct
from lbr.pipeline.prototyping import make_prototypes
from lbr.pipeline.stage import Context, Report, identities, made


def map_to_change(context: Context) -> Map:
    """Raises DataError when the workspace has no map yet, or one of another local feature, StaleOutput when the map is
    not of this configuration."""
    identities(context.workspace.map)
    if not reconstruct(replace(context, overwrite=False))[0].reused:
        raise DataError(f"{context.workspace.map}: was not whole, and was made again just now; look at it first")
    scene = open_map(context.workspace.map)
    check_feature(context, scene)
    return scene


def is_on_earth(context: Context) -> bool:
    """Whether a place of the map is georeferenced, and in its next version is to be."""
    wanted = context.config.georeference.enabled != "never"
    return wanted and (is_unplaced(context) or bool(read_georeferences(context.workspace.map)))


def remake(context: Context, on_earth: bool) -> list[Report]:
    """What the workspace had of the map before it was changed: where its places lie on earth, the index, and what new
    instances look like to its network."""
    reports = georeference_map(context) if on_earth else []
    if not context.workspace.index.exists():
        return reports
    reports += make_index(context)
    prototypes = make_prototypes(context)
    return reports if prototypes is None else [*reports, made(prototypes)]
