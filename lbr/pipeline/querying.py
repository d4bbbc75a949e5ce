"""One query, localized with the intrinsics that its camera has: those that were given, the map's, or its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from lbr.localization.cameras import SharedCamera, SharedCameras, shared_with
from lbr.localization.localizer import LocalizationSettings, Localizer
from lbr.pipeline.reopening import Reopened
from lbr.pipeline.results import localization_to_json
from lbr.pipeline.searching import SearchedScene
from lbr.types import Camera, InstancePrediction, LocalFeatures, Localization, Status

TRUSTED = (Status.REFINED, Status.VERIFIED)
# Times the fit that intrinsics of a query's own must bring: where the camera is the map's, 1.06 at most (drives whose
# poses drift); where it is another, 1.16 or more for 9 of 10.
MORE = 1.08


@dataclass(frozen=True, eq=False)
class Photograph:
    """A query as it is searched for. camera: given, or what the photograph says of it (`is_known` tells which).
    prediction: of what it shows, where the scene has no file of predictions."""

    name: str
    features: LocalFeatures
    camera: Camera
    prediction: InstancePrediction | None = None


@dataclass
class QueryLocalizer(Reopened):
    """Localizes queries in a scene. threads: of each query. shared: what the map made of cameras nobody measured."""

    scene: SearchedScene
    settings: LocalizationSettings
    seed: int
    threads: int
    shared: SharedCameras

    @cached_property
    def localizer(self) -> Localizer:
        return Localizer(self.scene.map, self.settings, seed=self.seed, threads=self.threads)

    def open(self) -> None:
        """A broken map is one error, not one for every query. Raises DataError."""
        _ = self.localizer
        self.scene.open()

    def localize(self, query: Photograph) -> Localization:
        """Raises DataError when its candidates or its prediction are not to be had."""
        known = None if query.camera.is_known else shared_with(self.shared, query.camera)
        if known is None:
            return self.with_camera(query, query.camera)
        found = self._with_map_camera(query, known)
        if query.camera.body and found.status in TRUSTED:
            return found
        alone = self.with_camera(query, query.camera)  # another camera after all, or another zoom?
        return alone if alone.status in TRUSTED and _explains_more(alone, found) else found

    def with_camera(self, query: Photograph, camera: Camera, *notes: str) -> Localization:
        """With these intrinsics, as if they were given. Raises DataError as `localize`."""
        asked = self.scene.ask(query.name, query.features, query.prediction)
        found = self.localizer.localize_features(asked.features, camera, query.name, asked.candidates)
        return replace(found, notes=(*notes, *asked.notes, *found.notes), instances=asked.instances)

    def record(self, found: Localization, condition: str = "all") -> dict[str, Any]:
        """As a line of localizations.jsonl says it (docs/formats.md), in metres where the map has them."""
        return localization_to_json(found, condition, 1.0 if self.scene.map.units == "metres" else None)

    def _with_map_camera(self, query: Photograph, known: Mapping[int, SharedCamera]) -> Localization:
        """With the intrinsics that most db images have; in a place that has its own, once more with these."""
        usual = next(iter(known.values()))
        found = self.with_camera(query, usual.camera, usual.note)
        own = usual if found.place is None else known.get(found.place, usual)
        if own.camera == usual.camera:
            return found
        again = self.with_camera(query, own.camera, own.note)
        is_lost = found.status in TRUSTED and again.status not in TRUSTED
        return found if again.place != found.place or is_lost else again


def _explains_more(found: Localization, other: Localization) -> bool:
    if other.status not in TRUSTED or found.estimate is None or other.estimate is None:
        return True
    return found.counts["fit"] > MORE * other.counts["fit"]
