"""The evaluate stage: scores of a run from its result files, alone or beside another run. Recomputes nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lbr.errors import DataError
from lbr.evaluation import (
    Comparison,
    EvaluationSettings,
    PoseErrors,
    PoseScores,
    compare,
    pose_errors,
    score_by_condition,
)  # fmt: skip
from lbr.geometry.pose import Pose
from lbr.io.files import write_text
from lbr.io.text_lists import Problem, read_listed_poses
from lbr.pipeline.aligning import Alignment
from lbr.pipeline.results import poses_of, read_localizations
from lbr.pipeline.workspace import Workspace
from lbr.types import Status

TRUSTED = {Status.REFINED, Status.VERIFIED}


class Scored(NamedTuple):
    """A run beside the truth: the true poses of its queries, the errors, and the scores by condition. problems: lines
    of the truth that are none."""

    truth: dict[str, Pose]
    errors: PoseErrors
    scores: dict[str, PoseScores]
    problems: tuple[Problem, ...] = ()


class Evaluation(NamedTuple):
    """path: where the scores are; text: what they are; problems: what could not be scored."""

    path: Path | None
    text: str
    problems: tuple[Problem, ...] = ()


def score(
    records: Sequence[Mapping[str, Any]], truth: Path | None, settings: EvaluationSettings,
    alignment: Alignment | None = None,
) -> Scored:  # fmt: skip
    """Score the records of a run, whose poses `alignment` brings into the frame of the truth, where that is another.

    Raises DataError when there is no truth, or it shares no query with the run.
    """
    true_poses, problems = _truth_of(records, truth)
    errors = pose_errors(alignment.estimates(records) if alignment else poses_of(records), true_poses)
    conditions = {r["query"]: r["condition"] for r in records}
    return Scored(true_poses, errors, score_by_condition(errors, conditions, settings.thresholds), tuple(problems))


def evaluate(
    workspace: Workspace, truth: Path | None, settings: EvaluationSettings, alignment: Alignment | None = None
) -> Evaluation:
    """Score a run and write report.json and report.md.

    Raises DataError when the run was not localized, there is no truth, or it shares no query with the run.
    """
    records = read_localizations(workspace.localizations)
    _, errors, scores, problems = score(records, truth, settings, alignment)
    statuses, seconds = Counter(r["status"] for r in records), _median_seconds(records)
    report = {
        "run": workspace.run, "thresholds": settings.thresholds, "truth": str(truth),
        "statuses": statuses,
        "scores": {condition: vars(s) for condition, s in scores.items()},
        "median_seconds": seconds,
        "search": (search := search_effort(records)),
        "queries": {
            n: {"position_m": float(p), "rotation_deg": float(d)}
            for n, p, d in zip(errors.names, errors.position_m, errors.rotation_deg, strict=True)
        },
    }  # fmt: skip
    text = _markdown(workspace.run, scores, settings, statuses, seconds) + _search_text(search)
    if (ratios := _errors_over_stated(records, errors, alignment)).size:
        report["error_over_stated_std"] = {"num": ratios.size, "median": float(np.median(ratios))}
        text += (
            f"Position errors of {ratios.size} refined poses: {np.median(ratios):.2f} times the stated standard "
            f"deviation at the median, within twice of it {np.mean(ratios <= 2):.0%}.\n"
        )
    if alignment is not None:
        text += _alignment_text(alignment, records)
        report["alignment"] = _alignment_json(alignment, records)
    write_text(workspace.report, json.dumps(report, indent=1))
    write_text(workspace.report.with_suffix(".md"), text)
    return Evaluation(workspace.report, text, problems)


def compare_runs(
    a: Workspace, b: Workspace, truth: Path | None, settings: EvaluationSettings, alignment: Alignment | None = None
) -> str:
    """What run b changes against run a, paired per query, as text. Raises DataError as `evaluate`."""
    before, after = (score(read_localizations(ws.localizations), truth, settings, alignment).errors for ws in (a, b))
    return _comparison_text(a.run, b.run, compare(before, after, settings.thresholds), settings)


def _truth_of(records: Sequence[Mapping[str, Any]], truth: Path | None) -> tuple[dict[str, Pose], list[Problem]]:
    """True poses of the queries of a run, and the lines that are none. Raises DataError when there are no poses."""
    if truth is None:
        raise DataError("there are no true poses to evaluate with: set dataset.ground_truth")
    known, problems = read_listed_poses(truth)
    found = {r["query"]: known[r["query"]] for r in records if r["query"] in known}
    if not found:
        first = f"; {problems[0]}" if problems else ""
        raise DataError(
            f"{truth}: has the true pose of none of the {len(records)} queries (names must be equal{first})"
        )
    return found, problems


def _errors_over_stated(
    records: Sequence[Mapping[str, Any]], errors: PoseErrors, alignment: Alignment | None
) -> np.ndarray:
    """float64 [R]: position errors of the refined poses, each over its stated standard deviation, where it is known how
    many metres that is. Where what is stated is right their median is 0.9 or less."""
    stated = {r["query"]: _stated_m(r, alignment) for r in records if r["status"] == "refined"}
    pairs = zip(errors.names, errors.position_m, strict=True)
    found = [(error, stated[name]) for name, error in pairs if stated.get(name) and np.isfinite(error)]
    error, std = np.array(found, np.float64).reshape(-1, 2).T
    return error / std


def _stated_m(record: Mapping[str, Any], alignment: Alignment | None) -> float | None:
    """Metres of the stated standard deviation of the position; of a map in units of its own by its alignment."""
    if alignment is None:
        return record["position_std_m"]
    scale, std = alignment.metres_per_unit(record["place"]), record["position_std"]
    return None if scale is None or std is None else scale * std


def _median_seconds(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    steps = dict.fromkeys(step for r in records for step in r["timings"])
    return {s: float(np.median([r["timings"][s] for r in records if s in r["timings"]])) for s in steps}


def search_effort(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What was looked through. compared, mean_compared: db images for a query, at the median and at the mean. Where
    instances were tried, of so many trusted poses: first_instance, the db image that supports it most is one of those
    that the first instance tried led to; one_step, they were all that was compared."""
    counts = [len(r["tried"]) for r in records]
    found: dict[str, float] = {"compared": float(np.median(counts)), "mean_compared": float(np.mean(counts))}
    trusted = [r for r in records if r["status"] in TRUSTED and r["steps"]]
    if any(step["instance"] for r in records for step in r["steps"]):
        first = [r for r in trusted if r["steps"][0]["instance"] and r["reference"] in r["steps"][0]["names"]]
        one_step = sum(len(r["steps"]) == 1 for r in first)
        found |= {"trusted": len(trusted), "first_instance": len(first), "one_step": one_step}
    return found


def _search_text(search: Mapping[str, float]) -> str:
    text = "Images compared per query: {compared:g} at the median, {mean_compared:.1f} at the mean."
    if "trusted" in search:
        text += (
            " Of {trusted} poses to be trusted {first_instance} are of the first instance tried, {one_step} of which "
            "took no other step."
        )
    return text.format(**search) + "\n"


def _markdown(
    run: str, scores: Mapping[str, PoseScores], settings: EvaluationSettings, statuses: Mapping[str, int],
    seconds: Mapping[str, float],
) -> str:  # fmt: skip
    limits = " / ".join(f"{m:g} m, {d:g} deg" for m, d in settings.thresholds)
    lines = [f"# {run}", "", f"| queries | num | median | recall % at {limits} |", "|---|---|---|---|"]
    for condition, s in scores.items():
        recall = " / ".join(f"{r:.1f}" for r in s.recall)
        lines.append(f"| {condition} | {s.num} | {100 * s.median_m:.2f} cm, {s.median_deg:.3f} deg | {recall} |")
    lines += ["", "Status: " + ", ".join(f"{n} {status}" for status, n in sorted(statuses.items())) + "."]
    lines += ["Median seconds per query: " + ", ".join(f"{s} {t:.3f}" for s, t in seconds.items()) + "."]
    return "\n".join(lines) + "\n"


def _alignment_text(alignment: Alignment, records: Sequence[Mapping[str, Any]]) -> str:
    lines = ["", "The map is in a frame of its own; aligned to the reference poses of its db images:", ""]
    lines += [f"- {line}" for line in alignment.describe()]
    lines.append("- what a query states is of its place in the map; what the map itself is off by is not in it")
    if outside := alignment.num_outside(records):
        lines.append(f"- {outside} queries were found by db images outside every group: they count as missed")
    return "\n".join(lines) + "\n"


def _alignment_json(alignment: Alignment, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    groups = [
        {
            "place": place, "images": list(group.names), "scale": group.similarity.scale,
            "rotation": group.similarity.R.tolist(), "translation": group.similarity.t.tolist(),
            "position_errors_m": group.position_errors.tolist(),
            "rotation_errors_deg": np.degrees(group.rotation_errors).tolist(),
        }
        for group, place in zip(alignment.groups, alignment.places, strict=True)
    ]  # fmt: skip
    return {
        "groups": groups, "outside": list(alignment.outside), "without_reference": alignment.unknown,
        "queries_outside": alignment.num_outside(records),
    }  # fmt: skip


def _comparison_text(a: str, b: str, found: Comparison, settings: EvaluationSettings) -> str:
    recall = ", ".join(
        f"{difference:+.1f} points at {m:g} m, {d:g} deg"
        for difference, (m, d) in zip(found.recall_difference, settings.thresholds, strict=True)
    )
    return (
        f"{b} against {a}, {found.num} queries in both: nearer in {found.better}, farther in {found.worse} "
        f"(sign test p = {found.p_value:.3g}), median difference {100 * found.median_difference_m:+.2f} cm; "
        f"recall {recall}"
    )
