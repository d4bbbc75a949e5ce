"""Writing that is whole or not at all, and stores that survive being killed."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np

from lbr.errors import DataError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends well and removed when it does not.

    Works for a file or a folder: whatever exists under the final name is complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    remove(temporary)
    try:
        yield temporary
        if path.is_dir() and temporary.is_dir():
            remove(path)
        os.replace(temporary, path)
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Delete a file or a folder with all in it; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_text(path: Path) -> str:
    """UTF-8 text. Raises DataError when the file is missing or is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: not readable as text ({error})") from None


LONGEST_NAME = 200
LONG, KEY = "=long", "__key__"  # '=' never comes out of quote()


class PartStore:
    """Finished items of a long job, one .npz each in a folder, so that a killed job resumes where it was.

    Keys are any strings (image names); the folder is deleted once the job has packed its final file, and with it what
    killed processes left half written. Until then nothing is cleared away: others may be writing beside us.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, key: str) -> Path:
        name = quote(key, safe="")
        if len(name) > LONGEST_NAME:  # file systems end at 255 bytes: the key itself goes into the file
            name = hashlib.sha256(key.encode()).hexdigest() + LONG
        return self.folder / f"{name}.npz"

    def keys(self) -> set[str]:
        names = {path.stem for path in self.folder.glob("*.npz")}
        long = {name for name in names if name.endswith(LONG)}
        return {unquote(name) for name in names - long} | {self._read_key(name) for name in long}

    def _read_key(self, name: str) -> str:
        with np.load(self.folder / f"{name}.npz", allow_pickle=False) as parts:
            return parts[KEY].tobytes().decode()

    def put(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        with atomic_path(self._path(key)) as temporary, temporary.open("wb") as file:
            np.savez(file, **{KEY: np.frombuffer(key.encode(), np.uint8)}, **arrays)  # type: ignore[arg-type]

    def get(self, key: str) -> dict[str, np.ndarray]:
        with np.load(self._path(key), allow_pickle=False) as parts:
            return {name: parts[name] for name in parts.files if name != KEY}

    def delete(self) -> None:
        remove(self.folder)
