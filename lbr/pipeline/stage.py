"""What the stages share: what they are given, what they say at the end, and how an output of many items is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lbr.config import Config
from lbr.datasets import Dataset, load_dataset
from lbr.datasets.dataset import Labels
from lbr.errors import ConfigError, DataError
from lbr.io.images import ImageFolder
from lbr.io.text_lists import Problem
from lbr.mapping.instances import MadeInstances
from lbr.parallel import parallel_map
from lbr.pipeline.changes import added_photograph, changes_of, finish_change
from lbr.pipeline.workers import Item, Worker
from lbr.pipeline.workspace import (
    Making,
    Recipe,
    Workspace,
    digest_files,
    made_as,
    making,
    open_parts,
    problems_of,
    read_manifest,
    reusable,
)  # fmt: skip
from lbr.settings import Settings

MADE_BY = {
    "index": "index",
    "recognition.pt": "train", "predictions-db.h5": "recognise", "predictions-query.h5": "recognise",
    "features-db.h5": "extract", "features-query.h5": "extract", "pairs-mapping.txt": "pairs", "matches.h5": "match",
    "map": "reconstruct", "georeference.json": "georeference", "prototypes.npz": "recognise",
    "instances": "label", "labels": "label",
}  # fmt: skip


@dataclass(frozen=True)
class Shard:
    """The share `number` (from 1) of `count`: every count-th item. Several machines can so make one output."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """'2/4'. Raises ConfigError."""
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ConfigError(f"--shard {text}: wants i/n with i from 1 to n, as 2/4")
        return cls(int(number), int(count))

    def of(self, items: Mapping[str, Item]) -> dict[str, Item]:
        return dict(list(items.items())[self.number - 1 :: self.count])

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class Context:
    """What a stage is given: the configuration, and through it the dataset (read when first asked) and the paths.

    With a shard, outputs of many items are not made: that share of their items is.
    """

    config: Config
    overwrite: bool = False
    shard: Shard | None = None

    @cached_property
    def dataset(self) -> Dataset:
        return load_dataset(self.config.dataset)

    @cached_property
    def workspace(self) -> Workspace:
        workspace = Workspace(self.config.workspace, self.config.run)
        finish_change(workspace)
        return workspace

    @property
    def added(self) -> dict[str, Path]:
        """The photographs that `lbr extend` added to the map and that are in it, by name."""
        return {name: added_photograph(self.workspace, name) for name in changes_of(self.workspace).added}

    @property
    def images(self) -> ImageFolder:
        """The photographs by name: the dataset's, and those that were added to the map."""
        return replace(self.dataset.images, elsewhere=self.added)

    @property
    def uses_instances(self) -> bool:
        """Whether localization asks for instances: to search by them, or to match by them."""
        config = self.config
        return config.candidates.name == "progressive" or config.localization.matcher.name == "instancewise"

    @property
    def makes_labels(self) -> bool:
        """Whether label images are made from the map: the dataset has none, or they are not to be used."""
        settings = self.config.instances
        if not isinstance(settings, MadeInstances):
            return False
        return self.dataset.labels.masks is None or not settings.prefer_given

    @property
    def favours_instances(self) -> bool:
        """Whether keypoints of instances are kept first, in queries."""
        asked = self.config.labelling.favour_instances
        return asked and (self.makes_labels or self.dataset.labels.masks is not None)

    @property
    def favours_in_db(self) -> bool:
        """Whether they are in db images too: those that are made from the map come after its keypoints."""
        return self.favours_instances and not self.makes_labels

    @property
    def labels(self) -> Labels:
        """Where label images are: the dataset's, or those that `lbr label` made. All that reads them asks here.

        True label images of queries speak of the dataset's own instances, so made ones have none. Raises DataError when
        they are to be made and are not there yet.
        """
        if not self.makes_labels:
            return self.dataset.labels
        folder = self.workspace.labels
        if read_manifest(folder) is None or not folder.exists():
            raise DataError(f"{folder}: no label images there yet; run `lbr label` first, or `lbr run` for all")
        return Labels(folder, folder / "vocabulary.txt")

    def dump(self, *sections: str) -> dict[str, Any]:
        """Sections of the configuration, as a recipe keeps them."""
        dumped = self.config.model_dump(mode="json", include=set(sections))
        return {name: dumped[name] for name in sections}

    def reusable(self, output: Path, recipe: Recipe) -> bool:
        """As `workspace.reusable`. Raises StaleOutput."""
        return reusable(output, recipe, self.overwrite)


@dataclass(frozen=True)
class Report:
    """What a stage says at its end: the output, one line about it, what could not be done."""

    output: Path
    summary: str
    reused: bool = False
    problems: tuple[Problem, ...] = ()


Stage = Callable[[Context], list[Report]]


def made(output: Path) -> Report:
    manifest = read_manifest(output) or {}
    summary = f"{manifest['summary']} ({manifest['seconds']:.1f} s)"
    return Report(output, summary, problems=tuple(problems_of(output)))


def reused(output: Path) -> Report:
    manifest = read_manifest(output) or {}
    return Report(output, str(manifest["summary"]), reused=True, problems=tuple(problems_of(output)))


def make_of_items(
    context: Context, output: Path, recipe: Recipe,
    items: Mapping[str, Item], worker: Worker[Item], pack: Callable[[Making], str],
) -> Report:  # fmt: skip
    """Make an output of many items: what `worker` makes of each is kept as a part, under the item's key.

    `pack` then writes the output from the parts and returns the manifest's summary. An item with a problem has no part,
    so the run that packs tries it again, and says what a shard had said.
    """
    label = f"{recipe.stage} -> {output.name}"
    if context.shard:
        work, share = Making(open_parts(output, recipe)), context.shard.of(items)
        make_parts(work, share, worker, context, label)
        return _of_shard(context.shard, output, work, share, items)
    with making(output, recipe) as work:
        make_parts(work, items, worker, context, label)
        work.facts["summary"] = pack(work)
    return made(output)


def _of_shard(shard: Shard, output: Path, work: Making, share: Mapping[str, Item], items: Mapping[str, Item]) -> Report:
    done = work.parts.keys()
    summary = (
        f"shard {shard}: {len(done & share.keys())} of its {len(share)} items are done, {len(done & items.keys())} of "
        f"{len(items)} in all; not packed: run it without --shard once all shards have ended"
    )
    return Report(output, summary, problems=tuple(work.problems))


def make_parts(work: Making, items: Mapping[str, Item], worker: Worker[Item], context: Context, label: str) -> None:
    """Parts of the items that have none yet, made by `worker`; the others' problems go to `work`."""
    done = work.parts.keys()
    todo = [(key, item) for key, item in items.items() if key not in done]
    worker.open()
    for (key, _), arrays in parallel_map(worker, todo, context.config.parallel, label):
        if isinstance(arrays, Problem):
            work.problems.append(arrays)
        else:
            work.parts.put(key, arrays)


def identities(*outputs: Path) -> dict[str, str]:
    """The identities of upstream outputs. Raises DataError, naming the stage to run, when one is not there."""
    found: dict[str, str] = {}
    for output in outputs:
        manifest = read_manifest(output)
        if manifest is None or not output.exists():
            raise DataError(f"{output}: not there yet; run `lbr {MADE_BY[output.name]}` first, or `lbr run` for all")
        found[output.name] = manifest["identity"]
    return found


def identities_as_made(*outputs: Path) -> dict[str, str]:
    """As `identities`, of outputs as they were made, whatever was added to them or taken from them since."""
    _ = identities(*outputs)
    return {output.name: made_as(read_manifest(output) or {}) for output in outputs}


def weights_digest(settings: Settings) -> dict[str, str]:
    """The digest of a checkpoint that settings name, or that is shipped for them: other weights are another input."""
    settings = getattr(settings, "engine", None) or settings
    path = getattr(settings, "weights", None) or getattr(settings, "shipped", None)
    return {"weights": digest_files([path])} if path else {}
