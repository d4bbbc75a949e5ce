"""The stage `georeference`: where the places of the map lie on earth, from positions of its photographs."""

from __future__ import annotations

from lbr.errors import ConfigError, DataError
from lbr.io.exif import GpsPosition, read_gps
from lbr.io.text_lists import Problem, read_positions
from lbr.mapping.georeference import Georeference, write_georeferences
from lbr.mapping.georeferencing import georeference
from lbr.mapping.map import Map, open_map
from lbr.pipeline.stage import Context, Report, identities, made, reused
from lbr.pipeline.workspace import Recipe, digest_files, digest_images, making


def georeference_map(context: Context) -> list[Report]:
    """map/georeference.json: of each place of which enough db images have a position. Without any, nothing is placed.

    Raises ConfigError when it is switched off.
    """
    workspace, dataset, settings = context.workspace, context.dataset, context.config.georeference
    if settings.enabled == "never":
        raise ConfigError("georeference.enabled=never: there is nothing to do")
    output, inputs = workspace.georeference, identities(workspace.map)
    if settings.positions is not None:
        inputs["positions"] = digest_files([settings.positions])
    else:
        inputs["images"] = digest_images(dataset.image_root, dataset.db_names)
    recipe = Recipe("georeference", context.dump("georeference", "seed"), inputs)
    if context.reusable(output, recipe):
        return [reused(output)]
    with making(output, recipe) as work:
        scene = open_map(workspace.map)
        positions, problems = _positions(context, scene)
        work.problems += problems
        found = []
        for place in range(scene.num_places):
            if not any(scene.names[i] in positions for i in scene.images_of(place)):
                continue
            try:
                found.append(georeference(scene, place, positions, settings, context.config.seed))
            except DataError as error:
                work.problems.append(Problem(f"place {place} of the map", f"not georeferenced: {error}"))
        write_georeferences(output, found)
        work.facts["summary"] = "; ".join(describe(g) for g in found) or (
            "no place could be georeferenced" if positions else "no db image has a position on earth"
        )
    return [made(output)]


def describe(found: Georeference) -> str:
    """In words: where a place lies, from how many positions, how well they agree, the scale."""
    latitude, longitude, _ = found.origin
    num, height = len(found.inliers), found.vertical_rms_m
    words = (
        f"place {found.place} at {latitude:.6f}, {longitude:.6f}: {num} of {num + len(found.outliers)} positions "
        f"agree, {found.horizontal_rms_m:.2f} m off" + (f" ({height:.2f} m in height)" if height is not None else "")
    )
    words += f" (rms), 1 unit of the map = {found.similarity.scale:.5g} m"
    words += f" to {100 * float(found.covariance[6, 6]) ** 0.5:.1f} %"
    if not found.uses_gravity:
        words += "; the cameras' upright does not fit the positions and was not used"
    return words + (
        f"; headings {found.compass_deg:+.1f} deg from the compass" if found.compass_deg is not None else ""
    )


def _positions(context: Context, scene: Map) -> tuple[dict[str, GpsPosition], list[Problem]]:
    """Positions of the map's images, from the list or from their EXIF, and what is wrong with some."""
    if context.config.georeference.positions is not None:
        listed, problems = read_positions(context.config.georeference.positions)
        unknown = [name for name in listed if name not in scene]
        if unknown:
            why = f"{len(unknown)} names are no images of the map (first: {unknown[0]})"
            problems.append(Problem(str(context.config.georeference.positions), why))
        return {name: position for name, position in listed.items() if name in scene}, problems
    positions: dict[str, GpsPosition] = {}
    problems = []
    for name in scene.names:
        try:
            told = read_gps(context.images.path(name))
        except DataError as error:
            told = str(error)
        if isinstance(told, str):
            problems.append(Problem(name, f"{told}; not used"))
        elif told is not None:
            positions[name] = told
    return positions, problems
