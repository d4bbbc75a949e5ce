"""Label images of photographs that are added to a map: the instances that it knows, and new ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import cv2
import numpy as np

from lbr.errors import DataError
from lbr.features.labelling import labels_at
from lbr.io.images import ImageFolder
from lbr.io.labels import mask_path, read_mask, write_mask, write_vocabulary
from lbr.io.text_lists import Problem
from lbr.mapping.instances import FacadeInstances
from lbr.mapping.instances.find import ImageTask, Painted, Scene, find_facades, prepare, task_of
from lbr.mapping.map import Map, open_map
from lbr.mapping.novelty import confirmed, known_points, new_pieces, surroundings
from lbr.mapping.places import part_of
from lbr.parallel import parallel_map
from lbr.pipeline.changes import VOCABULARY, added_label_image, added_photograph
from lbr.pipeline.label_workers import InstancesOfImage, PaintWall, painted, wall_items
from lbr.pipeline.searching import LABELS
from lbr.pipeline.stage import Context
from lbr.pipeline.vocabulary import load_vocabulary, with_instances
from lbr.recognition.masks import confident_mask
from lbr.types import InstancePrediction

MIN_SHARE = 0.005  # of an added image: an instance that fills no more of any is not worth to be one
Masks = dict[str, np.ndarray]  # classes int32 [H, W] of images, by name


def label_additions(context: Context, grown: Map, predictions: Mapping[str, InstancePrediction]) -> int:
    """Label images of images that are to be added, and the vocabulary with their new instances; how many these are.

    A person's label image of the dataset is left alone. grown: the map with them; predictions: by image. The workspace
    has the map as it was, and its own copies of the photographs.
    """
    workspace, masks = context.workspace, context.labels.masks
    vocabulary, old = load_vocabulary(context), open_map(workspace.map)
    by_hand = {name for name in predictions if masks is not None and mask_path(masks, name).is_file()}
    shown = _believed(context, old, grown, {n: p for n, p in predictions.items() if n not in by_hand})
    given = {n: read_mask(mask_path(masks, n), vocabulary) for n in sorted(by_hand) if masks is not None}
    elsewhere = {**context.added, **{name: added_photograph(workspace, name) for name in predictions}}
    images = replace(context.images, elsewhere=elsewhere)
    fresh = _new_instances(context, images, grown, _known(grown, len(old.points), shown, given), shown)
    bigger = with_instances(vocabulary, max((int(ids.max()) for ids in fresh.values()), default=0))
    for name, mask in shown.items():
        ids = fresh.get(name, np.zeros_like(mask))
        new = np.where(ids > 0, ids + vocabulary.num_classes - 1, 0)
        write_mask(added_label_image(workspace, name), np.where(mask > 0, mask, new), bigger)
    if bigger.num_classes > vocabulary.num_classes:
        write_vocabulary(workspace.additions / VOCABULARY, bigger)
    return bigger.num_classes - vocabulary.num_classes


def _believed(context: Context, old: Map, grown: Map, predictions: Mapping[str, InstancePrediction]) -> Masks:
    """What was recognised in the images, where it was surely, without what stands elsewhere in the map."""
    minimum, folder = context.config.labelling.min_confidence, context.workspace.index
    masks = {name: confident_mask(found, minimum).astype(np.int32) for name, found in predictions.items()}
    known = np.zeros(len(grown.points), np.int32)
    if (folder / LABELS).is_file():
        known[: len(old.points)] = known_points(old, np.load(folder / LABELS, allow_pickle=False))
    kept = confirmed(grown, known, {name: _named(grown, name, mask) for name, mask in masks.items()})
    return {name: np.where(np.isin(mask, kept[name]), mask, 0) for name, mask in masks.items()}


def _named(scene: Map, name: str, mask: np.ndarray) -> np.ndarray:
    """int32 [O]: the class of each observation of an image."""
    image = scene.index_of(name)
    return labels_at(scene.keypoints[scene.observations(image)], scene.camera(image).size, mask)


def _known(grown: Map, first: int, shown: Masks, given: Masks) -> np.ndarray:
    """bool [P]: the first points, which the map had before, and of those behind them what images name for the most
    part. Of images in `given` a person has said what is an instance: what is none there is not made one."""
    seen, of_known = np.zeros(len(grown.points)), np.zeros(len(grown.points))
    for name, mask in {**shown, **given}.items():
        point = grown.point_index[grown.observations(grown.index_of(name))]
        seen += np.bincount(point, minlength=len(seen))
        of_known += np.bincount(point, (_named(grown, name, mask) > 0) | (name in given), len(seen))
    return (np.arange(len(seen)) < first) | (of_known >= 0.5 * np.maximum(seen, 1))


def _new_instances(context: Context, images: ImageFolder, grown: Map, known: np.ndarray, shown: Masks) -> Masks:
    """Of images that show any, the ids of new instances, from 1, where nothing else is shown (`shown`): facades, found
    as `lbr label` finds them, in what the added images and those beside them see. known: as of `_known`."""
    rows = {name: grown.index_of(name) for name in sorted(shown)}
    ids: Masks = {}
    count = 0
    for place in sorted({int(grown.place[row]) for row in rows.values()}):
        names = [name for name, row in rows.items() if grown.place[row] == place]
        part, points = part_of(grown, surroundings(grown, [rows[name] for name in names]))
        tasks, new = _tasks(context, images, part, known[points], names)
        found = _pixels(context, images, tasks, shown)
        for number in new:
            own = {name: pixels == number for name, pixels in found.items()}
            if max((float(inside.mean()) for inside in own.values()), default=0.0) > MIN_SHARE:
                count += 1
                for name, inside in own.items():
                    ids[name] = np.where(inside, count, ids.get(name, 0)).astype(np.int32)
    return ids


def _tasks(
    context: Context, images: ImageFolder, part: Map, known: np.ndarray, names: list[str]
) -> tuple[list[ImageTask], list[int]]:
    """What the labelling of these images needs, and which ids in it are of new instances; nothing where there is
    none."""
    config = context.config
    settings = config.instances if isinstance(config.instances, FacadeInstances) else FacadeInstances()
    try:
        scene = prepare(part, config.seed, settings.min_track)
        found = find_facades(scene, _paint(context, images, scene), settings)
    except DataError:  # too few points, or not one facade among them: then none is new
        return [], []
    new = new_pieces(found, scene.cloud, known)
    return [task_of(scene, found, part.index_of(name)) for name in names] if new else [], new


def _paint(context: Context, images: ImageFolder, scene: Scene) -> list[Painted]:
    """The pictures of all walls."""
    worker, items = PaintWall(images, scene.map, scene.ground), list(wall_items(scene, 0).items())
    made = parallel_map(worker, items, context.config.parallel, "walls")
    return [painted(item, arrays) for (_, item), arrays in made if not isinstance(arrays, Problem)]


def _pixels(context: Context, images: ImageFolder, tasks: list[ImageTask], shown: Masks) -> Masks:
    """Ids of the pixels of images that nothing else is shown in, in the size of their masks."""
    worker, found = InstancesOfImage(images), Masks()
    for (name, _), arrays in parallel_map(worker, [(t.name, t) for t in tasks], context.config.parallel, "new"):
        if not isinstance(arrays, Problem):
            height, width = shown[name].shape
            pixels = cv2.resize(arrays["ids"], (width, height), interpolation=cv2.INTER_NEAREST)
            found[name] = np.where(shown[name] > 0, 0, pixels)
    return found
