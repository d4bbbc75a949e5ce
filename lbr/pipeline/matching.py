"""The stages `pairs` and `match`: which db images to match with each other, and their matches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from lbr.errors import ConfigError, DataError
from lbr.io.colmap import read_model
from lbr.io.colmap_arrays import model_arrays
from lbr.io.features_file import FeatureFile
from lbr.io.matches_file import matches_from_arrays, write_matches
from lbr.io.text_lists import Problem, read_pairs, write_pairs
from lbr.mapping.map import covisibility
from lbr.mapping.triangulation import TriangulationSettings
from lbr.matching import MatcherConfig, guidance
from lbr.parallel import ParallelSettings, parallel_map
from lbr.pipeline.stage import Context, Report, identities, made, make_of_items, reused, weights_digest
from lbr.pipeline.workers import Arrays, MatchImage, PosedCamera, group_pairs
from lbr.pipeline.workspace import Making, Recipe, digest_files, digest_images, making
from lbr.retrieval.pairs import (
    CovisibilityPairs,
    ListedPairs,
    Pair,
    PosePairs,
    SimilarPairs,
    pairs_exhaustive,
    pairs_from_covisibility,
    pairs_from_likeness,
    pairs_from_poses,
)  # fmt: skip
from lbr.retrieval.vlad import global_descriptors, visual_words
from lbr.types import Matches

WORD_IMAGES = 400  # images whose descriptors choose the visual words


def choose_pairs(context: Context) -> list[Report]:
    """Which db images to match with each other."""
    dataset, output, settings = context.dataset, context.workspace.pairs, context.config.pairs
    inputs = {"images": digest_images(dataset.image_root, dataset.db_names)}
    if isinstance(settings, ListedPairs):
        inputs["list"] = digest_files([settings.path]) if settings.path.is_file() else "missing"
    elif isinstance(settings, SimilarPairs):
        inputs |= identities(context.workspace.db_features)
    elif dataset.model:
        inputs["model"] = digest_files(dataset.model_files)
    recipe = Recipe("pairs", context.dump("pairs", *(["seed"] if settings.name == "similar" else [])), inputs)
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
        # COLMAP has one entry for both directions, and none for an image with itself.
        return list(dict.fromkeys((min(pair), max(pair)) for pair in kept if pair[0] != pair[1]))
    if isinstance(settings, PosePairs) and dataset.poses is not None:
        return pairs_from_poses(dataset.poses, settings)
    if isinstance(settings, CovisibilityPairs) and dataset.model is not None:
        arrays = model_arrays(read_model(dataset.model))
        if not (arrays.point_index >= 0).any():
            raise DataError(f"{dataset.model}: has no points, so no covisibility; use pairs.name=poses")
        shared = covisibility(arrays.offsets, arrays.point_index, len(arrays.points))
        return pairs_from_covisibility(arrays.names, shared, settings)
    if isinstance(settings, PosePairs | CovisibilityPairs):
        raise ConfigError(
            f"pairs.name={settings.name} needs dataset.model; without one use pairs.name=exhaustive, or similar"
        )
    if isinstance(settings, SimilarPairs):
        return _alike(context, settings)
    return pairs_exhaustive(dataset.db_names)


def _alike(context: Context, settings: SimilarPairs) -> list[Pair]:
    with FeatureFile(context.workspace.db_features) as features:
        names = [name for name in context.dataset.db_names if name in features]
        pairs = pairs_alike(features, names, settings, context.config.seed)
        if not pairs:
            raise DataError(f"{features.path}: no keypoints in {len(names)} images, so no two are alike")
        return pairs


def pairs_alike(features: FeatureFile, names: Sequence[str], settings: SimilarPairs, seed: int) -> list[Pair]:
    """Those of the images that look alike by their features, or whose names follow each other; none without keypoints.

    Raises DataError for features that are not to be had.
    """
    sample = [features.read(name).descriptors for name in names[:: -(-len(names) // WORD_IMAGES) or 1]]
    if not any(map(len, sample)):
        return []
    words = visual_words(sample, settings.num_words, seed)
    local = (features.read(name).descriptors for name in tqdm(names, "pairs", unit=""))
    return pairs_from_likeness(names, global_descriptors(local, words), settings)


def match(context: Context) -> list[Report]:
    """Matches of the pairs, before any geometry."""
    workspace, output, settings = context.workspace, context.workspace.matches, context.config.matcher
    if settings.name == "instancewise":
        raise ConfigError(
            "matcher.name=instancewise: db images are matched without labels, before there is a map; "
            "set localization.matcher.name for the matching of queries"
        )
    views, how = _views(context)
    inputs = {**identities(workspace.db_features, workspace.pairs), **weights_digest(settings)}
    if views:
        inputs["model"] = digest_files(context.dataset.model_files)
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
        return f"{total:,} matches of {len(pairs):,} pairs{how}"

    worker = MatchImage((workspace.db_features,), settings, views)
    return [make_of_items(context, output, recipe, group_pairs(pairs), worker, pack)]


def matches_of(
    features: tuple[Path, ...], matcher: MatcherConfig, pairs: list[Pair], parallel: ParallelSettings, label: str,
    views: Mapping[str, PosedCamera] | None = None,
) -> Iterator[tuple[Pair, Matches]]:  # fmt: skip
    """Matches of pairs, made now and kept in no file. Raises DataError for features that are not to be had."""
    worker = MatchImage(features, matcher, views or {})
    worker.open()
    for (first, _), arrays in parallel_map(worker, list(group_pairs(pairs).items()), parallel, label):
        if isinstance(arrays, Problem):
            raise DataError(str(arrays))
        for second, found in matches_from_arrays(arrays).items():
            yield (first, second), found


def _views(context: Context) -> tuple[dict[str, PosedCamera], str]:
    """Cameras and poses by which db images are matched, none where they are not; and what is to be said of it."""
    dataset = context.dataset
    if guidance(context.config.matcher) is None:
        return {}, ""
    if dataset.poses is None or not isinstance(context.config.reconstruction, TriangulationSettings):
        return {}, ", not guided, as there are no poses yet"
    return {name: (dataset.cameras[name], pose) for name, pose in dataset.poses.items()}, ", along epipolar lines"
