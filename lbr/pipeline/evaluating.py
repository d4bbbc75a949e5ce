"""The verb `evaluate`: how good the poses of a run are, and the recognition behind them, where there is truth."""

from __future__ import annotations

from lbr.errors import DataError
from lbr.io.text_lists import Problem
from lbr.pipeline.aligning import UNALIGNED, alignment_of, needs_alignment, reference_poses
from lbr.pipeline.recognition_scoring import kept_scores, recognition_table
from lbr.pipeline.scoring import Evaluation, compare_runs, evaluate
from lbr.pipeline.stage import Context
from lbr.pipeline.workspace import Workspace


def evaluate_run(context: Context, compare_with: str | None = None) -> Evaluation:
    """Scores of the poses, and of recognition where the queries' true label images are known; another run beside it.

    Raises DataError when nothing can be scored, and as `scoring.evaluate`.
    """
    lacking, recognised = why_not_poses(context), scores_recognition(context)
    if lacking is not None and not recognised:
        raise DataError(f"there is nothing to evaluate with: {lacking}")
    found = (
        _poses(context, compare_with) if lacking is None else Evaluation(None, f"Poses are not scored: {lacking}.\n")
    )
    return _with_recognition(context, found) if recognised else found


def why_not_poses(context: Context) -> str | None:
    """Why poses cannot be scored; None where they can."""
    if context.dataset.truth is None:
        return "the dataset has no true poses to compare with: set dataset.ground_truth"
    return UNALIGNED if needs_alignment(context) and not reference_poses(context) else None


def scores_recognition(context: Context) -> bool:
    """Whether what was recognised in the queries can be compared with their true label images."""
    known = not context.makes_labels and context.labels.truth is not None
    return known and context.workspace.query_predictions.is_file()


def _poses(context: Context, compare_with: str | None) -> Evaluation:
    settings, truth, alignment = context.config.evaluation, context.dataset.truth, alignment_of(context)
    found = evaluate(context.workspace, truth, settings, alignment)
    if not compare_with:
        return found
    other = Workspace(context.workspace.root, compare_with)
    compared = compare_runs(other, context.workspace, truth, settings, alignment)
    return found._replace(text=f"{found.text}\n{compared}\n")


def _with_recognition(context: Context, found: Evaluation) -> Evaluation:
    try:
        scores, problems = kept_scores(context)
    except DataError as error:
        return found._replace(problems=(*found.problems, Problem("scores of recognition", str(error))))
    output = found.path or context.workspace.recognition_scores
    return Evaluation(output, f"{found.text}\n{recognition_table(scores)}", (*found.problems, *problems))
