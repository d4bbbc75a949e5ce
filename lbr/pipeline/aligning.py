"""A map in a frame of its own beside reference poses: which similarity brings which of its images onto them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lbr.errors import DataError
from lbr.evaluation import AlignmentSettings
from lbr.geometry.consensus import AlignedGroup, Tolerance, find_groups
from lbr.geometry.pose import Pose
from lbr.io.text_lists import read_listed_poses
from lbr.mapping.map import Map, open_map
from lbr.mapping.sfm import SfmSettings
from lbr.pipeline.results import poses_of
from lbr.pipeline.stage import Context

UNALIGNED = (
    "the map was made by structure from motion, in a frame of its own, and no pose of a db image is known to "
    "align it with: set dataset.reference to a COLMAP model, or add db images to dataset.ground_truth"
)


@dataclass(frozen=True, eq=False)
class Alignment:
    """Groups of db images, largest first within a place, each with the similarity reference_from_map of its frame.

    places: the place of each group. outside: db images with a reference pose that fit no group. unknown: how many
    have no reference pose.
    """

    groups: tuple[AlignedGroup, ...]
    places: tuple[int, ...]
    outside: tuple[str, ...]
    unknown: int

    @cached_property
    def _group_of(self) -> dict[str, int]:
        return {name: number for number, group in enumerate(self.groups) for name in group.names}

    def estimates(self, records: Sequence[Mapping[str, Any]]) -> dict[str, Pose]:
        """The poses of a run in the reference's frame, by query: each by the group of its reference db image.

        A query whose reference db image fits no group has none: where it was found, the map is wrong or unknown.
        """
        references = {r["query"]: self._group_of.get(r["reference"]) for r in records}
        return {
            name: self.groups[number].similarity.move(pose)
            for name, pose in poses_of(records).items()
            if (number := references[name]) is not None
        }

    def num_outside(self, records: Sequence[Mapping[str, Any]]) -> int:
        """Queries with a pose that cannot be brought into the reference's frame."""
        return len(poses_of(records)) - len(self.estimates(records))

    def in_map(
        self, records: Sequence[Mapping[str, Any]], truth: Mapping[str, Pose], reference: Mapping[str, Pose]
    ) -> dict[str, tuple[int, Pose]]:
        """True poses in the frame of a place, with that place: of the query's own group, where it has one, else of
        the group whose db cameras stand nearest."""
        found: dict[str, tuple[int, Pose]] = {}
        centres = [np.array([reference[n].centre for n in group.names]) for group in self.groups]
        for record in records:
            pose = truth.get(record["query"])
            if pose is None:
                continue
            number = self._group_of.get(record["reference"])
            if number is None:
                number = int(np.argmin([np.linalg.norm(c - pose.centre, axis=1).min() for c in centres]))
            found[record["query"]] = (self.places[number], self.groups[number].similarity.inverse().move(pose))
        return found

    def metres_per_unit(self, place: int) -> float | None:
        """The scale of the largest group of a place; None where it has no group."""
        scales = [g.similarity.scale for g, p in zip(self.groups, self.places, strict=True) if p == place]
        return scales[0] if scales else None

    def describe(self) -> list[str]:
        """In words, a line for each group, and one for the images that are in none."""
        lines = []
        for number, (group, place) in enumerate(zip(self.groups, self.places, strict=True), 1):
            rms, angle = (np.sqrt(np.mean(e**2)) for e in (group.position_errors, group.rotation_errors))
            lines.append(
                f"group {number}: {len(group.names)} db images of place {place}, off by {100 * rms:.2f} cm and "
                f"{np.degrees(angle):.3f} deg (rms), 1 unit of the map = {group.similarity.scale:.6g} m"
            )
        lines.append(f"{len(self.outside)} db images fit no group, {self.unknown} have no reference pose")
        return lines


def align_map(scene: Map, reference: Mapping[str, Pose], settings: AlignmentSettings, seed: int = 0) -> Alignment:
    """Groups of the images of each place. Raises DataError when there is none, with what to look at."""
    tolerance = Tolerance(settings.max_error_m, np.radians(settings.max_rotation_deg), settings.min_images)
    groups: list[AlignedGroup] = []
    places: list[int] = []
    outside: list[str] = []
    for place in range(scene.num_places):
        poses = {scene.names[i]: scene.pose(i) for i in scene.images_of(place)}
        found, left = find_groups(poses, reference, tolerance, seed)
        groups += found
        places += [place] * len(found)
        outside += left
    known = sum(name in reference for name in scene.names)
    if not groups:
        raise DataError(
            f"the map cannot be aligned: {known} of its {len(scene)} db images have a reference pose, and no "
            f"{settings.min_images} of one place agree within {settings.max_error_m:g} m and "
            f"{settings.max_rotation_deg:g} deg; see dataset.reference and evaluation.alignment"
        )
    return Alignment(tuple(groups), tuple(places), tuple(outside), len(scene) - known)


def needs_alignment(context: Context) -> bool:
    """Whether the map's frame is its own, and not that of the reference poses."""
    return isinstance(context.config.reconstruction, SfmSettings)


def reference_poses(context: Context) -> dict[str, Pose]:
    """Poses of db images that are known: of dataset.reference, of dataset.model, or in the file of true poses."""
    dataset = context.dataset
    return {**_db_poses(dataset.truth, set(dataset.db_names)), **(dataset.reference or dataset.poses or {})}


def alignment_of(context: Context) -> Alignment | None:
    """The alignment that a run is evaluated with; None where the map is in the frame of the true poses.

    Raises DataError when there is nothing to align the map with.
    """
    if not needs_alignment(context):
        return None
    reference = reference_poses(context)
    if not reference:
        raise DataError(UNALIGNED)
    return align_map(open_map(context.workspace.map), reference, context.config.evaluation.alignment)


def _db_poses(truth: Path | None, names: set[str]) -> dict[str, Pose]:
    return {} if truth is None else {name: pose for name, pose in read_listed_poses(truth)[0].items() if name in names}
