"""What the report is made from, and its queries in the order they deserve attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lbr.evaluation import PoseErrors, PoseScores
from lbr.geometry.camera import Camera, camera_of_fields
from lbr.geometry.pose import Pose
from lbr.io.images import ImageFolder
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
    instance_colours: of some instances; each of the others has its own fixed one. truth_places: the map's place in
    whose frame a true pose is given, where there are several. metres_per_unit: of a place's frame, None where nothing
    tells it; places that are not named are in metres. alignment: how the map was aligned to be scored, in lines.
    georeference: where its places lie on earth, in lines. search: how many poses are to be trusted, and of the first
    instance tried (`scoring.search_effort`), empty where no instances were tried.
    """

    title: str
    records: Sequence[Mapping[str, Any]]
    scene: Map
    images: ImageFolder
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
    search: Mapping[str, float] = field(default_factory=dict)
    num_expanded: int = 24
    max_bytes: int = 12_000_000
    truth_places: Mapping[str, int] = field(default_factory=dict)
    metres_per_unit: Mapping[int, float | None] = field(default_factory=dict)
    alignment: Sequence[str] = ()
    georeference: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Entry:
    """One query: its record, and what is known about its truth.

    error_m, error_deg: None without a truth, inf without a pose. is_misleading: called reliable, but wrong.
    place: the map's place that it was found in, or truly is in. metres_per_unit: of its frame, None when unknown.
    """

    record: Mapping[str, Any]
    truth: Pose | None = None
    error_m: float | None = None
    error_deg: float | None = None
    is_misleading: bool = False
    place: int = 0
    metres_per_unit: float | None = 1.0

    @property
    def std_m(self) -> float | None:
        """The stated standard deviation of the position in metres; None where it is not known."""
        stated, in_units = self.record.get("position_std_m"), self.record.get("position_std")
        if stated is None and in_units is not None and self.metres_per_unit is not None:
            return float(in_units) * self.metres_per_unit
        return None if stated is None else float(stated)

    @property
    def std_text(self) -> str:
        """The stated standard deviation of the position, in words; in the map's units where they are no metres."""
        return (
            units.metres(self.std_m) if self.std_m is not None else units.length(self.record.get("position_std"), None)
        )

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
            return camera_of_fields(stored) if stored else None
        except ValueError:
            return None

    @cached_property
    def position_covariance(self) -> np.ndarray | None:
        """float64 [3, 3] of the camera's position in the world, units squared."""
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
        place = record.get("place")
        place = inputs.truth_places.get(name, 0) if place is None else int(place)
        unit = inputs.metres_per_unit.get(place, 1.0)
        found.append(Entry(record, truth, metres, degrees, wrong and record["status"] in TRUSTED, place, unit))
    return sorted(found, key=_badness)


def _badness(entry: Entry) -> tuple[int, float, str]:
    group = 0 if entry.is_misleading else {"failed": 1, "weak": 2}.get(entry.status, 3)
    size = next((v for v in (entry.error_m, entry.std_m, entry.record.get("position_std")) if v is not None), None)
    known = size is not None and not np.isnan(size)
    return group, -float(size) if known and size is not None else -np.inf, entry.name
