"""Instances made from images and poses alone, against the true masks of the embedded town; beside k-means of the
points."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.machine import table
from lbr.config import load_config
from lbr.io.labels import mask_path, read_mask
from lbr.pipeline.labelling import label
from lbr.pipeline.scenes import make_town
from lbr.pipeline.stage import Context
from lbr.pipeline.stages import STAGES
from lbr.pipeline.vocabulary import load_vocabulary

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "town-unlabelled.yaml"
MADE = ("instances.prefer_given=false", "instances.min_track=3", "parallel.workers=1")  # whichever method is named
METHODS = ("kmeans", "facades")
COVERS = 0.1  # an instance covers a facade when it holds so much of its labelled pixels
SHOWN = 0.02  # an image shows a facade that fills so much of it
PURE, KEPT, LABELLED = 0.8, 0.95, 0.25
HANDFUL = 5  # images; pieces that fewer show may be dropped
WANTED = "80 % pure, the same id(s) in 95 % of the images"


@dataclass(frozen=True, eq=False)
class LabelScores:
    """Of each true facade, float64 [F]: purity (share of the pixels of the instances that cover it that lie in it;
    background among what does not), purity among facades alone, coverage (share of its pixels that are labelled),
    persistence (share of its images where most of its labelled pixels have its ids: instances that lie in it more than
    in any other, and a quarter of it is labelled), main (where the one id that it has most often is in it), ids it
    has, images that show it."""

    purity: np.ndarray
    among_facades: np.ndarray
    coverage: np.ndarray
    persistence: np.ndarray
    main: np.ndarray
    num_ids: np.ndarray
    num_images: np.ndarray

    def counted(self) -> str:
        """How many facades are pure, and how many kept, of all and of those that a handful of images shows; and of all
        times that an image shows a facade, how often it has its ids."""
        pure, kept = self.purity >= PURE, self.persistence >= KEPT
        seen = self.num_images >= HANDFUL
        always = np.average(self.persistence, weights=self.num_images)
        return (
            f"{pure.sum()} and {kept.sum()} of {len(pure)}; {pure[seen].sum()} and {kept[seen].sum()} of the "
            f"{seen.sum()} that {HANDFUL} images or more show; {always:.1%} of all appearances"
        )


def run(arguments: Sequence[str] = ()) -> str:
    """arguments: overrides, for another local feature or another town."""
    configs = {m: load_config(CONFIG, [f"instances.name={m}", *MADE, *arguments]) for m in METHODS}
    context = Context(next(iter(configs.values())))
    make_town(context)
    for verb in ("extract", "pairs", "match", "reconstruct"):
        STAGES[verb](context)
    rows = [_row(method, config) for method, config in configs.items()]
    columns = [
        "method", "instances", "facades at least 80 % pure, and with the same ids in 95 % of their images",
        "purity: mean, least (among facades alone)", "coverage", "same ids: mean, least", "its main id is there",
        "ids a facade", "CPU s", "peak GB",
    ]  # fmt: skip
    return f"wanted: every true facade {WANTED}\n\n" + table(columns, rows)


def _row(method: str, config: object) -> list[str]:
    context = Context(config, overwrite=True)  # type: ignore[arg-type]
    before = resource.getrusage(resource.RUSAGE_SELF)
    label(context)
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    s = score_labels(context)
    return [
        method, str(load_vocabulary(context).num_classes - 1), s.counted(),
        f"{s.purity.mean():.1%}, {s.purity.min():.1%} ({s.among_facades.mean():.1%}, {s.among_facades.min():.1%})",
        f"{s.coverage.mean():.1%}",
        f"{s.persistence.mean():.1%}, {s.persistence.min():.1%}", f"{s.main.mean():.1%}",
        f"{s.num_ids.mean():.1f}", f"{seconds:.0f}", f"{used.ru_maxrss / 1e6:.1f}",
    ]  # fmt: skip


def score_labels(context: Context) -> LabelScores:
    """Scores of the made label images against the dataset's own, over the db images."""
    true, given = read_given(context)
    made_vocabulary = load_vocabulary(context)
    counts = []
    for name in context.dataset.db_names:
        own, made = mask_path(given, name), mask_path(context.labels.masks or Path(), name)
        if own.is_file() and made.is_file():
            ids = read_mask(made, made_vocabulary)
            counts.append(
                _pairs(read_mask(own, true, ids.shape[::-1]), ids, true.num_classes, made_vocabulary.num_classes)
            )
    return scores_of(np.stack(counts))


def read_given(context: Context) -> tuple:
    """The dataset's own vocabulary and folder of label images."""
    from lbr.io.labels import read_vocabulary

    labels = context.dataset.labels
    assert labels.masks and labels.vocabulary
    return read_vocabulary(labels.vocabulary), labels.masks


def _pairs(true: np.ndarray, made: np.ndarray, num_true: int, num_made: int) -> np.ndarray:
    """Pixels float32 [true, made] of one image, as shares of it."""
    pairs = np.bincount((true * num_made + made).ravel(), minlength=num_true * num_made)
    return (pairs / true.size).astype(np.float32).reshape(num_true, num_made)


def scores_of(counts: np.ndarray) -> LabelScores:
    """counts: shares of images [images, true, made]. Facades that no image shows are left out."""
    total = counts.sum(axis=0, dtype=np.float64)
    shown = counts.sum(axis=2) >= SHOWN
    facades = [f for f in range(1, total.shape[0]) if shown[:, f].any()]
    owner = total[1:].argmax(axis=0) + 1  # of each instance, the facade where most of its facade pixels are
    rows = []
    for f in facades:
        labelled = total[f, 1:]
        covering = 1 + np.flatnonzero(labelled >= COVERS * max(labelled.sum(), 1e-12))
        own = 1 + np.flatnonzero((owner[1:] == f) & (labelled > 0))
        inside, everything = total[f, covering].sum(), total[:, covering].sum()
        images = counts[shown[:, f], f]
        most = 1 + images[:, 1:].argmax(axis=1)
        enough = images[:, 1:].sum(axis=1) >= LABELLED * images.sum(axis=1)
        main = 1 + int(labelled.argmax())
        rows.append([
            inside / max(everything, 1e-12), inside / max(total[1:, covering].sum(), 1e-12),
            labelled.sum() / total[f].sum(), np.mean(np.isin(most, own) & enough),
            np.mean(images[:, main] >= COVERS * images.sum(axis=1)), len(covering), len(images),
        ])  # fmt: skip
    return LabelScores(*np.array(rows).T)
