"""A user's own photographs: what is in their folder, and the configuration that maps it, written to be gone on with."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import yaml

from lbr.config import load_config
from lbr.datasets.reading import in_one_format, model_folder, photographs, remarks_on_queries, shown_by
from lbr.errors import ConfigError, DataError
from lbr.geometry.pose import Pose
from lbr.io.colmap import posed_cameras, read_model
from lbr.io.files import read_text, remove, write_text
from lbr.io.images import list_images, list_others
from lbr.io.text_lists import read_listed_poses, read_names, read_query_list, write_poses

MODELS = ("3D-models", "sparse/0", "sparse")  # where a COLMAP model with the poses of the photographs may be
HELD_OUT_EVERY = 8  # without queries, one photograph of so many is localized instead of mapped
EXHAUSTIVE = 60  # photographs without poses up to which each is matched with each
TRAINING_MINUTES = (3.0, 8.0)  # for 60 photographs or fewer, for 160 or more; fewer where all is learned before
MANY_PER_MINUTE = 100  # of many more: each must be seen a few times
QUERY = "query"  # folder of queries, below that of the photographs or of the links
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FOLDER_CONFIG = CONFIGS / "folder.yaml"
OF_THE_COMMAND = ("base=", "workspace=", "dataset=", "dataset.")  # overrides of what the file is known again by
CONFIG, LINKS, HELD_OUT, HELD_OUT_POSES = "config.yaml", "photographs", "held-out.txt", "held-out-poses.txt"
TRUTH = "query-poses.txt"


@dataclass(frozen=True)
class Found:
    """What a folder of photographs offers. None: there is none.

    images: the folder that names are relative to. db_folder, query_folder: below it. model: a COLMAP model with the
    photographs' poses. queries: a list of queries with their cameras. ground_truth: their true poses.
    """

    root: Path
    images: Path
    db_folder: str
    model: Path | None
    queries: Path | None
    query_folder: str | None
    ground_truth: Path | None

    @property
    def has_queries(self) -> bool:
        return self.queries is not None or self.query_folder is not None


def look_at(photos: Path) -> Found:
    """The layout of a folder: ours (images/db, images/query, 3D-models, queries.txt, gt.txt), COLMAP's (images,
    sparse/0), or photographs as they come. Raises DataError when there is no such folder, or no photograph in it.
    """
    root = Path(os.path.abspath(photos))
    if not root.is_dir():
        raise DataError(f"{photos}: no such folder of photographs")
    images = root / "images" if (root / "images").is_dir() else root
    db_folder = "db" if (images / "db").is_dir() else "."
    if not list_images(images, db_folder):
        raise DataError(f"{images / db_folder}: no photographs in it (nor below it)")
    query_folder = QUERY if (images / QUERY).is_dir() else None
    return Found(
        root, images, db_folder, _model(root), _file(root / "queries.txt"), query_folder, _file(root / "gt.txt")
    )


def with_queries(found: Found, queries: Path, links: Path) -> Found:
    """With the photographs of `queries`: a folder, one photograph, or a list of names in the folder of photographs.

    Photographs that lie elsewhere are linked, not copied (`link`): names are relative to `links` then. Raises DataError
    when there is nothing at `queries` (absolute).
    """
    if queries.suffix == ".txt" and queries.is_file():
        return replace(found, queries=queries, query_folder=None, ground_truth=None)
    if not queries.exists():
        raise DataError(f"{queries}: no such folder of queries, nor a photograph, nor a list (.txt)")
    if queries.is_dir() and not list_images(queries):
        raise DataError(f"{queries}: no photographs in it (nor below it)")
    return replace(
        found, images=links, db_folder="db" if found.model is None else found.db_folder, queries=None,
        query_folder=QUERY, ground_truth=links.parent / TRUTH if (queries / "gt.txt").is_file() else None,
    )  # fmt: skip


def link(found: Found, queries: Path, links: Path) -> None:
    """Make `links` a folder of links to the photographs to map and to the queries (absolute): all names have one
    root."""
    remove(links)
    links.mkdir(parents=True)
    if found.model is None:  # names may change as nothing refers to them
        (links / "db").symlink_to(found.images / found.db_folder)
    else:
        for entry in sorted(found.images.iterdir()):
            if entry.name != QUERY:
                (links / entry.name).symlink_to(entry)
    if queries.is_dir():
        (links / QUERY).symlink_to(queries)
    else:
        (links / QUERY).mkdir()
        (links / QUERY / queries.name).symlink_to(queries)


def prepare(
    photos: Path, queries: Path | None, workspace: Path, base: Path | None = None, overrides: Sequence[str] = ()
) -> tuple[Path, list[str]]:
    """The configuration file in `workspace` for these photographs, and what to tell the user about them.

    base: the file that it starts from, where a person names another than ours. overrides: settings that a new file
    keeps, so that what follows is made with them too; not those that say what photographs it is about. What is there is
    kept, with whatever a person changed in it, as long as it is about the same photographs and starts from the same
    file. Raises ConfigError when it does not, when the workspace lies among the photographs, or was one of another
    place; DataError when there are no photographs.
    """
    workspace = Path(os.path.abspath(workspace))
    there = look_at(photos)
    mapped = (there.images / there.db_folder).resolve()
    if workspace.resolve().is_relative_to(mapped):
        raise ConfigError(f"{workspace}: lies among the photographs of {mapped}; name a --workspace outside of them")
    queries = queries and Path(os.path.abspath(queries))
    asked = there if queries is None else with_queries(there, queries, workspace / LINKS)
    found, poses = _photographs(there)
    twice = shown_by(_query_files(asked, queries), there.images, found)
    names = sorted(set(found).difference(twice))
    told = [f"{len(names)} photographs to map in {photos}, {_described(there)}", *_left_alone(there)]
    told += remarks_on_queries(len(twice))
    held = [] if asked.has_queries else _choose_held_out(names, workspace)
    sections = {
        "base": os.path.abspath(base or FOLDER_CONFIG),
        "dataset": _dataset(asked) | _keys_of_held_out(held, poses, workspace),
        "workspace": ".",  # the folder of the file, wherever it is moved to
        **_sized(there, len(names)),
    }
    _check_same(workspace / CONFIG, sections, named=base is not None)  # before anything of it is changed
    if queries is not None and asked.images != there.images:
        link(there, queries, workspace / LINKS)
        told += _write_truth(queries / "gt.txt", asked.ground_truth)
    if asked.has_queries:
        told.append(f"queries: {asked.queries or asked.images / (asked.query_folder or '')}")
    else:
        told.append(_write_held_out(held, poses, workspace))
    told.append(_write_once(workspace / CONFIG, sections, overrides))
    return workspace / CONFIG, told


def _photographs(found: Found) -> tuple[list[str], dict[str, Pose]]:
    """Names of the photographs that the dataset will have to map, sorted, and their poses where a model has them."""
    if found.model is None:  # the dataset tells which are left out
        return list(photographs(found.images, list_images(found.images, found.db_folder), [])), {}
    cameras, poses = posed_cameras(read_model(found.model))
    return sorted(in_one_format([name for name in cameras if (found.images / name).is_file()], [])), poses


def _query_files(asked: Found, queries: Path | None) -> set[Path]:
    """The files that are queries, links followed. queries: the folder or the photograph that the user named."""
    if asked.queries is not None:
        return {(asked.images / name).resolve() for name in read_query_list(asked.queries)[0]}
    if queries is not None and queries.is_file():
        return {queries.resolve()}
    folder = queries or (asked.images / asked.query_folder if asked.query_folder else None)
    return {(folder / name).resolve() for name in list_images(folder)} if folder else set()


def _left_alone(found: Found) -> list[str]:
    """Who has raw photographs or films among the others shall know that they are not looked at."""
    kinds = Counter(
        Path(name).suffix.lower() or "without a suffix" for name in list_others(found.images, found.db_folder)
    )
    told = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return [f"left alone, as no photographs that are read here: {told}"] if kinds else []


def _described(found: Found) -> str:
    if found.model is None:
        return "no poses: structure from motion will find them"
    return f"with poses from {found.model.relative_to(found.root)}"


def _dataset(found: Found) -> dict[str, Any]:
    return {
        "name": "folder", "root": str(found.root), "images": str(found.images),
        "model": found.model and str(found.model), "db_folder": found.db_folder,
        "queries": found.queries and str(found.queries), "query_folder": found.query_folder or QUERY,
        "ground_truth": found.ground_truth and str(found.ground_truth), "stylized": "stylized",
    }  # fmt: skip


def _choose_held_out(names: list[str], workspace: Path) -> list[str]:
    """Which photographs to hold out, as there are no queries: the map is tried on them. Those of before, or that a
    person wrote there, as far as they are among the photographs; else one of a few."""
    path = workspace / HELD_OUT
    if (workspace / CONFIG).is_file() and path.is_file():
        listed = set(read_names(path))
        if held := [name for name in names if name in listed]:
            return held
    return names[HELD_OUT_EVERY // 2 :: HELD_OUT_EVERY]


def _keys_of_held_out(held: list[str], poses: dict[str, Pose], workspace: Path) -> dict[str, str]:
    """Keys of the dataset that hold these photographs out."""
    keys = {"held_out": HELD_OUT} if held else {}
    return keys | ({"ground_truth": str(workspace / HELD_OUT_POSES)} if held and poses else {})


def _write_held_out(held: list[str], poses: dict[str, Pose], workspace: Path) -> str:
    """Write their list, and their poses where there are any; what to tell of it."""
    if not held:
        return "no queries, and too few photographs to hold any out: the map alone is made"
    write_text(workspace / HELD_OUT, "".join(f"{name}\n" for name in held))
    if poses:
        write_poses(workspace / HELD_OUT_POSES, {name: poses[name] for name in held})
    return f"no queries: {len(held)} photographs are held out and localized ({HELD_OUT})"


def _write_truth(path: Path, target: Path | None) -> list[str]:
    """The true poses that lie beside the queries, under the names that the queries have here; what to tell of it."""
    if target is None:
        return []
    poses, wrong = read_listed_poses(path)
    write_poses(target, {f"{QUERY}/{name.removeprefix(f'{QUERY}/')}": pose for name, pose in poses.items()})
    return [f"true poses of {len(poses)} queries: {path}", *(f"left out: {problem}" for problem in wrong)]


def _sized(found: Found, count: int) -> dict[str, Any]:
    """Sections that depend on what there is."""
    minutes = max(float(np.clip(count / 20, *TRAINING_MINUTES)), count / MANY_PER_MINUTE)
    sections: dict[str, Any] = {"recognition": {"training": {"epochs": "auto", "max_minutes": minutes}}}
    if found.model is None:
        sections["pairs"] = {"name": "exhaustive" if count <= EXHAUSTIVE else "similar"}
        sections["reconstruction"] = {"name": "sfm"}
    return sections


def _check_same(path: Path, sections: dict[str, Any], named: bool) -> None:
    """Raises ConfigError when the configuration that is there is about something else. named: a person said which base
    it is to start from."""
    if not path.is_file():
        return
    there, wanted = yaml.safe_load(read_text(path)), sections["dataset"]
    there = there if isinstance(there, dict) else {}
    dataset = there.get("dataset")
    _check_place(path, there, wanted)
    if dataset != wanted:
        if isinstance(dataset, dict) and all(dataset.get(key) == wanted[key] for key in ("root", "model")):
            raise ConfigError(
                f"{path}: is about these photographs with other queries; name another --workspace, or localize "
                f"yours in its map: lbr locate --config {quote(str(path))} QUERIES"
            )
        raise ConfigError(f"{path}: is about other photographs; name another --workspace, or remove that file")
    if named and there.get("base") != sections["base"]:
        raise ConfigError(
            f"{path}: starts from {there.get('base')}, not from {sections['base']}; name another --workspace, "
            "or change `base` in it"
        )


def _check_place(path: Path, there: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raises ConfigError when the configuration was written for another folder, and would work in that one."""
    workspace = Path(os.path.abspath(path.parent / str(there.get("workspace", "."))))
    if workspace.resolve() != path.parent.resolve():
        raise ConfigError(
            f"{path}: works in {workspace}, not in the folder it lies in; write `workspace: .` there, or name that "
            "folder as --workspace"
        )
    dataset = there.get("dataset")
    for key in ("images", "ground_truth"):  # the two that may lie in the workspace
        value, mine = (str(section.get(key)) if isinstance(section, dict) else "" for section in (dataset, wanted))
        if value != mine and Path(value).name == Path(mine).name in (LINKS, HELD_OUT_POSES, TRUTH):
            raise ConfigError(f"{path}: was moved: dataset.{key} is {value} there, now {mine}; change it")


def _write_once(path: Path, sections: dict[str, Any], overrides: Sequence[str]) -> str:
    """Write the configuration with the overrides in it, unless it is there; what to tell of it."""
    is_there = path.is_file()
    kept = [] if is_there else [text for text in overrides if not text.startswith(OF_THE_COMMAND)]
    passing = [text for text in overrides if text not in kept]
    alone = f" ({', '.join(passing)} of this command alone)" if passing else ""
    if is_there:
        return f"configuration: {path}, as it is there{alone}; remove it to start from ours"
    write_text(path, yaml.safe_dump(sections, sort_keys=False))
    try:
        settings = load_config(path, overrides).model_dump(mode="json")
    except ConfigError:
        remove(path)
        raise
    for override in kept:
        _set(sections, settings, override.partition("=")[0].split("."))
    write_text(path, yaml.safe_dump(sections, sort_keys=False))
    return f"configuration: {path}{alone}; change it, and `lbr VERB --config` it, as you like"


def _set(sections: dict[str, Any], settings: dict[str, Any], keys: Sequence[str]) -> None:
    """Put the setting of that place, and what variant its section is, into the sections that are written."""
    for key in keys[:-1]:
        sections, settings = sections.setdefault(key, {}), settings[key]
        sections |= {"name": settings["name"]} if "name" in settings else {}
    sections[keys[-1]] = settings[keys[-1]]


def _model(root: Path) -> Path | None:
    try:
        return model_folder(root, MODELS)
    except DataError:
        return None


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None


def splits(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Command line arguments -> (paths, overrides `section.key=value`)."""
    overrides = [text for text in arguments if "=" in text and not Path(text).exists()]
    return [text for text in arguments if text not in overrides], overrides
