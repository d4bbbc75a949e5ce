"""Photographs to add to a map: their names, files, and what is known of their cameras and poses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from lbr.errors import DataError
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.colmap import posed_cameras, read_model
from lbr.io.exif import is_read_upright
from lbr.io.files import atomic_path
from lbr.io.images import SUFFIXES, copy_upright, image_size, list_images
from lbr.io.labels import sharing_label_image
from lbr.io.text_lists import Problem, read_listed_poses, read_query_list


@dataclass(frozen=True)
class Photographs:
    """files: by name, as the map will call them. cameras, poses: of those that have them. problems: the rest."""

    files: Mapping[str, Path]
    cameras: Mapping[str, Camera] = field(default_factory=dict)
    poses: Mapping[str, Pose] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def without(self, problems: Mapping[str, str]) -> Photographs:
        """The others, and these as problems, each with its reason."""
        told = (*self.problems, *(Problem(name, why) for name, why in problems.items()))
        return replace(self, files={n: p for n, p in self.files.items() if n not in problems}, problems=told)


def find_photographs(image_root: Path, images: Path, poses: Path | None, in_map: Collection[str] | None) -> Photographs:
    """One photograph, those of a folder or of a list, with their poses from a list or a COLMAP model.

    Names are relative to the image root of the dataset for what lies below it; elsewhere they begin with the name of
    the folder that is given, or that the photograph lies in. A list has lines `name MODEL width height params...` or
    `name`, of files below the image root or beside the list. Files that are missing are problems, and so are clashes
    with the names of the map that they are to be added to (None: to none), also of those that differ in the suffix
    alone.
    Raises DataError when nothing is left.
    """
    if images.is_dir():
        found = _of_folder(image_root, images, list_images(images))
    elif images.suffix.lower() in SUFFIXES:
        found = _of_folder(image_root, images.parent, [images.name])
    else:
        found = _of_list(image_root, images)
    if poses is not None:
        found = _posed(found, poses)
    clash = {} if in_map is None else _clashes(found.files, in_map)
    missing = {name: f"{path}: no such image" for name, path in found.files.items() if not path.is_file()}
    found = found.without({**missing, **clash})
    found = found.without(_of_other_sizes(found))
    if not found.files:
        first = f" (first: {found.problems[0]})" if found.problems else ""
        wanted = "in it" if in_map is None else "to add"
        raise DataError(f"{images}: no photograph {wanted}{first}")
    return found


def _of_other_sizes(found: Photographs) -> dict[str, str]:
    """Why, of those whose file is not of its camera's size; of a broken header whoever decodes the image says so."""
    wrong = {}
    for name in found.files.keys() & found.cameras.keys():
        with suppress(DataError):
            path, camera = found.files[name], found.cameras[name]
            if unlike := camera.unlike(image_size(path, is_read_upright(path, camera))):
                wrong[name] = f"the image {unlike}"
    return wrong


def _clashes(files: Mapping[str, Path], in_map: Collection[str]) -> dict[str, str]:
    twins = sharing_label_image([*sorted(in_map), *files]).items()
    alike = {name: f"differs from {kept} in its suffix alone" for name, kept in twins if name in files}
    return alike | {name: "the map has an image of that name already" for name in files if name in in_map}


def copy_photographs(files: Mapping[str, Path], folder: Path, turn: Container[str] = ()) -> None:
    """Copies by their names below `folder`, each whole or not at all, of its source's age; what is there of it is left.

    Those of `turn` are turned upright as their EXIF says. One that is broken is copied as it is: who reads it says so.
    """
    for name, source in files.items():
        target = folder / name
        age = source.stat().st_mtime_ns
        if target.is_file() and target.stat().st_mtime_ns == age:
            continue
        _copy(source, target, name in turn)
        os.utime(target, ns=(age, age))


def _copy(source: Path, target: Path, turn: bool) -> None:
    with suppress(DataError):
        if turn:
            copy_upright(source, target)
            return
    with atomic_path(target) as unfinished:
        shutil.copyfile(source, unfinished)


def _of_folder(image_root: Path, folder: Path, names: Sequence[str]) -> Photographs:
    root, folder = image_root.resolve(), folder.resolve()
    inside = folder.is_relative_to(root)
    prefix = folder.relative_to(root) if inside else Path(folder.name)
    return Photographs({(prefix / name).as_posix(): folder / name for name in names})


def _of_list(image_root: Path, path: Path) -> Photographs:
    cameras, problems = read_query_list(path)
    files, wrong = {}, {}
    for name in cameras:
        below, beside = image_root / name, path.parent / name
        files[name] = below if below.is_file() or not beside.is_file() else beside
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            wrong[name] = "a name is a path below the folder of images"
        elif PurePosixPath(name).suffix.lower() not in SUFFIXES:
            wrong[name] = "not the name of an image"
    known = {name: camera for name, camera in cameras.items() if camera is not None}
    return Photographs(files, known, problems=tuple(problems)).without(wrong)


def _posed(found: Photographs, path: Path) -> Photographs:
    """With poses, by the names in the map or their last part that is given. Photographs without one are problems."""
    cameras: dict[str, Camera] = {}
    if path.is_dir():
        cameras, listed = posed_cameras(read_model(path))
    else:
        listed, wrong = read_listed_poses(path)
        found = replace(found, problems=(*found.problems, *wrong))
    known_as = {name: given for name in found.files if (given := _name_in(name, listed))}
    cameras = {n: cameras[g] for n, g in known_as.items() if g in cameras} | dict(found.cameras)
    posed = replace(found, cameras=cameras, poses={name: listed[given] for name, given in known_as.items()})
    lacking = {name: f"{path} has no pose of it" for name in found.files if name not in known_as}
    blind = {n: "a pose without intrinsics: list it as `name MODEL width height params...`" for n in known_as}
    return posed.without(lacking | {name: why for name, why in blind.items() if name not in cameras})


def _name_in(name: str, listed: Mapping[str, Pose]) -> str | None:
    """The name itself, or without its first folders, as a list calls it."""
    parts = PurePosixPath(name).parts
    return next((tail for i in range(len(parts)) if (tail := "/".join(parts[i:])) in listed), None)
