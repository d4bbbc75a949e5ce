"""The stage `label`: instances made from the map where the dataset has no label images of them, and label images."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from lbr.errors import ConfigError, DataError
from lbr.io.files import atomic_path, write_text
from lbr.io.images import read_image, write_image
from lbr.io.labels import mask_path, pack_colours, read_mask, read_vocabulary, unpack_colours, write_vocabulary
from lbr.mapping.instances import FacadeInstances, GivenInstances
from lbr.mapping.instances.edits import Edit, apply_edits, edited_list, read_edits
from lbr.mapping.instances.find import Found, Scene, canvases, find_clusters, find_facades, prepare, task_of
from lbr.mapping.instances.texture import Canvas, Texture
from lbr.mapping.instances.walls import Wall
from lbr.mapping.map import open_map
from lbr.pipeline.changes import changes_of
from lbr.pipeline.label_workers import DrawLabels, LabelImage, PaintWall, PaintWallItem
from lbr.pipeline.stage import Context, Report, identities, identities_as_made, made, make_parts, reused
from lbr.pipeline.vocabulary import BACKGROUND, with_instances
from lbr.pipeline.workspace import Making, Recipe, digest_images, digest_text, making, read_manifest
from lbr.types import InstanceVocabulary
from lbr.visualization import colours as palette
from lbr.visualization.instances import InstanceRow, list_page, plan_picture, step_picture, wall_picture

MASKS, STEPS, POINTS, THUMBNAILS, PREVIEWS = "masks", "steps", "point_labels.npy", "thumbnails", "previews"
SHOWN_WALLS, SHOWN_IMAGES = 12, 6
THUMBNAIL_WIDTH = 320
HELP = """The instances that were found. To correct them, copy this file to ../instances-edits.yaml, edit it there, and
run `lbr label` again (with --overwrite, as what was made from the labels is then to be made anew):
  name: a name to show; merge_into: the id of the instance that this one is a part of; drop: true makes it
  background."""


def label(context: Context) -> list[Report]:
    """Label images of the db images: the dataset's own, or instances found in the map, with a person's corrections."""
    if not context.makes_labels:
        masks = context.labels.masks
        if masks is None:
            raise DataError(
                "instances.name=given, but the dataset has no label images: use facades, or set dataset.labels"
            )
        return [Report(masks, "the dataset's own label images are used", reused=True)]
    return [_find(context), _write_labels(context)]


def _find(context: Context) -> Report:
    """instances/: the instances of the map as they were found, before anybody corrects them."""
    workspace, dataset, settings = context.workspace, context.dataset, context.config.instances
    if isinstance(settings, GivenInstances):
        raise ConfigError("instances.name=given makes no instances")
    inputs = identities_as_made(workspace.map)
    scene = open_map(workspace.map)
    names = changes_of(workspace).names_as_made(scene.names)
    inputs |= {"images": digest_images(dataset.image_root, names)}
    recipe = Recipe("label", {"instances": _relevant(context), **context.dump("seed")}, inputs)
    if context.reusable(workspace.instances, recipe):
        return reused(workspace.instances)
    with making(workspace.instances, recipe) as work:
        ready = prepare(scene, context.config.seed, settings.min_track)
        painted = _paint(context, work, ready) if isinstance(settings, FacadeInstances) else []
        if isinstance(settings, FacadeInstances):
            found = find_facades(ready, painted, settings)
        else:
            found = find_clusters(ready, settings, context.config.seed)
        folder = work.parts.folder
        vocabulary = with_instances(BACKGROUND, found.num)
        worker = LabelImage(dataset.images, folder / MASKS, vocabulary)
        items = {f"image {name}": task_of(ready, found, k) for k, name in enumerate(scene.names)}
        make_parts(work, items, worker, context, f"label -> {workspace.instances.name}")
        _draw_steps(context, ready, found, painted, folder)
        np.save(folder / POINTS, found.labels)
        write_vocabulary(folder / "vocabulary.txt", vocabulary)
        work.facts["num"] = found.num
        work.facts["summary"] = _summary(ready, found)
        _publish(work, workspace.instances)
    return made(workspace.instances)


def _relevant(context: Context) -> dict:
    """The settings, without that which decides whether instances are made at all."""
    return context.config.instances.model_dump(mode="json", exclude={"prefer_given"})


def _paint(context: Context, work: Making, scene: Scene) -> list[tuple[Wall, Canvas, Texture]]:
    """The pictures of all walls."""
    walls = canvases(scene)
    items = {f"wall {k}": PaintWallItem(*wall) for k, wall in enumerate(walls)}
    worker = PaintWall(context.dataset.images, scene.map, scene.ground)
    make_parts(work, items, worker, context, "walls")
    painted, done = [], work.parts.keys()
    for k, (wall, canvas, _) in enumerate(walls):
        if f"wall {k}" in done:
            painted.append((wall, canvas, Texture(**work.parts.get(f"wall {k}"))))
    return painted


def _summary(scene: Scene, found: Found) -> str:
    share = np.mean(found.labels[scene.cloud.index] > 0)
    return f"{found.num} instances in {len(scene.map)} images; {100 * share:.0f} % of the usable points belong to one"


def _publish(work: Making, output: Path) -> None:
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


def _draw_steps(
    context: Context, scene: Scene, found: Found, painted: list[tuple[Wall, Canvas, Texture]], folder: Path
) -> None:  # fmt: skip
    """steps/: the points from above by instance, the largest walls with their cuts, some photographs."""
    cloud, labels = scene.cloud, found.labels[scene.cloud.index]
    plan = plan_picture(cloud.xyz[:, :2], labels, scene.ground.flat(scene.map.centres))
    write_image(folder / STEPS / "1-points.jpg", plan)
    largest = sorted(painted, key=lambda part: -len(part[0].points))[:SHOWN_WALLS]
    if largest:
        write_image(folder / STEPS / "2-walls.jpg", np.vstack([_wall_with_cuts(found, *part) for part in largest]))
    vocabulary = with_instances(BACKGROUND, found.num)
    chosen = range(0, len(scene.map), max(1, len(scene.map) // SHOWN_IMAGES))
    rows = [
        row for k in list(chosen)[:SHOWN_IMAGES] for row in _pixels_of(context, scene, found, k, folder, vocabulary)
    ]
    for number, row in enumerate(rows, 1):
        write_image(folder / STEPS / f"3-pixels-{number}.jpg", row)


def _wall_with_cuts(found: Found, wall: Wall, canvas: Canvas, texture: Texture) -> np.ndarray:
    cuts = []
    for number, piece in found.pieces:
        if piece.wall is wall:
            first = round((piece.canvas.left - canvas.left) / canvas.cell)
            cuts.append((first, first + piece.canvas.size[0], number))
    return wall_picture(cv2.cvtColor(texture.lab, cv2.COLOR_LAB2RGB), cuts)


def _pixels_of(
    context: Context, scene: Scene, found: Found, image: int, folder: Path, vocabulary: InstanceVocabulary
) -> Iterator[np.ndarray]:
    name = scene.map.names[image]
    path = mask_path(folder / MASKS, name)
    if path.is_file():
        span = scene.map.observations(image)
        keypoints = np.asarray(scene.map.keypoints[span]) / scene.map.camera(image).width
        photograph, ids = context.dataset.images.read(name), read_mask(path, vocabulary)
        yield step_picture(photograph, keypoints, found.labels[scene.map.point_index[span]], ids)


def _write_labels(context: Context) -> Report:
    """labels/: label images with a person's corrections, previews, the list of the instances, and a page that shows
    it."""
    workspace, output, source = context.workspace, context.workspace.labels, context.workspace.instances
    found = read_manifest(source) or {}
    edits = read_edits(workspace.instance_edits, str(found["identity"]))
    table, names = apply_edits(int(found["num"]), edits, workspace.instance_edits)
    recipe = Recipe("label", {}, {**identities(source), "edits": digest_text(repr(edits))})
    if context.reusable(output, recipe):
        return reused(output)
    with making(output, recipe) as work:
        folder, vocabulary = work.parts.folder, read_vocabulary(source / "vocabulary.txt")
        worker = DrawLabels(context.dataset.images, source / MASKS, folder, vocabulary, table, names)
        items = {name: name for name in open_map(workspace.map).names if mask_path(source / MASKS, name).is_file()}
        make_parts(work, items, worker, context, f"label -> {output.name}")
        done = work.parts.keys()
        shares = {name: work.parts.get(name)["shares"] for name in items if name in done}
        if not shares:
            raise DataError(f"{source}: not one image could be labelled (first: {work.problems[0]})")
        rows = _rows(source, table, names, vocabulary, edits, np.stack(list(shares.values())))
        _write_thumbnails(context, folder, list(shares), np.stack(list(shares.values())), rows)
        _write_lists(context, folder, rows, str(found["identity"]))
        work.facts["summary"] = _told(rows, shares)
        _publish(work, output)
    return made(output)


def _rows(
    source: Path, table: np.ndarray, names: dict[int, str], vocabulary: InstanceVocabulary, edits: list[Edit],
    shares: np.ndarray,
) -> list[InstanceRow]:  # fmt: skip
    """The list: all found ids, with what became of those that are merged or dropped. shares: float [images, ids]."""
    points = np.bincount(table[np.load(source / POINTS, allow_pickle=False)], minlength=len(table))
    rows = []
    for number in range(1, len(table)):
        r, g, b = unpack_colours(vocabulary.colours[number]).tolist()
        shown = shares[:, number] > 0
        into = int(table[number])
        note = "" if into == number else "dropped" if into == 0 else f"part of {into}"
        area = float(shares[shown, number].mean()) if shown.any() else 0.0
        images, seen = int(shown.sum()), int(points[number])
        rows.append(InstanceRow(number, names.get(number, ""), (r, g, b), images, area, seen, note))
    return rows


def _write_thumbnails(
    context: Context, folder: Path, images: list[str], shares: np.ndarray, rows: list[InstanceRow]
) -> None:  # fmt: skip
    """thumbnails/<id>.jpg: the preview of the image that the instance fills most, or as it would be without others."""
    (folder / THUMBNAILS).mkdir(exist_ok=True)
    for row in rows:
        if row.images:
            best = images[int(np.argmax(shares[:, row.id]))]
            picture = read_image((folder / PREVIEWS / best).with_suffix(".jpg"))
            height = round(picture.shape[0] * THUMBNAIL_WIDTH / picture.shape[1])
            small = cv2.resize(picture, (THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA)
            write_image(folder / THUMBNAILS / f"{row.id}.jpg", small)


def _write_lists(context: Context, folder: Path, rows: list[InstanceRow], found: str) -> None:
    kept = [row.id for row in rows if not row.note]
    ids = pack_colours(np.array([(0, 0, 0), *(row.colour for row in rows if not row.note)]))
    write_vocabulary(
        folder / "vocabulary.txt", InstanceVocabulary(ids.astype(np.int64), np.array([0, *kept], np.int32))
    )
    entries = [
        {"id": row.id, "name": row.name or None, "colour": palette.css(row.colour), "images": row.images,
         "area": round(row.area, 4), "points": row.points, "drop": row.note == "dropped",
         "merge_into": int(row.note.split()[-1]) if row.note.startswith("part of") else None}
        for row in rows
    ]  # fmt: skip
    write_text(folder / "instances.yaml", edited_list(found, entries, HELP))
    shutil.copytree(context.workspace.instances / STEPS, folder / STEPS, dirs_exist_ok=True)
    steps = sorted(path.name for path in (folder / STEPS).glob("*.jpg"))
    write_text(folder / "instances.html", list_page("Instances of the map", HELP, rows, steps))


def _told(rows: list[InstanceRow], shares: dict[str, np.ndarray]) -> str:
    kept = [row for row in rows if not row.note]
    covered = np.mean([share[1:].sum() for share in shares.values()])
    each = np.mean([np.count_nonzero(share[1:]) for share in shares.values()])
    merged = len(rows) - len(kept)
    told = f", {merged} merged or dropped by hand" if merged else ""
    return f"{len(kept)} instances{told} in {len(shares)} images, {each:.1f} each, {100 * covered:.0f} % of the pixels"
