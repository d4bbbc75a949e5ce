"""A map with photographs more: what they match, their poses adjusted, the points that they see and those they make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace

import numpy as np

from lbr.features.sift_daynight import SiftDayNightSettings, of_sift
from lbr.mapping.adjustment import adjusted_poses
from lbr.mapping.changes import NewObservations, points_of_keypoints, with_images
from lbr.mapping.growth import View, grow
from lbr.mapping.map import Map
from lbr.mapping.triangulation import TriangulationSettings, verify_pairs
from lbr.matching import guidance
from lbr.pipeline.extension import Extension, Fresh
from lbr.pipeline.matching import matches_of
from lbr.pipeline.workers import PosedCamera
from lbr.retrieval.pairs import Pair, PosePairs, pairs_from_poses
from lbr.types import LocalFeatures, Matches

SETTLE = 1.5  # times as many images as when all were adjusted last: all are again; between, those that are new
MIN_SHARE = 0.25  # of an image's matches, in pairs that pass at all: by chance a tenth agree with a wrong pose


@dataclass
class Growing:
    """A map and what was added to it so far. Photographs of another round may move when more of them tell where they
    are, but for those of `fixed`, whose poses were given; what the map had before stays as it was.

    base: the map before; scene: with the images that were added, from the verified matches of all of them. posing: of
    the matches those that adjust poses: found without the poses, along whose epipolar lines all of `matches` lie, and
    of SIFT alone where features are of two kinds, as structure from motion has it.
    settled: how many images there were when all that may move were adjusted together last.
    """

    work: Extension
    base: Map
    fixed: frozenset[str]
    images: Fresh = field(default_factory=dict)
    matches: dict[Pair, np.ndarray] = field(default_factory=dict)
    posing: dict[Pair, np.ndarray] = field(default_factory=dict)
    scene: Map = field(init=False)
    settled: int = 0

    def __post_init__(self) -> None:
        self.scene = self.base

    def add(self, fresh: Fresh) -> set[str]:
        """Add the photographs that their matches agree with; these."""
        self._match(fresh)
        if not self.matches:
            return set()
        features = self._features()
        images = {name: image for name, image in {**self.images, **fresh}.items() if name in features}
        self._update(images, features, images if len(images) >= SETTLE * self.settled else fresh)
        return fresh.keys() & self.images.keys()

    def finish(self) -> None:
        """What came since all were adjusted together last is adjusted with all."""
        if len(self.images) > self.settled:
            self._update(self.images, self._features(), self.images)

    def _update(self, images: Fresh, features: Mapping[str, LocalFeatures], moving: Fresh) -> None:
        """The scene with these images, those of `moving` adjusted as far as they may move."""
        self.images = self._grow(self._adjusted(images, features, moving.keys() - self.fixed), features)
        if moving is images:
            self.settled = len(self.images)

    def _features(self) -> dict[str, LocalFeatures]:
        """Of all images that have matches."""
        return dict(self.work.read(sorted({name for pair in (*self.matches, *self.posing) for name in pair})))

    def _posed(self, name: str, images: Fresh) -> PosedCamera:
        if name in images:
            return images[name].camera, images[name].pose
        image = self.scene.index_of(name)
        return self.scene.camera(image), self.scene.pose(image)

    def _adjusted(self, images: Fresh, features: Mapping[str, LocalFeatures], free: Set[str]) -> Fresh:
        """The images, those of `free` adjusted to what they match, all else as it is."""
        if not free:
            return images
        matches = {pair: found for pair, found in self.posing.items() if not free.isdisjoint(pair)}
        posed = {name: self._posed(name, images) for name in sorted({name for pair in matches for name in pair})}
        keypoints = {name: features[name].keypoints for name in posed}
        free = free & posed.keys()
        poses = adjusted_poses(posed, keypoints, matches, free, _limits(self.work), self.work.context.config.seed)
        return images | {name: replace(images[name], pose=pose) for name, pose in poses.items()}

    def _grow(self, images: Fresh, features: Mapping[str, LocalFeatures]) -> Fresh:
        """The scene: the base with these images, their observations and points; which of them see any."""
        views = [self._view(name, images, found) for name, found in features.items()]
        growth = grow(dict(zip(features, views, strict=True)), self.base.points, self.matches, _limits(self.work))
        listed = np.array(list(features))[growth.views]
        kept = {name: images[name] for name in sorted(images.keys() & set(listed.tolist()))}
        counts = np.cumsum([0, *(len(found) for found in features.values())])
        rows = counts[growth.views] + growth.keypoints
        keypoints, descriptors = (
            np.concatenate([getattr(found, array) for found in features.values()])[rows]
            for array in ("keypoints", "descriptors")
        )
        seen = NewObservations(listed, keypoints, descriptors, growth.point_index)
        self.scene = with_images(self.base, kept, growth.points, seen) if kept else self.base
        self._forget(images.keys() - kept.keys())
        return kept

    def _forget(self, lost: Set[str]) -> None:
        """Images that see no point of the map have no place in it: nothing is to be matched with them any more."""
        self.matches = {pair: found for pair, found in self.matches.items() if lost.isdisjoint(pair)}
        self.posing = {pair: found for pair, found in self.posing.items() if lost.isdisjoint(pair)}

    def _view(self, name: str, images: Fresh, features: LocalFeatures) -> View:
        new = name in images
        points = np.full(len(features), -1, np.int64) if new else points_of_keypoints(self.base, name, features)
        return View(*self._posed(name, images), features.keypoints, points, new)

    def _match(self, fresh: Fresh) -> None:
        """Matches that agree with the poses, without those of new images whose pose is not believed.

        Matches that tell whether poses are right know nothing of them; those of images that are believed are then
        guided by them, where those of the map are (`matcher.guided`).
        """
        config, limits, pairs = self.work.context.config, _limits(self.work), _pairs(self.work, self.scene, fresh)
        posed = {name: self._posed(name, fresh) for name in sorted({name for pair in pairs for name in pair})}
        features = dict(self.work.read(posed))
        keypoints = {name: found.keypoints for name, found in features.items()}
        cameras, poses = {n: camera for n, (camera, _) in posed.items()}, {n: pose for n, (_, pose) in posed.items()}
        sizes: dict[Pair, int] = {}

        def plain() -> Iterator[tuple[Pair, Matches]]:
            for pair, found in matches_of(self.work.features, config.matcher, pairs, config.parallel, "match"):
                sizes[pair] = len(found)
                yield pair, found

        verified = _believed(verify_pairs(cameras, poses, keypoints, plain(), limits), sizes, set(fresh))
        self.posing |= _of_sift(verified, features) if isinstance(config.extractor, SiftDayNightSettings) else verified
        if guidance(config.matcher) is not None:
            believed = {name for pair in verified for name in pair}
            again = [pair for pair in pairs if believed.issuperset(fresh.keys() & set(pair))]
            guided = matches_of(self.work.features, config.matcher, again, config.parallel, "match again", posed)
            verified = verify_pairs(cameras, poses, keypoints, guided, limits)
        self.matches |= verified


def _pairs(work: Extension, scene: Map, fresh: Fresh) -> list[Pair]:
    """Each new image with those near it, new ones too; of its own place, as poses of two places do not compare."""
    near = work.context.config.pairs
    settings = near if isinstance(near, PosePairs) else PosePairs()
    pairs: list[Pair] = []
    for place in sorted({image.place for image in fresh.values()}):
        poses = {scene.names[i]: scene.pose(i) for i in scene.images_of(place)}
        poses |= {name: image.pose for name, image in fresh.items() if image.place == place}
        pairs += [pair for pair in pairs_from_poses(poses, settings) if not fresh.keys().isdisjoint(pair)]
    return pairs


def _limits(work: Extension) -> TriangulationSettings:
    settings = work.context.config.reconstruction
    return settings if isinstance(settings, TriangulationSettings) else TriangulationSettings()


def _of_sift(matches: Mapping[Pair, np.ndarray], features: Mapping[str, LocalFeatures]) -> dict[Pair, np.ndarray]:
    """The matches [M, 2] of SIFT's keypoints; none of two kinds match each other."""
    sift = {name: of_sift(features[name].descriptors) for name in {first for first, _ in matches}}
    return {(first, second): found[sift[first][found[:, 0]]] for (first, second), found in matches.items()}


def _believed(verified: dict[Pair, np.ndarray], sizes: Mapping[Pair, int], fresh: set[str]) -> dict[Pair, np.ndarray]:
    """The verified matches without those of new images whose pose too small a share of their matches agrees with."""
    wrong = set()
    for name in fresh:
        own = [pair for pair in verified if name in pair]
        if sum(len(verified[pair]) for pair in own) < MIN_SHARE * sum(sizes[pair] for pair in own):
            wrong.add(name)
    return {pair: found for pair, found in verified.items() if wrong.isdisjoint(pair)}
