"""`lbr info`: what is in a map, a feature file, a match file, a COLMAP model or a result, in a few lines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from lbr.errors import DataError
from lbr.io.colmap import read_model
from lbr.io.features_file import FeatureFile
from lbr.io.h5_file import open_h5
from lbr.io.matches_file import FORMAT as MATCHES
from lbr.io.matches_file import MatchFile
from lbr.mapping.georeference import read_georeferences
from lbr.mapping.map import Map, open_map
from lbr.pipeline.georeference import describe as describe_place
from lbr.pipeline.results import read_localizations


def describe(path: Path) -> str:
    """Text about a file or folder of ours. Raises DataError when there is nothing, or nothing that we know."""
    if (path / "map.json").is_file():
        return _describe_map(path)
    if path.is_dir():
        return str(read_model(path).summary())
    if path.suffix == ".jsonl":
        return _describe_localizations(path)
    if path.suffix in (".h5", ".hdf5"):
        with open_h5(path) as file:
            is_matches = file.attrs.get("format") == MATCHES
        return _describe_matches(path) if is_matches else _describe_features(path)
    raise DataError(f"{path}: nothing that info knows (a map, a COLMAP model, an .h5, a localizations.jsonl)")


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
    lines += [describe_place(found) for found in read_georeferences(path).values()]
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
