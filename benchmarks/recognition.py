"""Recognition: time of one image, size of what is stored, and what the shipped network says of the embedded town."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import table
from lbr.config import load_config
from lbr.io.images import list_images
from lbr.io.predictions_file import PredictionFile
from lbr.parallel import limit_threads, num_cores
from lbr.pipeline.recognition import recognise
from lbr.pipeline.recognition_scoring import recognition_scores, recognition_table
from lbr.pipeline.scenes import make_town
from lbr.pipeline.stage import Context
from lbr.recognition.inference import ReadyNetwork
from lbr.recognition.network import make_network
from lbr.recognition.optimization import autocast, channels_last
from lbr.recognition.predict import load_recognizer
from lbr.recognition.settings import Precision, PspSettings

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "town.yaml"
AACHEN_CLASSES = 452
REPEATS = 15
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
    return table(["what", "measured", "wanted"], rows) + "\n\n" + recognition_table(recognition_scores(context).scores)


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
