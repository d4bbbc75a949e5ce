"""Every path of a workspace, and the manifests that say what each output was made from."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import lbr
from lbr.errors import DataError, StaleOutput
from lbr.io.files import PartStore, read_text, remove, write_text
from lbr.io.images import ImageFolder
from lbr.io.labels import mask_path
from lbr.io.text_lists import Problem

READ_FILES = {"weights", "start_from", "path"}  # settings that name a file whose contents a recipe has as an input


@dataclass(frozen=True)
class Workspace:
    """Paths of all outputs under one folder; those of localization under runs/<run>/."""

    root: Path
    run: str = "default"

    @property
    def db_features(self) -> Path:
        return self.root / "features-db.h5"

    @property
    def query_features(self) -> Path:
        return self.root / "features-query.h5"

    @property
    def pairs(self) -> Path:
        return self.root / "pairs-mapping.txt"

    @property
    def matches(self) -> Path:
        return self.root / "matches.h5"

    @property
    def sfm(self) -> Path:
        return self.root / "sfm"

    @property
    def map(self) -> Path:
        return self.root / "map"

    @property
    def georeference(self) -> Path:
        return self.map / "georeference.json"

    @property
    def recognition(self) -> Path:
        return self.root / "recognition.pt"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    @property
    def vocabulary(self) -> Path:
        return self.root / "vocabulary.txt"

    @property
    def db_predictions(self) -> Path:
        return self.root / "predictions-db.h5"

    @property
    def query_predictions(self) -> Path:
        return self.root / "predictions-query.h5"

    @property
    def recognition_pictures(self) -> Path:
        return self.root / "recognition"

    @property
    def recognition_scores(self) -> Path:
        return self.root / "recognition.json"

    @property
    def instances(self) -> Path:
        """What was found in the map, before anybody corrects it."""
        return self.root / "instances"

    @property
    def instance_edits(self) -> Path:
        """A person's corrections: read, never written."""
        return self.root / "instances-edits.yaml"

    @property
    def labels(self) -> Path:
        return self.root / "labels"

    @property
    def index(self) -> Path:
        return self.root / "index"

    @property
    def additions(self) -> Path:
        """Photographs that `lbr extend` added to the map, in images/, and their label images, in labels/."""
        return self.root / "additions"

    @property
    def staging(self) -> Path:
        """Work of `lbr extend` until its map is in place."""
        return self.root / ".extend"

    @property
    def prototypes(self) -> Path:
        """What instances look like that came with additions, until the network is trained again."""
        return self.root / "prototypes.npz"

    @property
    def run_folder(self) -> Path:
        return self.root / "runs" / self.run

    @property
    def localizations(self) -> Path:
        return self.run_folder / "localizations.jsonl"

    @property
    def poses(self) -> Path:
        return self.run_folder / "poses.txt"

    @property
    def positions(self) -> tuple[Path, Path]:
        """The poses on earth, as a table and for map viewers."""
        return self.run_folder / "positions.csv", self.run_folder / "positions.geojson"

    @property
    def report(self) -> Path:
        return self.run_folder / "report.json"

    @property
    def outputs(self) -> tuple[Path, ...]:
        """What the stages make, in their order."""
        return (
            self.recognition, self.db_predictions, self.query_predictions, self.db_features, self.query_features,
            self.pairs, self.matches, self.map, self.georeference, self.instances, self.labels, self.index,
            self.localizations,
        )  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """What an output is made of: the stage, the sections of the configuration it reads, the identity of its inputs."""

    stage: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str]

    @cached_property
    def identity(self) -> str:
        """A digest of the recipe, wherever the files lie that its settings name; an output made of it carries it on to
        what is made from that output."""
        text = json.dumps([self.stage, _without_folders(self.config), self.inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Making:
    """An output in the making: a store for its finished items, the problems met so far, facts for the manifest."""

    parts: PartStore
    problems: list[Problem] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def reusable(output: Path, recipe: Recipe, overwrite: bool) -> bool:
    """Whether `output` is there and made of this recipe. With `overwrite`, one made of another will be replaced.

    Raises StaleOutput, naming what differs, when it is of another recipe and may not be overwritten: recomputing
    unasked deletes hours of work on a typo, reusing unasked gives wrong numbers.
    """
    if not output.exists():
        return False
    made = read_manifest(output)
    if made is None and _parts_folder(output, recipe).exists():
        return False  # killed between the output and its manifest: the parts are there to make it again
    difference = "it has no manifest" if made is None else _difference(output, made, recipe)
    if difference is None:
        return True
    if not overwrite:
        raise StaleOutput(f"{output}: {difference}; pass --overwrite to make it anew, or another workspace= or run=")
    return False


def read_manifest(output: Path) -> dict[str, Any] | None:
    path = manifest_path(output)
    if not path.is_file():
        return None
    try:
        made: dict[str, Any] = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: broken ({error}); remove it and {output.name}, which is made again") from None
    return made


def made_as(manifest: Mapping[str, Any]) -> str:
    """The identity of the recipe that an output was made by; a map that was changed since has one of its own."""
    return str(manifest.get("made_as", manifest["identity"]))


def manifest_path(output: Path) -> Path:
    return output.with_name(output.name + ".manifest.json")


@contextmanager
def making(output: Path, recipe: Recipe) -> Iterator[Making]:
    """Make an output: yields a store of parts that belongs to this recipe alone; writes the manifest at the end.

    Killed in between, the parts stay and the next call goes on from them. Where the block raises, what is to be
    replaced is there again, with its manifest.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = _parts_folder(output, recipe)
    left_over = re.compile(re.escape(f".{output.name}.") + r"([0-9a-f]{16}\.(parts|tmp)|\d+(-\d+)?\.tmp)")
    for path in output.parent.iterdir():
        if left_over.fullmatch(path.name) and path != folder:
            remove(path)
    start = time.time()
    work = Making(PartStore(folder))
    _set_aside(output)
    try:
        yield work
    except BaseException:
        _put_back(output)
        raise
    manifest = {
        "stage": recipe.stage, "identity": recipe.identity, "config": recipe.config, "inputs": recipe.inputs,
        "versions": versions(), "seconds": round(time.time() - start, 3), **work.facts,
        "problems": [[p.what, p.why] for p in work.problems],
    }  # fmt: skip
    write_text(manifest_path(output), json.dumps(manifest, indent=1, default=str))
    work.parts.delete()
    for path in (output, manifest_path(output)):
        remove(_aside(path))


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.before")


def _set_aside(output: Path) -> None:
    """Move an output and its manifest away; one without a manifest, which a killed call left, is no better than what
    was set aside before it."""
    whole = manifest_path(output).exists()
    for path in (manifest_path(output), output):  # an output must never stand beside the manifest of another
        if path.exists() and (whole or not _aside(path).exists()):
            remove(_aside(path))
            os.replace(path, _aside(path))
        remove(path)


def _put_back(output: Path) -> None:
    for path in (output, manifest_path(output)):
        if _aside(path).exists():
            remove(path)
            os.replace(_aside(path), path)


def open_parts(output: Path, recipe: Recipe) -> PartStore:
    """The finished items of an output that another call will pack; processes may add to them at the same time."""
    return PartStore(_parts_folder(output, recipe))


def _parts_folder(output: Path, recipe: Recipe) -> Path:
    return output.with_name(f".{output.name}.{recipe.identity}.parts")


def problems_of(output: Path) -> list[Problem]:
    """The problems recorded when an output was made: reusing it must not hide them."""
    manifest = read_manifest(output)
    return [Problem(what, why) for what, why in manifest["problems"]] if manifest else []


def digest_files(paths: Iterable[Path]) -> str:
    """Digest of the contents of small files (lists, models)."""
    digest = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def digest_images(root: Path, names: Iterable[str]) -> str:
    """Digest of names, sizes and times of images, which are too many to read."""
    return _digest_stats((name, root / name) for name in names)


def digest_photographs(images: ImageFolder, names: Sequence[str]) -> str:
    """As `digest_images`, and of which of them are turned upright."""
    digest, turned = digest_images(images.root, names), sorted(images.turned.intersection(names))
    return digest_text(f"{digest} turned: {turned}") if turned else digest


def digest_named(paths: Mapping[str, Path]) -> str:
    """As `digest_images`, of files by any names."""
    return _digest_stats(paths.items())


def digest_masks(root: Path, names: Iterable[str]) -> str:
    """As `digest_images`, of the label images of these images."""
    return _digest_stats((name, mask_path(root, name)) for name in names)


def _digest_stats(named: Iterable[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, path in named:
        stat = path.stat() if path.exists() else None
        digest.update(f"{name} {stat and (stat.st_size, stat.st_mtime_ns)}\n".encode())
    return digest.hexdigest()[:16]


def digest_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"lbr": lbr.__version__, **{name: version(name) for name in ("numpy", "pycolmap", "opencv-python-headless")}}


def _difference(output: Path, made: Mapping[str, Any], recipe: Recipe) -> str | None:
    """What differs between a manifest and a recipe, in words; None when nothing does."""
    if made_as(made) == recipe.identity:
        return None
    old, new = (_flat(_without_folders(config)) for config in (made["config"], recipe.config))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            return f"was made with {key}={old.get(key)}, now {new.get(key)}"
    if added := sorted(new.keys() - old.keys()):
        return f"was made when there was no {added[0]}"
    changed = [k for k in {**made["inputs"], **recipe.inputs} if made["inputs"].get(k) != recipe.inputs.get(k)]
    of_map = "images" in changed and output == Workspace(output.parent).db_features
    hint = " (`lbr extend` adds photographs to a map, from a folder of their own)" if of_map else ""
    if changed:
        return f"was made from other {', '.join(changed)}{hint}"
    is_same = old == new and made["stage"] == recipe.stage  # of before folders were left out of an identity
    return None if is_same else "was made by another stage"


def _without_folders(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the names alone of the files that they name, as what these hold is an input of its own: where they
    lie changes nothing, in another checkout or on another machine."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found[key] = _without_folders(value)
        else:
            found[key] = Path(value).name if key in READ_FILES and value is not None else value
    return found


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            leaves.update(_flat(value, f"{prefix}{key}."))
        else:
            leaves[prefix + key] = value
    return leaves
