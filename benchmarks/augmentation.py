"""What stylised copies and night made on the fly are each worth: four short trainings of equal length, on the town."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.machine import table
from lbr.config import load_config
from lbr.pipeline.recognition import recognise, train
from lbr.pipeline.recognition_scoring import recognition_scores
from lbr.pipeline.scenes import make_stylized, make_town
from lbr.pipeline.stage import Context

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "town.yaml"
SHORT = [
    "recognition.weights=null", "recognition.input_size=[128,128]", "recognition.prediction.pictures=false",
    "recognition.training.growing=[0.75,0.75,1.0]", "recognition.training.epochs=60",
]  # fmt: skip
NO_COPIES, NOT_MADE = "recognition.training.stylized=0", "recognition.training.on_the_fly=never"
VARIANTS = {
    "stylised copies and night on the fly": [],
    "stylised copies alone": [NOT_MADE],
    "night on the fly alone": [NO_COPIES],
    "neither": [NO_COPIES, NOT_MADE],
}


def run() -> str:
    plain = Context(load_config(CONFIG, SHORT))
    make_town(plain)
    make_stylized(plain)
    rows = [row for number, (name, changes) in enumerate(VARIANTS.items()) for row in _rows(name, number, changes)]
    columns = ["trained with", "queries", "right instance first / among 10, %", "pixels right, %", "mean IoU, %"]
    return table(columns, rows)


def _rows(name: str, number: int, changes: list[str]) -> list[list[str]]:
    config = load_config(CONFIG, [*SHORT, *changes])
    workspace = config.workspace.with_name(f"workspace-augmentation-{number}")
    context = Context(config.model_copy(update={"workspace": workspace}))
    train(context)
    recognise(replace(context, overwrite=True))
    scores = recognition_scores(context).scores[config.recognition.ranking.name]
    return [
        [name, condition, f"{s.first[0]:.1f} / {s.first[2]:.1f}", f"{s.pixel_accuracy:.1f}", f"{s.mean_iou:.1f}"]
        for condition, s in scores.items()
        if condition != "all"
    ]
