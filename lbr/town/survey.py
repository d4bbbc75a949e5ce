"""The map's photographs: a walk along all streets that shares what it sees, and shows every facade."""

from __future__ import annotations

import numpy as np

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.town.coverage import Pool, Seen, pool, probe, support
from lbr.town.viewpoints import SHARE_M, Place, Shot, Walk, best_view, street_camera
from lbr.town.world import Town

TURNS = np.radians([0, -16, 16, -32, 32, -48, 48])
MIN_SUPPORT = 0.22  # of a db view by others (coverage.support), so that it can be triangulated
ROUNDS = 3  # of turning views to each other
VIEWS = 4  # so many photographs, at least, show each facade
MIN_SHOWN = 0.12  # of the photograph, for that


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
    poses = [
        best_view(town, at, headings[k % len(headings)], camera, rng, spread=spread) for k, at in enumerate(places)
    ]
    if not walk.is_cut_short:
        survey = _Survey(town, camera, places, poses, rng)
        survey.support_each_other()
        survey.show_every_facade()
        survey.support_each_other()
        poses = survey.poses
    lights = np.where(rng.random(count) < 0.3, "sun", "overcast")
    return [
        Shot(f"{folder}/{k + 1:04d}.jpg", camera, pose, str(lights[k]), f"{folder}-{k // 5}")
        for k, pose in enumerate(poses)
    ]


class _Survey:
    """The views of a walk while they are turned: what each sees, and shows of each facade."""

    def __init__(
        self, town: Town, camera: Camera, places: list[Place], poses: list[Pose], rng: np.random.Generator
    ) -> None:
        self.town, self.camera, self.places, self.poses, self.rng = town, camera, places, list(poses), rng
        self.seen = [probe(town, pose, camera) for pose in poses]
        self.centres = np.array([pose.centre for pose in poses])
        self.shows = np.stack([self._shows(view) for view in self.seen])

    def support_each_other(self) -> None:
        """Turn the views that too few others share to where more do, the loneliest first.

        None of those that a facade needs is turned away from it.
        """
        for _ in range(ROUNDS):
            shared = np.array([support(self.seen[k], self._others(k)) for k in range(len(self.poses))])
            for k in np.argsort(shared, kind="stable"):
                self._share_more(int(k))

    def _share_more(self, k: int) -> None:
        others = self._others(k)
        best = support(self.seen[k], others)
        if best >= MIN_SUPPORT:
            return
        for at, turn in _other_views(k, self.poses, self.places, self._near(k, 0.4 * SHARE_M)):
            pose, view = self._view(at, turn)
            score = support(view, others)
            if score > best and not self._loses(k, self._shows(view)):
                best = score
                self._turn(k, pose, view)
            if best >= MIN_SUPPORT:
                return

    def show_every_facade(self) -> None:
        """Turn the nearest views that can be spared to the facades that fewer than VIEWS of them show.

        A facade that no street comes near enough to stays as it is.
        """
        points = np.array([at[0] for at in self.places])
        for f in np.argsort(self.shows.sum(0), kind="stable"):
            facade = self.town.plan.facades[f]
            way = (facade.start + facade.end) / 2 - points
            away = np.linalg.norm(way, axis=1)
            for k in np.argsort(away, kind="stable"):
                if self.shows[:, f].sum() >= VIEWS or away[k] > SHARE_M:
                    break
                if self.shows[k, f]:
                    continue
                pose, view = self._view(self.places[k], float(np.arctan2(*way[k, ::-1])) - self.places[k][1])
                shows = self._shows(view)
                if shows[f] and not self._loses(k, shows):
                    self._turn(k, pose, view)

    def _view(self, at: Place, turn: float) -> tuple[Pose, Seen]:
        pose = best_view(self.town, at, turn, self.camera, self.rng)
        return pose, probe(self.town, pose, self.camera)

    def _turn(self, k: int, pose: Pose, view: Seen) -> None:
        self.poses[k], self.seen[k], self.centres[k], self.shows[k] = pose, view, pose.centre, self._shows(view)

    def _shows(self, view: Seen) -> np.ndarray:
        """bool [F]: the facades that a view shows large enough."""
        rays = np.bincount(view.instance - 1, minlength=len(self.town.plan.facades))
        return rays * view.share >= MIN_SHOWN * len(view.instance)

    def _loses(self, k: int, shows: np.ndarray) -> bool:
        """Whether a facade would be short of views, or shorter, if view `k` showed these instead."""
        return bool((self.shows[k] & ~shows & (self.shows.sum(0) <= VIEWS)).any())

    def _near(self, k: int, reach: float) -> list[int]:
        return [
            int(n) for n in np.flatnonzero(np.linalg.norm(self.centres - self.centres[k], axis=1) < reach) if n != k
        ]

    def _others(self, k: int) -> Pool:
        return pool([self.seen[n] for n in self._near(k, SHARE_M)])


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
