"""What `parallel_map` runs: small objects that pickle, open what they need once, and never raise for an item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from lbr.errors import DataError
from lbr.features import Extractor, ExtractorConfig, make_extractor
from lbr.features.labelling import favour_instances, labelled
from lbr.geometry.pose import Pose
from lbr.io.exif import camera_of_photograph
from lbr.io.features_file import FeatureFile, features_to_arrays
from lbr.io.images import ImageFolder, check_readable, write_image
from lbr.io.labels import mask_path, read_mask, write_mask
from lbr.io.matches_file import matches_to_arrays
from lbr.io.predictions_file import PredictionFile, prediction_to_arrays
from lbr.io.text_lists import Problem
from lbr.localization.rig import View, localize_rig
from lbr.mapping.verification import essential_matrix, normalised_rays
from lbr.matching import Matcher, MatcherConfig, guidance, make_matcher
from lbr.matching.descriptors import with_float32
from lbr.matching.epipolar import TwoViews, match_along_lines
from lbr.pipeline.querying import Photograph, QueryLocalizer
from lbr.pipeline.reopening import Reopened
from lbr.pipeline.searching import Asked
from lbr.recognition.masks import confident_mask, full_mask
from lbr.recognition.settings import RecognitionSettings
from lbr.retrieval.pairs import Pair
from lbr.types import Camera, InstanceVocabulary, LocalFeatures, Localization, Query, Status
from lbr.visualization.recognition import recognition_picture

if TYPE_CHECKING:
    from lbr.recognition.predict import Recognizer
    from lbr.recognition.samples import LabelledImage

PICTURE_WIDTH = 256  # of each of the three parts of a picture
CACHED_IMAGES = 128  # of 4096 x 128 float16 features: 0.15 GB


Item = TypeVar("Item")
Arrays = dict[str, np.ndarray]
PosedCamera = tuple[Camera, Pose]


class Worker(Reopened, Generic[Item]):
    """(key, item) -> arrays, or the problem. A kind of worker says in `make` how the arrays of an item come about.

    What it opens (files, networks) are cached properties.
    """

    def open(self) -> None:
        """Open, before the first item, that without which none can be made. Raises DataError."""

    def make(self, item: Item) -> Arrays:
        """Raises DataError when the item cannot be done."""
        raise NotImplementedError

    def __call__(self, keyed: tuple[str, Item]) -> Arrays | Problem:
        key, item = keyed
        try:
            return self.make(item)
        except DataError as error:
            return Problem(key, str(error))


@dataclass
class ExtractImage(Worker[str]):
    """Image name -> arrays of its features."""

    images: ImageFolder
    config: ExtractorConfig
    masks: MaskSource | None = None  # favours the keypoints of instances
    pool: int = 1  # so many times the keypoints, to choose from

    @cached_property
    def extractor(self) -> Extractor:
        return make_extractor(self.config, self.pool)

    def make(self, name: str) -> Arrays:
        features = self.extractor.extract(self.images.read(name))
        if self.masks is not None:
            mask, most = self.masks.mask(name), self.config.max_keypoints
            features = features.top(most) if mask is None else favour_instances(labelled(features, mask), most)
        return features_to_arrays(features)


@dataclass
class MaskSource(Reopened):
    """Masks of db images from their label images, of queries from their predictions; None where there is none."""

    label_images: Path | None
    predictions: Path | None
    vocabulary: InstanceVocabulary
    min_confidence: float

    @cached_property
    def file(self) -> PredictionFile | None:
        return PredictionFile(self.predictions) if self.predictions else None

    def has(self, name: str) -> bool:
        if self.label_images is not None:
            return mask_path(self.label_images, name).is_file()
        return self.file is not None and name in self.file

    def mask(self, name: str) -> np.ndarray | None:
        """Classes int [H, W] at any size over the image. Raises DataError for a broken label image."""
        if not self.has(name):
            return None
        if self.label_images is not None:
            return read_mask(mask_path(self.label_images, name), self.vocabulary)
        return confident_mask(self.file.read(name), self.min_confidence) if self.file else None


@dataclass
class RecogniseImage(Worker[str]):
    """Image name -> arrays of what the network says of it, of the first `ranks` (None: all)."""

    images: ImageFolder
    settings: RecognitionSettings
    checkpoint: Path
    vocabulary: InstanceVocabulary
    ranks: int | None
    prototypes: Path | None = None

    @cached_property
    def recognizer(self) -> Recognizer:
        from lbr.recognition.predict import make_recognizer
        from lbr.recognition.prototypes import read_prototypes

        prototypes = read_prototypes(self.prototypes) if self.prototypes else None
        return make_recognizer(self.settings, self.checkpoint, self.vocabulary, prototypes)

    def open(self) -> None:
        _ = self.recognizer

    def make(self, name: str) -> Arrays:
        return prediction_to_arrays(self.recognizer.predict(self.images.read(name)), self.ranks)


@dataclass
class DrawRecognition(Worker[str]):
    """Image name -> files below `folder`; no arrays.

    masks/ are as label images are, confidence/ has a pixel for each cell, pictures/ are for people.
    """

    images: ImageFolder
    predictions: Path
    folder: Path
    vocabulary: InstanceVocabulary

    @cached_property
    def file(self) -> PredictionFile:
        return PredictionFile(self.predictions)

    def make(self, name: str) -> Arrays:
        prediction = self.file.read(name)
        write_mask(mask_path(self.folder / "masks", name), full_mask(prediction)[0], self.vocabulary)
        levels = np.round(255 * prediction.confidence).astype(np.uint8)
        write_image(mask_path(self.folder / "confidence", name), levels)
        picture = recognition_picture(self.images.read(name), prediction, PICTURE_WIDTH)
        write_image((self.folder / "pictures" / name).with_suffix(".jpg"), picture)
        return {}


@dataclass
class CheckReadable(Worker["LabelledImage"]):
    """Labelled image -> no arrays; a problem when its photograph, a copy of it or its label image cannot be read."""

    def make(self, item: LabelledImage) -> Arrays:
        for path in (*item.images, item.mask):
            check_readable(path)
        return {}


@dataclass
class ReadMask(Worker[Path]):
    """Label image -> `mask`, its classes uint16 [H, W]."""

    vocabulary: InstanceVocabulary

    def make(self, path: Path) -> Arrays:
        return {"mask": read_mask(path, self.vocabulary).astype(np.uint16)}


@dataclass
class MatchImage(Worker[tuple[str, tuple[str, ...]]]):
    """(first image, its partners) -> arrays of their matches; the first feature file that has an image counts.

    views: cameras and poses of the images, where they are matched along epipolar lines.
    """

    features: tuple[Path, ...]
    config: MatcherConfig
    views: Mapping[str, PosedCamera] = field(default_factory=dict)

    @cached_property
    def files(self) -> list[FeatureFile]:
        return [FeatureFile(path) for path in self.features]

    @cached_property
    def matcher(self) -> Matcher:
        return make_matcher(self.config)

    @cached_property
    def read(self) -> Any:
        return lru_cache(CACHED_IMAGES)(self._read)

    def _read(self, name: str) -> LocalFeatures:
        return next((file for file in self.files if name in file), self.files[-1]).read(name)

    def make(self, item: tuple[str, tuple[str, ...]]) -> Arrays:
        first, partners = item
        a = with_float32(self.read(first))
        guided = guidance(self.config) if self.views else None
        if guided is None:
            return matches_to_arrays({b: self.matcher.match(a, with_float32(self.read(b))) for b in partners})
        return matches_to_arrays(
            {b: match_along_lines(a, with_float32(self.read(b)), self._two_views(first, b), guided) for b in partners}
        )

    @cached_property
    def rays(self) -> Any:
        return lru_cache(CACHED_IMAGES)(self._rays)

    def _rays(self, name: str) -> np.ndarray:
        return normalised_rays(self.views[name][0], self.read(name).keypoints)

    def _two_views(self, first: str, second: str) -> TwoViews:
        (camera_a, pose_a), (camera_b, pose_b) = self.views[first], self.views[second]
        focal = float(np.mean([camera_a.focal, camera_b.focal]))
        return TwoViews(self.rays(first), self.rays(second), essential_matrix(pose_b @ pose_a.inverse()), focal)


@dataclass
class LocalizeQuery(Worker[Query]):
    """Query -> `line`, its localization as JSON; whatever is wrong with the query becomes a failed one."""

    localizer: QueryLocalizer
    features: Path
    images: ImageFolder

    @cached_property
    def file(self) -> FeatureFile:
        return FeatureFile(self.features)

    def open(self) -> None:
        """A broken map is one error, not one for every query."""
        _ = self.file
        self.localizer.open()

    def make(self, query: Query) -> Arrays:
        try:
            found = self.localizer.localize(self.photograph(query))
        except DataError as error:
            found = Localization(query.name, Status.FAILED, str(error))
        return {"line": np.frombuffer(self.line(query, found).encode(), np.uint8)}

    def photograph(self, query: Query) -> Photograph:
        """Raises DataError when it has no features, or cannot be read."""
        features = self.file.read(query.name)
        return Photograph(query.name, features, query.camera or camera_of_photograph(self.images.path(query.name)))

    def with_camera(self, query: Query, camera: Camera, note: str) -> Localization:
        """A query that could be read, with a camera that it shares with others, and a note that says so."""
        return self.localizer.with_camera(Photograph(query.name, self.file.read(query.name), camera), camera, note)

    def line(self, query: Query, found: Localization) -> str:
        return json.dumps(self.localizer.record(found, query.condition))


@dataclass(frozen=True)
class Moment:
    """The queries that a rig took at one moment. missing: sides of the rig that have none."""

    queries: tuple[Query, ...]
    missing: tuple[str, ...] = ()


@dataclass
class LocalizeMoment(Worker[Moment]):
    """Moment -> `line`, the localizations of its queries as JSON, one a line."""

    single: LocalizeQuery

    def open(self) -> None:
        self.single.open()

    def make(self, moment: Moment) -> Arrays:
        results: dict[str, Localization] = {}
        notes = [f"no photograph of the camera '{side}' at this moment" for side in moment.missing]
        asked: dict[str, tuple[Asked, View]] = {}
        for query in moment.queries:
            try:
                seen = self.single.photograph(query)
                found = self.single.localizer.scene.ask(seen.name, seen.features)
            except DataError as error:
                results[query.name] = Localization(query.name, Status.FAILED, str(error))
                notes.append(f"{query.name} could not be used: {error}")
                continue
            place = query.place.cam_from_rig if query.place else Pose.identity()
            asked[query.name] = found, View(query.name, found.features, seen.camera, place, found.candidates)
        views = [view for _, view in asked.values()]
        for name, result in localize_rig(self.single.localizer.localizer, views, notes).items():
            told = asked[name][0]
            results[name] = replace(result, notes=(*told.notes, *result.notes), instances=told.instances)
        lines = [self.single.line(query, results[query.name]) for query in moment.queries]
        return {"line": np.frombuffer("\n".join(lines).encode(), np.uint8)}


def group_moments(queries: Sequence[Query]) -> dict[str, Moment]:
    """{moment, or the name of a query that stands in no rig: its queries}, in the order of the first of each."""
    grouped: dict[str, list[Query]] = {}
    for query in queries:
        grouped.setdefault(query.place.moment if query.place else query.name, []).append(query)
    sides = dict.fromkeys(query.place.side for query in queries if query.place)
    moments: dict[str, Moment] = {}
    for key, members in grouped.items():
        there = {query.place.side for query in members if query.place}
        moments[key] = Moment(tuple(members), tuple(side for side in sides if there and side not in there))
    return moments


def group_pairs(pairs: list[Pair]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """(first, partners) items by first image, in the order of the first images."""
    grouped: dict[str, list[str]] = {}
    for first, second in pairs:
        grouped.setdefault(first, []).append(second)
    return {first: (first, tuple(partners)) for first, partners in grouped.items()}
