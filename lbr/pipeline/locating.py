"""Where photographs were taken, one by one, by the map of a workspace: for notebooks, services and `lbr locate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lbr.config import load_config
from lbr.errors import DataError
from lbr.features import Extractor, make_extractor
from lbr.features.labelling import POOL
from lbr.geometry.camera import guess_camera
from lbr.geometry.pose import Pose
from lbr.io.exif import camera_of_photograph, is_read_upright
from lbr.io.features_file import features_from_arrays, features_to_arrays
from lbr.io.images import read_image
from lbr.io.labels import read_vocabulary
from lbr.io.predictions_file import prediction_from_arrays, prediction_to_arrays
from lbr.io.text_lists import Problem
from lbr.localization.log import Log
from lbr.mapping.georeference import Georeference
from lbr.parallel import num_cores
from lbr.pipeline.features import check_feature
from lbr.pipeline.geography import on_earth, places_on_earth
from lbr.pipeline.localization import query_localizer
from lbr.pipeline.photographs import Photographs, find_photographs
from lbr.pipeline.prototyping import checkpoint_identity, checkpoint_path, made_prototypes
from lbr.pipeline.querying import Photograph, QueryLocalizer
from lbr.pipeline.searching import VOCABULARY
from lbr.pipeline.stage import Context, identities
from lbr.pipeline.workspace import read_manifest
from lbr.retrieval.candidates import without_list
from lbr.types import Camera, InstancePrediction, LocalFeatures, Localization, Status

if TYPE_CHECKING:
    from lbr.recognition.predict import Recognizer


@dataclass
class Locator:
    """The map of a workspace with its local feature and its recogniser, all open, for photographs that are no queries
    of its dataset. Of that nothing is read: map, index and network of the workspace are enough, on any machine. What is
    found is what `lbr localize` finds of the same photograph by the same name, but for intrinsics that several queries
    tell together: here each photograph is by itself.

    >>> locator = Locator.open("outputs/own/town/config.yaml")
    >>> found = locator.locate("photo.jpg")          # recognised, searched for instance by instance, matched, posed
    >>> found.status, found.reason, found.estimate.pose.centre, found.estimate.position_std, found.instances
    >>> locator.record(found)["geo"]                 # latitude, longitude, ... where photographs of the map had GPS
    """

    context: Context

    @classmethod
    def open(cls, config: Path | str, overrides: Sequence[str] = ()) -> Locator:
        """Of a configuration whose `lbr run` has made the map. Raises ConfigError, and DataError as `check`."""
        locator = cls(Context(load_config(Path(config), overrides)))
        locator.check()
        return locator

    def check(self) -> None:
        """Opens all of it. Raises DataError when something is not there yet, broken, or not made for each other."""
        identities(self.context.workspace.map)
        if self.context.uses_instances:
            identities(self.context.workspace.index)
            self._check_network()
        self.localizer.open()
        check_feature(self.context, self.localizer.scene.map)
        _ = self._extractor, self._recognizer, self._places

    def locate(
        self, photograph: np.ndarray | Path | str, camera: Camera | None = None, name: str | None = None
    ) -> Localization:
        """Localize one photograph; one that cannot be read gives a failed result that says so.

        photograph: RGB uint8 [H, W, 3], or a path. camera: its intrinsics (`is_read_upright`); without, the photograph
        is turned upright, and has the map's intrinsics where it is of a camera of the map, else its own are estimated
        with the pose. name: of the result, and what random samples depend on; by default that of the file.
        """
        if isinstance(photograph, np.ndarray):
            name, read = name or "photograph", partial(_of_array, photograph)
        else:
            name, read = name or Path(photograph).name, partial(_of_file, Path(photograph), camera)
        log = Log()
        try:
            image, said = read()
            features, prediction = self._described(image, log), self._recognised(image, log)
            found = self.localizer.localize(Photograph(name, features, camera or said, prediction))
        except DataError as error:
            return Localization(name, Status.FAILED, str(error))
        return replace(found, timings={**log.timings, **found.timings})

    def record(self, found: Localization) -> dict[str, Any]:
        """As a line of localizations.jsonl (docs/formats.md), with `geo` where its place is georeferenced."""
        return on_earth(self.localizer.record(found), self._places)

    @cached_property
    def localizer(self) -> QueryLocalizer:
        return query_localizer(self.context, without_list(self.context.config.candidates), None, num_cores(), True)

    @cached_property
    def _extractor(self) -> Extractor:
        config = self.context.config
        return make_extractor(config.extractor, POOL if config.labelling.favour_instances else 1)

    @cached_property
    def _recognizer(self) -> Recognizer | None:
        if not self.context.uses_instances:
            return None
        from lbr.recognition.predict import make_recognizer  # torch, which a map without instances does not need

        context, vocabulary = self.context, read_vocabulary(self.context.workspace.index / VOCABULARY)
        prototypes = made_prototypes(context, vocabulary)
        return make_recognizer(context.config.recognition, checkpoint_path(context), vocabulary, prototypes)

    @cached_property
    def _places(self) -> dict[int, Georeference]:
        return places_on_earth(self.context)

    def _described(self, image: np.ndarray, log: Log) -> LocalFeatures:
        """As `lbr extract` writes and reads them."""
        with log.timed("extract"):
            return features_from_arrays(features_to_arrays(self._extractor.extract(image)))

    def _recognised(self, image: np.ndarray, log: Log) -> InstancePrediction | None:
        """As `lbr recognise` writes and reads it."""
        if self._recognizer is None:
            return None
        with log.timed("recognise"):
            return prediction_from_arrays(prediction_to_arrays(self._recognizer.predict(image)))

    def _check_network(self) -> None:
        made = read_manifest(self.context.workspace.db_predictions) or {"inputs": {}}
        network = checkpoint_identity(self.context)
        if any(made["inputs"].get(key) != value for key, value in network.items()):
            raise DataError(
                f"{self.context.workspace.db_predictions}: made by another network than the configuration has; "
                "run `lbr recognise --overwrite` and `lbr index --overwrite`"
            )


def _of_array(image: np.ndarray) -> tuple[np.ndarray, Camera]:
    return image, guess_camera(image.shape[1], image.shape[0])


def _of_file(path: Path, camera: Camera | None) -> tuple[np.ndarray, Camera]:
    """The pixels, and what the photograph says of its camera."""
    return read_image(path, is_read_upright(path, camera)), camera_of_photograph(path)


def photographs_at(paths: Sequence[Path]) -> Photographs:
    """Photographs by their paths, those of folders, and those of lists `name MODEL width height params...`.

    One whose name another folder's photograph has goes by its path. Raises DataError as `find_photographs`.
    """
    files: dict[str, Path] = {}
    cameras: dict[str, Camera] = {}
    problems: list[Problem] = []
    for path in paths:
        if path.suffix == ".txt" or path.is_dir():
            found = find_photographs(path.parent, path, None, None)
            names = {n: file.as_posix() if files.get(n, file) != file else n for n, file in found.files.items()}
            files |= {names[n]: file for n, file in found.files.items()}
            cameras |= {names[n]: camera for n, camera in found.cameras.items()}
            problems += found.problems
        else:
            files[path.as_posix()] = path
    return Photographs(files, cameras, problems=tuple(problems))


def sentence(record: dict[str, Any]) -> str:
    """A record in words: where, how surely, and why."""
    if record["pose"] is None:
        return f"{record['query']}: {record['status']}: {record['reason']}"
    centre = Pose.from_quaternion(record["pose"]["qvec"], record["pose"]["tvec"]).centre
    parts = [f"at {' '.join(f'{value:.3f}' for value in centre)}"]
    if record["position_std"] is not None:
        metres = record["position_std_m"]
        near = f"{record['position_std']:.3g} units of the map" if metres is None else f"{100 * metres:.1f} cm"
        parts.append(f"{near}, {record['rotation_std_deg']:.2f} deg (1 sd)")
    if geo := record.get("geo"):
        height = "" if geo["height"] is None else f", {geo['height']:.1f} m"
        parts.append(f"{geo['latitude']:.7f}, {geo['longitude']:.7f}{height}, heading {geo['heading_deg']:.1f}")
    return f"{record['query']}: {record['status']} {'; '.join(parts)}; place {record['place']}; {record['reason']}"
