"""What our h5 files share: opened for reading with one clear error, checked, closed; written whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import h5py

from lbr.errors import DataError
from lbr.io.files import atomic_path


class H5File:
    """Read-only view of an h5 of ours. Use as a context manager.

    With `others`, a file without a format attribute is let in too: `is_ours` tells. Raises DataError when the file is
    missing, cut short, or of another format or version.
    """

    def __init__(self, path: Path, name: str, version: int, others: bool = False) -> None:
        self.path = path
        self._file = open_h5(path)
        self.is_ours = "format" in self._file.attrs or not others
        if self.is_ours:
            check_format(self._file, path, name, version)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @contextmanager
    def reading(self, what: str, remedy: str) -> Iterator[h5py.File]:
        """The file to read `what` from; damage that shows there becomes a DataError that tells the remedy."""
        try:
            yield self._file
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"{self.path}: {what} are unreadable ({error}); {remedy}") from None


def open_h5(path: Path) -> h5py.File:
    """Open an h5 for reading. Raises DataError when it is missing or broken."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: not a whole h5 file ({_first_line(error)}); delete it and make it again") from None


def check_format(file: h5py.File, path: Path, name: str, version: int) -> None:
    """Raises DataError when an h5 of ours is of another format or of a version that we do not read."""
    found = file.attrs.get("format"), int(file.attrs.get("version", 0))
    if found != (name, version):
        raise DataError(f"{path}: is {found[0]} version {found[1]}, wanted {name} version {version}; make it again")


def groups_with(file: h5py.File, dataset: str) -> list[str]:
    """Sorted names of the groups, at any depth, that hold this dataset: image names have slashes."""
    names: list[str] = []

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if name.endswith(f"/{dataset}") and isinstance(item, h5py.Dataset):
            names.append(name.removesuffix(f"/{dataset}"))

    try:
        file.visititems(visit)
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(f"{file.filename}: broken h5 ({_first_line(error)}); delete it and make it again") from None
    return sorted(names)


@contextmanager
def new_h5(path: Path, latest: bool = False, **attributes: str | int) -> Iterator[h5py.File]:
    """An h5 to write into, with these attributes; it appears under its name only when whole.

    latest: in HDF5's present format, whose small compressed datasets cost less than half.
    """
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver="latest" if latest else None) as file:
        file.attrs.update(attributes)
        yield file


@contextmanager
def grown_h5(path: Path, latest: bool = False) -> Iterator[h5py.File]:
    """A copy of an h5 to add to; it takes the place of the old one only when whole. Raises DataError as `open_h5`."""
    open_h5(path).close()
    with atomic_path(path) as temporary:
        shutil.copyfile(path, temporary)
        with h5py.File(temporary, "r+", libver="latest" if latest else None) as file:
            yield file


def drop_groups(path: Path, names: Collection[str], latest: bool = False) -> None:
    """Write an h5 of image groups again without those of `names` (who deletes in place frees no room).

    Raises DataError as `open_h5`.
    """
    with open_h5(path) as old, new_h5(path, latest, **dict(old.attrs)) as new:
        depth = sorted(groups_of_images(old) - set(names))
        for name in depth:
            old.copy(old[name], new.require_group(name.rpartition("/")[0] or "/"), name.rpartition("/")[2])


def groups_of_images(file: h5py.File) -> set[str]:
    """Names of the groups, at any depth, that hold datasets."""
    found: set[str] = set()

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            found.add(name.rpartition("/")[0])

    file.visititems(visit)
    return found


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
