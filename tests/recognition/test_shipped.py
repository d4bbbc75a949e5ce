"""The shipped networks of the embedded town, on photographs of it that they have not seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbr.config import load_config
from lbr.io.labels import mask_path, read_mask, vocabulary_digest
from lbr.pipeline.scenes import make_town
from lbr.pipeline.stage import Context
from lbr.pipeline.vocabulary import load_vocabulary
from lbr.recognition.checkpoints import load_checkpoint
from lbr.recognition.metrics import ImageScore, score_image, summarise
from lbr.recognition.predict import load_recognizer

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FEW = ("num_db=2", "num_sequence=0", "num_day=6", "num_night=6", "num_stations=1", "num_per_traverse=1")
WANTED = {"town": (75, 70), "town-robotcar": (70, 80)}  # %: a right instance first; pixels right, of all queries


@pytest.mark.parametrize("name", WANTED)
def test_the_shipped_network_recognises_the_town(tmp_path: Path, name: str):
    config = CONFIGS / f"{name}.yaml"
    root = tmp_path / load_config(config).dataset.root.name
    placed = (
        f"dataset.root={root}", f"dataset.ground_truth={tmp_path}/ground_truth/poses.txt",
        f"dataset.ground_truth_labels={tmp_path}/ground_truth/masks", f"workspace={tmp_path}/work",
    )  # fmt: skip
    context = Context(load_config(config, (*placed, *(f"town.{few}" for few in FEW))))
    make_town(context)
    settings, vocabulary, truth = context.config.recognition, load_vocabulary(context), context.labels.truth
    assert settings.weights is not None and truth is not None and settings.weights.stat().st_size < 12e6
    assert vocabulary_digest(load_checkpoint(settings.weights).vocabulary) == vocabulary_digest(vocabulary)
    network, scores = load_recognizer(settings.weights), list[ImageScore]()
    for query in context.dataset.queries:
        found, mask = network.predict(context.images.read(query.name)), mask_path(truth, query.name)
        scores.append(score_image(found, read_mask(mask, vocabulary), settings.ranking))
    told = summarise(scores)
    assert told.num >= 7
    assert told.first[0] >= WANTED[name][0] and told.pixel_accuracy >= WANTED[name][1]
