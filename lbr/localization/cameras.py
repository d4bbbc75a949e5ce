"""Intrinsics of queries from the map: photographs of a camera that took db images have those that the map has of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from lbr.geometry.camera import Camera
from lbr.mapping.map import Map


@dataclass(frozen=True)
class SharedCamera:
    """Intrinsics, source 'map', of `num` db images. given: with the dataset; else they were refined with the map."""

    camera: Camera
    num: int
    given: bool = False

    @property
    def note(self) -> str:
        """What the user should know of a query that is localized with it."""
        how = "given for" if self.given else "refined with the map, of"
        told = "the same camera" if self.camera.body else "the same size (no EXIF tells which camera)"
        return f"intrinsics {how} {self.num} db images of {told}"


def shared_cameras(
    scene: Map, said: Mapping[str, Camera], given: Collection[str] = frozenset()
) -> dict[Camera, SharedCamera]:
    """For each camera that db photographs say they are of (`said`, by name: EXIF's or a guess), what the map has of it.

    Where that is several, as places made of it or a model gives, the one with most images counts. given: names of the
    photographs whose intrinsics the dataset gave. Those that are stored turned count only where their size stays.
    """
    found: dict[Camera, Counter[tuple[Camera, bool]]] = {}
    for image, name in enumerate(scene.names):
        camera = scene.camera(image)
        if name in said and not said[name].is_known and camera.size == said[name].size:
            found.setdefault(said[name], Counter())[camera, name in given] += 1
    most = {prior: counts.most_common(1)[0] for prior, counts in found.items()}
    return {
        prior: SharedCamera(replace(camera, source="map", body=prior.body), num, of_given)
        for prior, ((camera, of_given), num) in most.items()
    }
