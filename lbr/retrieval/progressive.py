"""Progressive reference search: instance by instance, the db images most like the query; then a global search.

Each step is a cluster of db images that the localizer compares and verifies before it asks for the next (METHOD.md 7).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from pydantic import Field

from lbr.retrieval.index import InstanceIndex
from lbr.settings import ConfigPath, Settings
from lbr.types import Candidates, RecognisedInstances

LEAST_LABELLED = 0.1  # of a db image: where less of it is labelled, what it does not show says nothing
_named = partial(Candidates, (), ())  # a step whose images are not chosen yet


class ProgressiveCandidates(Settings):
    """Instances are tried by their scores, images of an instance by how alike they are to the query.

    Likeness: `feature` times the cosine of the global features, plus `overlap` times how much of the instances that
    fill the query fill the image too (so that an image of three of them leads one of one). The fallback goes by the
    global features alone, where there are any: what was recognised has been tried by then, and was no help.
    """

    name: Literal["progressive"] = "progressive"
    max_instances: int = Field(default=10, ge=0, description="published k_rec: 30")
    min_evidence: float = Field(default=0.0, ge=0, le=1, description="of the most; one with less is not tried")
    images_per_step: int = Field(default=4, ge=1, description="of one instance, verified together; published k_can: 5")
    max_images: int = Field(default=200, ge=1, description="of all instances")
    feature: float = Field(default=1.0, ge=0)
    overlap: float = Field(default=1.0, ge=0)
    look_alikes: bool = Field(
        default=True, description="behind an instance what it, or what stands beside it, may have been taken for"
    )
    min_cosine: float = Field(default=-1.0, ge=-1, le=1, description="published global_score_th: 0.95")
    fallback: Literal["global", "list", "none"] = "global"
    fallback_images: int = Field(default=50, ge=0, description="compared at most once no instance was verified")
    fallback_per_step: int | None = Field(default=None, ge=1, description="null: images_per_step; published: 1")
    path: ConfigPath | None = Field(default=None, description="pairs file of fallback=list: `query db` per line")


def progressive_search(
    index: InstanceIndex, query: RecognisedInstances, settings: ProgressiveCandidates, fallback: Sequence[str] = ()
) -> Iterator[Candidates]:
    """The steps of the search, one at a time; no db image comes twice, none below min_cosine at all.

    fallback: db images of a pairs file, for fallback=list. A query with neither instances nor a feature is compared
    with all images at once, as there is nothing to choose by.
    """
    if not len(query.instances) and not len(query.feature) and settings.fallback == "global":
        yield _with_images(_named("exhaustive"), index, np.arange(len(index)), np.zeros(len(index)))
        return
    likeness = image_likeness(index, query, settings)
    left = np.isfinite(likeness)
    budget = settings.max_images
    shown = instances_shown(index, query)
    for step in _in_turn(index, query, likeness, shown, settings):
        images = _likest(index, step.instance, np.where(left, likeness, -np.inf), settings)[:budget]
        if len(images):
            left[images] = False
            budget -= len(images)
            step = _with_images(step, index, images, likeness, shown)
            yield step
            yield from _doubting(index, step, images, np.where(left, likeness, -np.inf), shown, settings)
    if settings.fallback == "global":
        rest = np.flatnonzero(left)
        if _has_features(index, query):
            likeness = feature_likeness(index, query, settings)
        rest = rest[np.argsort(-likeness[rest], kind="stable")][: settings.fallback_images]
    elif settings.fallback == "list":
        where = {name: i for i, name in enumerate(index.names)}
        listed = [where[name] for name in dict.fromkeys(fallback) if name in where and left[where[name]]]
        rest = np.array(listed[: settings.fallback_images], np.int64)
    else:
        return
    size, others = settings.fallback_per_step or settings.images_per_step, np.where(left, likeness, -np.inf)
    for start in range(0, len(rest), size):
        images = rest[start : start + size]
        step = _with_images(_named(settings.fallback), index, images, likeness, shown)
        yield step
        yield from _doubting(index, step, images, others, shown, settings)


def _doubting(
    index: InstanceIndex, step: Candidates, images: np.ndarray, likeness: np.ndarray, shown: np.ndarray | None,
    settings: ProgressiveCandidates,
) -> Iterator[Candidates]:  # fmt: skip
    """What comes behind a step of `images`: what looks like anything they show, but its instance. A pose may be by a
    facade that has no twin, in a row of houses of which others have."""
    twins = [i for i in index.alike_to_shown(images) if i != step.twin] if settings.look_alikes else []
    if not twins:
        return
    others = np.setdiff1d(np.concatenate([_likest(index, twin, likeness, settings) for twin in twins]), images)
    others = others[np.argsort(-likeness[others], kind="stable")][: settings.images_per_step]
    named = _named(f"look-alikes of what stands there: {', '.join(map(str, twins))}", step.evidence, doubts=step.names)
    if len(others):
        yield _with_images(named, index, others, likeness, shown)


def _in_turn(
    index: InstanceIndex, query: RecognisedInstances, likeness: np.ndarray, shown: np.ndarray | None,
    settings: ProgressiveCandidates,
) -> Iterator[Candidates]:  # fmt: skip
    """Steps of the instances to try, without images yet. A look-alike has the evidence of its original: a network that
    takes the one for the other gives it none of its own."""
    first, had = slice(settings.max_instances), set[int]()
    least = settings.min_evidence * query.evidence.max(initial=0)
    for instance, evidence in zip(query.instances[first].tolist(), query.evidence[first].tolist(), strict=True):
        if evidence < least:
            continue
        had.add(instance)
        twin = index.alike_to(instance) if settings.look_alikes else None
        if twin is None or shown is None:
            yield _named(f"instance {instance}", evidence, instance)
            continue
        ours, theirs = (shown[_likest(index, i, likeness, settings)].max(initial=0) for i in (instance, twin))
        named = partial(_named, evidence=evidence, alike=index.ambiguous)
        yield named(f"instance {instance}", instance=instance, twin=twin, advantage=float(ours - theirs))
        if twin not in had:
            had.add(twin)
            source = f"look-alike {twin} of {instance}"
            yield named(source, instance=twin, look_alike=True, twin=instance, advantage=float(theirs - ours))


def _likest(index: InstanceIndex, instance: int, likeness: np.ndarray, settings: ProgressiveCandidates) -> np.ndarray:
    """int [K]: the images_per_step images of an instance that are most like the query, those of -inf left out."""
    images, _ = index.images_of(instance)
    images = images[np.isfinite(likeness[images])]
    return images[np.argsort(-likeness[images], kind="stable")][: settings.images_per_step]


def image_likeness(index: InstanceIndex, query: RecognisedInstances, settings: ProgressiveCandidates) -> np.ndarray:
    """float64 [I]: how alike each db image is to the query; -inf below min_cosine."""
    return feature_likeness(index, query, settings) + settings.overlap * instance_overlap(index, query)


def feature_likeness(index: InstanceIndex, query: RecognisedInstances, settings: ProgressiveCandidates) -> np.ndarray:
    """float64 [I]: the part of the likeness that is the global features', 0 without them; -inf below min_cosine."""
    if not _has_features(index, query):
        return np.zeros(len(index))
    cosines = (index.unit_features @ query.feature.astype(np.float32)).astype(np.float64)
    return np.where(cosines >= settings.min_cosine, settings.feature * cosines, -np.inf)


def _has_features(index: InstanceIndex, query: RecognisedInstances) -> bool:
    return bool(len(query.feature) and index.features.shape[1])


def instance_overlap(index: InstanceIndex, query: RecognisedInstances) -> np.ndarray:
    """float64 [I], 0..1: Bhattacharyya coefficient of the areas that instances fill in the query and in each image."""
    areas = _areas(index, query)
    total = areas.sum()
    if total <= 0:
        return np.zeros(len(index))
    shared = index.areas.sqrt() @ np.sqrt(areas)
    return shared / np.sqrt(total * np.maximum(index.labelled, 1e-9))


def instances_shown(index: InstanceIndex, query: RecognisedInstances) -> np.ndarray | None:
    """float64 [I], 0..1: of the area of the query's instances, how much is of such as each image shows; None where none
    was recognised.

    One that looks like what an image shows counts: what it may have been taken for says nothing of where this is, but
    what stands beside it does.
    """
    areas = _areas(index, query)
    return np.asarray(index.shown @ areas) / areas.sum() if areas.any() else None


def _areas(index: InstanceIndex, query: RecognisedInstances) -> np.ndarray:
    """float64 [C]: the share of the query that each of the index's instances fills."""
    known = query.instances < index.num_classes
    areas = np.zeros(index.num_classes)
    areas[query.instances[known]] = query.areas[known]
    return areas


def _with_images(
    step: Candidates, index: InstanceIndex, images: np.ndarray, likeness: np.ndarray, shown: np.ndarray | None = None
) -> Candidates:
    names, scores = tuple(index.names[i] for i in images), tuple(float(s) for s in likeness[images])
    if shown is None:
        return replace(step, names=names, scores=scores)
    told = np.where(index.labelled[images] >= LEAST_LABELLED, shown[images], np.nan)
    return replace(step, names=names, scores=scores, shown=tuple(told.tolist()))
