"""The stages, in the order of the flow: each reads files, calls the pure modules, and writes one output."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lbr.config import Config
from lbr.datasets import Dataset, load_dataset
from lbr.errors import ConfigError, DataError
from lbr.io.colmap import Reconstruction, model_arrays, posed_cameras, read_model, write_model
from lbr.io.features_file import FeatureFile, features_from_arrays, write_features
from lbr.io.files import write_text
from lbr.io.matches_file import MatchFile, write_matches
from lbr.io.text_lists import Problem, read_pairs, write_pairs, write_poses
from lbr.mapping.map import build_map, covisibility, write_map
from lbr.mapping.sfm import SfmSettings, structure_from_motion
from lbr.mapping.triangulation import TriangulationSettings, triangulate, verify_pairs
from lbr.parallel import num_cores, parallel_map
from lbr.pipeline.results import localization_to_json, poses_of, read_localizations
from lbr.pipeline.workers import ExtractImage, LocalizeQuery, MatchImage, group_pairs
from lbr.pipeline.workspace import (
    Making,
    Recipe,
    Workspace,
    digest_files,
    digest_images,
    digest_text,
    making,
    problems_of,
    read_manifest,
    reusable,
)  # fmt: skip
from lbr.retrieval.candidates import ListedCandidates
from lbr.retrieval.pairs import (
    CovisibilityPairs,
    ListedPairs,
    Pair,
    PosePairs,
    pairs_exhaustive,
    pairs_from_covisibility,
    pairs_from_poses,
)  # fmt: skip
from lbr.settings import Settings
from lbr.types import Camera, Matches, Query


@dataclass(frozen=True)
class Report:
    """What a stage says at its end: the output, one line about it, what could not be done."""

    output: Path
    summary: str
    reused: bool
    problems: tuple[Problem, ...] = ()


class Stages:
    """The stages of one configuration. Each method makes its output, or says that it is there already."""

    def __init__(self, config: Config, overwrite: bool = False) -> None:
        self.config = config
        self.overwrite = overwrite
        self.dataset: Dataset = load_dataset(config.dataset)
        self.workspace = Workspace(config.workspace, config.run)

    # ---- features -------------------------------------------------------------------------------------------

    def extract(self) -> list[Report]:
        """Local features of the db images and of the queries."""
        query_names = [query.name for query in self.dataset.queries]
        reports = [self._extract(self.workspace.db_features, self.dataset.db_names)]
        return reports + ([self._extract(self.workspace.query_features, query_names)] if query_names else [])

    def _extract(self, output: Path, names: Sequence[str]) -> Report:
        root = self.dataset.image_root
        inputs = {"images": digest_images(root, names), **_weights(self.config.extractor)}
        recipe = Recipe("extract", self._dump("extractor"), inputs)
        if reusable(output, recipe, self.overwrite):
            return reused(output)
        with making(output, recipe) as work:
            done = work.parts.keys()
            todo = [name for name in names if name not in done]
            extract = ExtractImage(root, self.config.extractor)
            for name, arrays in parallel_map(extract, todo, self.config.parallel, f"extract {output.stem}"):
                _keep(work, name, arrays)
            found = sorted(work.parts.keys())
            if not found:
                raise DataError(f"{root}: not one of {len(names)} images could be read (first: {work.problems[0]})")
            keypoints = 0

            def items() -> Iterator:
                nonlocal keypoints
                for name in found:
                    features = features_from_arrays(work.parts.get(name))
                    keypoints += len(features)
                    yield name, features

            write_features(output, items(), json.dumps(self._dump("extractor")["extractor"], sort_keys=True))
            work.facts["summary"] = f"{len(found)} images, {keypoints:,} keypoints"
        return made(output)

    # ---- pairs and matches ----------------------------------------------------------------------------------

    def pairs(self) -> Report:
        """Which db images to match with each other."""
        output, settings = self.workspace.pairs, self.config.pairs
        inputs = {"images": digest_images(self.dataset.image_root, self.dataset.db_names)}
        if isinstance(settings, ListedPairs):
            inputs["list"] = digest_files([settings.path]) if settings.path.is_file() else "missing"
        elif self.dataset.model:
            inputs["model"] = digest_files(self.dataset.model_files)
        recipe = Recipe("pairs", self._dump("pairs"), inputs)
        if reusable(output, recipe, self.overwrite):
            return reused(output)
        with making(output, recipe) as work:
            pairs = self._choose_pairs(work)
            if not pairs:
                raise DataError(f"pairs.name={settings.name} gives no pair of {len(self.dataset.db_names)} db images")
            write_pairs(output, pairs)
            work.facts["summary"] = f"{len(pairs):,} pairs of {len(self.dataset.db_names)} images"
        return made(output)

    def _choose_pairs(self, work: Making) -> list[tuple[str, str]]:
        settings, dataset = self.config.pairs, self.dataset
        if isinstance(settings, ListedPairs):
            known = set(dataset.db_names)
            listed = read_pairs(settings.path)
            kept = [pair for pair in listed if known.issuperset(pair)]
            if len(kept) < len(listed):
                work.problems.append(
                    Problem(str(settings.path), f"{len(listed) - len(kept)} pairs name unknown db images")
                )
            return kept
        if isinstance(settings, PosePairs) and dataset.poses is not None:
            return pairs_from_poses(dataset.poses, settings)
        if isinstance(settings, CovisibilityPairs) and dataset.model is not None:
            arrays = model_arrays(read_model(dataset.model))
            seen = arrays.point_index >= 0
            if not seen.any():
                raise DataError(f"{dataset.model}: has no points, so no covisibility; use pairs.name=poses")
            offsets = np.concatenate([[0], np.cumsum(seen)])[arrays.offsets]
            shared = covisibility(offsets, arrays.point_index[seen], len(arrays.points))
            return pairs_from_covisibility(arrays.names, shared, settings)
        if isinstance(settings, PosePairs | CovisibilityPairs):
            raise ConfigError(f"pairs.name={settings.name} needs dataset.model; without one use pairs.name=exhaustive")
        return pairs_exhaustive(dataset.db_names)

    def match(self) -> Report:
        """Matches of the pairs, before any geometry."""
        ws, output = self.workspace, self.workspace.matches
        recipe = Recipe(
            "match", self._dump("matcher"), {**_identities(ws.db_features, ws.pairs), **_weights(self.config.matcher)}
        )
        if reusable(output, recipe, self.overwrite):
            return reused(output)
        with making(output, recipe) as work:
            with FeatureFile(ws.db_features) as features:
                known = set(features.names)
            pairs = [pair for pair in read_pairs(ws.pairs) if known.issuperset(pair)]
            done = work.parts.keys()
            todo = [item for item in group_pairs(pairs) if item[0] not in done]
            for item, arrays in parallel_map(
                MatchImage(ws.db_features, self.config.matcher), todo, self.config.parallel, "match"
            ):
                _keep(work, item[0], arrays)
            found = sorted(work.parts.keys())
            total = sum(len(work.parts.get(name)["indices"]) for name in found)
            if not total:
                raise DataError(f"{ws.pairs}: not one match in {len(pairs)} pairs; look at the pairs and the matcher")
            write_matches(output, ((name, work.parts.get(name)) for name in found))
            work.facts["summary"] = f"{total:,} matches of {len(pairs):,} pairs"
        return made(output)

    # ---- reconstruction and map -----------------------------------------------------------------------------

    def reconstruct(self) -> Report:
        """3D points: triangulated with the given poses, or structure from motion; and the map of them."""
        ws = self.workspace
        inputs = {**_identities(ws.db_features, ws.matches), "model": digest_files(self.dataset.model_files)}
        recipe = Recipe("reconstruct", self._dump("reconstruction", "seed"), inputs)
        if reusable(ws.map, recipe, self.overwrite):
            return reused(ws.map)
        with making(ws.map, recipe) as work, FeatureFile(ws.db_features) as features:
            self._write_sfm(features, work)
            arrays = model_arrays(read_model(ws.sfm))
            scene = build_map(
                arrays,
                [features.read(name).descriptors for name in arrays.names],
                json.loads(features.extractor or "{}"),
            )
            bare = [n for n, count in zip(scene.names, np.diff(scene.offsets), strict=True) if count == 0]
            work.problems.extend(Problem(n, "no 3D point is seen in it: no query can be localized by it") for n in bare)
            write_map(ws.map, scene)
            work.facts["summary"] = (
                f"{len(scene)} images, {len(scene.points):,} points, {len(scene.keypoints):,} observations, "
                f"mean error {scene.point_errors.mean():.2f} px, mean track {scene.track_lengths.mean():.1f}"
            )
        return made(ws.map)

    def _write_sfm(self, features: FeatureFile, work: Making) -> None:
        config, names = self.config, [n for n in self.dataset.db_names if n in features]
        cameras = {name: self.dataset.cameras[name] for name in names}
        keypoints = {name: features.read(name).keypoints for name in names}
        with MatchFile(self.workspace.matches) as matches:
            found = _all_matches(matches)
            if isinstance(config.reconstruction, TriangulationSettings):
                if self.dataset.poses is None:
                    raise ConfigError(
                        "reconstruction.name=triangulation needs dataset.model; use reconstruction.name=sfm"
                    )
                poses = {name: self.dataset.poses[name] for name in names}
                verified = verify_pairs(cameras, poses, keypoints, found, config.reconstruction)
                model = triangulate(cameras, poses, keypoints, verified, config.reconstruction, config.seed)
            else:
                model = self._from_motion(cameras, keypoints, found, config.reconstruction, work)
        write_model(self.workspace.sfm, model)

    def _from_motion(
        self,
        cameras: dict[str, Camera],
        keypoints: dict[str, np.ndarray],
        found: Iterator[tuple[Pair, Matches]],
        settings: SfmSettings,
        work: Making,
    ) -> Reconstruction:
        raw = {pair: matches.indices for pair, matches in found if len(matches) >= settings.min_matches}
        models = structure_from_motion(cameras, keypoints, raw, settings, self.config.seed)
        if len(models) > 1:
            sizes = ", ".join(str(m.num_reg_images()) for m in models)
            work.problems.append(
                Problem("sfm", f"{len(models)} separate models ({sizes} images); the largest is the map")
            )
        outside = sorted(set(cameras) - set(posed_cameras(models[0])[0]))
        work.problems.extend(Problem(name, "not registered by structure from motion") for name in outside)
        return models[0]

    # ---- localization and evaluation ------------------------------------------------------------------------

    def localize(self) -> Report:
        """Poses of the queries."""
        ws, config, queries = self.workspace, self.config, self.dataset.queries
        if not queries:
            raise DataError("the dataset has no queries to localize: set dataset.queries or dataset.query_folder")
        listed = config.candidates.path if isinstance(config.candidates, ListedCandidates) else None
        inputs = {
            **_identities(ws.map, ws.query_features),
            "queries": digest_text(repr(queries)),
            **({"candidates": digest_files([listed])} if listed else {}),
            **_weights(config.localization.matcher),
        }
        recipe = Recipe("localize", self._dump("localization", "candidates", "seed"), inputs)
        if reusable(ws.localizations, recipe, self.overwrite):
            return reused(ws.localizations)
        with making(ws.localizations, recipe) as work:
            lines = self._localize(queries, work)
            write_text(ws.localizations, "".join(f"{lines[query.name]}\n" for query in queries))
            records = read_localizations(ws.localizations)
            named = {self.dataset.result_name(n): pose for n, pose in poses_of(records).items()}
            write_poses(ws.poses, named)
            statuses = Counter(r["status"] for r in records)
            work.facts["summary"] = f"{len(records)} queries: " + ", ".join(
                f"{statuses[s]} {s}" for s in ("refined", "verified", "weak", "failed")
            )
            known = problems_of(ws.query_features)
            work.problems.extend(p for p in known if p not in work.problems)
        return made(ws.localizations)

    def _localize(self, queries: Sequence[Query], work: Making) -> dict[str, str]:
        ws, config = self.workspace, self.config
        function = LocalizeQuery(
            ws.map,
            ws.query_features,
            self.dataset.image_root,
            config.localization,
            config.candidates,
            config.seed,
            max(1, num_cores() // config.parallel.num_workers),
        )
        function.open()  # a broken map is one error, not one for every query
        done = work.parts.keys()
        todo = [query for query in queries if query.name not in done]
        for query, result in parallel_map(function, todo, config.parallel, "localize"):
            line = json.dumps(localization_to_json(result, query.condition))
            work.parts.put(query.name, {"line": np.frombuffer(line.encode(), np.uint8)})
        return {query.name: work.parts.get(query.name)["line"].tobytes().decode() for query in queries}

    def _dump(self, *sections: str) -> dict:
        dumped = self.config.model_dump(mode="json", include=set(sections))
        return {name: dumped[name] for name in sections}


def _keep(work: Making, name: str, arrays: dict[str, np.ndarray] | Problem) -> None:
    if isinstance(arrays, Problem):
        work.problems.append(arrays)
    else:
        work.parts.put(name, arrays)


def _all_matches(matches: MatchFile) -> Iterator[tuple[tuple[str, str], Matches]]:
    for first in matches.first_names():
        for second, found in matches.read(first).items():
            yield (first, second), found


def _weights(settings: Settings) -> dict[str, str]:
    """The digest of a checkpoint that settings name: other weights under the same name are another input."""
    path = getattr(settings, "weights", None)
    return {"weights": digest_files([path])} if path else {}


def _identities(*outputs: Path) -> dict[str, str]:
    """The identities of upstream outputs. Raises DataError, naming the stage to run, when one is not there."""
    stages = {"features-db.h5": "extract", "features-query.h5": "extract", "pairs-mapping.txt": "pairs",
              "matches.h5": "match", "map": "reconstruct"}  # fmt: skip
    found: dict[str, str] = {}
    for output in outputs:
        manifest = read_manifest(output)
        if manifest is None or not output.exists():
            raise DataError(f"{output}: not there yet; run `lbr {stages[output.name]}` first, or `lbr run` for all")
        found[output.name] = manifest["identity"]
    return found


def made(output: Path) -> Report:
    manifest = read_manifest(output) or {}
    return Report(output, f"{manifest['summary']} ({manifest['seconds']:.1f} s)", False, tuple(problems_of(output)))


def reused(output: Path) -> Report:
    manifest = read_manifest(output) or {}
    return Report(output, str(manifest["summary"]), True, tuple(problems_of(output)))
