"""Recognition: time of one image, size of what is stored, and what the shipped network says of the embedded town."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.machine import table
from lbr.config import load_config
from lbr.io.images import list_images
from lbr.io.labels import mask_path, read_mask
from lbr.io.predictions_file import PredictionFile
from lbr.networks import channels_last
from lbr.parallel import limit_threads, num_cores
from lbr.pipeline.recognition import recognise
from lbr.pipeline.recognition_scoring import recognition_scores, recognition_table
from lbr.pipeline.scenes import make_town
from lbr.pipeline.stage import Context
from lbr.pipeline.vocabulary import load_vocabulary
from lbr.recognition.inference import ReadyNetwork
from lbr.recognition.masks import full_mask
from lbr.recognition.network import make_network
from lbr.recognition.optimization import autocast
from lbr.recognition.predict import load_recognizer
from lbr.recognition.settings import Precision, PspSettings

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "town.yaml"
AACHEN_CLASSES = 452
REPEATS = 15
NEAR = 0.25  # of the area: half as large
SIZE = (320, 240)  # at which pixels are counted
PRECISIONS: tuple[Precision, Precision] = ("float32", "bfloat16")


def run() -> str:
    context = Context(load_config(CONFIG))
    make_town(context)
    recognise(context)
    limit_threads(num_cores())
    image = context.dataset.images.read(context.dataset.queries[0].name)
    shipped = load_recognizer(context.config.recognition.weights or context.workspace.recognition)
    published = _published()
    rows = [
        ["one 640x480 image, shipped network", f"{_ms(lambda: shipped.predict(image)):.0f} ms", "at most 30 ms"],
        *([f"published network, 256x256, {kind}", f"{_ms(call):.0f} ms", ""] for kind, call in published.items()),
        *(_size(context, *part) for part in (("query", context.workspace.query_predictions, "60"),
                                             ("db", context.workspace.db_predictions, "8"))),
    ]  # fmt: skip
    scores = recognition_table(recognition_scores(context).scores)
    return "\n\n".join((table(["what", "measured", "wanted"], rows), scores, _by_nearness(context)))


def _by_nearness(context: Context) -> str:
    """Pixels of facades in the queries, right or wrong, by how large some db image shows the facade in comparison."""
    vocabulary, labels = load_vocabulary(context), context.dataset.labels
    largest = np.zeros(vocabulary.num_classes)
    for name in context.dataset.db_names:
        largest = np.maximum(largest, _shares(read_mask(mask_path(labels.masks, name), vocabulary, SIZE), len(largest)))
    pixels: dict[tuple[str, bool], list[int]] = {}
    with PredictionFile(context.workspace.query_predictions) as file:
        for query in context.dataset.queries:
            true = read_mask(mask_path(labels.truth, query.name), vocabulary, SIZE)
            found = cv2.resize(
                full_mask(file.read(query.name))[0].astype(np.uint16), SIZE, interpolation=cv2.INTER_NEAREST
            )
            near = largest >= NEAR * _shares(true, len(largest))
            for is_near in (True, False):
                of = (true > 0) & (near[true] == is_near)
                kept = pixels.setdefault((query.condition, is_near), [0, 0])
                kept[0] += int(of.sum())
                kept[1] += int((of & (found == true)).sum())
    rows = []
    for condition, is_near in pixels:
        count, right = pixels[condition, is_near]
        share = count / sum(pixels[condition, k][0] for k in (True, False))
        side = "half as large or larger" if is_near else "smaller, or nowhere"
        rows.append([condition, side, f"{share:.1%}", f"{right / max(count, 1):.1%}"])
    return table(
        ["queries", "in the db image that shows it largest, a facade is", "of the facades' pixels", "right"], rows
    )


def _shares(mask: np.ndarray, classes: int) -> np.ndarray:
    """float [C]: share of a label image that each class fills."""
    return np.bincount(mask.ravel(), minlength=classes) / mask.size


def _ms(call: Callable[[], object]) -> float:
    """Median milliseconds, after a warm-up."""
    call()
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return 1000 * float(np.median(taken))


def _published() -> dict[str, Callable[[], object]]:
    """Ways to run the published network on one image; the last is how `lbr recognise` does."""
    network = channels_last(make_network(PspSettings(), AACHEN_CLASSES), "cpu").eval().requires_grad_(False)
    image = torch.zeros(1, 3, 256, 256).to(memory_format=torch.channels_last)
    folded, ready = (ReadyNetwork(network, precision, "cpu") for precision in PRECISIONS)

    @torch.inference_mode()
    def plain() -> None:
        network(image)

    @torch.inference_mode()
    def cast() -> None:
        with autocast("bfloat16", "cpu"):
            network(image)

    return {
        "float32": plain,
        "bfloat16, cast at every call": cast,
        "float32, norms folded": lambda: folded(image),
        "bfloat16, norms folded, cast once (wanted: at most 70 ms)": lambda: ready(image),
    }


def _size(context: Context, kind: str, predictions: Path, wanted: str) -> list[str]:
    """What is stored for one image: its part of the prediction file, its mask and confidence as pictures."""
    with PredictionFile(predictions) as file:
        names = file.names
    size = predictions.stat().st_size
    for folder in ("masks", "confidence"):
        root = context.workspace.recognition_pictures / folder
        pictures = set(list_images(root)) if root.is_dir() else set()
        size += sum(
            (root / n).stat().st_size for n in (Path(m).with_suffix(".png").as_posix() for m in names) if n in pictures
        )
    return [
        f"stored for a {kind} image (prediction, mask, confidence)",
        f"{size / len(names) / 1e3:.1f} kB",
        f"at most {wanted} kB",
    ]
