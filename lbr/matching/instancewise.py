"""Instance-wise matching: features of one instance among themselves first, all that is left together afterwards.

The second pass is why a wrong label costs little: what found no partner inside its instance, or has no label, is
matched as if there were none (METHOD.md 9).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from lbr.matching.descriptors import with_float32
from lbr.matching.lightglue import LightGlueMatcher, LightGlueSettings
from lbr.matching.nearest import BLOCK_ROWS, Nearest, NearestSettings, match_descriptors
from lbr.settings import Settings
from lbr.types import LocalFeatures, Matches

APART = np.float32(2.0)  # squared, more than cosines differ: labels decide before descriptors do


class InstanceWiseSettings(Settings):
    """within: how features of one instance are matched; across: how what is left is. ratio and distance as there.

    engine: a learned matcher that does both instead, called once for each shared instance and once for the rest.
    rename_matches: what `InstanceWise.match_doubtful` takes to name an instance anew; null: nothing does, nor where
    there is an engine.
    """

    name: Literal["instancewise"] = "instancewise"
    within: NearestSettings = NearestSettings(ratio=0.9)
    across: NearestSettings = NearestSettings(ratio=0.8)
    engine: LightGlueSettings | None = None
    min_features: int = Field(default=1, ge=1, description="of an instance in each image, for it to be matched inside")
    rename_matches: int | None = Field(default=4, ge=1)


class InstanceWise:
    """Matcher by labels and nearest neighbours. Features without labels are matched by `across` alone."""

    def __init__(self, settings: InstanceWiseSettings) -> None:
        self.settings = settings
        self._engine = LightGlueMatcher(settings.engine) if settings.engine else None
        self._across = Nearest(settings.across)

    def match(self, a: LocalFeatures, b: LocalFeatures) -> Matches:
        """Matches of a with b, those of shared instances first; scores are cosines."""
        if self._engine is not None:
            return match_by_instance(a, b, self._engine.match, self.settings.min_features)
        a, b = (with_float32(one) for one in (a, b))
        shared = shared_instances(a, b, self.settings.min_features)
        inside = _match_inside(a, b, shared, self.settings.within)
        return with_the_rest(a, b, inside, self._across.match)

    def match_doubtful(self, a: LocalFeatures, b: LocalFeatures) -> Matches:
        """As `match`, where nothing but its labels says that b should show the instances of a: those that it does not
        show are named by what they match (`renamed`), and matched inside; what is left stays as it was."""
        a, b = (with_float32(one) for one in (a, b))
        found, least = self.match(a, b), self.settings.rename_matches
        named = None if least is None or self._engine is not None else renamed(a, b, found, least)
        if named is None or named.labels is None:
            return found
        names = np.unique(named.labels[named.labels != a.labels])
        shared = np.intersect1d(names, shared_instances(named, b, self.settings.min_features))
        inside = _match_inside(named, b, shared, self.settings.within)
        free = ~np.any([np.isin(found.indices[:, side], inside.indices[:, side]) for side in (0, 1)], axis=0)
        return _joined(inside, Matches(found.indices[free], found.scores[free]))


def renamed(a: LocalFeatures, b: LocalFeatures, found: Matches, least: int) -> LocalFeatures | None:
    """a with other labels: each of its instances that b does not show is the one of b that most of its matches are
    with, if they are `least` or more and no less than half of those with any instance. None where that changes none.
    """
    if a.labels is None or b.labels is None:
        return None
    ours, theirs = a.labels[found.indices[:, 0]], b.labels[found.indices[:, 1]]
    strange = (ours > 0) & (theirs > 0) & ~np.isin(ours, b.labels)
    names = np.arange(a.labels.max(initial=0) + 1)
    for instance in np.unique(ours[strange]):
        votes = np.bincount(theirs[strange & (ours == instance)])
        if votes.max() >= max(least, votes.sum() / 2):
            names[instance] = votes.argmax()
    labels = names[a.labels].astype(a.labels.dtype)
    return None if np.array_equal(labels, a.labels) else replace(a, labels=labels)


def match_by_instance(
    a: LocalFeatures, b: LocalFeatures, match: Callable[[LocalFeatures, LocalFeatures], Matches], min_features: int = 1
) -> Matches:
    """As `InstanceWise`, for any matcher of features: called once for each shared instance, once for the rest."""
    parts = [Matches.empty()]
    for instance in shared_instances(a, b, min_features):
        rows, columns = np.flatnonzero(a.labels == instance), np.flatnonzero(b.labels == instance)
        found = match(a.select(rows), b.select(columns))
        indices = np.stack([rows[found.indices[:, 0]], columns[found.indices[:, 1]]], 1).astype(np.int32)
        parts.append(Matches(indices, found.scores))
    return with_the_rest(a, b, _joined(*parts), match)


def shared_instances(a: LocalFeatures, b: LocalFeatures, min_features: int = 1) -> np.ndarray:
    """int [S]: instances, background apart, that at least `min_features` features of each image belong to."""
    if a.labels is None or b.labels is None:
        return np.zeros(0, np.int32)
    in_a, num_a = np.unique(a.labels, return_counts=True)
    in_b, num_b = np.unique(b.labels, return_counts=True)
    enough = np.intersect1d(in_a[num_a >= min_features], in_b[num_b >= min_features])
    return enough[enough > 0]


def with_the_rest(
    a: LocalFeatures, b: LocalFeatures, inside: Matches, match: Callable[[LocalFeatures, LocalFeatures], Matches]
) -> Matches:
    """`inside`, and the matches among all features that it leaves, whatever their labels."""
    free_a, free_b = np.ones(len(a), bool), np.ones(len(b), bool)
    free_a[inside.indices[:, 0]] = False
    free_b[inside.indices[:, 1]] = False
    rows, columns = np.flatnonzero(free_a), np.flatnonzero(free_b)
    rest = match(a.select(rows), b.select(columns))
    indices = np.stack([rows[rest.indices[:, 0]], columns[rest.indices[:, 1]]], 1).astype(np.int32)
    return _joined(inside, Matches(indices, rest.scores))


def _match_inside(a: LocalFeatures, b: LocalFeatures, shared: np.ndarray, settings: NearestSettings) -> Matches:
    """Many instances in one product: a label becomes a coordinate, in which features of other labels are apart.

    The cosine of two features of one label grows by APART**2, that of others does not, so each feature's neighbours are
    those of its label as long as there are any. Instances of few features go together, those of many alone: what is
    apart is multiplied in vain.
    """
    parts = [Matches.empty()]
    for group in _groups(a, shared):
        rows, coded_a = _coded(a, group)
        columns, coded_b = _coded(b, group)
        found = match_descriptors(coded_a, coded_b, settings, offset=float(APART**2))
        indices = np.stack([rows[found.indices[:, 0]], columns[found.indices[:, 1]]], 1).astype(np.int32)
        parts.append(Matches(indices, found.scores))
    return _joined(*parts)


def _groups(features: LocalFeatures, instances: np.ndarray) -> list[np.ndarray]:
    """The sorted instances, each group of about as many features as one block of a product has rows."""
    if features.labels is None or not len(instances):
        return []
    counts = np.bincount(features.labels[features.labels > 0], minlength=instances.max() + 1)[instances]
    return np.split(instances, np.flatnonzero(np.diff(np.cumsum(counts) // BLOCK_ROWS)) + 1)


def _coded(features: LocalFeatures, instances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The features of these instances, int [R], and their descriptors with the labels' coordinates [R, D + S]."""
    labels = np.zeros(len(features), np.int32) if features.labels is None else features.labels
    rows = np.flatnonzero(np.isin(labels, instances))
    codes = APART * (labels[rows, None] == instances)
    return rows, np.hstack([features.descriptors[rows], codes])


def _joined(*parts: Matches) -> Matches:
    return Matches(np.concatenate([p.indices for p in parts]), np.concatenate([p.scores for p in parts]))
