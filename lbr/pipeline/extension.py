"""An extension of a map at work: what it is given, where its files are until it is done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lbr.io.exif import camera_of_photograph
from lbr.io.features_file import FeatureFile
from lbr.io.images import ImageFolder
from lbr.mapping.changes import NewImage
from lbr.pipeline.changes import IMAGES
from lbr.pipeline.photographs import Photographs
from lbr.pipeline.stage import Context
from lbr.pipeline.workspace import Workspace
from lbr.types import Camera, LocalFeatures

Fresh = dict[str, NewImage]


@dataclass(frozen=True)
class Extension:
    """The context, the photographs, and the folder that holds all of it until it is done."""

    context: Context
    photographs: Photographs
    staging: Workspace

    @property
    def images(self) -> ImageFolder:
        return ImageFolder(self.staging.root / IMAGES)

    @cached_property
    def recognised(self) -> bool:
        """Whether the workspace has a recogniser's predictions and label images, which the additions then get too."""
        context = self.context
        return context.workspace.db_predictions.is_file() and (context.makes_labels or context.labels.masks is not None)

    @property
    def features(self) -> tuple[Path, Path]:
        """The feature files of the additions and of the map."""
        return self.staging.query_features, self.context.workspace.db_features

    def said(self, name: str) -> Camera:
        """What a photograph itself says of its camera. Raises DataError when it cannot be read."""
        return camera_of_photograph(self.images.path(name))

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, LocalFeatures]]:
        """Features by name, of additions and of the map's images."""
        with FeatureFile(self.features[0]) as new, FeatureFile(self.features[1]) as old:
            for name in names:
                yield name, (new if name in new else old).read(name)
