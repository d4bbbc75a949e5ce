"""The stage `extract`: local features of all images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from lbr.errors import DataError
from lbr.io.features_file import features_from_arrays, write_features
from lbr.io.images import ImageFolder
from lbr.io.text_lists import Problem
from lbr.pipeline.stage import Context, Report, identities, make_of_items, reused, weights_digest
from lbr.pipeline.vocabulary import load_vocabulary
from lbr.pipeline.workers import ExtractImage, MaskSource
from lbr.pipeline.workspace import Making, Recipe, digest_masks, digest_photographs
from lbr.types import LocalFeatures

Favoured = tuple[MaskSource | None, dict, dict[str, str]]  # masks that favour keypoints, configuration, inputs


def extract(context: Context) -> list[Report]:
    """Local features of the db images and of the queries."""
    workspace, dataset = context.workspace, context.dataset
    query_names = [query.name for query in dataset.queries]
    reports = [_extract(context, workspace.db_features, dataset.db_names)]
    return reports + ([_extract(context, workspace.query_features, query_names)] if query_names else [])


def _extract(context: Context, output: Path, names: Sequence[str]) -> Report:
    return extract_images(context, output, context.dataset.images, names, _favoured(context, output, names))


def extract_images(
    context: Context, output: Path, images: ImageFolder, names: Sequence[str], favoured: Favoured
) -> Report:
    """A feature file of the photographs `names`."""
    settings = context.config.extractor
    masks, config, inputs = favoured
    inputs |= {"images": digest_photographs(images, names), **weights_digest(settings)}
    recipe = Recipe("extract", {**context.dump("extractor"), **config}, inputs)
    if context.reusable(output, recipe):
        return reused(output)

    def pack(work: Making) -> str:
        found, keypoints = sorted(work.parts.keys()), 0
        if not found:
            raise DataError(f"{images.root}: not one of {len(names)} images could be read (first: {work.problems[0]})")
        without = [name for name in found if masks and not masks.has(name)]
        work.problems += [Problem(name, "no mask: its keypoints were chosen by score alone") for name in without]

        def items() -> Iterator[tuple[str, LocalFeatures]]:
            nonlocal keypoints
            for name in found:
                features = features_from_arrays(work.parts.get(name))
                keypoints += len(features)
                yield name, features

        write_features(output, items(), json.dumps(context.dump("extractor")["extractor"], sort_keys=True))
        return f"{len(found)} images, {keypoints:,} keypoints" + (", those of instances first" if masks else "")

    worker = ExtractImage(images, settings, masks)
    return make_of_items(context, output, recipe, {name: name for name in names}, worker, pack)


def _favoured(context: Context, output: Path, names: Sequence[str]) -> Favoured:
    """What favours the keypoints of instances, where that is asked for: masks, configuration, inputs."""
    if not context.favours_instances:
        return None, {}, {}
    labels, labelling, workspace = context.labels, context.config.labelling, context.workspace
    of_db = output == workspace.db_features
    if of_db and labels.masks is None:
        raise DataError("labelling.favour_instances needs label images of the db images: set dataset.labels")
    vocabulary = load_vocabulary(context)
    if of_db and labels.masks:
        source = MaskSource(labels.masks, None, vocabulary, labelling.min_confidence)
        inputs = {"labels": digest_masks(labels.masks, names)}
    else:
        source = MaskSource(None, workspace.query_predictions, vocabulary, labelling.min_confidence)
        inputs = identities(workspace.query_predictions)
    return source, context.dump("labelling"), inputs
