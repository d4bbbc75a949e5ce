"""`lbr info`: what is in a workspace, in one of its outputs, or in a COLMAP model, in a few lines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np

from lbr.errors import DataError
from lbr.io.colmap import read_model
from lbr.io.features_file import FeatureFile
from lbr.io.h5_file import open_h5
from lbr.io.images import SUFFIXES
from lbr.io.labels import read_vocabulary
from lbr.io.matches_file import FORMAT as MATCHES
from lbr.io.matches_file import MatchFile
from lbr.io.predictions_file import FORMAT as PREDICTIONS
from lbr.io.predictions_file import PredictionFile
from lbr.io.text_lists import read_listed_poses, read_pairs, read_query_list
from lbr.mapping import georeference
from lbr.mapping.map import Map, open_map
from lbr.pipeline.georeference import describe as describe_place
from lbr.pipeline.results import read_localizations
from lbr.pipeline.workspace import Workspace, read_manifest
from lbr.retrieval.index import open_index

UNKNOWN = (
    "nothing that info knows (a workspace, an output of one, a COLMAP model, a list of queries, poses or pairs, a "
    "checkpoint)"
)


def describe(path: Path) -> str:
    """Text about a file or folder of ours, and how it was made. Raises DataError when there is nothing, or nothing that
    we know."""
    told = _of_folder(path) if path.is_dir() else _of_file(path)
    made = read_manifest(path)
    if made is None:
        return told
    num = len(made["problems"])
    return f"{told}\nmade by `lbr {made['stage']}`: {made['summary']}" + (f"; {num} problems" if num else "")


def _of_folder(path: Path) -> str:
    marks = {
        "map.json": _describe_map, "index.json": _describe_index,
        "vocabulary.txt": _describe_labels, "masks/vocabulary.txt": _describe_labels,
        "localizations.jsonl": _describe_run,
    }  # fmt: skip
    for mark, told in marks.items():
        if (path / mark).is_file():
            return told((path / mark).parent)
    if (path / "pictures").is_dir():
        num = len(list((path / "pictures").rglob("*.jpg")))
        return f"what was recognised in {num} images: masks, confidences, pictures"
    if any(path.glob("*.manifest.json")):
        return _describe_workspace(path)
    return str(read_model(path).summary())


def _of_file(path: Path) -> str:
    by_suffix = {
        ".jsonl": _describe_localizations, ".h5": _describe_h5, ".hdf5": _describe_h5, ".pt": _describe_checkpoint,
        ".json": _describe_georeference, ".txt": _describe_list,
    }  # fmt: skip
    if path.suffix not in by_suffix:
        raise DataError(f"{path}: {UNKNOWN}")
    return by_suffix[path.suffix](path)


def _describe_workspace(path: Path) -> str:
    """What each stage made, in their order."""
    lines = [f"workspace {path.resolve().name}"]
    for output in Workspace(path).outputs:
        made = read_manifest(output)
        if made is not None:
            state = "" if output.exists() else " (gone since)"
            lines.append(f"  {made['stage']:<12} {output.relative_to(path)}: {made['summary']}{state}")
    runs = sorted(run.name for run in (path / "runs").glob("*") if run.is_dir())
    return "\n".join([*lines, *([f"runs: {', '.join(runs)}"] if runs else [])])


def _describe_run(path: Path) -> str:
    return _describe_localizations(path / "localizations.jsonl")


def _describe_index(path: Path) -> str:
    index = open_index(path)
    images = np.diff(index.by_instance.indptr)[1:]
    images = images[images > 0]
    if not len(images):
        return f"index of {len(index)} images, which show no instance"
    return (
        f"index of {len(images)} instances in {len(index)} images, an instance in {images.min()} to {images.max()}, "
        f"median {int(np.median(images))}; {len(index.ambiguous)} look like another"
    )


def _describe_labels(path: Path) -> str:
    vocabulary = read_vocabulary(path / "vocabulary.txt")
    return f"{len(list(path.rglob('*.png'))):,} images, labelled with {vocabulary.num_classes - 1} instances"


def _describe_checkpoint(path: Path) -> str:
    from lbr.recognition.checkpoints import load_checkpoint  # torch, which nothing else here needs

    found = load_checkpoint(path)
    width, height = found.input_size
    scores = ", ".join(f"{name} {value:.3g}" for name, value in found.scores.items()) or "none told"
    return (
        f"network {found.settings.name} on {found.settings.encoder}, {found.vocabulary.num_classes - 1} instances, "
        f"input {width}x{height} {found.colour_order}\nscores of the held-out images: {scores}\n"
        f"{path.stat().st_size / 1e6:.1f} MB"
    )


def _describe_georeference(path: Path) -> str:
    if path.name != georeference.FILE:
        raise DataError(f"{path}: {UNKNOWN}; scores are read as the JSON they are")
    lines = [describe_place(found) for found in georeference.read_georeferences(path.parent).values()]
    return "\n".join(lines) or "no place lies on earth"


def _describe_list(path: Path) -> str:
    """A list has queries, poses or pairs; names alone could be any."""
    cameras, wrong = read_query_list(path)
    known = sum(camera is not None for camera in cameras.values())
    if known:
        return f"list of {len(cameras)} queries, {known} of them with intrinsics; {len(wrong)} lines that are none"
    poses, wrong = read_listed_poses(path)
    if poses:
        return f"list of {len(poses)} poses, cam_from_world; {len(wrong)} lines that are none"
    try:
        return f"list of {len(read_pairs(path)):,} pairs"
    except DataError:
        named = [name for name in cameras if PurePosixPath(name).suffix.lower() in SUFFIXES]
        if not named:
            raise DataError(f"{path}: {UNKNOWN}") from None
        return f"list of {len(named)} names of images"


def _describe_h5(path: Path) -> str:
    with open_h5(path) as file:
        kind = file.attrs.get("format")
    return {MATCHES: _describe_matches, PREDICTIONS: _describe_predictions}.get(kind, _describe_features)(path)


def _describe_predictions(path: Path) -> str:
    with PredictionFile(path) as file:
        if not file.names:
            return f"{path}: a prediction file without images"
        first = file.read(file.names[0])
        height, width, ranks = first.ids.shape
        return (
            f"predictions of {len(file.names)} images, {len(first.presence) - 1} instances, {ranks} ranks on "
            f"{width}x{height} cells, global feature of {len(first.feature)}\n"
            f"{path.stat().st_size / len(file.names) / 1e3:.1f} kB per image"
        )


def _describe_map(path: Path) -> str:
    scene = open_map(path)
    sizes = {file.name.removesuffix(".npy"): file.stat().st_size for file in path.iterdir() if file.is_file()}
    counts = np.diff(scene.offsets)
    lines = [
        f"map of {len(scene)} images, {len(scene.cameras)} cameras, "
        f"local feature {scene.extractor.get('name', 'unknown')}",
        *_describe_places(scene, path),
        f"{len(scene.points):,} points, mean track {scene.track_lengths.mean():.1f}, "
        f"mean error {scene.point_errors.mean():.2f} px",
        f"{counts.sum():,} observations, per image {counts.min()} to {counts.max()}, median {int(np.median(counts))}",
        f"{scene.covisibility.nnz // 2:,} pairs of images share points",
        f"{sum(sizes.values()) / 1e6:.2f} MB on disk, {sum(sizes.values()) / len(scene) / 1e3:.1f} kB per image:",
        *(f"  {size / 1e6:10.3f} MB  {name}" for name, size in sorted(sizes.items(), key=lambda item: -item[1])),
    ]
    return "\n".join(lines)


def _describe_places(scene: Map, path: Path) -> list[str]:
    """How many places there are, where it is more than one; and that lengths have no unit, where they have none."""
    lines = []
    if scene.num_places > 1:
        sizes = ", ".join(str(count) for count in np.bincount(scene.place))
        lines.append(f"{scene.num_places} separate places ({sizes} images), each in a frame of its own")
    lines += [describe_place(found) for found in georeference.read_georeferences(path).values()]
    if scene.units == "model":
        lines.append("lengths are in units of the model: structure from motion knows no scale")
    return lines


def _describe_features(path: Path) -> str:
    with FeatureFile(path) as features:
        if not features.names:
            return f"{path}: a feature file without images"
        counts = np.array([len(features.read(name)) for name in features.names])
        first = features.read(features.names[0])
        kind = "hloc's" if features.is_hloc else "ours"
        return (
            f"features of {len(counts)} images ({kind}), {counts.sum():,} keypoints, per image {counts.min()} to "
            f"{counts.max()}, median {int(np.median(counts))}\ndescriptors: {first.descriptors.shape[1]} x "
            f"{first.descriptors.dtype}, labels: {'yes' if first.labels is not None else 'no'}\n"
            f"{path.stat().st_size / len(counts) / 1e3:.1f} kB per image; extractor: {features.extractor or 'unknown'}"
        )


def _describe_matches(path: Path) -> str:
    with MatchFile(path) as matches:
        counts = [len(found) for first in matches.first_names() for found in matches.read(first).values()]
        return (
            f"matches of {len(counts):,} pairs, {sum(counts):,} in all, per pair {min(counts, default=0)} to "
            f"{max(counts, default=0)}, median {int(np.median(counts)) if counts else 0}"
        )


def _describe_localizations(path: Path) -> str:
    records = read_localizations(path)
    statuses = Counter(r["status"] for r in records)
    lines = [f"{len(records)} queries: " + ", ".join(f"{n} {status}" for status, n in statuses.most_common())]
    for r in records:
        std = f", std {100 * r['position_std_m']:.2f} cm" if r.get("position_std_m") is not None else ""
        lines.append(f"  {r['status']:<9} {r['query']}: {r['reason']}{std}")
    return "\n".join(lines)
