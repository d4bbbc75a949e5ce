"""The stage `extract`: local features of all images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from lbr.errors import DataError
from lbr.io.features_file import features_from_arrays, write_features
from lbr.pipeline.stage import Context, Report, make_of_items, reused, weights_digest
from lbr.pipeline.workers import ExtractImage
from lbr.pipeline.workspace import Making, Recipe, digest_images
from lbr.types import LocalFeatures


def extract(context: Context) -> list[Report]:
    """Local features of the db images and of the queries."""
    workspace, dataset = context.workspace, context.dataset
    query_names = [query.name for query in dataset.queries]
    reports = [_extract(context, workspace.db_features, dataset.db_names)]
    return reports + ([_extract(context, workspace.query_features, query_names)] if query_names else [])


def _extract(context: Context, output: Path, names: Sequence[str]) -> Report:
    root, settings = context.dataset.image_root, context.config.extractor
    config = context.dump("extractor")
    recipe = Recipe("extract", config, {"images": digest_images(root, names), **weights_digest(settings)})
    if context.reusable(output, recipe):
        return reused(output)

    def pack(work: Making) -> str:
        found, keypoints = sorted(work.parts.keys()), 0
        if not found:
            raise DataError(f"{root}: not one of {len(names)} images could be read (first: {work.problems[0]})")

        def items() -> Iterator[tuple[str, LocalFeatures]]:
            nonlocal keypoints
            for name in found:
                features = features_from_arrays(work.parts.get(name))
                keypoints += len(features)
                yield name, features

        write_features(output, items(), json.dumps(config["extractor"], sort_keys=True))
        return f"{len(found)} images, {keypoints:,} keypoints"

    return make_of_items(context, output, recipe, {name: name for name in names}, ExtractImage(root, settings), pack)
