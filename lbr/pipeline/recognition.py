"""The stages `train` and `recognise`: a network that names the instances, and what it says of every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lbr.errors import DataError
from lbr.io.labels import mask_path, vocabulary_digest
from lbr.io.predictions_file import PredictionFile, write_predictions
from lbr.io.text_lists import Problem
from lbr.parallel import parallel_map
from lbr.pipeline.changes import label_image_of_added
from lbr.pipeline.prototyping import checkpoint_identity, checkpoint_path, make_prototypes
from lbr.pipeline.recognition_scoring import score_recognition
from lbr.pipeline.stage import Context, Report, identities, made, make_of_items, reused
from lbr.pipeline.vocabulary import load_own_vocabulary, load_vocabulary
from lbr.pipeline.workers import CheckReadable, DrawRecognition, RecogniseImage
from lbr.pipeline.workspace import (
    Making,
    Recipe,
    digest_files,
    digest_named,
    digest_photographs,
    making,
    open_parts,
    reusable,
)  # fmt: skip
from lbr.recognition.planning import Plan, read_plan
from lbr.types import InstanceVocabulary

if TYPE_CHECKING:
    from lbr.io.images import ImageFolder
    from lbr.recognition.checkpoints import Checkpoint
    from lbr.recognition.samples import LabelledImage
    from lbr.recognition.train import Progress

NOT_TRAINED_BY = {"workers", "cache_mb", "device"}  # settings that change how long it takes, not what comes out
DB_RANKS = 1  # of a db image the first rank is kept: it has its label image, and its global feature is what is used


def train(context: Context) -> list[Report]:
    """A network that names the instances of the label images, in recognition.pt.

    Under torchrun every process calls this; the first writes, and alone has something to report.
    """
    from lbr.networks import pick_device
    from lbr.recognition.processes import first_before_others, processes, sharing, together
    from lbr.recognition.train import train as train_network

    settings, seed = context.config.recognition, context.config.seed
    images, problems = _labelled_images(context)
    with processes(pick_device(settings.training.device)) as own:
        with first_before_others(own):
            vocabulary = load_vocabulary(context)
        output, recipe = context.workspace.recognition, _training_recipe(context, images, vocabulary)
        if kept := _kept_as_it_was(context, images):
            return [kept] if own.is_first else []
        if context.reusable(output, recipe):
            return [reused(output)] if own.is_first else []
        images, broken = _readable(context, images)
        if not own.is_first:
            train_network(images, vocabulary, settings, open_parts(output, recipe).folder, seed)
            return []
        with making(output, recipe) as work:
            work.problems += problems + broken
            events = context.workspace.tensorboard / recipe.identity
            learn = partial(train_network, images, vocabulary, settings, work.parts.folder, seed, events)
            count = sharing(settings.training.chunks, own.device) if own.world == 1 else 1
            trained = together(count, learn)
            work.facts |= _keep_network(output, *trained, read_plan(work.parts.folder), len(images))
    return [made(output)]


def _training_recipe(context: Context, images: Sequence[LabelledImage], vocabulary: InstanceVocabulary) -> Recipe:
    settings = context.config.recognition
    config = {
        "recognition": {
            **settings.model_dump(mode="json", include={"network", "input_size"}),
            "training": settings.training.model_dump(mode="json", exclude=NOT_TRAINED_BY),
        },
        **context.dump("seed"),
    }
    # by names: a workspace that was moved, or copied, is the same
    files = {f"{item.name} {k}": path for item in images for k, path in enumerate((item.mask, *item.images))}
    inputs = {"images": digest_named(files), "vocabulary": vocabulary_digest(vocabulary)}
    if settings.training.start_from:
        inputs["start_from"] = digest_files([settings.training.start_from])
    return Recipe("train", config, inputs)


def _kept_as_it_was(context: Context, images: Sequence[LabelledImage]) -> Report | None:
    """The report on a network of before images were added to the map, which is not trained anew unasked."""
    added, output = context.added, context.workspace.recognition
    if not added or context.overwrite or not output.exists():
        return None
    own = [item for item in images if item.name not in added]
    if not reusable(output, _training_recipe(context, own, load_own_vocabulary(context)), True):
        return None
    unlearned = f"{len(images) - len(own)} images added since are not learned: `lbr train --overwrite` learns them"
    report = reused(output)
    return replace(report, summary=f"{report.summary}; {unlearned}")


def _keep_network(
    output: Path, checkpoint: Checkpoint, progress: Progress, plan: Plan, num_images: int
) -> dict[str, Any]:
    """Write the checkpoint; what the manifest says of how it came about."""
    from lbr.recognition.checkpoints import save_checkpoint

    save_checkpoint(output, checkpoint)
    held = checkpoint.scores.get("held_out_accuracy")
    told = f", {100 * held:.1f} % of the cells of held-out images right" if held is not None else ""
    shortened = f" (of {plan.asked}, shortened to fit)" if plan.epochs < plan.asked else ""
    learned = f"{checkpoint.vocabulary.num_classes - 1} instances from {num_images} images"
    return {
        "plan": vars(plan),
        "history": progress.records,
        "summary": f"{learned}, {progress.epoch} epochs{shortened}{told}",
    }


def _labelled_images(context: Context) -> tuple[list, list[Problem]]:
    """The db images that have a label image, each with its stylised copies; the others become one problem."""
    from lbr.recognition.samples import LabelledImage

    dataset, masks = context.dataset, context.labels.masks
    if masks is None:
        raise DataError("the dataset has no label images to learn from: set dataset.labels to their folder")
    stylized = context.config.recognition.training.stylized not in (0, (0, 0))
    found = [
        LabelledImage(
            n,
            (dataset.images.path(n), *(dataset.copies(n) if stylized else ())),
            mask_path(masks, n),
            n in dataset.turned,
        )  # fmt: skip
        for n in dataset.db_names
        if mask_path(masks, n).is_file()
    ]
    lacking = len(dataset.db_names) - len(found)
    found += [
        LabelledImage(name, (path,), mask)
        for name, path in context.added.items()
        if name not in dataset.cameras and (mask := label_image_of_added(context.workspace, masks, name)).is_file()
    ]
    if not found:
        raise DataError(f"{masks}: has the label image of none of the {len(dataset.db_names)} db images")
    return found, [Problem(str(masks), f"{lacking} db images have no label image; not trained on")] if lacking else []


def _readable(context: Context, images: Sequence[LabelledImage]) -> tuple[list[LabelledImage], list[Problem]]:
    """Those whose files can all be read, and what is wrong with the others, which teach nothing."""
    items = {item.name: item for item in images}
    said = parallel_map(CheckReadable(), list(items.items()), context.config.parallel, "check images")
    problems = [found for _, found in said if isinstance(found, Problem)]
    if len(problems) == len(images):
        raise DataError(f"none of the {len(images)} labelled images can be read (first: {problems[0]})")
    broken = {problem.what for problem in problems}
    return [item for item in images if item.name not in broken], problems


def recognise(context: Context) -> list[Report]:
    """What the network says of the db images and of the queries, with pictures, and scores where there is truth."""
    workspace, dataset = context.workspace, context.dataset
    queries = [query.name for query in dataset.queries]
    reports = [_recognise(context, workspace.db_predictions, dataset.db_names, DB_RANKS)]
    if queries:
        reports.append(_recognise(context, workspace.query_predictions, queries, None))
    if context.shard is None:
        if context.config.recognition.prediction.pictures:
            reports.append(_draw(context))
        if queries and context.labels.truth:
            reports.append(score_recognition(context))
    return reports


def _recognise(context: Context, output: Path, names: Sequence[str], ranks: int | None) -> Report:
    added = tuple(context.added) if output == context.workspace.db_predictions else ()
    return recognise_images(context, output, context.images, names, ranks, added)


def recognise_images(
    context: Context, output: Path, images: ImageFolder, names: Sequence[str], ranks: int | None,
    added: Sequence[str] = (),
) -> Report:  # fmt: skip
    """A prediction file of the photographs `names`, and of those `added` to the map since.

    These do not make another output of it: they were put into it as they were added.
    """
    settings = context.config.recognition
    config = {
        "recognition": {"prediction": settings.prediction.model_dump(mode="json", exclude={"pictures", "device"})}
    }
    prototypes = make_prototypes(context)
    inputs = {
        "images": digest_photographs(images, names), "vocabulary": vocabulary_digest(load_own_vocabulary(context)),
        **checkpoint_identity(context),
    }  # fmt: skip
    if prototypes is not None and ranks is None:  # of db images the network's own word is kept
        inputs |= identities(prototypes)
    recipe = Recipe("recognise", config, inputs)
    if context.reusable(output, recipe):
        return reused(output)
    worker = RecogniseImage(images, settings, checkpoint_path(context), load_vocabulary(context), ranks, prototypes)

    def pack(work: Making) -> str:
        found = sorted(work.parts.keys())
        if not found:
            raise DataError(f"{images.root}: not one of {len(names)} images could be read (first: {work.problems[0]})")
        write_predictions(
            output, ((name, work.parts.get(name)) for name in found), vocabulary_digest(worker.vocabulary)
        )
        return f"{len(found)} images, {output.stat().st_size / len(found) / 1e3:.1f} kB each"

    items = {name: name for name in (*names, *added)}
    return make_of_items(context, output, recipe, items, worker, pack)


def _draw(context: Context) -> Report:
    """masks/, confidence/ and pictures/ of all images, in the folder recognition/ of the workspace."""
    workspace, output = context.workspace, context.workspace.recognition_pictures
    files = [path for path in (workspace.db_predictions, workspace.query_predictions) if path.is_file()]
    recipe = Recipe("draw", {}, identities(*files))
    if context.reusable(output, recipe):
        return reused(output)
    vocabulary = load_vocabulary(context)
    with making(output, recipe) as work:
        for path in files:
            with PredictionFile(path) as file:
                items = [(name, name) for name in file.names]
            worker = DrawRecognition(context.images, path, work.parts.folder, vocabulary)
            for _, problem in parallel_map(worker, items, context.config.parallel, f"draw {path.stem}"):
                work.problems += [problem] if isinstance(problem, Problem) else []
        work.parts.folder.rename(output)
        work.facts["summary"] = "masks, confidences, pictures"
    return made(output)
