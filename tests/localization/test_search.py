"""The search in steps: lazily, without comparing twice, within its budgets, and never losing the best attempt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lbr.io.colmap_arrays import ModelArrays
from lbr.localization import search as module
from lbr.localization.localizer import LocalizationSettings, Localizer
from lbr.mapping.map import Map, build_map
from lbr.retrieval.index import build_index
from lbr.retrieval.progressive import ProgressiveCandidates, progressive_search
from lbr.types import Candidates, LocalFeatures, Localization, Matches, RecognisedInstances, Status
from tests.localization.test_localizer import POSE, TwoPlaces, errors, project_float32, settings
from tests.synthetic import CAMERA, ExactWorld, arc_poses, unit_rows

NEVER = {"verification": {"min_inliers": 10_000}}


class Steps:
    """Steps of db images, that remember how many were asked for; from the number `fallback` on, of no instance."""

    def __init__(self, *steps: Sequence[str], evidence: Sequence[float] = (0.0,), fallback: int | None = None) -> None:
        self.steps, self.evidence, self.taken = steps, evidence, 0
        self.fallback = len(steps) if fallback is None else fallback

    def __iter__(self) -> Iterator[Candidates]:
        for number, names in enumerate(self.steps):
            self.taken += 1
            scores = tuple(-float(i) for i in range(len(names)))
            evidence = self.evidence[number % len(self.evidence)]
            instance = number + 1 if number < self.fallback else 0
            source = f"instance {instance}" if instance else "global"
            yield Candidates(tuple(names), scores, source, evidence, instance)


class Comparing:
    """A localizer that remembers which db images it matched, in their order."""

    def __init__(self, scene: Map, options: LocalizationSettings | None = None) -> None:
        self.localizer = Localizer(scene, options, threads=1)
        self.compared: list[str] = []
        self.doubted: list[bool] = []
        inner = self.localizer._match

        def match(features: LocalFeatures, images: Sequence[int], doubtful: bool = False) -> list[Matches]:
            self.compared += [scene.names[i] for i in images]
            self.doubted += [doubtful] * len(images)
            return inner(features, images, doubtful)

        self.localizer._match = match  # type: ignore[method-assign]

    def __call__(self, features: LocalFeatures, steps: Any) -> Localization:
        return self.localizer.localize_features(features, CAMERA, "q", steps)


def db(*numbers: int) -> list[str]:
    return [f"db/{n}.png" for n in numbers]


@pytest.fixture(scope="module")
def two_places() -> TwoPlaces:
    return TwoPlaces()


# ---- steps


def test_no_further_step_is_asked_for_once_a_pose_is_verified(world: ExactWorld):
    compare, steps = Comparing(world.map()), Steps(db(3), db(1, 2), db(0))
    found = compare(world.features(POSE), steps)
    assert found.status is Status.REFINED and max(errors(found)) < 1e-6
    assert steps.taken == 1 and compare.compared == db(3) and found.tried == tuple(db(3))
    assert found.counts["candidates"] == 1 and len(found.steps) == 1


def test_labels_are_doubted_where_no_instance_named_the_images(world: ExactWorld):
    compare = Comparing(world.map(), settings(**NEVER))
    of = {"instance": 3, "evidence": 0.5}
    steps = [
        Candidates(("db/0.png",), (0.0,), "instance 3", **of),
        Candidates(("db/1.png",), (0.0,), "look-alike 4 of 3", **(of | {"instance": 4}), look_alike=True),
        Candidates(("db/2.png",), (0.0,), "global"),
    ]
    found = compare(world.features(POSE), steps)
    assert compare.compared == db(0, 1, 2) and compare.doubted == [False, True, True]
    assert [step.instance for step in found.steps] == [3, 4, 0]


def test_an_early_pose_compares_fewer_images_than_exhaustive_search(world: ExactWorld):
    early, all_of_them = Comparing(world.map()), Comparing(world.map())
    a, b = early(world.features(POSE), Steps(db(4), db(0, 1, 2, 3))), all_of_them(world.features(POSE), None)
    assert a.status is b.status is Status.REFINED
    assert len(early.compared) == 1 and sorted(all_of_them.compared) == db(0, 1, 2, 3, 4)
    assert max(errors(a)) < 1e-6 and b.steps[0].source == "exhaustive"


def test_an_image_is_compared_once_whatever_steps_name_it(world: ExactWorld):
    compare, steps = Comparing(world.map(), settings(**NEVER)), Steps(db(2, 0), db(0, 4, 2), db(2, 0), db(1, 1, 4))
    found = compare(world.features(POSE), steps)
    assert compare.compared == db(2, 0, 4, 1) and found.tried == tuple(db(2, 0, 4, 1)), "in the order of the steps"
    assert [step.names for step in found.steps] == [tuple(db(2, 0)), tuple(db(4)), tuple(db(1))]
    assert steps.taken == 4 and found.status is Status.WEAK


def test_a_step_says_where_it_came_from_and_what_came_of_it(two_places: TwoPlaces):
    query = two_places.query({"here": 25, "there": 60}, {})
    found = Comparing(two_places.world.map())(query, Steps(["here"], ["there"]))
    first, second = found.steps
    assert (first.source, first.names, first.matches, first.inliers, first.image_inliers) == (
        "instance 1", ("here",), 25, 25, 25,
    )  # fmt: skip
    assert first.outcome == "25 inliers, 25 of one image; wanted 40, 10"
    assert (second.source, second.names, second.outcome) == ("instance 2", ("there",), "accepted")
    assert (second.matches, second.inliers, second.image_inliers) == (60, 60, 60)


def test_a_step_without_a_pose_says_so(two_places: TwoPlaces):
    found = Comparing(two_places.world.map())(two_places.query({"here": 7}, {}), Steps(["here"], ["there"]))
    assert [step.outcome for step in found.steps] == [
        "no pose: at most 7 matches with one image", "no pose: at most 0 matches with one image",
    ]  # fmt: skip
    assert [(step.inliers, step.image_inliers) for step in found.steps] == [(0, 0)] * 2
    assert found.status is Status.FAILED and found.reason == "no pose: of 2 db images the best has 7 matches"


@pytest.mark.parametrize("steps", [Steps(), Steps([]), Steps(["gone.png"])])
def test_steps_of_nothing_fail_without_raising(world: ExactWorld, steps: Steps):
    found = Comparing(world.map())(world.features(POSE), steps)
    assert found.status is Status.FAILED and found.steps == () and found.tried == ()


def test_candidates_that_are_not_in_the_map_are_counted_and_noted(world: ExactWorld):
    found = Comparing(world.map(), settings(**NEVER))(world.features(POSE), Steps(["x", "db/1.png", "y", "x"], ["z"]))
    assert found.counts["candidates_not_in_map"] == 3 and found.counts["candidates"] == 1
    assert found.notes == ("2 candidates are not in the map", "1 candidates are not in the map")
    assert [step.names for step in found.steps] == [("db/1.png",)]


def scene_of(places: TwoPlaces, seen: dict[str, np.ndarray], there: Sequence[str] = ()) -> Map:
    """A map of these images, each seeing these points; those named in `there` stand in the second place."""
    world = places.world
    poses = [world.poses["there" if name in there else "here"] for name in seen]
    counts = [len(index) for index in seen.values()]
    model = ModelArrays(
        tuple(seen), (CAMERA,) * len(seen), tuple(poses), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([project_float32(p, world.points[i]) for p, i in zip(poses, seen.values(), strict=True)]),
        np.concatenate(list(seen.values())).astype(np.int32), world.points, np.zeros(len(world.points), np.float32),
    )  # fmt: skip
    return build_map(model, [world.descriptors[index] for index in seen.values()], {})


def test_images_compared_before_help_those_that_see_the_same(two_places: TwoPlaces):
    """60 points in the first step's image, 60 in the second's, 20 of them in both: 100 only together."""
    scene = scene_of(two_places, {"left": np.arange(60), "right": np.arange(40, 100)})
    query = two_places.query({"here": 100}, {})
    found = Comparing(scene, settings(verification={"min_inliers": 90}))(query, Steps(["left"], ["right"]))
    assert [step.inliers for step in found.steps] == [60, 100] and found.steps[1].outcome == "accepted"
    assert found.steps[1].image_inliers == 60 and found.status is Status.REFINED


def test_a_place_that_was_tried_is_not_tried_again_for_another(two_places: TwoPlaces):
    """The second step's image shares no point with the first's, which has more matches: it seeds its own place."""
    compare = Comparing(two_places.world.map(), settings(**NEVER, max_clusters=1))
    found = compare(two_places.query({"here": 39, "there": 30}, {}), Steps(["here"], ["there"]))
    assert [step.inliers for step in found.steps] == [39, 30] and found.counts["clusters"] == 2


@pytest.mark.parametrize("size, tried", [(15, 1), (1, 2)])
def test_a_step_of_many_images_is_tried_at_more_places(two_places: TwoPlaces, size: int, tried: int):
    """max_clusters is of every cluster_size images: where all are compared at once the right place may be the tenth."""
    compare = Comparing(two_places.world.map(), settings(**NEVER, max_clusters=1, cluster_size=size))
    found = compare(two_places.query({"here": 39, "there": 30}, {}), Steps(["here", "there"]))
    assert found.counts["clusters"] == tried


def test_an_image_without_points_is_no_candidate(two_places: TwoPlaces):
    scene = scene_of(two_places, {"blank": np.arange(0), "here": np.arange(150)})
    compare = Comparing(scene)
    found = compare(two_places.query({"here": 60}, {}), Steps(["blank"], ["blank", "here"]))
    assert compare.compared == ["here"] and found.status is Status.REFINED


# ---- which attempt is kept


@pytest.mark.parametrize(
    "good, order, winner",
    [
        pytest.param({"here": 35, "there": 20}, ["here", "there"], "here", id="the better came first"),
        pytest.param({"here": 35, "there": 20}, ["there", "here"], "here", id="the better came second"),
        pytest.param({"here": 35, "there": 60}, ["here", "there"], "there", id="a verified one came second"),
        pytest.param({"here": 45, "there": 90}, ["here", "there"], "here", id="the first that is verified ends it"),
    ],
)
def test_the_best_attempt_survives_later_steps(two_places: TwoPlaces, good: dict, order: list[str], winner: str):
    """METHOD.md 11 and 12: what is accepted later never overwrites a better earlier pose."""
    found = Comparing(two_places.world.map())(two_places.query(good, {}), Steps(*([name] for name in order)))
    # the keypoints of one place lie on the projections of the other's points, so refinement has a few wrong pairs
    assert found.reference == winner and max(errors(found, two_places.pose[winner])) < 1e-3
    assert found.status is (Status.REFINED if good[winner] >= 40 else Status.WEAK)
    assert found.counts["inliers_before_refinement"] == good[winner]
    if found.status is Status.WEAK:
        assert f"{good[winner]} inliers" in found.reason and "wanted 40 and 10" in found.reason
        assert [step.outcome != "accepted" for step in found.steps] == [True, True]


@pytest.mark.parametrize(
    "settled, winner, taken", [(None, "here", 1), (1.0, "here", 1), (99, "there", 2)],
    ids=["not asked for", "enough the first time", "a second opinion"],
)  # fmt: skip
def test_a_pose_of_little_support_is_compared_with_one_more_step(
    two_places: TwoPlaces, settled: int | None, winner: str, taken: int
):
    """45 inliers at a look-alike that is tried first, 90 at the place: both would be verified."""
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": settled}
    steps = Steps(["here"], ["there"], ["here"])
    found = Comparing(two_places.world.map(), settings(verification=limits))(
        two_places.query({"here": 45, "there": 90}, {}), steps
    )
    assert (found.reference, steps.taken, found.status) == (winner, taken, Status.REFINED)
    assert [step.outcome == "accepted" for step in found.steps] == [False, True][-taken:]


@pytest.mark.parametrize("wanted, share, status", [
    (2.0, 0.5, Status.REFINED), (6.0, 0.5, Status.WEAK), (6.0, 0.25, Status.REFINED),
])  # fmt: skip
def test_support_has_to_stand_out_from_what_is_in_view(
    two_places: TwoPlaces, wanted: float, share: float, status: Status
):
    """45 of 150 points of the place are found, which is 3.67 in significance, and 0.3 of them."""
    limits = {"min_support": 16, "hopeful_inliers": 8, "weak_inliers": 8}
    limits |= {"min_significance": wanted, "min_found": share}
    compare = Comparing(two_places.world.map(), settings(verification=limits))
    found = compare(two_places.query({"here": 45}, {}), Steps(["here"]))
    assert found.status is status
    told = f"45 beyond chance of 150 map points in view, of significance 3.67, wanted {wanted:g}: a look-alike may have"
    assert (told in found.reason) == (status is Status.WEAK)


@pytest.mark.parametrize("wanted, sure, samples", [
    pytest.param(2.0, 99, 1, id="verified"),
    pytest.param(6.0, 99, 2, id="more than a third of what is wanted"),
    pytest.param(12.0, 99, 1, id="so little that another sample finds no more"),
    pytest.param(6.0, None, 1, id="not asked for"),
])  # fmt: skip
def test_a_place_is_sampled_again_where_its_first_pose_is_promising(
    two_places: TwoPlaces, monkeypatch: pytest.MonkeyPatch, wanted: float, sure: float | None, samples: int
):
    """45 of 150 points of the place are found, which is 3.67 in significance."""
    limits = {"min_support": 16, "hopeful_inliers": 8, "min_significance": wanted, "sure_significance": sure}
    drawn, estimate = [], module.estimate_pose

    def counted(pairs: Any, camera: Any, pnp: Any, *rest: Any, **options: Any) -> Any:
        drawn.append(pnp.max_error_px)
        return estimate(pairs, camera, pnp, *rest, **options)

    monkeypatch.setattr(module, "estimate_pose", counted)
    options = settings(verification=limits)
    Comparing(two_places.world.map(), options)(two_places.query({"here": 45}, {}), Steps(["here"]))
    assert drawn == [options.pnp.max_error_px / share for share in (1, 2)][:samples]


@pytest.mark.parametrize("evidence, winner", [((0.4, 0.3), "there"), ((0.4, 0.1), "here"), ((0.0, 0.0), "there")])
def test_only_a_rival_gives_a_second_opinion(two_places: TwoPlaces, evidence: tuple[float, ...], winner: str):
    """An instance that was recognised with half the evidence at least; any step where nothing was recognised."""
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": 99, "rival_evidence": 0.5}
    steps = Steps(["here"], ["there"], evidence=evidence)
    found = Comparing(two_places.world.map(), settings(verification=limits))(
        two_places.query({"here": 45, "there": 90}, {}), steps
    )
    assert (found.reference, found.status) == (winner, Status.REFINED)
    assert len(found.steps) == (2 if winner == "there" else 1)


def test_the_fallback_gives_a_second_opinion_of_what_a_later_step_found(two_places: TwoPlaces):
    """The instances of the steps may be wrong where the first found nothing; one that is no rival is passed over."""
    seen = {"blank": np.arange(140, 150), "here": np.arange(150), "other": np.arange(100), "there": np.arange(150, 300)}
    scene = scene_of(two_places, seen, there=["there"])
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": 99, "rival_evidence": 0.5}
    compare = Comparing(scene, settings(verification=limits))
    query = two_places.query({"here": 45, "there": 120}, {})
    evidence = (0.5, 0.4, 0.1, 0.0)

    def outcome(*steps: str) -> tuple[str | None, list[str]]:
        last = len(steps) - 1
        found = compare(query, Steps(*([step] for step in steps), evidence=evidence[-len(steps) :], fallback=last))
        return found.reference, [name for step in found.steps for name in step.names]

    assert outcome("blank", "here", "other", "there") == ("there", ["blank", "here", "there"])
    assert outcome("here", "other", "there") == ("here", ["here"])


def test_of_two_verified_poses_the_more_significant_is_taken(two_places: TwoPlaces):
    """70 of 150 points in view at the look-alike, 55 of 60 at the place."""
    scene = scene_of(two_places, {"here": np.arange(150), "there": np.arange(150, 210)}, there=["there"])
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": 99}
    compare = Comparing(scene, settings(verification=limits))
    found = compare(two_places.query({"here": 70, "there": 55}, {}), Steps(["here"], ["there"]))
    assert (found.reference, found.status, len(found.steps)) == ("there", Status.REFINED, 2)


def test_of_poses_that_are_not_verified_inliers_and_significance_choose_together(two_places: TwoPlaces):
    """Of the place 40 of 150 points in view are found, at the look-alike 16 of 20, which is the more significant."""
    scene = scene_of(two_places, {"here": np.arange(150), "there": np.arange(150, 170)}, there=["there"])
    limits = {"min_support": 10_000, "hopeful_inliers": 8, "weak_inliers": 8}
    compare = Comparing(scene, settings(verification=limits))
    for order in (["here", "there"], ["there", "here"]):
        found = compare(two_places.query({"here": 40, "there": 16}, {}), Steps(*([name] for name in order)))
        assert (found.reference, found.status) == ("here", Status.WEAK)


@pytest.mark.parametrize("budget", [None, 1], ids=["no further step", "no budget"])
def test_a_verified_pose_stays_without_a_second_opinion(two_places: TwoPlaces, budget: int | None):
    """Its 45 inliers are fewer than a pose that is not verified needs."""
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": 99, "weak_inliers": 60}
    steps = Steps(["here"], ["there"]) if budget else Steps(["here"])
    options = settings(verification=limits, max_images=budget)
    found = Comparing(two_places.world.map(), options)(two_places.query({"here": 45}, {}), steps)
    assert (found.reference, found.status) == ("here", Status.REFINED)
    assert not any("without a verified pose" in note for note in found.notes)


def test_verified_wins_over_more_inliers_that_are_not(two_places: TwoPlaces):
    """50 inliers of two images, 25 and 30 of each where 35 are wanted of one; then 40 of a single image."""
    seen = {"left": np.r_[0:30, 50:100], "right": np.r_[25:50, 100:150], "there": np.arange(150, 300)}
    scene = scene_of(two_places, seen, there=["there"])
    limits = {"min_inliers": 40, "min_image_inliers": 35}
    query = two_places.query({"here": 50, "there": 40}, {})
    found = Comparing(scene, settings(verification=limits))(query, Steps(["left", "right"], ["there"]))
    assert [step.inliers for step in found.steps] == [50, 40] and found.steps[0].image_inliers == 30
    assert found.reference == "there" and found.status is Status.REFINED


@pytest.mark.parametrize("shift, significance, refinements", [
    pytest.param(0.06, 9.0, 3, id="they disagree, and together they stand out more"),
    pytest.param(0.06, 7.5, 3, id="they disagree, but the better one stands out more"),
    pytest.param(0.0, 9.0, 2, id="they agree"),
    pytest.param(2.0, 9.0, 2, id="they are of two places"),
])  # fmt: skip
def test_two_verified_poses_of_one_place_are_refined_together(
    two_places: TwoPlaces, shift: float, significance: float, refinements: int
):
    """The pose of the second step is `shift` metres off, at 6 m from the points, and stands out more than the first."""
    scene = scene_of(two_places, {"left": np.arange(90), "right": np.arange(60, 150)})
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": 99}
    compare = Comparing(scene, settings(verification=limits))
    inner, told = compare.localizer._refined, [7.0, 8.0, significance]
    asked: list[int] = []

    def refined(features: LocalFeatures, found: Any) -> Any:
        made = inner(features, found)
        assert made is not None
        asked.append(len(found.pairs))
        estimate, number = made.estimate, len(asked)
        if number == 2:
            moved = replace(estimate.pose, t=estimate.pose.t + np.array([shift, 0, 0]))
            estimate = replace(estimate, pose=moved)
        return replace(made, estimate=estimate, significance=told[number - 1])

    compare.localizer._refined = refined  # type: ignore[method-assign]
    found = compare(two_places.query({"here": 150}, {}), Steps(["left"], ["right"]))
    together = refinements == 3 and significance > 8
    assert len(asked) == refinements and (refinements == 2 or asked == [90, 150, 150])
    assert (max(errors(found, two_places.pose["here"])) < 1e-3) == (together or not shift)
    assert [("refined with the pairs of both" in note) for note in found.notes] == [True] * together


DOUBTS = [  # limits, inliers here and there, what is doubted -> winner, steps taken
    pytest.param({}, (45, 90), ("here",), "there", 3, id="what stands there has a look-alike where more is found"),
    pytest.param({}, (45, 30), ("here",), "here", 3, id="less is found there: then a rival is asked"),
    pytest.param({}, (45, 90), ("blank",), "here", 2, id="it says something of another step"),
    pytest.param({"sure_significance": 1}, (45, 90), ("here",), "here", 1, id="so sure that nothing is asked"),
    pytest.param({"min_support": 10_000}, (45, 90), ("here",), "here", 2, id="not verified: there is nothing to doubt"),
]


@pytest.mark.parametrize("limits, inliers, doubts, winner, taken", DOUBTS)
def test_a_pose_is_doubted_by_what_looks_like_what_stands_there(
    two_places: TwoPlaces, limits: dict, inliers: tuple[int, int], doubts: tuple[str, ...], winner: str, taken: int
):
    seen = {"blank": np.arange(140, 150), "here": np.arange(150), "there": np.arange(150, 300)}
    usual = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": 99, "rival_evidence": 0.5, "weak_inliers": 8}
    compare = Comparing(scene_of(two_places, seen, there=["there"]), settings(verification={**usual, **limits}))
    steps = [
        Candidates(("here",), (0.0,), "instance 1", 0.5, 1),
        Candidates(("there",), (0.0,), "look-alikes of what stands there: 2", 0.5, shown=(0.0,), doubts=doubts),
        Candidates(("blank",), (0.0,), "instance 3", 0.4, 3),
    ]
    found = compare(two_places.query(dict(zip(("here", "there"), inliers, strict=True)), {}), steps)
    assert (found.reference, len(found.steps)) == (winner, taken)
    if winner == "there":
        assert found.status is Status.REFINED, "though what was recognised is not there: it outdid the other"
    if taken == 3:  # a rival is asked as well
        outdone = [step.outcome == "verified, but another step finds what stands out more" for step in found.steps]
        assert outdone[:2] == [winner == "there", winner == "here"]


@pytest.mark.parametrize("shown, sure, status", [
    pytest.param((0.6, 0.2), 99, Status.WEAK, id="more of what was recognised is shown where the first is"),
    pytest.param((0.6, 0.2), 8.5, Status.REFINED, id="but so much supports the other that no look-alike would have it"),
    pytest.param((0.6, 0.55), 99, Status.REFINED, id="too little to tell"),
    pytest.param((0.2, 0.6), 99, Status.REFINED, id="it shows more itself"),
    pytest.param((np.nan, 0.2), 99, Status.REFINED, id="a db image of which next to nothing is labelled tells nothing"),
])  # fmt: skip
def test_what_outdoes_a_pose_where_more_is_shown_is_weak(
    two_places: TwoPlaces, shown: tuple[float, float], sure: float, status: Status
):
    """Of two places that look alike, support may speak for the one and what was recognised for the other."""
    scene = scene_of(two_places, {"here": np.arange(150), "there": np.arange(150, 300)}, there=["there"])
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": sure, "rival_evidence": 0.5}
    compare = Comparing(scene, settings(verification=limits))
    inner, told = compare.localizer._refined, [8.0, 9.0]
    compare.localizer._refined = lambda *asked: replace(inner(*asked), significance=told.pop(0))  # type: ignore
    steps = [
        Candidates(("here",), (0.0,), "instance 1", 0.5, 1, shown=shown[:1]),
        Candidates(("there",), (0.0,), "look-alikes of what stands there: 2", 0.5, shown=shown[1:], doubts=("here",)),
    ]
    found = compare(two_places.query({"here": 45, "there": 90}, {}), steps)
    assert (found.reference, found.status) == ("there", status)
    assert ("where more of what was recognised is shown" in found.reason) == (status is Status.WEAK)


def test_a_rival_that_outdoes_a_weak_look_alike_is_not_weak_for_it(two_places: TwoPlaces):
    """What spoke against the pose of the second step says nothing of the third's."""
    seen = {"here": np.arange(150), "there": np.arange(150, 300), "rival": np.arange(150)}
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": 99, "rival_evidence": 0.5}
    compare = Comparing(scene_of(two_places, seen, there=["there"]), settings(verification=limits))
    inner, told = compare.localizer._refined, [8.0, 9.0, 10.0]
    compare.localizer._refined = lambda *asked: replace(inner(*asked), significance=told.pop(0))  # type: ignore
    steps = [
        Candidates(("here",), (0.0,), "instance 1", 0.5, 1, shown=(0.6,)),
        Candidates(("there",), (0.0,), "look-alikes of what stands there: 2", 0.5, shown=(0.2,), doubts=("here",)),
        Candidates(("rival",), (0.0,), "instance 3", 0.5, 3, shown=(0.6,)),
    ]
    found = compare(two_places.query({"here": 45, "there": 90}, {}), steps)
    assert (found.steps[2].outcome, found.status) == ("accepted", Status.REFINED)


BESIDE = [  # sure from what significance, advantage of the first, inliers there -> where, in how many steps
    pytest.param(1, 0.0, 90, "here", 1, Status.REFINED, id="sure, and nothing beside it tells"),
    pytest.param(1, -0.3, 90, "there", 2, Status.REFINED, id="sure, but what is beside it is beside its twin"),
    pytest.param(1, -0.3, 30, "there", 2, Status.WEAK, id="so it is, but more supports the first"),
    pytest.param(1, -0.3, 5, "here", 2, Status.WEAK, id="so it is, but the twin is not found"),
    pytest.param(1, -0.05, 90, "here", 1, Status.REFINED, id="too little to tell"),
    pytest.param(99, 0.0, 90, "there", 2, Status.WEAK, id="not sure: the more significant, but both are found"),
    pytest.param(99, 0.0, 5, "here", 2, Status.REFINED, id="not sure, but the twin is not found"),
    pytest.param(99, 0.3, 90, "here", 1, Status.REFINED, id="not sure, but what is beside it is its own"),
]


@pytest.mark.parametrize("sure, advantage, there, winner, taken, status", BESIDE)
def test_what_stands_beside_look_alikes_tells_which_it_is(
    two_places: TwoPlaces, sure: float, advantage: float, there: int, winner: str, taken: int, status: Status
):
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": sure}
    steps = [
        Candidates(("here",), (0.0,), "instance 1", 0.5, 1, twin=2, advantage=advantage),
        Candidates(("there",), (0.0,), "look-alike 2 of 1", 0.5, 2, look_alike=True, twin=1, advantage=-advantage),
    ]
    found = Comparing(two_places.world.map(), settings(verification=limits))(
        two_places.query({"here": 45, "there": there}, {}), steps
    )
    assert (found.reference, len(found.steps), found.status) == (winner, taken, status)
    said = found.reason.split("after refinement")[1]
    if status is Status.REFINED:
        assert said == ""
    elif winner == "here":
        assert said == "; beside it stands what is beside instance 2, which looks like 1"
    else:
        assert said == "; instance 1 looks like 2, and its place was verified as well"


TWINS = frozenset({1, 2})
ALONE = [  # significance here (sure from 13 on), of its twin, advantage, share of the facade -> where, steps, status
    pytest.param(
        14, 20, 0.0, 1.0, "there", 2, Status.REFINED, id="sure, of the facade alone: its twin is clearly more"
    ),
    pytest.param(14, 15, 0.0, 1.0, "there", 2, Status.WEAK, id="so it is, and the twin is little more"),
    pytest.param(14, 8, 0.0, 1.0, "here", 2, Status.REFINED, id="so it is, and the twin is clearly less"),
    pytest.param(14, 20, 0.0, 0.4, "here", 1, Status.REFINED, id="sure, and much beside the facade was found"),
    pytest.param(14, 20, 0.3, 1.0, "here", 1, Status.REFINED, id="sure, and what was recognised beside it is its own"),
    pytest.param(8, 14, 0.3, 1.0, "there", 2, Status.WEAK, id="not sure: its twin is clearly more, against that"),
    pytest.param(8, 9, 0.3, 1.0, "here", 2, Status.WEAK, id="not sure: its twin is not clearly more"),
    pytest.param(8, 5, 0.3, 1.0, "here", 2, Status.REFINED, id="not sure: its twin is clearly less"),
    pytest.param(8, 14, 0.3, 0.4, "here", 1, Status.REFINED, id="not sure, but much beside the facade was found"),
]


@pytest.mark.parametrize("first, second, advantage, share, winner, taken, status", ALONE)
def test_a_pose_of_a_facade_alone_is_compared_with_its_twins(
    two_places: TwoPlaces, first: float, second: float, advantage: float, share: float, winner: str, taken: int,
    status: Status,
):  # fmt: skip
    """Where nothing that was recognised tells, however sure it is; and where that tells, but the pose is not sure."""
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": 13, "rival_evidence": 0.5}
    scene = two_places.world.map()
    seen = scene.point_index[scene.observations(0)]  # what is found here; most of it by refinement alone
    labels = np.where(scene.point_index < np.quantile(seen, share), 1, 5).astype(np.int32)
    compare = Comparing(scene.labelled(labels), settings(verification=limits))
    inner, told = compare.localizer._refined, [first, second]
    compare.localizer._refined = lambda *asked: replace(inner(*asked), significance=told.pop(0))  # type: ignore
    steps = [
        Candidates(("here",), (0.0,), "instance 1", 0.5, 1, twin=2, alike=TWINS, advantage=advantage),
        Candidates(
            ("there",), (0.0,), "look-alike 2 of 1", 0.5, 2, look_alike=True, twin=1, alike=TWINS, advantage=-advantage
        ),
    ]
    found = compare(two_places.query({"here": 150, "there": 150}, {}), steps)
    assert (found.reference, len(found.steps), found.status) == (winner, taken, status)


def test_where_nothing_is_compared_a_sure_pose_is_taken(two_places: TwoPlaces):
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": None}
    scene = two_places.world.map()
    steps = [
        Candidates(("here",), (0.0,), "instance 1", 0.5, 1, twin=2, alike=TWINS),
        Candidates(("there",), (0.0,), "look-alike 2 of 1", 0.5, 2, look_alike=True, twin=1, alike=TWINS),
    ]
    compare = Comparing(scene.labelled(np.ones(len(scene.point_index), np.int32)), settings(verification=limits))
    assert len(compare(two_places.query({"here": 90, "there": 90}, {}), steps).steps) == 1


def test_nothing_but_its_twin_is_asked_of_a_sure_pose(two_places: TwoPlaces):
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": 1, "rival_evidence": 0.5}
    scene = two_places.world.map()
    steps = [
        Candidates(("here",), (0.0,), "instance 1", 0.5, 1, twin=2, alike=TWINS),
        Candidates(("there",), (0.0,), "look-alikes of what stands there: 7", 0.5, doubts=("here",)),
        Candidates(("here",), (0.0,), "look-alike 2 of 1", 0.5, 2, look_alike=True, twin=1, alike=TWINS),
        Candidates(("there",), (0.0,), "instance 3", 0.5, 3),
    ]
    compare = Comparing(scene.labelled(np.ones(len(scene.point_index), np.int32)), settings(verification=limits))
    found = compare(two_places.query({"here": 45, "there": 90}, {}), steps)
    assert (found.tried, found.reference, found.status) == (("here",), "here", Status.REFINED)


def test_the_place_of_a_look_alike_is_looked_for_without_what_was_compared_before(two_places: TwoPlaces):
    """An image of another place may share points with it by mistake, and would give its own pose once more."""
    seen, limits = {"here": np.arange(100), "twin": np.arange(60, 150)}, {"sure_significance": 99, "min_support": 16}
    first = Candidates(("here",), (0.0,), "instance 1", 0.5, 1, twin=2)
    inliers = {}
    for look_alike in (True, False):
        second = Candidates(("twin",), (0.0,), "", 0.5, 2, look_alike=look_alike, twin=1)
        compare = Comparing(scene_of(two_places, seen, there=[]), settings(verification=limits))
        found = compare(two_places.query({"here": 100}, {}), [first, second])
        inliers[look_alike] = found.steps[1].image_inliers
    assert inliers[True] <= 40 < 100 == inliers[False]


def test_a_place_that_its_twin_shows_as_well_is_not_contested(two_places: TwoPlaces):
    """Both stand in one street: what is found where the look-alike is shown is the same pose."""
    seen = {"here": np.arange(100), "beside": np.arange(20, 150)}
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": 99}
    scene = scene_of(two_places, seen, there=[])
    steps = [
        Candidates(("here",), (0.0,), "instance 1", 0.5, 1, twin=2),
        Candidates(("beside",), (0.0,), "look-alike 2 of 1", 0.5, 2, look_alike=True, twin=1),
    ]
    found = Comparing(scene, settings(verification=limits))(two_places.query({"here": 90}, {}), steps)
    assert len(found.steps) == 2 and found.status is Status.REFINED and max(errors(found)) < 1e-5


@pytest.mark.parametrize("shown, status", [
    (0.05, Status.WEAK), (0.2, Status.REFINED), (None, Status.REFINED), (np.nan, Status.REFINED),
])  # fmt: skip
def test_the_fallback_is_doubted_where_nothing_is_that_was_recognised(
    two_places: TwoPlaces, shown: float | None, status: Status
):
    """Nothing of it is known where nothing was recognised or labelled; and a step of an instance shows that."""
    for instance in (0, 1):
        step = Candidates(("here",), (0.0,), "", instance=instance, shown=() if shown is None else (shown,))
        found = Comparing(two_places.world.map())(two_places.query({"here": 60}, {}), step)
        assert found.status is (Status.REFINED if instance else status)
        assert found.reason.endswith("found without instances, where 5 % of what was recognised is shown") == (
            found.status is Status.WEAK
        )


def test_a_facade_taken_for_its_twin_is_found_by_what_stands_beside_it(two_places: TwoPlaces):
    """From the index to the pose: the network names 1 for 2, and rightly 4, which stands beside 2; the place of 1 has
    twice the support."""
    shows = {"here": {1: 0.5, 3: 0.3}, "there": {2: 0.5, 4: 0.3}}
    index = build_index(shows, {}, 5, 0.0, np.array([[1, 2]], np.int32))
    recognised = RecognisedInstances(
        np.array([1, 4], np.int32), np.array([0.6, 0.3]), np.array([0.5, 0.3]), np.zeros(0, np.float32)
    )
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": 1}
    compare = Comparing(two_places.world.map(), settings(verification=limits))
    query = two_places.query({"here": 90, "there": 45}, {})
    for look_alikes, expected in ((True, ("there", Status.WEAK)), (False, ("here", Status.REFINED))):
        steps = progressive_search(index, recognised, ProgressiveCandidates(look_alikes=look_alikes))
        found = compare(query, steps)
        assert (found.reference, found.status) == expected


def test_a_rival_is_still_asked_where_the_look_alike_need_not_be(two_places: TwoPlaces):
    limits = {"min_support": 16, "hopeful_inliers": 8, "sure_significance": 99, "rival_evidence": 0.5}
    blank = {"blank": np.arange(140, 150), "here": np.arange(150), "there": np.arange(150, 300)}
    compare = Comparing(scene_of(two_places, blank, there=["there"]), settings(verification=limits))
    steps = [
        Candidates(("here",), (0.0,), "instance 1", 0.5, 1, twin=2, advantage=0.3),
        Candidates(("blank",), (0.0,), "look-alike 2 of 1", 0.5, 2, look_alike=True, twin=1, advantage=-0.3),
        Candidates(("there",), (0.0,), "instance 3", 0.4, 3),
    ]
    found = compare(two_places.query({"here": 45, "there": 90}, {}), steps)
    assert (found.reference, found.tried, found.status) == ("there", ("here", "there"), Status.REFINED)


def test_a_pose_that_was_refined_twice_is_not_refined_again(two_places: TwoPlaces):
    """Four images of one place share no point, so each finds its pose; an image of another place comes in between."""
    seen = {f"here{i}": np.arange(20 * i, 20 * i + 20) for i in range(4)} | {"there": np.arange(150, 300)}
    limits = {"min_support": 10_000, "hopeful_inliers": 8, "weak_inliers": 8}
    compare = Comparing(scene_of(two_places, seen, there=["there"]), settings(verification=limits))
    inner, refined = compare.localizer._refined, []

    def remembering(features: LocalFeatures, attempt: Any) -> Any:
        refined.append(compare.localizer.scene.names[attempt.reference])
        return inner(features, attempt)

    compare.localizer._refined = remembering  # type: ignore[method-assign]
    steps = Steps(["here0"], ["here1"], ["here2"], ["there"], ["here3"])
    found = compare(two_places.query({"here": 80, "there": 12}, {}), steps)
    assert refined == ["here0", "here1", "there"] and found.counts["refined_before"] == 2
    assert [step.inliers for step in found.steps] == [20, 20, 20, 12, 20]
    assert all("beyond chance after refinement" in step.outcome for step in found.steps), "also where it was not run"


@pytest.fixture
def looks_alike(two_places: TwoPlaces) -> Comparing:
    """A localizer for which refinement keeps 10 inliers only where the first place was matched."""
    compare = Comparing(two_places.world.map())
    inner, names = compare.localizer._refined, compare.localizer.scene.names

    def refined(features: LocalFeatures, found: Any) -> Any:
        made = inner(features, found)
        kept = np.cumsum(made.estimate.inliers) <= (10 if names[found.reference] == "here" else len(made.pairs))
        return replace(made, estimate=replace(made.estimate, inliers=made.estimate.inliers & kept))

    compare.localizer._refined = refined  # type: ignore[method-assign]
    return compare


def test_a_look_alike_that_refinement_does_not_keep_is_not_verified(two_places: TwoPlaces, looks_alike: Comparing):
    """60 inliers in the wrong place, 45 in the right one."""
    found = looks_alike(two_places.query({"here": 60, "there": 45}, {}), Steps(["here"], ["there"]))
    assert found.reference == "there" and found.status is Status.REFINED
    assert "look-alike" in found.steps[0].outcome and found.steps[1].outcome == "accepted"


def test_a_look_alike_alone_is_weak_and_says_why(two_places: TwoPlaces, looks_alike: Comparing):
    found = looks_alike(two_places.query({"here": 60}, {}), Steps(["here"], ["there"]))
    assert found.status is Status.WEAK and "refinement keeps 17 %" in found.reason
    assert found.estimate.num_inliers == 60, "the pose before refinement, which wandered off"


def test_fewer_inliers_than_a_weak_pose_needs_in_every_step(two_places: TwoPlaces):
    """29 pairs are not tried at all; of 50, 20 agree on a pose."""
    compare = Comparing(two_places.world.map(), settings(verification={"weak_inliers": 30}))
    found = compare(two_places.query({"here": 29, "there": 20}, {"there": 30}), Steps(["here"], ["there"]))
    assert found.status is Status.FAILED and found.estimate is None
    assert found.steps[0].inliers == 0 and 20 <= found.steps[1].inliers < 30


# ---- budgets


def test_the_budget_of_images(world: ExactWorld):
    compare, steps = Comparing(world.map(), settings(**NEVER, max_images=3)), Steps(db(0, 1), db(2, 3), db(4), db(4))
    found = compare(world.features(POSE), steps)
    assert compare.compared == db(0, 1, 2) and steps.taken == 3, "the third is refused, no fourth is asked for"
    assert found.status is Status.WEAK and max(errors(found)) < 1e-5, "the best attempt is told all the same"
    assert found.notes == (
        "1 candidates of a step left out: max_images is reached",
        "search ended without a verified pose: 3 db images spent",
    )


def test_one_step_of_more_images_than_the_budget_says_so(world: ExactWorld):
    compare = Comparing(world.map(), settings(**NEVER, max_images=2))
    found = compare(world.features(POSE), None)
    assert compare.compared == db(0, 1) and found.notes == ("3 candidates of a step left out: max_images is reached",)


def test_a_budget_that_suffices_leaves_no_note(world: ExactWorld):
    found = Comparing(world.map(), settings(max_images=2))(world.features(POSE), Steps(db(0, 1), db(2)))
    assert found.status is Status.REFINED and found.notes == ()


def test_the_budget_of_time(world: ExactWorld, monkeypatch: pytest.MonkeyPatch):
    """The clock stands still but for 30 ms before each step; after 70 ms no step is begun."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def slow() -> Iterator[Candidates]:
        for names in (db(0), db(1), db(2), db(3)):
            clock.now += 0.03
            yield Candidates(tuple(names), (0.0,), "global")

    compare = Comparing(world.map(), settings(**NEVER, max_ms=70))
    found = compare(world.features(POSE), slow())
    assert compare.compared == db(0, 1)
    assert found.notes == ("search ended without a verified pose: 70 ms spent",) and found.status is Status.WEAK


# ---- what must not depend on chance


def test_steps_give_the_same_bits_each_time(world: ExactWorld):
    query = world.features(POSE, noise_px=1.0)
    a, b = (Comparing(world.map(), settings(**NEVER))(query, Steps(db(0), db(1, 2))) for _ in range(2))
    assert a.estimate.pose.matrix.tobytes() == b.estimate.pose.matrix.tobytes() and a.steps == b.steps


# ---- labels on both sides


def test_labels_of_the_map_reach_the_matcher(world: ExactWorld):
    """Every point twice as likely to be taken for its twin of another instance: only labels tell them apart."""
    rng = np.random.default_rng(0)
    half = len(world.points) // 2
    descriptors = np.concatenate([unit_rows(half, 32, rng)] * 2)
    twins = ExactWorld(world.points, descriptors, CAMERA, world.poses)
    plain, query = twins.map(), twins.features(arc_poses(7)[2])
    instance = lambda points: np.where(points < half, 1, 2).astype(np.int32)  # noqa: E731
    labelled = plain.labelled(instance(plain.point_index))
    xy = project_float32(POSE, world.points)
    shown = LocalFeatures(
        query.keypoints, query.scores, query.descriptors, query.image_size,
        instance(np.array([np.abs(xy - k).sum(1).argmin() for k in query.keypoints])),
    )  # fmt: skip
    matcher = {"matcher": {"name": "instancewise"}}
    told = Comparing(labelled, settings(**matcher))(shown, Steps(db(2)))
    assert told.status is Status.REFINED and max(errors(told)) < 1e-5
    untold = Comparing(plain, settings(**matcher))(shown, Steps(db(2)))
    assert untold.steps[0].inliers < 0.5 * told.steps[0].inliers
