"""instances/: the instances that are found in the map, place by place, before a person corrects them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from lbr.errors import ConfigError, DataError
from lbr.io.files import atomic_path
from lbr.io.images import write_image
from lbr.io.labels import mask_path, read_mask, write_vocabulary
from lbr.io.text_lists import Problem
from lbr.mapping.instances import FacadeInstances, GivenInstances, KMeansInstances
from lbr.mapping.instances.find import (
    Found,
    Painted,
    Scene,
    find_clusters,
    find_facades,
    numbered_from,
    prepare,
    task_of,
)  # fmt: skip
from lbr.mapping.instances.texture import Canvas, Texture
from lbr.mapping.instances.walls import Wall
from lbr.mapping.map import Map, open_map
from lbr.mapping.places import part_of
from lbr.pipeline.changes import changes_of, forget_added_labels
from lbr.pipeline.label_workers import LabelImage, PaintWall, painted, wall_items
from lbr.pipeline.stage import Context, Report, identities, identities_as_made, made, make_parts, reused
from lbr.pipeline.vocabulary import BACKGROUND, with_instances
from lbr.pipeline.workspace import Making, Recipe, digest_images, making, read_manifest
from lbr.types import InstanceVocabulary
from lbr.visualization.instances import plan_picture, step_picture, wall_picture

MASKS, STEPS, POINTS = "masks", "steps", "point_labels.npy"
SHOWN_WALLS, SHOWN_IMAGES = 12, 6
DOUBTFUL = ("min_square", "min_told", "min_covered")  # limits that give way where no instance keeps to them
Made = FacadeInstances | KMeansInstances


@dataclass(frozen=True, eq=False)
class Part:
    """A place of the map with what was found in it; its ids go on from those of the places before.

    points: int64 [Q], which of the map's points those of the place are. painted: the pictures of its walls.
    """

    place: int
    scene: Scene
    points: np.ndarray
    painted: list[Painted]
    found: Found


def find_instances(context: Context) -> Report:
    """Raises DataError when there is none in any place of the map; a place that has none is a problem."""
    workspace, dataset, settings = context.workspace, context.dataset, context.config.instances
    if isinstance(settings, GivenInstances):
        raise ConfigError("instances.name=given makes no instances")
    inputs = identities_as_made(workspace.map)
    scene = open_map(workspace.map)
    names = changes_of(workspace).names_as_made(scene.names)
    inputs |= {"images": digest_images(dataset.image_root, names)}
    recipe = Recipe("label", {"instances": _relevant(settings), **context.dump("seed")}, inputs)
    now = replace(recipe, inputs={**inputs, **identities(workspace.map)})
    if kept := _kept_as_they_were(context, recipe, now):
        return kept
    with making(workspace.instances, now) as work:
        parts = _parts(context, work, scene, settings)
        num, folder = sum(part.found.num for part in parts), work.parts.folder
        vocabulary = with_instances(BACKGROUND, num)
        items = {
            f"image {name}": task_of(part.scene, part.found, k)
            for part in parts
            for k, name in enumerate(part.scene.map.names)
        }
        worker = LabelImage(context.images, folder / MASKS, vocabulary)
        make_parts(work, items, worker, context, f"label -> {workspace.instances.name}")
        for part in parts:
            _draw_steps(part, folder, "" if len(parts) == 1 else f"-of-place-{part.place}")
        _draw_pixels(context, parts, folder, vocabulary)
        np.save(folder / POINTS, _labels(scene, parts))
        write_vocabulary(folder / "vocabulary.txt", vocabulary)
        work.facts |= {"num": num, "summary": _summary(scene, parts)}
        work.facts |= {"made_as": recipe.identity, "inputs": inputs}  # their ids are of the map as it is
        publish(work, workspace.instances)
        forget_added_labels(workspace)
    return made(workspace.instances)


def _kept_as_they_were(context: Context, recipe: Recipe, now: Recipe) -> Report | None:
    """The report on instances of the map as it is (`now`), or as it was before it was changed: they are not found anew
    unasked. None where they are to be."""
    output = context.workspace.instances
    if not context.reusable(output, recipe):
        return None
    report = reused(output)
    if (read_manifest(output) or {})["identity"] == now.identity:
        return report
    if context.overwrite:
        return None
    told = "the map was changed since: `lbr label --overwrite` looks at it as it is"
    return replace(report, summary=f"{report.summary}; {told}")


def _relevant(settings: Made) -> dict:
    """The settings, without that which decides whether instances are made at all."""
    return settings.model_dump(mode="json", exclude={"prefer_given"})


def _parts(context: Context, work: Making, scene: Map, settings: Made) -> list[Part]:
    """What is found in each place: each has a frame of its own, with an up of its own."""
    parts: list[Part] = []
    for place in range(scene.num_places):
        own, points = part_of(scene, scene.images_of(place))
        named = f"place {place} of the map ({len(own)} images)"
        try:
            ready = prepare(own, context.config.seed, settings.min_track)
            if isinstance(settings, FacadeInstances):
                walls = _paint(context, work, ready, place)
                found, doubts = _facades(ready, walls, settings)
                work.problems += [Problem(named, doubt) for doubt in doubts]
            else:
                walls, found = [], find_clusters(ready, settings, context.config.seed)
        except DataError as error:
            if scene.num_places == 1:
                raise
            work.problems.append(Problem(named, f"no instances: {error}"))
            continue
        first = sum(part.found.num for part in parts)
        parts.append(Part(place, ready, points, walls, numbered_from(found, first)))
    if not parts:
        raise DataError(f"no instances in any of {scene.num_places} places of the map (first: {work.problems[0]})")
    return parts


def _facades(scene: Scene, walls: list[Painted], settings: FacadeInstances) -> tuple[Found, list[str]]:
    """The instances of a place, and what is to be said of them: trees too, where there is nothing else to go by.

    Raises DataError when there is none.
    """
    try:
        return find_facades(scene, walls, settings), []
    except DataError:
        found = find_facades(scene, walls, settings.model_copy(update=dict.fromkeys(DOUBTFUL, 0.0)))
    why = "no instance has level and upright edges and points all over, as facades have"
    limits = f"(instances.{', '.join(DOUBTFUL)})"
    return found, [f"{why} {limits}: all {found.num} were kept, as there are no others; look at labels/previews"]


def _paint(context: Context, work: Making, scene: Scene, place: int) -> list[Painted]:
    """The pictures of all walls of a place."""
    items = wall_items(scene, place)
    make_parts(work, items, PaintWall(context.images, scene.map, scene.ground), context, "walls")
    done = work.parts.keys()
    return [painted(item, work.parts.get(key)) for key, item in items.items() if key in done]


def _labels(scene: Map, parts: list[Part]) -> np.ndarray:
    """int32 [P]: the instance of each point of the map."""
    labels = np.zeros(len(scene.points), np.int32)
    for part in parts:
        labels[part.points] = part.found.labels
    return labels


def _summary(scene: Map, parts: list[Part]) -> str:
    usable = np.concatenate([part.found.labels[part.scene.cloud.index] for part in parts])
    num, places = sum(part.found.num for part in parts), "" if len(parts) == 1 else f" of {len(parts)} places"
    share = 100 * np.mean(usable > 0)
    return f"{num} instances in {len(scene)} images{places}; {share:.0f} % of the usable points belong to one"


def publish(work: Making, output: Path) -> None:
    """What is finished in the folder of parts becomes the output, whole or not at all.

    By links, not by moving: who is killed before the manifest is written finds everything there again.
    """
    with atomic_path(output) as unfinished:
        unfinished.mkdir()
        for path in work.parts.folder.iterdir():
            if path.is_dir():
                shutil.copytree(path, unfinished / path.name, copy_function=os.link)
            elif path.suffix != ".npz":
                os.link(path, unfinished / path.name)


def _draw_steps(part: Part, folder: Path, suffix: str) -> None:
    """steps/: the points of a place from above by instance, and its largest walls with their cuts."""
    scene, found = part.scene, part.found
    plan = plan_picture(scene.cloud.xyz[:, :2], found.labels[scene.cloud.index], scene.ground.flat(scene.map.centres))
    write_image(folder / STEPS / f"1-points{suffix}.jpg", plan)
    largest = sorted(part.painted, key=lambda one: -len(one[0].points))[:SHOWN_WALLS]
    if largest:
        walls = np.vstack([_wall_with_cuts(found, *one) for one in largest])
        write_image(folder / STEPS / f"2-walls{suffix}.jpg", walls)


def _wall_with_cuts(found: Found, wall: Wall, canvas: Canvas, texture: Texture) -> np.ndarray:
    cuts = []
    for number, piece in found.pieces:
        if piece.wall is wall:
            first = round((piece.canvas.left - canvas.left) / canvas.cell)
            cuts.append((first, first + piece.canvas.size[0], number))
    return wall_picture(cv2.cvtColor(texture.lab, cv2.COLOR_LAB2RGB), cuts)


def _draw_pixels(context: Context, parts: list[Part], folder: Path, vocabulary: InstanceVocabulary) -> None:
    """steps/: some photographs, of every place, with their observations and their pixels' ids."""
    images = [(part, k) for part in parts for k in range(len(part.scene.map))]
    chosen = images[:: max(1, len(images) // SHOWN_IMAGES)][:SHOWN_IMAGES]
    rows = [row for part, k in chosen for row in _pixels_of(context, part, k, folder, vocabulary)]
    for number, row in enumerate(rows, 1):
        write_image(folder / STEPS / f"3-pixels-{number}.jpg", row)


def _pixels_of(
    context: Context, part: Part, image: int, folder: Path, vocabulary: InstanceVocabulary
) -> Iterator[np.ndarray]:
    scene = part.scene.map
    name = scene.names[image]
    path = mask_path(folder / MASKS, name)
    if path.is_file():
        span = scene.observations(image)
        keypoints = np.asarray(scene.keypoints[span]) / scene.camera(image).width
        photograph, ids = context.images.read(name), read_mask(path, vocabulary)
        yield step_picture(photograph, keypoints, part.found.labels[scene.point_index[span]], ids)
