"""Intrinsics of queries from the map: photographs of a camera that took db images have what was refined for those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lbr.geometry.camera import Camera
from lbr.mapping.map import Map


@dataclass(frozen=True)
class SharedCamera:
    """Refined intrinsics, source 'map', of `num` db images."""

    camera: Camera
    num: int

    @property
    def note(self) -> str:
        """What the user should know of a query that is localized with it."""
        told = "the same camera" if self.camera.body else "the same size (no EXIF tells which camera)"
        return f"intrinsics refined with the map, of {self.num} db images of {told}"


def shared_cameras(scene: Map, priors: Mapping[str, Camera]) -> dict[Camera, SharedCamera]:
    """For each camera that EXIF or a guess gave db images of the map (`priors`, by name) what became of it in the map.

    Where places made different ones of it, the one with most images counts. Given intrinsics are not among them.
    """
    refined: dict[Camera, Counter[Camera]] = {}
    for image, name in enumerate(scene.names):
        if name in priors and not priors[name].is_known:
            refined.setdefault(priors[name], Counter())[scene.camera(image)] += 1
    found = {prior: counts.most_common(1)[0] for prior, counts in refined.items()}
    return {
        prior: SharedCamera(replace(camera, source="map", body=prior.body), num)
        for prior, (camera, num) in found.items()
    }
