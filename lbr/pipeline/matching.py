"""The stages `pairs` and `match`: which db images to match with each other, and their matches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lbr.errors import ConfigError, DataError
from lbr.io.colmap import model_arrays, read_model
from lbr.io.features_file import FeatureFile
from lbr.io.matches_file import write_matches
from lbr.io.text_lists import Problem, read_pairs, write_pairs
from lbr.mapping.map import covisibility
from lbr.pipeline.stage import Context, Report, identities, made, make_of_items, reused, weights_digest
from lbr.pipeline.workers import Arrays, MatchImage, group_pairs
from lbr.pipeline.workspace import Making, Recipe, digest_files, digest_images, making
from lbr.retrieval.pairs import (
    CovisibilityPairs,
    ListedPairs,
    Pair,
    PosePairs,
    pairs_exhaustive,
    pairs_from_covisibility,
    pairs_from_poses,
)  # fmt: skip


def choose_pairs(context: Context) -> list[Report]:
    """Which db images to match with each other."""
    dataset, output, settings = context.dataset, context.workspace.pairs, context.config.pairs
    inputs = {"images": digest_images(dataset.image_root, dataset.db_names)}
    if isinstance(settings, ListedPairs):
        inputs["list"] = digest_files([settings.path]) if settings.path.is_file() else "missing"
    elif dataset.model:
        inputs["model"] = digest_files(dataset.model_files)
    recipe = Recipe("pairs", context.dump("pairs"), inputs)
    if context.reusable(output, recipe):
        return [reused(output)]
    with making(output, recipe) as work:
        pairs = _choose(context, work)
        if not pairs:
            raise DataError(f"pairs.name={settings.name} gives no pair of {len(dataset.db_names)} db images")
        write_pairs(output, pairs)
        work.facts["summary"] = f"{len(pairs):,} pairs of {len(dataset.db_names)} images"
    return [made(output)]


def _choose(context: Context, work: Making) -> list[Pair]:
    settings, dataset = context.config.pairs, context.dataset
    if isinstance(settings, ListedPairs):
        known = set(dataset.db_names)
        listed = read_pairs(settings.path)
        kept = [pair for pair in listed if known.issuperset(pair)]
        if len(kept) < len(listed):
            work.problems.append(Problem(str(settings.path), f"{len(listed) - len(kept)} pairs name unknown db images"))
        return kept
    if isinstance(settings, PosePairs) and dataset.poses is not None:
        return pairs_from_poses(dataset.poses, settings)
    if isinstance(settings, CovisibilityPairs) and dataset.model is not None:
        arrays = model_arrays(read_model(dataset.model))
        seen = arrays.point_index >= 0
        if not seen.any():
            raise DataError(f"{dataset.model}: has no points, so no covisibility; use pairs.name=poses")
        offsets = np.concatenate([[0], np.cumsum(seen)])[arrays.offsets]
        shared = covisibility(offsets, arrays.point_index[seen], len(arrays.points))
        return pairs_from_covisibility(arrays.names, shared, settings)
    if isinstance(settings, PosePairs | CovisibilityPairs):
        raise ConfigError(f"pairs.name={settings.name} needs dataset.model; without one use pairs.name=exhaustive")
    return pairs_exhaustive(dataset.db_names)


def match(context: Context) -> list[Report]:
    """Matches of the pairs, before any geometry."""
    workspace, output, settings = context.workspace, context.workspace.matches, context.config.matcher
    if settings.name == "instancewise":
        raise ConfigError(
            "matcher.name=instancewise: db images are matched without labels, before there is a map; "
            "set localization.matcher.name for the matching of queries"
        )
    inputs = {**identities(workspace.db_features, workspace.pairs), **weights_digest(settings)}
    recipe = Recipe("match", context.dump("matcher"), inputs)
    if context.reusable(output, recipe):
        return [reused(output)]
    with FeatureFile(workspace.db_features) as features:
        pairs = [pair for pair in read_pairs(workspace.pairs) if all(name in features for name in pair)]

    def pack(work: Making) -> str:
        total = 0

        def items() -> Iterator[tuple[str, Arrays]]:
            nonlocal total
            for first in sorted(work.parts.keys()):
                arrays = work.parts.get(first)
                total += len(arrays["indices"])
                yield first, arrays
            if not total:  # here, so that no file is left
                raise DataError(
                    f"{workspace.pairs}: not one match in {len(pairs)} pairs; look at the pairs and the matcher"
                )

        write_matches(output, items())
        return f"{total:,} matches of {len(pairs):,} pairs"

    worker = MatchImage((workspace.db_features,), settings)
    return [make_of_items(context, output, recipe, group_pairs(pairs), worker, pack)]
