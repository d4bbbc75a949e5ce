"""The match file: matches of many image pairs in one h5, grouped by first image (docs/formats.md).

`read_hloc_matches` and `write_hloc_matches` speak hloc's format.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote, unquote

import h5py
import numpy as np

from lbr.errors import DataError
from lbr.io.h5_file import H5File, new_h5, open_h5
from lbr.types import Matches

FORMAT, VERSION = "lbr-matches", 1


class MatchFile(H5File):
    """Read-only view of a match file. Use as a context manager.

    Raises DataError when the file is missing, cut short, or of another format or version.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, FORMAT, VERSION)

    def first_names(self) -> list[str]:
        return sorted(unquote(key) for key in self._file)

    def read(self, first: str) -> dict[str, Matches]:
        """Matches of `first` (a) with each of its partners (b), by partner; none when it has no pairs."""
        key = quote(first, safe="")
        if key not in self._file:
            return {}
        with self.reading(f"matches of '{first}'", "match again") as file:
            return matches_from_arrays({name: file[key][name][()] for name in file[key]})


def write_matches(path: Path, items: Iterable[tuple[str, dict[str, np.ndarray]]]) -> None:
    """Write (first image, `matches_to_arrays`) items; the file appears under its name only when whole."""
    with new_h5(path, format=FORMAT, version=VERSION) as file:
        for first, arrays in items:
            group = file.create_group(quote(first, safe=""))
            for name, array in arrays.items():
                group.create_dataset(name, data=array)


def matches_to_arrays(matches: dict[str, Matches]) -> dict[str, np.ndarray]:
    """Matches of one image with its partners as arrays: partners (names, one a line, as UTF-8 bytes), offsets, ..."""
    lengths = [len(m) for m in matches.values()]
    return {
        "partners": np.frombuffer("\n".join(matches).encode(), np.uint8),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "indices": np.concatenate([np.zeros((0, 2), np.int32), *(m.indices for m in matches.values())]).astype(
            np.int32
        ),
        "scores": np.concatenate([np.zeros(0, np.float32), *(m.scores for m in matches.values())]).astype(np.float32),
    }


def matches_from_arrays(arrays: dict[str, np.ndarray]) -> dict[str, Matches]:
    """The inverse of `matches_to_arrays`."""
    partners = arrays["partners"].tobytes().decode().split("\n") if arrays["partners"].size else []
    spans = pairwise(int(offset) for offset in arrays["offsets"])
    return {
        partner: Matches(arrays["indices"][start:stop], arrays["scores"][start:stop])
        for partner, (start, stop) in zip(partners, spans, strict=True)
    }


def read_hloc_matches(path: Path, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Matches]:
    """hloc's matches of the given pairs. Its keys replace '/' by '-', so names cannot be read back: pairs are needed.

    A pair stored the other way round is found and turned. Raises DataError when a pair is absent.
    """
    found: dict[tuple[str, str], Matches] = {}
    with open_h5(path) as file:
        for first, second in pairs:
            forward, backward = f"{_dashed(first)}/{_dashed(second)}", f"{_dashed(second)}/{_dashed(first)}"
            if forward not in file and backward not in file:
                raise DataError(f"{path}: no matches of '{first}' with '{second}' in it")
            matches = _read_hloc_group(file[forward if forward in file else backward])
            if forward not in file:
                matches = Matches(np.ascontiguousarray(matches.indices[:, ::-1]), matches.scores)
            found[first, second] = matches
    return found


def write_hloc_matches(
    path: Path, items: Iterable[tuple[tuple[str, str], Matches]], num_keypoints: dict[str, int]
) -> None:
    """Write matches as hloc reads them: `matches0` [N_a] with -1 for none, `matching_scores0` [N_a]."""
    with new_h5(path) as file:
        for (first, second), matches in items:
            partner = np.full(num_keypoints[first], -1, np.int32)
            score = np.zeros(num_keypoints[first], np.float16)
            partner[matches.indices[:, 0]] = matches.indices[:, 1]
            score[matches.indices[:, 0]] = matches.scores
            group = file.create_group(f"{_dashed(first)}/{_dashed(second)}")
            group.create_dataset("matches0", data=partner)
            group.create_dataset("matching_scores0", data=score)


def _read_hloc_group(group: h5py.Group) -> Matches:
    partner = group["matches0"][()]
    first = np.flatnonzero(partner >= 0)
    scores = group["matching_scores0"][()][first] if "matching_scores0" in group else np.ones(len(first))
    return Matches(np.stack([first, partner[first]], 1).astype(np.int32), scores.astype(np.float32))


def _dashed(name: str) -> str:
    return name.replace("/", "-")
