"""COLMAP models as arrays: binary files are read and written whole, without a Python loop over keypoints or points."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import Reconstruction, build_model, posed_cameras
from lbr.io.files import atomic_path

_OBSERVATION = np.dtype([("xy", "<f8", 2), ("point_id", "<i8")])
_POINT = np.dtype([("id", "<i8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("length", "<u8")])
_TRACK = np.dtype([("image_id", "<u4"), ("keypoint", "<u4")])


@dataclass(frozen=True, eq=False)
class ModelArrays:
    """A COLMAP model as arrays. Images are in the order of `names` (sorted), points in the order of `points`.

    names: [I]. cameras: [I]. poses: [I]. keypoints: float32 [O, 2], all images after one another, those of image
    i at offsets[i]:offsets[i+1]. point_index: int32 [O], the point of each keypoint or -1.
    points: float64 [P, 3]. point_errors: float32 [P], mean reprojection error in pixels.
    """

    names: tuple[str, ...]
    cameras: tuple[Camera, ...]
    poses: tuple[Pose, ...]
    offsets: np.ndarray
    keypoints: np.ndarray
    point_index: np.ndarray
    points: np.ndarray
    point_errors: np.ndarray


def model_arrays(model: Reconstruction) -> ModelArrays:
    """A model as arrays."""
    with tempfile.TemporaryDirectory() as folder:
        model.write_binary(folder)
        observations = _parse_images(Path(folder, "images.bin").read_bytes())
        point_file = np.frombuffer(Path(folder, "points3D.bin").read_bytes(), np.uint8)
    cameras, poses = posed_cameras(model)
    per_image = [observations[name] for name in cameras]
    offsets = np.concatenate([[0], np.cumsum([len(o) for o in per_image])]).astype(np.int64)
    stacked = np.concatenate([np.zeros(0, _OBSERVATION), *per_image])
    records = _parse_points(point_file, np.fromiter(model.points3D.keys(), np.int64), stacked["point_id"])
    return ModelArrays(
        tuple(cameras), tuple(cameras.values()), tuple(poses.values()), offsets,
        stacked["xy"].astype(np.float32), _index_of(stacked["point_id"], records["id"]),
        np.ascontiguousarray(records["xyz"]), records["error"].astype(np.float32),
    )  # fmt: skip


def write_arrays(folder: Path, arrays: ModelArrays, colours: np.ndarray | None = None) -> None:
    """Write arrays as a COLMAP model in its binary form, whole or not at all; ids of images and points count from 1.

    colours: uint8 [P, 3], RGB of the points; black without.
    """
    pairs = zip(arrays.names, arrays.cameras, strict=True), zip(arrays.names, arrays.poses, strict=True)
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        build_model(dict(pairs[0]), dict(pairs[1])).write_binary(temporary)
        images = temporary / "images.bin"
        images.write_bytes(_with_observations(images.read_bytes(), arrays))
        (temporary / "points3D.bin").write_bytes(_packed_points(arrays, colours))


def _image_records(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Of each record of images.bin where it starts, where its name starts and ends, and how many observations follow
    the number of them."""
    position = 8
    for _ in range(int.from_bytes(data[:8], "little")):
        start = position + 4 + 7 * 8 + 4  # image id, quaternion and translation, camera id
        end = data.index(b"\0", start)
        count = int.from_bytes(data[end + 1 : end + 9], "little")
        yield position, start, end, count
        position = end + 9 + count * _OBSERVATION.itemsize


def _parse_images(data: bytes) -> dict[str, np.ndarray]:
    """images.bin -> observations of each image (xy, point id or -1), by name."""
    return {
        data[start:end].decode(): np.frombuffer(data, _OBSERVATION, count, end + 9)
        for _, start, end, count in _image_records(data)
    }


def _with_observations(data: bytes, arrays: ModelArrays) -> bytes:
    """images.bin of images without observations -> the same with them. The images are in the order of the arrays."""
    observations = np.empty(len(arrays.point_index), _OBSERVATION)
    observations["xy"] = arrays.keypoints
    observations["point_id"] = np.where(arrays.point_index < 0, -1, arrays.point_index.astype(np.int64) + 1)
    parts = [data[:8]]
    for (position, _, end, _), first, last in zip(
        _image_records(data), arrays.offsets[:-1], arrays.offsets[1:], strict=True
    ):
        parts += [data[position : end + 1], int(last - first).to_bytes(8, "little"), observations[first:last].tobytes()]
    return b"".join(parts)


def _packed_points(arrays: ModelArrays, colours: np.ndarray | None) -> bytes:
    """points3D.bin: records of _POINT, each with its track behind it."""
    counts = np.diff(arrays.offsets)
    seen = arrays.point_index >= 0
    track = np.empty(len(seen), _TRACK)
    track["image_id"] = np.repeat(np.arange(len(counts)) + 1, counts)
    track["keypoint"] = np.arange(len(seen)) - np.repeat(arrays.offsets[:-1], counts)
    order = np.argsort(arrays.point_index[seen], kind="stable")
    points = np.zeros(len(arrays.points), _POINT)
    points["id"], points["xyz"], points["error"] = np.arange(len(points)) + 1, arrays.points, arrays.point_errors
    points["length"] = np.bincount(arrays.point_index[seen], minlength=len(points))
    if colours is not None:
        points["rgb"] = colours
    sizes = _POINT.itemsize + _TRACK.itemsize * points["length"].astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    packed, is_record = np.empty(sizes.sum(), np.uint8), np.zeros(sizes.sum(), bool)
    is_record[starts[:, None] + np.arange(_POINT.itemsize)] = True
    packed[is_record] = np.frombuffer(points.tobytes(), np.uint8)
    packed[~is_record] = np.frombuffer(track[seen][order].tobytes(), np.uint8)
    return len(points).to_bytes(8, "little") + packed.tobytes()


def _parse_points(data: np.ndarray, ids: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """points3D.bin (bytes) -> records of _POINT, sorted by id.

    Records have different lengths (each ends with its track). COLMAP writes them by rising id, so their places
    follow from the track lengths, which the images' observations tell; that the ids found there agree is checked.
    """
    ids = np.sort(ids)
    track_length = np.bincount(_index_of(observed[observed >= 0], ids), minlength=len(ids))
    ends = 8 + np.cumsum(_POINT.itemsize + 8 * track_length)
    if len(ids) and (ends[-1] != len(data) or track_length.size != len(ids)):
        raise DataError("the model's images and points do not agree: tracks and observations differ")
    start = np.concatenate([[8], ends[:-1]]).astype(np.int64)[: len(ids)]
    records = data[start[:, None] + np.arange(_POINT.itemsize)].copy().view(_POINT).reshape(-1)
    if not np.array_equal(records["id"], ids):
        raise DataError("the model's images and points do not agree: tracks and observations differ")
    return records


def _index_of(values: np.ndarray, sorted_values: np.ndarray) -> np.ndarray:
    """Index int32 of each value in `sorted_values`, -1 for the value -1."""
    return np.where(values < 0, -1, np.searchsorted(sorted_values, values)).astype(np.int32)
