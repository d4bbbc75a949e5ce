"""The stage `label`: instances made from the map where the dataset has no label images of them, and label images."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np

from lbr.errors import DataError
from lbr.io.files import write_text
from lbr.io.images import read_image, write_image
from lbr.io.labels import mask_path, pack_colours, read_vocabulary, unpack_colours, write_vocabulary
from lbr.mapping.instances.edits import Edit, apply_edits, edited_list, read_edits
from lbr.mapping.map import open_map
from lbr.pipeline.finding import MASKS, POINTS, STEPS, find_instances, publish
from lbr.pipeline.label_workers import DrawLabels
from lbr.pipeline.stage import Context, Report, identities, made, make_parts, reused
from lbr.pipeline.workspace import Recipe, digest_text, making, read_manifest
from lbr.types import InstanceVocabulary
from lbr.visualization import colours as palette
from lbr.visualization.instances import InstanceRow, list_page

THUMBNAILS, PREVIEWS = "thumbnails", "previews"
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
    return [find_instances(context), _write_labels(context)]


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
        worker = DrawLabels(context.images, source / MASKS, folder, vocabulary, table, names)
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
        publish(work, output)
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
