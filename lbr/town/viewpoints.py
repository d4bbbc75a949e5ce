"""Where photographs are taken from, and with which camera.

Each view has a generator of its own. What is decided hangs on rays, of which one in a million falls on the other side
of an edge on a processor of another kind: with one generator for all, that would move every view that comes after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.town.config import TownSpec
from lbr.town.coverage import pool, probe, support
from lbr.town.plan import Street
from lbr.town.world import Town

TURNS = np.radians([0, -16, 16, -32, 32, -48, 48])
MIN_SUPPORT = 0.22  # of a db view by others (coverage.support), so that it can be triangulated
SHARE_M = 30.0  # how far from each other views may share anything
QUERY_SUPPORT = 0.05  # of a query by the db, so that it can be localized; tried QUERY_TRIES times
QUERY_TRIES = 8
ROUNDS = 3  # of turning views to each other
RIG_YAW = {"left": np.pi / 2, "rear": np.pi, "right": -np.pi / 2}
RIG_OFFSET = {"left": (0.3, 0.45, 1.75), "rear": (-0.9, 0.0, 1.7), "right": (0.3, -0.45, 1.75)}


@dataclass(frozen=True, eq=False)
class Shot:
    """A photograph to take: its name below images/, camera, cam_from_world, condition, and the moment it belongs to
    (shots of one moment see the same people, cars and lights)."""

    name: str
    camera: Camera
    pose: Pose
    condition: str
    moment: str


def street_camera(config: TownSpec, kind: str) -> Camera:
    """db: a pinhole · milestone: some barrel distortion · nexus5x: OpenCV's four terms · rig: a pinhole."""
    w, h = config.width, config.height
    if kind == "milestone":
        return Camera("SIMPLE_RADIAL", w, h, (0.81 * w, w / 2 + 0.004 * w, h / 2 - 0.006 * h, -0.075))
    if kind == "nexus5x":
        focal = 0.78 * w
        return Camera(
            "OPENCV", w, h, (focal, 1.002 * focal, w / 2 - 0.006 * w, h / 2 + 0.004 * h, 0.06, -0.09, 0.0006, -0.0004)
        )
    focal = 0.62 * w
    return Camera("PINHOLE", w, h, (focal, focal, w / 2, h / 2))


def look(centre: np.ndarray, yaw: float, pitch: float, roll: float = 0.0) -> Pose:
    """cam_from_world of a camera at `centre` [3]; yaw from east to north, pitch up, roll clockwise, radians."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    R = np.stack([c * right + s * down, c * down - s * right, forward])
    return Pose(R, -R @ np.asarray(centre, np.float64))


Place = tuple[np.ndarray, float, float]  # point [2] on a street's axis, its heading, half its width


@dataclass(frozen=True, eq=False)
class Walk:
    """All streets one after another, walked once, or the first `stretch` metres of them."""

    streets: tuple[Street, ...]
    stretch: float | None = None

    @property
    def length(self) -> float:
        whole = sum(s.length for s in self.streets)
        return whole if self.stretch is None else min(whole, self.stretch)

    @property
    def is_cut_short(self) -> bool:
        return self.length < sum(s.length for s in self.streets)

    def at(self, distance: float) -> Place:
        """Point [2] on the axis, heading of the street and its half width after `distance` metres."""
        ends = np.cumsum([s.length for s in self.streets])
        k = min(int(np.searchsorted(ends, distance)), len(ends) - 1)
        street = self.streets[k]
        along = (street.b - street.a) / street.length
        rest = min(distance - ends[k] + street.length, street.length)
        return street.a + along * rest, float(np.arctan2(along[1], along[0])), street.half_width


def walk_shots(town: Town, count: int, folder: str, rng: np.random.Generator) -> list[Shot]:
    """The db: stations along all streets at equal distance, looking obliquely at both sides in turn."""
    walk, camera = Walk(town.plan.streets, town.config.stretch_m), street_camera(town.config, "db")
    headings = np.radians([62, -92, 92, -62, 122, -88, 88, -122])
    if walk.is_cut_short:
        headings = np.radians(
            [62, 75, 88, 70]
        )  # a few photographs see enough of each other on one side of the street alone
    places = [walk.at((k + 0.5) * walk.length / count) for k in range(count)]
    spread = 0.0 if walk.is_cut_short else 0.1
    own = rng.spawn(count)
    poses = [
        _best_view(town, at, headings[k % len(headings)], camera, own[k], spread=spread) for k, at in enumerate(places)
    ]
    if not walk.is_cut_short:
        _support_each_other(town, poses, places, camera, own)
    lights = np.where(rng.random(count) < 0.3, "sun", "overcast")
    return [
        Shot(f"{folder}/{k + 1:04d}.jpg", camera, pose, str(lights[k]), f"{folder}-{k // 5}")
        for k, pose in enumerate(poses)
    ]


def _support_each_other(
    town: Town, poses: list[Pose], places: list[Place], camera: Camera, own: Sequence[np.random.Generator]
) -> None:
    """Turn the db views that too few others share to where more do, the loneliest first (in place). own: each's."""
    seen = [probe(town, pose, camera) for pose in poses]
    centres = np.array([pose.centre for pose in poses])

    def near(k: int, reach: float) -> list[int]:
        return [int(n) for n in np.flatnonzero(np.linalg.norm(centres - centres[k], axis=1) < reach) if n != k]

    for _ in range(ROUNDS):
        shared = np.array([support(seen[k], pool([seen[n] for n in near(k, SHARE_M)])) for k in range(len(poses))])
        for k in np.argsort(shared, kind="stable"):
            others = pool([seen[n] for n in near(k, SHARE_M)])
            best = support(seen[k], others)
            for at, turn in _other_views(k, poses, places, near(k, 0.4 * SHARE_M)) if best < MIN_SUPPORT else ():
                pose = _best_view(town, at, turn, camera, own[k])
                view = probe(town, pose, camera)
                score = support(view, others)
                if score > best:
                    best, poses[k], seen[k], centres[k] = score, pose, view, pose.centre
                if best >= MIN_SUPPORT:
                    break


def _other_views(k: int, poses: list[Pose], places: list[Place], near: list[int]) -> list[tuple[Place, float]]:
    """Places and turns to try for a lonely view: turned a little, or as a neighbour looks, there or on the way."""
    yaws = {n: float(np.arctan2(poses[n].R[2, 1], poses[n].R[2, 0])) for n in (k, *near)}
    point, heading, half = places[k]
    out = [(places[k], yaws[k] - heading + turn) for turn in TURNS]
    out += [(places[k], yaws[n] - heading) for n in near]
    for n in near:
        if abs(np.sin(places[n][1] - heading)) < 0.1:
            out.append((((point + 2 * places[n][0]) / 3, heading, min(half, places[n][2])), yaws[n] - heading))
    return out


def sequence_shots(town: Town, count: int, folder: str, rng: np.random.Generator) -> list[Shot]:
    """A handheld sequence: one stretch of streets, every half metre, looking ahead."""
    walk, camera = Walk(town.plan.streets, town.config.stretch_m), street_camera(town.config, "db")
    start = walk.length * rng.uniform(0.1, 0.6)
    shots = []
    for k in range(count):
        point, heading, _ = walk.at((start + 0.6 * k) % walk.length)
        side = 0.5 * np.array([-np.sin(heading), np.cos(heading)])
        pose = look(np.append(point + side, 1.65 + 0.03 * np.sin(k)), heading + 0.35 + 0.03 * np.sin(0.7 * k), 0.1)
        shots.append(Shot(f"{folder}/{k + 1:04d}.jpg", camera, pose, "overcast", folder))
    return shots


def query_shots(
    town: Town, count: int, folder: str, kind: str, rng: np.random.Generator, known: Sequence[Shot] = ()
) -> list[Shot]:
    """Queries: another camera, off the db's path sideways, other heights, headings and a little roll.

    With `known` photographs a query shows something of what they show, where a few tries find that.
    """
    seen = [probe(town, shot.pose, shot.camera) for shot in known]
    centres = np.array([shot.pose.centre for shot in known]).reshape(-1, 3)
    walk, camera = Walk(town.plan.streets, town.config.stretch_m), street_camera(town.config, kind)
    condition = "night" if "night" in folder else ""
    shots = []
    for k, own in enumerate(rng.spawn(count)):
        at = walk.at((k + own.uniform(0.1, 0.9)) * walk.length / count)
        spread, best = 0.0 if walk.is_cut_short else 0.1, -1.0
        for _ in range(QUERY_TRIES if seen else 1):
            turn = own.choice([-1, 1]) * own.uniform(np.radians(28), np.radians(130))
            if walk.is_cut_short:
                turn = np.clip(abs(turn), np.radians(50), np.radians(100))
            view = _best_view(town, at, turn, camera, own, town.config.off_path_m, spread)
            near = np.flatnonzero(np.linalg.norm(centres - view.centre, axis=1) < SHARE_M)
            shown = support(probe(town, view, camera), pool([seen[n] for n in near])) if seen else 0.0
            if shown > best:
                best, pose = shown, view
            if best >= QUERY_SUPPORT:
                break
        light = condition or ("sun" if own.random() < 0.35 else "overcast")
        shots.append(Shot(f"{folder}/{k + 1:04d}.jpg", camera, pose, light, f"{folder}-{k}"))
    return shots


def drive_shots(
    town: Town, count: int, condition: str, rng: np.random.Generator, reference: bool = False
) -> list[Shot]:
    """A drive through all streets: three cameras at each of `count` stops, on its own line on the road."""
    walk, camera = Walk(town.plan.streets, town.config.stretch_m), street_camera(town.config, "rig")
    start = 1417176984000000 if reference else 1417000000000000 + int(rng.integers(1, 10**12))
    line = 0.0 if reference else rng.uniform(0.4, 1.2) * rng.choice([-1, 1])
    shots = []
    for k in range(count):
        shift = 0.5 if reference else rng.uniform(0.2, 0.8)
        point, heading, _ = walk.at((k + shift) * walk.length / count)
        heading += rng.normal(0, 0.01 if reference else 0.04)
        side = np.array([-np.sin(heading), np.cos(heading)])
        vehicle = Pose(_yaw(heading).T, -_yaw(heading).T @ np.append(point + line * side, 0.0))
        for name in RIG_YAW:
            pose = rig_pose(name) @ vehicle
            shots.append(
                Shot(
                    f"{condition}/{name}/{start + 100000 * k}.jpg",
                    camera,
                    pose,
                    _of_drive(condition),
                    f"{condition}-drive",
                )
            )
    return shots


def rig_pose(name: str) -> Pose:
    """camera_from_vehicle of a camera of the rig (vehicle: x forward, y left, z up)."""
    return look(np.array(RIG_OFFSET[name]), RIG_YAW[name], np.radians(7))


def _of_drive(name: str) -> str:
    return "overcast" if name == "overcast-reference" else name


def _yaw(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def _best_view(
    town: Town,
    at: Place,
    turn: float,
    camera: Camera,
    rng: np.random.Generator,
    off_path: float = 0.0,
    spread: float = 0.1,
) -> Pose:
    """A view from about `at` (point, heading, half width) turned by about `turn`: the first that shows enough facade,
    or the best of a dozen."""
    point, heading, half = at
    side = np.array([-np.sin(heading), np.cos(heading)])
    best, best_score = None, -1.0
    for attempt in range(12):
        away = -np.sign(np.sin(turn)) * min(rng.uniform(1.6, 3.2), half - 1.5)
        away += rng.uniform(-off_path, off_path) * 0.7
        limit = half - 1.0
        spot = (
            point
            + side * np.clip(away, -limit, limit)
            + rng.uniform(-0.4, 0.4) * np.array([np.cos(heading), np.sin(heading)])
        )
        tall = rng.uniform(1.25, 2.2) if off_path else rng.normal(1.65, 0.06)
        pitch, roll = np.radians(rng.uniform(5, 14)), np.radians(rng.normal(0, 2.5 if off_path else 0.7))
        pose = look(np.append(spot, tall), heading + turn + rng.normal(0, 0.08 + spread * attempt), pitch, roll)
        score = probe(town, pose, camera).share
        if best is None or score > best_score:
            best, best_score = pose, score
        if score > 0.5:
            break
    return best or pose
