"""A map with photographs more: what they match, their poses adjusted, the points that they see and those they make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

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

MIN_SHARE = 0.25  # of an image's matches, in pairs that pass at all: by chance a tenth agree with a wrong pose


@dataclass
class Growing:
    """A map and what was added to it so far. Photographs of another round may move when more of them tell where they
    are, but for those of `fixed`, whose poses were given; what the map had before stays as it was.

    base: the map before; scene: with the images that were added, from the verified matches of all of them.
    """

    work: Extension
    base: Map
    fixed: frozenset[str]
    images: Fresh = field(default_factory=dict)
    matches: dict[Pair, np.ndarray] = field(default_factory=dict)
    scene: Map = field(init=False)

    def __post_init__(self) -> None:
        self.scene = self.base

    def add(self, fresh: Fresh) -> set[str]:
        """Add the photographs that their matches agree with; these."""
        self.matches |= self._verified(_pairs(self.work, self.scene, fresh), fresh)
        if not self.matches:
            return set()
        features = dict(self.work.read(sorted({name for pair in self.matches for name in pair})))
        images = {name: image for name, image in {**self.images, **fresh}.items() if name in features}
        if images.keys() - self.fixed:
            images = self._adjusted(images, features)
        self.images = self._grow(images, features)
        return fresh.keys() & self.images.keys()

    def _posed(self, name: str, images: Fresh) -> PosedCamera:
        if name in images:
            return images[name].camera, images[name].pose
        image = self.scene.index_of(name)
        return self.scene.camera(image), self.scene.pose(image)

    def _adjusted(self, images: Fresh, features: Mapping[str, LocalFeatures]) -> Fresh:
        posed = {name: self._posed(name, images) for name in features}
        keypoints = {name: found.keypoints for name, found in features.items()}
        free = images.keys() - self.fixed
        poses = adjusted_poses(posed, keypoints, self.matches, free, _limits(self.work), self.work.context.config.seed)
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
        return kept

    def _view(self, name: str, images: Fresh, features: LocalFeatures) -> View:
        new = name in images
        points = np.full(len(features), -1, np.int64) if new else points_of_keypoints(self.base, name, features)
        return View(*self._posed(name, images), features.keypoints, points, new)

    def _verified(self, pairs: list[Pair], fresh: Fresh) -> dict[Pair, np.ndarray]:
        """The matches of pairs that agree with the poses, without those of new images whose pose is not believed.

        Matches that tell whether poses are right know nothing of them; those of images that are believed are then
        guided by them, where those of the map are (`matcher.guided`).
        """
        config, limits = self.work.context.config, _limits(self.work)
        posed = {name: self._posed(name, fresh) for name in sorted({name for pair in pairs for name in pair})}
        keypoints = {name: found.keypoints for name, found in self.work.read(posed)}
        cameras, poses = {n: camera for n, (camera, _) in posed.items()}, {n: pose for n, (_, pose) in posed.items()}
        sizes: dict[Pair, int] = {}

        def plain() -> Iterator[tuple[Pair, Matches]]:
            for pair, found in matches_of(self.work.features, config.matcher, pairs, config.parallel, "match"):
                sizes[pair] = len(found)
                yield pair, found

        verified = _believed(verify_pairs(cameras, poses, keypoints, plain(), limits), sizes, set(fresh))
        if guidance(config.matcher) is None:
            return verified
        believed = {name for pair in verified for name in pair}
        again = [pair for pair in pairs if believed.issuperset(fresh.keys() & set(pair))]
        guided = matches_of(self.work.features, config.matcher, again, config.parallel, "match again", posed)
        return verify_pairs(cameras, poses, keypoints, guided, limits)


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


def _believed(verified: dict[Pair, np.ndarray], sizes: Mapping[Pair, int], fresh: set[str]) -> dict[Pair, np.ndarray]:
    """The verified matches without those of new images whose pose too small a share of their matches agrees with."""
    wrong = set()
    for name in fresh:
        own = [pair for pair in verified if name in pair]
        if sum(len(verified[pair]) for pair in own) < MIN_SHARE * sum(sizes[pair] for pair in own):
            wrong.add(name)
    return {pair: found for pair, found in verified.items() if wrong.isdisjoint(pair)}
