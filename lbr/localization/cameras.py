"""Intrinsics of queries from the map: photographs of a camera that took db images have those that the map has of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lbr.geometry.camera import Camera
from lbr.mapping.map import Map

SAME_FOCAL = 0.01  # EXIF rounds it


@dataclass(frozen=True)
class SharedCamera:
    """Intrinsics, source 'map', of `num` db images. given: with the dataset; else they are the map's, refined
    with it as far as its photographs tell them. resized: of a photograph of another size than theirs."""

    camera: Camera
    num: int
    given: bool = False
    resized: bool = False

    @property
    def note(self) -> str:
        """What the user should know of a query that is localized with it."""
        how = "given for" if self.given else "as in the map, of"
        alike = "shape" if self.resized else "size"
        told = "the same camera" if self.camera.body else f"the same {alike} (no EXIF tells which camera)"
        return f"intrinsics {how} {self.num} db images of {told}{', resized' if self.resized else ''}"

    def of_size(self, size: tuple[int, int]) -> SharedCamera:
        """Of a photograph that was resized to (width, height). Raises ValueError as `Camera.scaled`."""
        return replace(self, camera=self.camera.scaled(*size), resized=True)


SharedCameras = Mapping[Camera, Mapping[int, SharedCamera]]  # by what photographs say of their camera, and place


def shared_cameras(scene: Map) -> SharedCameras:
    """For each camera that photographs of the map say they are of (`said`), what the map has of it, by place:
    intrinsics that were refined with a place are wrong in the way that its points are, and fit these alone.

    Those of most images come first; in a place that has several, as a model gives, these count as well. Of photographs
    that are stored turned those count alone whose size stays.
    """
    found: dict[Camera, dict[int, Counter[Camera]]] = {}
    for image, name in enumerate(scene.names):
        camera, said = scene.camera(image), scene.said.get(name)
        if said is not None and camera.size == said.size:
            found.setdefault(said, {}).setdefault(int(scene.place[image]), Counter())[camera] += 1
    return {prior: _shared(prior, by_place) for prior, by_place in found.items()}


def _shared(prior: Camera, by_place: Mapping[int, Counter[Camera]]) -> dict[int, SharedCamera]:
    """The intrinsics of most images in each place, with the number of all that have them."""
    total = sum(by_place.values(), Counter[Camera]())
    most = {place: counts.most_common(1)[0][0] for place, counts in sorted(by_place.items())}
    return {
        place: SharedCamera(
            replace(most[place], source="map", body=prior.body), total[most[place]], most[place].source == "given"
        )
        for place in sorted(most, key=lambda place: -total[most[place]])
    }


def shared_with(shared: SharedCameras, camera: Camera) -> Mapping[int, SharedCamera] | None:
    """Of `shared_cameras` those of the camera that a photograph says it is of; where there are none, those of
    photographs of another size, but the same shape and angle of view: it may be resized. None without these."""
    if camera in shared:
        return shared[camera]
    alike = [by_place for prior, by_place in shared.items() if _is_resized(prior, camera)]
    if not alike:
        return None
    most = max(alike, key=lambda by_place: next(iter(by_place.values())).num)
    return {place: one.of_size(camera.size) for place, one in most.items()}


def _is_resized(camera: Camera, other: Camera) -> bool:
    if (camera.body, camera.source) != (other.body, other.source):
        return False
    try:
        focal = camera.scaled(*other.size).focal[0]
    except ValueError:
        return False
    return abs(focal / other.focal[0] - 1) < SAME_FOCAL
