"""Candidates of a query: the db images to compare it with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lbr.errors import ConfigError, DataError
from lbr.io.text_lists import read_pairs
from lbr.retrieval.progressive import ProgressiveCandidates
from lbr.settings import ConfigPath, Settings
from lbr.types import Candidates


class ExhaustiveCandidates(Settings):
    """Every db image."""

    name: Literal["exhaustive"] = "exhaustive"


class ListedCandidates(Settings):
    """A pairs file, `query db` per line, best first (hloc's retrieval pairs)."""

    name: Literal["list"] = "list"
    path: ConfigPath
    max_candidates: int | None = Field(default=None, ge=1)


CandidatesConfig = Annotated[
    ExhaustiveCandidates | ListedCandidates | ProgressiveCandidates, Field(discriminator="name")
]


def read_candidates(path: Path) -> dict[str, list[str]]:
    """{query: its db images, best first} of a pairs file. Raises DataError as `read_pairs`."""
    listed: dict[str, list[str]] = {}
    for query, reference in read_pairs(path):
        listed.setdefault(query, []).append(reference)
    return listed


def pairs_file(config: CandidatesConfig) -> Path | None:
    """The pairs file that candidates come from. Raises ConfigError when one is asked for and not named."""
    if isinstance(config, ProgressiveCandidates) and config.fallback == "list":
        if config.path is None:
            raise ConfigError("candidates.fallback=list needs candidates.path: a pairs file, `query db` per line")
        return config.path
    return config.path if isinstance(config, ListedCandidates) else None


def without_list(config: CandidatesConfig) -> CandidatesConfig:
    """The same search for photographs that no pairs file lists."""
    if isinstance(config, ListedCandidates):
        return ExhaustiveCandidates()
    if isinstance(config, ProgressiveCandidates) and config.fallback == "list":
        return config.model_copy(update={"fallback": "global"})
    return config


class Proposer:
    """Gives the candidates of a query that need no recognition; None stands for all db images."""

    def __init__(self, config: CandidatesConfig) -> None:
        self._listed: Mapping[str, list[str]] | None = None
        if isinstance(config, ListedCandidates):
            listed = read_candidates(config.path)
            self._listed = {query: names[: config.max_candidates] for query, names in listed.items()}
            self._path = config.path

    def propose(self, query: str) -> Candidates | None:
        """Raises DataError when a pairs file does not list the query: that is never a search of everything."""
        if self._listed is None:
            return None
        if query not in self._listed:
            raise DataError(f"'{query}' has no candidates in {self._path}")
        names = self._listed[query]
        return Candidates(tuple(names), tuple(-float(rank) for rank in range(len(names))), "list")
