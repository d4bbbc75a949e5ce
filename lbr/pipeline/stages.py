"""The stages by verb, in the order of the flow: each reads files, calls the pure modules, and writes its outputs.

A new one is a function `Context -> list[Report]` of 20..40 lines in a module of this folder, and a line here.
"""

from __future__ import annotations

from lbr.errors import ConfigError
from lbr.pipeline.evaluating import why_not_poses
from lbr.pipeline.features import extract
from lbr.pipeline.georeference import georeference_map
from lbr.pipeline.indexing import make_index
from lbr.pipeline.labelling import label
from lbr.pipeline.localization import localize
from lbr.pipeline.mapping import reconstruct
from lbr.pipeline.matching import choose_pairs, match
from lbr.pipeline.recognition import recognise, train
from lbr.pipeline.reporting import make_report
from lbr.pipeline.scenes import make_stylized, make_town
from lbr.pipeline.stage import Context, Stage

STAGES: dict[str, Stage] = {
    "town": make_town,
    "stylize": make_stylized,
    "train": train,
    "recognise": recognise,
    "extract": extract,
    "pairs": choose_pairs,
    "match": match,
    "reconstruct": reconstruct,
    "georeference": georeference_map,
    "label": label,
    "index": make_index,
    "localize": localize,
    "report": make_report,
}
GIVEN, MAPPED, ASKED = (
    ("train", "recognise"),
    ("extract", "pairs", "match", "reconstruct", "georeference", "label"),
    ("index", "localize"),
)


def flow(context: Context) -> tuple[str, ...]:
    """The verbs from photographs to poses, in their order.

    Recognition comes first where label images are given, as keypoints may be chosen by it; where they are made from the
    map, it can only come after.
    """
    return (*MAPPED, *GIVEN, *ASKED) if context.makes_labels else (*GIVEN, *MAPPED, *ASKED)


def left_out(context: Context) -> dict[str, str]:
    """The verbs of the whole flow that this configuration has no use for, each with the reason.

    Raises ConfigError when it asks for instances that the dataset does not have: before the mapping, not after it.
    """
    dataset, reasons = context.dataset, _without_instances(context)
    if context.config.georeference.enabled == "never":
        reasons["georeference"] = "georeference.enabled=never"
    if not dataset.queries:
        reasons |= dict.fromkeys(("localize", "evaluate", "report"), "the dataset has no queries")
    elif (lacking := why_not_poses(context)) and (context.makes_labels or dataset.labels.truth is None):
        reasons["evaluate"] = lacking
    return reasons


def _without_instances(context: Context) -> dict[str, str]:
    """The verbs about instances that are left out. Raises ConfigError as `left_out`."""
    dataset, settings = context.dataset, context.config.recognition
    without = dataset.labels.masks is None and not context.makes_labels
    if context.uses_instances and without:
        raise ConfigError(
            "candidates.name=progressive and localization.matcher.name=instancewise need label images of the db "
            "images: set dataset.labels to their folder, instances.name=facades, or use exhaustive and nearest"
        )
    reasons: dict[str, str] = {}
    if not context.makes_labels:
        reasons["label"] = f"the dataset's own label images are used ({dataset.labels.masks})"
    if without:
        reasons |= dict.fromkeys(("train", "recognise", "label"), "the dataset has no label images (dataset.labels)")
    elif context.makes_labels and not context.uses_instances:
        none = "neither the search nor the matcher of this configuration asks for instances"
        reasons |= dict.fromkeys(("label", "train", "recognise"), none)
    elif settings.weights or settings.published:
        reasons["train"] = "the configuration names a trained network"
    if not context.uses_instances:
        reasons["index"] = "neither the search nor the matcher of this configuration asks for instances"
    return reasons


def run_flow(context: Context) -> None:
    """From photographs to poses, without a word: for scripts and notebooks."""
    for verb in flow(context):
        if verb not in left_out(context):
            STAGES[verb](context)
