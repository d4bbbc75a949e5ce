"""The stage `extract`: local features of all images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lbr.errors import DataError
from lbr.features import WEIGHTS_DIGEST
from lbr.features.labelling import POOL
from lbr.io.features_file import features_from_arrays, write_features
from lbr.io.images import ImageFolder
from lbr.io.labels import vocabulary_digest
from lbr.io.text_lists import Problem
from lbr.mapping.map import Map
from lbr.pipeline.stage import Context, Report, make_of_items, reused, weights_digest
from lbr.pipeline.vocabulary import load_own_vocabulary
from lbr.pipeline.workers import ExtractImage, MaskSource
from lbr.pipeline.workspace import Making, Recipe, digest_masks, digest_photographs
from lbr.types import LocalFeatures

Favoured = tuple[MaskSource | None, dict, dict[str, str]]  # masks that favour keypoints, configuration, inputs
OF_EACH_QUERY = {"max_keypoints", "device"}  # how many keypoints a query has, and what found them, is its own affair
NOTHING_FAVOURED: Favoured = (None, {}, {})


def extract(context: Context) -> list[Report]:
    """Local features of the db images and of the queries."""
    workspace, dataset = context.workspace, context.dataset
    query_names = [query.name for query in dataset.queries]
    favoured = _favoured(context, dataset.db_names)
    reports = [extract_images(context, workspace.db_features, dataset.images, dataset.db_names, favoured)]
    if not query_names:
        return reports
    pool = POOL if context.favours_instances else 1
    return [*reports, extract_images(context, workspace.query_features, dataset.images, query_names, pool=pool)]


def check_feature(context: Context, scene: Map) -> None:
    """Raises DataError when the configuration has another local feature than a map was made with."""
    mine, of_map = feature_record(context), dict(scene.extractor)
    # a map of before these digests is told by where its weights lie
    told_by = "weights" if WEIGHTS_DIGEST in mine.keys() & of_map.keys() else WEIGHTS_DIGEST
    decide = (mine.keys() | of_map.keys()) - OF_EACH_QUERY - {told_by}
    differ = sorted(key for key in decide if mine.get(key) != of_map.get(key))
    if of_map and differ:
        key = differ[0]
        which = (
            f"{key}: {of_map.get(key)}, not {mine.get(key)}" if key != WEIGHTS_DIGEST else "weights: they hold others"
        )
        raise DataError(
            f"{context.workspace.map}: made with another local feature than the configuration has (extractor.{which})"
        )


def feature_record(context: Context) -> dict[str, Any]:
    """What a feature file, and a map of it, keep of the local feature: its settings, and the digest of its weights."""
    settings, digest = context.dump("extractor")["extractor"], weights_digest(context.config.extractor)
    return settings | ({WEIGHTS_DIGEST: digest["weights"]} if digest else {})


def extract_images(
    context: Context, output: Path, images: ImageFolder, names: Sequence[str], favoured: Favoured = NOTHING_FAVOURED,
    pool: int = 1,
) -> Report:  # fmt: skip
    """A feature file of the photographs `names`. pool: so many times the keypoints, to choose from later."""
    settings = context.config.extractor
    masks, config, inputs = favoured
    if pool > 1:
        config = {"pool": pool}
    inputs = inputs | {"images": digest_photographs(images, names), **weights_digest(settings)}
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

        write_features(output, items(), json.dumps(feature_record(context), sort_keys=True))
        told = ", those of instances first" if masks else ", to choose from when localizing" if pool > 1 else ""
        return f"{len(found)} images, {keypoints:,} keypoints{told}"

    worker = ExtractImage(images, settings, masks, POOL if masks else pool)
    return make_of_items(context, output, recipe, {name: name for name in names}, worker, pack)


def _favoured(context: Context, names: Sequence[str]) -> Favoured:
    """What favours the keypoints of instances in db images: masks, configuration, inputs."""
    masks = context.dataset.labels.masks
    if masks is None or not context.favours_in_db:
        return NOTHING_FAVOURED
    vocabulary = load_own_vocabulary(context)
    source = MaskSource(masks, None, vocabulary, context.config.labelling.min_confidence)
    inputs = {"labels": digest_masks(masks, names), "vocabulary": vocabulary_digest(vocabulary)}
    return source, context.dump("labelling"), inputs
