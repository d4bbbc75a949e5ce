"""The map a localizer opens: read-only arrays on disk, memory-mapped (docs/formats.md, `map/`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import sparse

from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap_arrays import ModelArrays
from lbr.io.files import atomic_path, read_text
from lbr.types import LocalFeatures

FORMAT, VERSION = "lbr-map", 2
ARRAYS = (
    "camera_index", "place", "poses", "offsets", "keypoints", "descriptors", "point_index", "points", "point_errors",
    "track_lengths", "covisible_indptr", "covisible_indices", "covisible_counts",
)  # fmt: skip
Units = Literal["metres", "model"]


@dataclass(frozen=True, eq=False)
class Map:
    """Images with poses, and of their keypoints those that have a 3D point.

    A map holds one place or several that share no points. Each place has a world frame of its own: poses and points
    of two places cannot be compared. units: of these frames, 'model' when nothing told structure from motion a scale.

    names: [I], sorted. cameras: the different ones, of source 'given' or 'map' (refined with the map); camera_index:
    int32 [I]. said: by name, what photographs themselves say of their camera (EXIF's, or a guess), of those that could
    be read: by it a query is known as of the same camera. poses: float64 [I, 3, 4] cam_from_world.
    place: int32 [I], from 0, the largest first; all 0 by default. Observations of image i are those at
    offsets[i]:offsets[i+1] of keypoints float32 [O, 2] (pixels), descriptors float16 [O, D] and point_index int32 [O].
    points: float64 [P, 3] in `units`; point_errors: float32 [P] pixels; track_lengths: int32 [P].
    covisibility: int32 CSR [I, I], shared points of two images, 0 on the diagonal.
    extractor: the configuration of the local feature, {} when unknown. labels: int32 [O], the instance of each
    observation, None when nothing was labelled; kept with the instance index, not with the map.
    """

    names: tuple[str, ...]
    cameras: tuple[Camera, ...]
    camera_index: np.ndarray
    poses: np.ndarray
    offsets: np.ndarray
    keypoints: np.ndarray
    descriptors: np.ndarray
    point_index: np.ndarray
    points: np.ndarray
    point_errors: np.ndarray
    track_lengths: np.ndarray
    covisibility: sparse.csr_matrix
    extractor: Mapping[str, Any] = field(default_factory=dict)
    labels: np.ndarray | None = None
    place: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    said: Mapping[str, Camera] = field(default_factory=dict)
    units: Units = "metres"

    def __post_init__(self) -> None:
        if not len(self.place):
            object.__setattr__(self, "place", np.zeros(len(self.names), np.int32))
        if len(self.place) != len(self.names):
            raise ValueError(f"places of {len(self.place)} images, in a map of {len(self.names)}")
        object.__setattr__(self, "_index", {name: i for i, name in enumerate(self.names)})

    def __len__(self) -> int:
        return len(self.names)

    def index_of(self, name: str) -> int:
        """Raises DataError when the map has no such image."""
        index: dict[str, int] = self._index  # type: ignore[attr-defined]  # set once, in __post_init__
        if name not in index:
            raise DataError(f"the map has no image '{name}'")
        return index[name]

    def __contains__(self, name: str) -> bool:
        return name in self._index  # type: ignore[attr-defined]

    def pose(self, image: int) -> Pose:
        return Pose(self.poses[image, :, :3], self.poses[image, :, 3])

    @cached_property
    def centres(self) -> np.ndarray:
        """float64 [I, 3]: where the cameras stand."""
        return -np.einsum("nji,nj->ni", self.poses[:, :, :3], self.poses[:, :, 3])

    @cached_property
    def point_labels(self) -> np.ndarray | None:
        """int32 [P]: the instance of each point, by one of its observations; None where nothing was labelled. What most
        of them say (`novelty.known_points`) sorts all observations, which no query should wait for."""
        if self.labels is None:
            return None
        found = np.zeros(len(self.points), np.int32)
        found[self.point_index] = self.labels
        return found

    def camera(self, image: int) -> Camera:
        return self.cameras[self.camera_index[image]]

    @property
    def num_places(self) -> int:
        return int(self.place.max(initial=-1)) + 1

    def images_of(self, place: int) -> np.ndarray:
        """int [K]: the images of a place, ascending."""
        return np.flatnonzero(self.place == place)

    def points_of(self, place: int) -> np.ndarray:
        """int [K]: the points that images of a place see, ascending."""
        if self.num_places == 1:
            return np.arange(len(self.points))
        return np.unique(self.point_index[np.repeat(self.place == place, np.diff(self.offsets))])

    def observations(self, image: int) -> slice:
        return slice(int(self.offsets[image]), int(self.offsets[image + 1]))

    def features(self, image: int) -> LocalFeatures:
        """The keypoints of an image that have a point, with their descriptors; scores are 1."""
        span = self.observations(image)
        keypoints, labels = self.keypoints[span], None if self.labels is None else self.labels[span]
        return LocalFeatures(
            keypoints, np.ones(len(keypoints), np.float32), self.descriptors[span], self.camera(image).size, labels
        )

    def labelled(self, labels: np.ndarray) -> Map:
        """The same map with the instance, int32 [O], of each observation. Raises DataError when they do not fit."""
        if labels.shape != self.point_index.shape:
            raise DataError(f"{len(labels)} labels for {len(self.point_index)} observations of the map; index again")
        return replace(self, labels=labels)

    def covisible(self, image: int) -> tuple[np.ndarray, np.ndarray]:
        """Images that share points with this one, most first (ties by index), and how many: int [K], int [K]."""
        row = slice(self.covisibility.indptr[image], self.covisibility.indptr[image + 1])
        others, counts = self.covisibility.indices[row], self.covisibility.data[row]
        order = np.lexsort((others, -counts))
        return others[order], counts[order]


def build_map(
    model: ModelArrays, descriptors: Iterable[np.ndarray], extractor: Mapping[str, Any],
    place: np.ndarray | None = None, units: Units = "metres",
) -> Map:  # fmt: skip
    """A map from a triangulated model and the descriptors [N_i, D] of image i's keypoints, in the model's order; they
    are asked for one image at a time, and those of keypoints without a point are not kept.

    place: int [I], as of `places.join_places`; one place by default. Raises DataError when the model has no points, or
    descriptors and keypoints of an image differ in number.
    """
    if not len(model.points):
        raise DataError("the model has no points: nothing can be localized in it")
    seen = model.point_index >= 0
    offsets = np.concatenate([[0], np.cumsum(seen)])[model.offsets].astype(np.int64)
    cameras = tuple(dict.fromkeys(model.cameras))
    where = {camera: k for k, camera in enumerate(cameras)}
    point_index = model.point_index[seen]
    lengths = np.bincount(point_index, minlength=len(model.points)).astype(np.int32)
    return Map(
        names=model.names, cameras=cameras, camera_index=np.array([where[c] for c in model.cameras], np.int32),
        poses=np.stack([p.matrix for p in model.poses]), offsets=offsets, keypoints=model.keypoints[seen],
        descriptors=_kept(model, descriptors, seen, offsets), point_index=point_index, points=model.points,
        point_errors=model.point_errors, track_lengths=lengths,
        covisibility=covisibility(offsets, point_index, len(model.points)), extractor=dict(extractor),
        place=np.zeros(0, np.int32) if place is None else place.astype(np.int32), units=units,
    )  # fmt: skip


def _kept(model: ModelArrays, descriptors: Iterable[np.ndarray], seen: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """float16 [O, D]: of the keypoints that have a point (seen: bool, of all), image i's at offsets[i]."""
    kept: np.ndarray | None = None
    for i, (name, found) in enumerate(zip(model.names, descriptors, strict=True)):
        mask = seen[model.offsets[i] : model.offsets[i + 1]]
        if len(found) != len(mask):
            raise DataError(f"{name}: {len(found)} descriptors for {len(mask)} keypoints of the model; extract again")
        if kept is None:
            kept = np.empty((offsets[-1], found.shape[1]), np.float16)
        kept[offsets[i] : offsets[i + 1]] = found[mask]
    assert kept is not None  # a model with points has images
    return kept


def sightings(offsets: np.ndarray, point_index: np.ndarray, num_points: int) -> sparse.csr_matrix:
    """int32 CSR [I, P]: 1 where an image sees a point, from observations grouped by image (offsets [I+1]) of points or
    of none (-1)."""
    seen = point_index >= 0
    images = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[seen]
    shape = (len(offsets) - 1, num_points)
    matrix = sparse.csr_matrix((np.ones(len(images), np.int32), (images, point_index[seen])), shape)
    matrix.data[:] = 1  # an image that observes a point twice still sees it once
    return matrix


def covisibility(offsets: np.ndarray, point_index: np.ndarray, num_points: int) -> sparse.csr_matrix:
    """int32 CSR [I, I]: how many points two images share, from observations as of `sightings`."""
    seen = sightings(offsets, point_index, num_points)
    shared = (seen @ seen.T).tocsr()
    shared.setdiag(0)
    shared.eliminate_zeros()
    shared.sort_indices()
    return shared


def write_map(folder: Path, scene: Map) -> None:
    """Write a map, whole or not at all."""
    arrays = {
        "covisible_indptr": scene.covisibility.indptr.astype(np.int64),
        "covisible_indices": scene.covisibility.indices.astype(np.int32),
        "covisible_counts": scene.covisibility.data.astype(np.int32),
    }
    said = {camera: k for k, camera in enumerate(dict.fromkeys(scene.said.values()))}
    header = {
        "format": FORMAT, "version": VERSION, "extractor": dict(scene.extractor), "names": scene.names,
        "cameras": [_to_json(c) for c in scene.cameras], "units": scene.units,
        "said": {"cameras": [_to_json(c) for c in said], "of": {n: said[c] for n, c in scene.said.items()}},
    }  # fmt: skip
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        for name in ARRAYS:
            np.save(temporary / f"{name}.npy", arrays[name] if name in arrays else getattr(scene, name))
        (temporary / "map.json").write_text(json.dumps(header))


def _to_json(camera: Camera) -> list[Any]:
    return [camera.model, camera.width, camera.height, list(camera.params), camera.source, camera.body]


def _read_header(folder: Path) -> dict[str, Any]:
    try:
        header = json.loads(read_text(folder / "map.json"))
    except json.JSONDecodeError:
        header = None
    if not isinstance(header, dict) or not {"format", "version"} <= set(header):
        raise DataError(f"{folder}: broken map (map.json is not whole); reconstruct again")
    return header


def open_map(folder: Path) -> Map:
    """Open a map; arrays stay on disk until they are read. Raises DataError when it is absent or broken."""
    if not (folder / "map.json").is_file():
        raise DataError(f"{folder}: no map there (map.json is missing); run reconstruct first")
    header = _read_header(folder)
    if (header.get("format"), header.get("version")) != (FORMAT, VERSION):
        raise DataError(
            f"{folder}: is {header.get('format')} version {header.get('version')}, wanted {FORMAT} version {VERSION}"
        )
    try:
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}
        cameras = tuple(Camera(*fields) for fields in header["cameras"])
        said = [Camera(*fields) for fields in header["said"]["cameras"]]
        told = {name: said[k] for name, k in header["said"]["of"].items()}
        names, extractor, units = tuple(header["names"]), header["extractor"], header["units"]
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DataError(f"{folder}: broken map ({error}); reconstruct again") from None
    shared = [arrays.pop(f"covisible_{part}") for part in ("counts", "indices", "indptr")]
    size = len(names)
    matrix = sparse.csr_matrix((size, size), dtype=np.int32)
    matrix.data, matrix.indices, matrix.indptr = shared  # as they are: the constructor would copy and check them
    if len(arrays["place"]) != size:
        raise DataError(f"{folder}: broken map (place.npy is not of its {size} images); reconstruct again")
    return Map(names=names, cameras=cameras, said=told, covisibility=matrix, extractor=extractor, units=units, **arrays)
