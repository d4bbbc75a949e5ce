"""What a query is localized with: the map and its labels, what was recognised in the query, the db images to try."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lbr.errors import DataError
from lbr.features.labelling import LabellingSettings, favour_instances, labelled
from lbr.io.predictions_file import PredictionFile
from lbr.mapping.map import Map, open_map
from lbr.pipeline.reopening import Reopened
from lbr.recognition.masks import confident_mask
from lbr.recognition.ranking import recognised
from lbr.recognition.settings import RankingConfig
from lbr.retrieval.candidates import CandidatesConfig, Proposer, pairs_file, read_candidates
from lbr.retrieval.index import InstanceIndex, open_index
from lbr.retrieval.progressive import ProgressiveCandidates, progressive_search
from lbr.types import Candidates, InstancePrediction, LocalFeatures, RecognisedInstances

LABELS = "labels.npy"  # in the index's folder: int32, the instance of each of the map's observations
VOCABULARY = "vocabulary.txt"  # there: the instances, which the network of queries has to know
SHOWN = 10  # instances that the result of a query tells


@dataclass(frozen=True)
class Asked:
    """A query made ready: its features, labelled where it was recognised; the candidates; what to tell the user."""

    features: LocalFeatures
    candidates: Candidates | Iterable[Candidates] | None
    instances: tuple[tuple[int, float], ...] = ()
    notes: tuple[str, ...] = ()


def chosen(
    features: LocalFeatures, prediction: InstancePrediction | None, settings: LabellingSettings, max_keypoints: int
) -> LocalFeatures:
    """A query's keypoints, labelled by what was recognised in it: the best, those of instances first if favoured."""
    if prediction is not None and settings.enabled:
        features = labelled(features, confident_mask(prediction, settings.min_confidence))
    if len(features) <= max_keypoints:
        return features
    favours = settings.favour_instances and features.labels is not None
    return favour_instances(features, max_keypoints) if favours else features.top(max_keypoints)


@dataclass
class SearchedScene(Reopened):
    """Paths and settings; what they name is opened once. index and predictions are None without label images."""

    map_folder: Path
    index_folder: Path | None
    predictions: Path | None
    candidates: CandidatesConfig
    labelling: LabellingSettings
    ranking: RankingConfig
    max_keypoints: int  # of a query, chosen from those in its file

    def open(self) -> None:
        """Raises DataError when something is missing or broken."""
        _ = self.map, self._index, self._predictions, self._proposer

    @cached_property
    def map(self) -> Map:
        scene = open_map(self.map_folder)
        if self.index_folder is None or not self.labelling.enabled:
            return scene
        try:
            return scene.labelled(np.load(self.index_folder / LABELS, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.index_folder / LABELS}: unreadable ({error}); index again") from None

    @cached_property
    def _index(self) -> InstanceIndex | None:
        return None if self.index_folder is None else open_index(self.index_folder)

    @cached_property
    def _predictions(self) -> PredictionFile | None:
        return None if self.predictions is None else PredictionFile(self.predictions)

    @cached_property
    def _proposer(self) -> Proposer | None:
        return None if isinstance(self.candidates, ProgressiveCandidates) else Proposer(self.candidates)

    @cached_property
    def _fallback(self) -> dict[str, list[str]]:
        path = pairs_file(self.candidates) if isinstance(self.candidates, ProgressiveCandidates) else None
        return read_candidates(path) if path else {}

    def ask(self, name: str, features: LocalFeatures, prediction: InstancePrediction | None = None) -> Asked:
        """A query made ready; its prediction is read from the file, unless it is given. Raises DataError when its
        candidates are not to be had."""
        prediction, notes = (prediction, ()) if prediction is not None else self._prediction(name)
        found = None if prediction is None else recognised(prediction, self.ranking)
        features = chosen(features, prediction, self.labelling, self.max_keypoints)
        shown = [] if found is None else list(zip(found.instances[:SHOWN], found.scores[:SHOWN], strict=True))
        instances = tuple((int(instance), round(float(score), 4)) for instance, score in shown)
        return Asked(features, self._candidates(name, found), instances, notes)

    def _prediction(self, name: str) -> tuple[InstancePrediction | None, tuple[str, ...]]:
        file = self._predictions
        if file is None:
            return None, ()
        if name not in file:
            return None, ("it has no prediction: nothing recognised, so plain matching",)
        return file.read(name), ()

    def _candidates(self, name: str, found: RecognisedInstances | None) -> Candidates | Iterable[Candidates] | None:
        if not isinstance(self.candidates, ProgressiveCandidates):
            return self._proposer.propose(name) if self._proposer else None
        if self._index is None:
            raise DataError("candidates.name=progressive needs label images and a recogniser; see dataset.labels")
        nothing = RecognisedInstances(np.zeros(0, np.int32), np.zeros(0), np.zeros(0), np.zeros(0, np.float32))
        return progressive_search(self._index, found or nothing, self.candidates, self._fallback.get(name, ()))
