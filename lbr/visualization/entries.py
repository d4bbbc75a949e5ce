"""What the report is made from, and its queries in the order they deserve attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lbr.evaluation import PoseErrors, PoseScores
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.text_lists import Problem
from lbr.mapping.map import Map
from lbr.recognition.metrics import RecognitionScores
from lbr.recognition.ranking import EvidenceRanking, RankingConfig
from lbr.types import InstancePrediction, LocalFeatures, PoseEstimate
from lbr.visualization import units
from lbr.visualization.colours import Colour

TRUSTED = ("refined", "verified")


@dataclass(frozen=True, eq=False)
class ReportInputs:
    """All that a report shows; whoever calls reads the files.

    records: lines of localizations.jsonl. features: of a query by name, None where there are none. truth: true poses
    (cam_from_world) of queries; errors and scores by condition, as of `lbr.evaluation`, None without a truth.
    thresholds: (metres, degrees) of the scores. stage_seconds: duration of each stage. facts: what else to print
    (machine, versions). num_expanded: queries shown with pictures. max_bytes: how large the page may become.
    predictions: what the recognition network says of a query, true_masks: its classes int [H, W], None where there is
    nothing. recognition: scores by ranking (the configured one first) and condition. ranking: the configured one.
    instance_colours: of some instances; each of the others has its own fixed one.
    """

    title: str
    records: Sequence[Mapping[str, Any]]
    scene: Map
    image_root: Path
    added: Mapping[str, Path]  # photographs of the map that are elsewhere
    features: Callable[[str], LocalFeatures | None]
    truth: Mapping[str, Pose] | None = None
    errors: PoseErrors | None = None
    scores: Mapping[str, PoseScores] | None = None
    thresholds: Sequence[tuple[float, float]] = ((0.25, 2.0), (0.5, 5.0), (5.0, 10.0))
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    problems: Sequence[Problem] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    predictions: Callable[[str], InstancePrediction | None] = lambda name: None
    true_masks: Callable[[str], np.ndarray | None] = lambda name: None
    recognition: Mapping[str, Mapping[str, RecognitionScores]] | None = None
    ranking: RankingConfig = field(default_factory=EvidenceRanking)
    instance_colours: Mapping[int, Colour] | None = None
    num_expanded: int = 24
    max_bytes: int = 12_000_000


@dataclass(frozen=True, eq=False)
class Entry:
    """One query: its record, and what is known about its truth.

    error_m, error_deg: None without a truth, inf without a pose. is_misleading: called reliable, but wrong.
    """

    record: Mapping[str, Any]
    truth: Pose | None = None
    error_m: float | None = None
    error_deg: float | None = None
    is_misleading: bool = False

    @property
    def name(self) -> str:
        return str(self.record["query"])

    @property
    def status(self) -> str:
        return str(self.record["status"])

    @property
    def condition(self) -> str:
        return str(self.record.get("condition", "all"))

    @property
    def reference(self) -> str | None:
        return self.record.get("reference")

    @property
    def tried(self) -> Sequence[str]:
        return self.record.get("tried") or ()

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        return self.record.get("steps") or ()

    @property
    def seconds(self) -> float:
        return float(sum(v for v in (self.record.get("timings") or {}).values() if units.is_known(v)))

    @cached_property
    def pose(self) -> Pose | None:
        """The estimate, cam_from_world; None for a failed query and for numbers that are no pose."""
        stored = self.record.get("pose")
        try:
            pose = Pose.from_quaternion(stored["qvec"], stored["tvec"]) if stored else None
        except ValueError:
            return None
        return pose if pose is not None and np.isfinite(pose.t).all() else None

    @cached_property
    def camera(self) -> Camera | None:
        """The intrinsics used; None where there were none, or none that can be."""
        stored = self.record.get("camera")
        try:
            return Camera(**{**stored, "params": tuple(stored["params"])}) if stored else None
        except ValueError:
            return None

    @cached_property
    def position_covariance(self) -> np.ndarray | None:
        """float64 [3, 3] of the camera's position in the world, metres squared."""
        stored = self.record.get("covariance")
        if self.pose is None or self.camera is None or stored is None:
            return None
        covariance = np.asarray(stored, np.float64)
        if covariance.shape != (6, 6) or not np.isfinite(covariance).all():
            return None
        return PoseEstimate(self.pose, np.zeros(0, bool), covariance, self.camera).position_covariance


def entries_of(inputs: ReportInputs) -> list[Entry]:
    """The queries, worst first: reliable by status but wrong, failed, weak, then by error, or else by uncertainty."""
    errors: dict[str, tuple[float, float]] = {}
    if inputs.errors is not None:
        pairs = zip(inputs.errors.position_m.tolist(), inputs.errors.rotation_deg.tolist(), strict=True)
        errors = dict(zip(inputs.errors.names, pairs, strict=True))
    loosest = max(inputs.thresholds, default=(np.inf, np.inf))
    found = []
    for record in inputs.records:
        name = str(record["query"])
        metres, degrees = errors.get(name, (None, None))
        wrong = metres is not None and degrees is not None and not (metres <= loosest[0] and degrees <= loosest[1])
        truth = (inputs.truth or {}).get(name)
        found.append(Entry(record, truth, metres, degrees, wrong and record["status"] in TRUSTED))
    return sorted(found, key=_badness)


def _badness(entry: Entry) -> tuple[int, float, str]:
    group = 0 if entry.is_misleading else {"failed": 1, "weak": 2}.get(entry.status, 3)
    size = entry.error_m if entry.error_m is not None else entry.record.get("position_std_m")
    known = size is not None and not np.isnan(size)
    return group, -float(size) if known and size is not None else -np.inf, entry.name
