"""What `parallel_map` runs: small objects that pickle, open what they need once, and never raise for an item."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from lbr.errors import DataError
from lbr.features import Extractor, ExtractorConfig, make_extractor
from lbr.features.labelling import POOL, favour_instances, labelled
from lbr.io.features_file import FeatureFile, features_to_arrays
from lbr.io.images import read_image, write_image
from lbr.io.labels import mask_path, read_mask, write_mask
from lbr.io.matches_file import matches_to_arrays
from lbr.io.predictions_file import PredictionFile, prediction_to_arrays
from lbr.io.text_lists import Problem
from lbr.localization.localizer import LocalizationSettings, Localizer, camera_of_photograph
from lbr.matching import Matcher, MatcherConfig, make_matcher
from lbr.pipeline.reopening import Reopened
from lbr.pipeline.results import localization_to_json
from lbr.pipeline.searching import SearchedScene
from lbr.recognition.masks import confident_mask, full_mask
from lbr.recognition.settings import RecognitionSettings
from lbr.retrieval.pairs import Pair
from lbr.types import InstanceVocabulary, LocalFeatures, Localization, Query, Status
from lbr.visualization.recognition import recognition_picture

if TYPE_CHECKING:
    from lbr.recognition.predict import Recognizer

PICTURE_WIDTH = 256  # of each of the three parts of a picture
CACHED_IMAGES = 128  # of 4096 x 128 float16 features: 0.15 GB


Item = TypeVar("Item")
Arrays = dict[str, np.ndarray]


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

    image_root: Path
    config: ExtractorConfig
    masks: MaskSource | None = None  # favours the keypoints of instances

    @cached_property
    def extractor(self) -> Extractor:
        count = self.config.max_keypoints * (POOL if self.masks else 1)
        return make_extractor(self.config.model_copy(update={"max_keypoints": count}))

    def make(self, name: str) -> Arrays:
        features = self.extractor.extract(read_image(self.image_root / name))
        if self.masks is not None:
            mask = self.masks.mask(name)
            features = (
                features if mask is None else favour_instances(labelled(features, mask), self.config.max_keypoints)
            )
            features = features.top(self.config.max_keypoints)
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
class RecogniseImage(Worker[Path]):
    """Photograph -> arrays of what the network says of it, of the first `ranks` (None: all)."""

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

    def make(self, path: Path) -> Arrays:
        return prediction_to_arrays(self.recognizer.predict(read_image(path)), self.ranks)


@dataclass
class DrawRecognition(Worker[str]):
    """Image name -> files below `folder`; no arrays.

    masks/ are as label images are, confidence/ has a pixel for each cell, pictures/ are for people.
    """

    image_root: Path
    added: Mapping[str, Path]  # photographs that are elsewhere
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
        picture = recognition_picture(self._photograph(name), prediction, PICTURE_WIDTH)
        write_image((self.folder / "pictures" / name).with_suffix(".jpg"), picture)
        return {}

    def _photograph(self, name: str) -> np.ndarray:
        return read_image(self.added.get(name, self.image_root / name))


@dataclass
class ReadMask(Worker[Path]):
    """Label image -> `mask`, its classes uint16 [H, W]."""

    vocabulary: InstanceVocabulary

    def make(self, path: Path) -> Arrays:
        return {"mask": read_mask(path, self.vocabulary).astype(np.uint16)}


@dataclass
class MatchImage(Worker[tuple[str, tuple[str, ...]]]):
    """(first image, its partners) -> arrays of their matches; the first feature file that has an image counts."""

    features: tuple[Path, ...]
    config: MatcherConfig

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
        a = _as_float32(self.read(first))
        return matches_to_arrays({b: self.matcher.match(a, _as_float32(self.read(b))) for b in partners})


@dataclass
class LocalizeQuery(Worker[Query]):
    """Query -> `line`, its localization as JSON; whatever is wrong with the query becomes a failed one."""

    scene: SearchedScene
    features: Path
    image_root: Path
    settings: LocalizationSettings
    seed: int
    threads: int

    @cached_property
    def localizer(self) -> Localizer:
        return Localizer(self.scene.map, self.settings, seed=self.seed, threads=self.threads)

    @cached_property
    def file(self) -> FeatureFile:
        return FeatureFile(self.features)

    def open(self) -> None:
        """A broken map is one error, not one for every query."""
        _ = self.localizer, self.file
        self.scene.open()

    def make(self, query: Query) -> Arrays:
        line = json.dumps(localization_to_json(self._localize(query), query.condition))
        return {"line": np.frombuffer(line.encode(), np.uint8)}

    def _localize(self, query: Query) -> Localization:
        try:
            features = self.file.read(query.name)
            camera = query.camera or camera_of_photograph(self.image_root / query.name)
            asked = self.scene.ask(query.name, features)
            found = self.localizer.localize_features(asked.features, camera, query.name, asked.candidates)
            return replace(found, notes=(*asked.notes, *found.notes), instances=asked.instances)
        except DataError as error:
            return Localization(query.name, Status.FAILED, str(error))


def _as_float32(features: LocalFeatures) -> LocalFeatures:
    return replace(features, descriptors=features.descriptors.astype(np.float32))


def group_pairs(pairs: list[Pair]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """(first, partners) items by first image, in the order of the first images."""
    grouped: dict[str, list[str]] = {}
    for first, second in pairs:
        grouped.setdefault(first, []).append(second)
    return {first: (first, tuple(partners)) for first, partners in grouped.items()}
