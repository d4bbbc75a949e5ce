"""The stages `train` and `recognise`: a network that names the instances, and what it says of every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lbr.errors import DataError
from lbr.io.labels import mask_path, vocabulary_digest
from lbr.io.predictions_file import PredictionFile, write_predictions
from lbr.io.text_lists import Problem
from lbr.parallel import parallel_map
from lbr.pipeline.changes import added_label_image
from lbr.pipeline.prototyping import checkpoint_identity, checkpoint_path, make_prototypes
from lbr.pipeline.recognition_scoring import score_recognition
from lbr.pipeline.stage import Context, Report, identities, made, make_of_items, reused
from lbr.pipeline.vocabulary import load_own_vocabulary, load_vocabulary
from lbr.pipeline.workers import DrawRecognition, RecogniseImage
from lbr.pipeline.workspace import Making, Recipe, digest_images, digest_paths, making, open_parts, reusable
from lbr.types import InstanceVocabulary

NOT_TRAINED_BY = {"workers", "cache_mb", "device"}  # settings that change how long it takes, not what comes out
DB_RANKS = 1  # of a db image the first rank is kept: it has its label image, and its global feature is what is used


def train(context: Context) -> list[Report]:
    """A network that names the instances of the label images, in recognition.pt."""
    from lbr.recognition.checkpoints import save_checkpoint
    from lbr.recognition.processes import is_first_process
    from lbr.recognition.train import train as train_network

    output, settings = context.workspace.recognition, context.config.recognition
    images, problems = _labelled_images(context)
    config = {
        "recognition": {
            **settings.model_dump(mode="json", include={"network", "input_size"}),
            "training": settings.training.model_dump(mode="json", exclude=NOT_TRAINED_BY),
        },
        **context.dump("seed"),
    }
    added, vocabulary = context.added, load_vocabulary(context)
    own = [item for item in images if item.name not in added]
    before = _training_recipe(config, own, load_own_vocabulary(context))
    recipe = _training_recipe(config, images, vocabulary)
    if added and not context.overwrite and output.exists() and reusable(output, before, True):
        unlearned = f"{len(images) - len(own)} images added since are not learned: `lbr train --overwrite` learns them"
        report = reused(output)
        return [replace(report, summary=f"{report.summary}; {unlearned}")]
    if context.reusable(output, recipe):
        return [reused(output)]
    if not is_first_process():
        train_network(images, vocabulary, settings, open_parts(output, recipe).folder, context.config.seed)
        return []
    with making(output, recipe) as work:
        work.problems += problems
        events = context.workspace.tensorboard / recipe.identity
        checkpoint, progress = train_network(
            images, vocabulary, settings, work.parts.folder, context.config.seed, events
        )
        save_checkpoint(output, checkpoint)
        held = checkpoint.scores.get("held_out_accuracy")
        told = f", {100 * held:.1f} % of the cells of held-out images right" if held is not None else ""
        work.facts["history"] = progress.records
        work.facts["summary"] = (
            f"{vocabulary.num_classes - 1} instances from {len(images)} images, {progress.epoch} epochs{told}"
        )
    return [made(output)]


def _training_recipe(config: dict, images: Sequence, vocabulary: InstanceVocabulary) -> Recipe:
    paths = [path for item in images for path in (*item.images, item.mask)]
    return Recipe("train", config, {"images": digest_paths(paths), "vocabulary": vocabulary_digest(vocabulary)})


def _labelled_images(context: Context) -> tuple[list, list[Problem]]:
    """The db images that have a label image, each with its stylised copies; the others become one problem."""
    from lbr.recognition.samples import LabelledImage

    dataset, masks = context.dataset, context.labels.masks
    if masks is None:
        raise DataError("the dataset has no label images to learn from: set dataset.labels to their folder")
    stylized = context.config.recognition.training.stylized > 0
    found = [
        LabelledImage(n, (dataset.image_root / n, *(dataset.copies(n) if stylized else ())), mask_path(masks, n))
        for n in dataset.db_names
        if mask_path(masks, n).is_file()
    ]
    lacking = len(dataset.db_names) - len(found)
    found += [
        LabelledImage(name, (path,), mask)
        for name, path in context.added.items()
        if name not in dataset.cameras and (mask := added_label_image(context.workspace, name)).is_file()
    ]
    if not found:
        raise DataError(f"{masks}: has the label image of none of the {len(dataset.db_names)} db images")
    return found, [Problem(str(masks), f"{lacking} db images have no label image; not trained on")] if lacking else []


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
    added = context.added if output == context.workspace.db_predictions else {}
    return recognise_images(context, output, context.dataset.image_root, names, ranks, added)


def recognise_images(
    context: Context, output: Path, root: Path, names: Sequence[str], ranks: int | None, added: Mapping[str, Path]
) -> Report:  # fmt: skip
    """A prediction file of the images `names` below `root`, and of photographs `added` to the map since.

    These do not make another output of it: they were put into it as they were added.
    """
    settings = context.config.recognition
    config = {
        "recognition": {"prediction": settings.prediction.model_dump(mode="json", exclude={"pictures", "device"})}
    }
    prototypes, inputs = (
        make_prototypes(context),
        {"images": digest_images(root, names), **checkpoint_identity(context)},
    )
    if prototypes is not None and ranks is None:  # of db images the network's own word is kept
        inputs |= identities(prototypes)
    recipe = Recipe("recognise", config, inputs)
    if context.reusable(output, recipe):
        return reused(output)
    worker = RecogniseImage(settings, checkpoint_path(context), load_vocabulary(context), ranks, prototypes)

    def pack(work: Making) -> str:
        found = sorted(work.parts.keys())
        if not found:
            raise DataError(f"{root}: not one of {len(names)} images could be read (first: {work.problems[0]})")
        write_predictions(
            output, ((name, work.parts.get(name)) for name in found), vocabulary_digest(worker.vocabulary)
        )
        return f"{len(found)} images, {output.stat().st_size / len(found) / 1e3:.1f} kB each"

    items = {**{name: root / name for name in names}, **added}
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
            worker = DrawRecognition(context.dataset.image_root, context.added, path, work.parts.folder, vocabulary)
            for _, problem in parallel_map(worker, items, context.config.parallel, f"draw {path.stem}"):
                work.problems += [problem] if isinstance(problem, Problem) else []
        work.parts.folder.rename(output)
        work.facts["summary"] = "masks, confidences, pictures"
    return made(output)
