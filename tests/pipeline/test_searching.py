"""Localization by recognition through the command line, on the rendered scene with label images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lbr.cli import STAGES, main
from lbr.config import load_config
from lbr.features.labelling import LabellingSettings, labels_at
from lbr.io.features_file import FeatureFile
from lbr.io.files import remove
from lbr.io.labels import read_mask, read_vocabulary, write_mask, write_vocabulary
from lbr.io.predictions_file import PredictionFile, prediction_to_arrays, write_predictions
from lbr.mapping.map import open_map
from lbr.parallel import ParallelSettings
from lbr.pipeline.indexing import _shown, _views
from lbr.pipeline.results import read_localizations
from lbr.pipeline.searching import SearchedScene, chosen
from lbr.pipeline.workspace import Making, PartStore, Workspace
from lbr.retrieval.index import open_index
from lbr.types import InstancePrediction, InstanceVocabulary, LocalFeatures
from tests.synthetic import ExactWorld, RenderedScene
from tests.thirds import CONFIG, LABELLED, VOCABULARY, true_mask, write_masks

ROOT = Path(__file__).resolve().parents[2]


def write_true_predictions(path: Path, scene: RenderedScene, names: Iterable[str], width: int) -> None:
    """What a perfect network would say: the true mask, sure, and the same global feature for every image."""
    feature = np.full(width, width**-0.5, np.float32)
    made = []
    for name in sorted(names):
        mask = true_mask(scene, name)[..., None].astype(np.uint16)
        presence = np.isin(np.arange(4), mask).astype(np.float32)
        found = InstancePrediction(mask, np.full(mask.shape, 0.9, np.float32), presence, feature, scene.camera.size)
        made.append((name, prediction_to_arrays(found)))
    write_predictions(path, made, "")


@pytest.fixture(scope="module")
def searched(
    tmp_path_factory: pytest.TempPathFactory, scene: RenderedScene, finished: Workspace, write_config: Callable
) -> Path:
    """The scene with label images of its db images, mapped, recognised and indexed. Read-only; `own` is a copy.

    The network is hardly trained; in its predictions' place there are true ones of the queries.
    """
    folder = tmp_path_factory.mktemp("searched")
    shutil.copytree(scene.root, folder / "scene")
    shutil.copytree(finished.root, folder / "work")
    write_masks(scene, folder / "scene")
    config = write_config(folder, folder / "scene", CONFIG)
    assert run(config, "--until", "index") == 0
    work = Workspace(folder / "work")
    write_true_predictions(work.query_predictions, scene, scene.queries, open_index(work.index).features.shape[1])
    return config


@pytest.fixture(scope="module")
def located(searched: Path) -> list[dict[str, Any]]:
    assert run(searched, "--from", "localize", "run=located") == 0
    return results(searched, "located")


@pytest.fixture
def own(tmp_path: Path, searched: Path, scene: RenderedScene, write_config: Callable) -> Path:
    """A copy of the workspace over the same photographs."""
    shutil.copytree(searched.parent / "work", tmp_path / "work")
    return write_config(tmp_path, searched.parent / "scene", CONFIG)


def run(config: Path, *more: str) -> int:
    return main(["run", "--config", str(config), *LABELLED, *more])


def verb(name: str, config: Path, *more: str) -> int:
    return main([name, "--config", str(config), *LABELLED, *more])


def results(config: Path, name: str) -> list[dict[str, Any]]:
    return read_localizations(config.parent / f"work/runs/{name}/localizations.jsonl")


def one_line(capsys: pytest.CaptureFixture) -> str:
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1, said
    return said


# ---- the index


def test_the_index_is_of_the_label_images(searched: Path, scene: RenderedScene):
    work = Workspace(searched.parent / "work")
    index, world = open_index(work.index), open_map(work.map)
    assert index.names == world.names == tuple(sorted(scene.db)) and index.num_classes == 4
    for i, name in enumerate(index.names):
        mask = true_mask(scene, name)
        for instance in (1, 2, 3):
            assert index.areas[i, instance] == pytest.approx(np.mean(mask == instance), abs=1e-6)
    assert index.features.shape[1] > 0
    np.testing.assert_allclose(np.linalg.norm(index.features.astype(np.float32), axis=1), 1, atol=1e-2)
    manifest = json.loads((work.root / "index.manifest.json").read_text())
    assert "3 instances in 7 images" in manifest["summary"] and manifest["problems"] == []
    assert [p for p in work.root.rglob("*") if p.name.startswith(".")] == []


def test_labels_of_observations_are_those_of_their_pixels(searched: Path, scene: RenderedScene):
    """The label image is a quarter of the photograph's size."""
    work = Workspace(searched.parent / "work")
    labels, world = np.load(work.index / "labels.npy"), open_map(work.map)
    assert labels.dtype == np.int32 and labels.shape == world.point_index.shape
    for i, name in enumerate(world.names):
        column, row = (world.keypoints[world.observations(i)] / 4).astype(int).T
        np.testing.assert_array_equal(labels[world.observations(i)], true_mask(scene, name)[row, column])
    assert np.mean(labels > 0) > 0.5


# ---- localization


def test_an_instance_is_compared_with_others_as_the_image_shows_it_that_shows_most_of_it(world: ExactWorld):
    scene = world.map()
    labels = np.zeros(len(scene.point_index), np.int32)
    labels[scene.observations(0)] = 1
    labels[scene.observations(3)][:10] = 1
    np.testing.assert_array_equal(_views(scene, labels, 1000)[1].keypoints, scene.features(0).keypoints)


def test_every_query_is_found_in_steps_by_instances(located: list, searched: Path, scene: RenderedScene):
    assert [r["query"] for r in located] == scene.queries and {r["status"] for r in located} == {"refined"}
    order = {name: np.bincount(true_mask(scene, name).ravel(), minlength=4)[1:] for name in scene.queries}
    for r in located:
        assert [instance for instance, _ in r["instances"]] == (1 + np.argsort(-order[r["query"]])).tolist()
        scores = [score for _, score in r["instances"]]
        assert scores == sorted(scores, reverse=True) and 0 < scores[-1] <= scores[0] <= 1
        assert r["steps"][0]["source"] == f"instance {r['instances'][0][0]}"
        assert r["steps"][-1]["outcome"] == "accepted"
        assert [name for step in r["steps"] for name in step["names"]] == r["tried"]
        assert len(r["tried"]) <= 4 < len(scene.db), "fewer than exhaustive search compares"
        assert set(r["steps"][0]) == {"source", "instance", "names", "matches", "inliers", "image_inliers", "outcome"}
        assert r["steps"][0]["instance"] == r["instances"][0][0]
        assert r["notes"] == []
    assert (searched.parent / "work/runs/located/report.html").is_file()


def test_exhaustive_and_plain_in_the_same_workspace(own: Path, scene: RenderedScene):
    """The index is not asked for, so its absence is no matter."""
    shutil.rmtree(own.parent / "work/index")
    plain = ["localization={matcher: {name: nearest, ratio: 0.8}}", "candidates={name: exhaustive}", "run=plain"]
    assert main(["localize", "--config", str(own), "parallel.workers=1", *plain]) == 0
    for r in results(own, "plain"):
        assert set(r["tried"]) == set(scene.db) and r["instances"] == [] and r["steps"][0]["source"] == "exhaustive"


def test_a_query_without_a_prediction_says_so(own: Path, scene: RenderedScene):
    work = Workspace(own.parent / "work")
    width = open_index(work.index).features.shape[1]
    write_true_predictions(work.query_predictions, scene, scene.queries[1:], width)
    assert verb("localize", own, "run=lacking") == 0
    first, *others = results(own, "lacking")
    assert first["notes"] == ["it has no prediction: nothing recognised, so plain matching"]
    assert first["instances"] == [] and [s["source"] for s in first["steps"]] == ["exhaustive"]
    assert set(first["tried"]) == set(scene.db) and first["status"] == "refined"
    assert all(r["notes"] == [] and r["instances"] for r in others)


def test_without_labels_it_matches_plainly(own: Path, searched: Path):
    """Keypoints are not labelled on either side, but the search still goes by instances."""
    assert verb("localize", own, "labelling.enabled=false", "run=unlabelled") == 0
    assert all(r["steps"][0]["source"].startswith("instance") for r in results(own, "unlabelled"))


@pytest.mark.parametrize("least, labelled", [(0.5, True), (0.95, False)])
def test_keypoints_of_a_query_carry_the_instance_of_their_pixel(
    searched: Path, scene: RenderedScene, least: float, labelled: bool
):
    """The prediction is sure to 0.9; what is less sure than the settings ask for is background."""
    work, name = Workspace(searched.parent / "work"), scene.queries[0]
    mask = true_mask(scene, name)
    row, column = (part.ravel()[::7] for part in np.indices(mask.shape))
    keypoints = np.float32(np.stack([4 * column + 2, 4 * row + 2], 1))
    features = LocalFeatures(keypoints, np.ones(len(row), np.float32), np.eye(len(row), 4), scene.camera.size)
    config = load_config(searched)
    settings = LabellingSettings(min_confidence=least)
    opened = SearchedScene(
        work.map, work.index, work.query_predictions, config.candidates, settings, config.recognition.ranking, 99_999
    )
    asked = opened.ask(name, features)
    wanted = mask[row, column] * labelled
    assert np.mean(asked.features.labels == wanted) > (0.93 if labelled else 0.999), "but at the borders of instances"
    assert len(asked.instances) == len(np.unique(mask)) - 1 and asked.notes == ()
    off = SearchedScene(
        work.map, work.index, work.query_predictions, config.candidates, LabellingSettings(enabled=False),
        config.recognition.ranking, 99_999,
    )  # fmt: skip
    assert off.ask(name, features).features.labels is None and off.map.labels is None
    assert opened.map.labels is not None and opened.map.features(0).labels is not None


def test_the_fallback_list_is_read_and_its_change_is_noticed(own: Path, scene: RenderedScene, capsys):
    listed = own.parent / "pairs.txt"
    listed.write_text("".join(f"{query}\t{scene.db[2]}\n{query}\t{scene.db[4]}\n" for query in scene.queries))
    options = ["candidates.max_instances=0", "candidates.fallback=list", f"candidates.path={listed}", "run=listed"]
    assert verb("localize", own, *options) == 0
    assert all(r["tried"] == [scene.db[2], scene.db[4]] for r in results(own, "listed"))
    assert {s["source"] for r in results(own, "listed") for s in r["steps"]} == {"list"}
    listed.write_text(listed.read_text().replace(scene.db[2], scene.db[3]))
    capsys.readouterr()
    assert verb("localize", own, *options) == 2
    assert "was made from other candidates" in one_line(capsys)


def test_a_fallback_list_that_is_not_named(own: Path, capsys: pytest.CaptureFixture):
    assert verb("localize", own, "candidates.fallback=list", "run=x") == 2
    assert "candidates.fallback=list needs candidates.path" in one_line(capsys)


# ---- what is stale, missing, or asked for in vain


def test_a_changed_share_makes_the_index_stale(own: Path, capsys: pytest.CaptureFixture):
    assert verb("index", own, "index.min_share=0.05") == 2
    assert "index.min_share=0.003, now 0.05; pass --overwrite" in one_line(capsys)
    assert verb("index", own) == 0 and "[reused]" in capsys.readouterr().out
    assert verb("localize", own, "run=x") == 0
    assert verb("index", own, "index.min_share=0.05", "--overwrite") == 0
    capsys.readouterr()
    assert verb("localize", own, "run=x") == 2
    assert "was made from other index" in one_line(capsys)


def test_another_vocabulary_makes_what_it_names_stale(own: Path, capsys: pytest.CaptureFixture):
    """The same label images, whose colours are other instances now."""
    named = read_vocabulary(own.parent / "work/vocabulary.txt")
    other = own.parent / "other.txt"
    write_vocabulary(other, InstanceVocabulary(named.colours, named.classes[[0, 2, 1, 3]]))
    for stage in ("index", "recognise"):
        assert verb(stage, own) == 0 and "[reused]" in capsys.readouterr().out
        assert verb(stage, own, f"dataset.vocabulary={other}") == 2
        assert "was made from other vocabulary" in one_line(capsys)


def test_a_missing_label_image_is_a_problem_of_the_index(own: Path, scene: RenderedScene, capsys):
    shutil.copytree(load_config(own).dataset.root, own.parent / "scene")
    (own.parent / "scene/global_seg_instance/db/00.png").unlink()
    capsys.readouterr()
    assert verb("index", own, f"dataset.root={own.parent / 'scene'}", "--overwrite") == 1
    assert "problem: db/00.png: " in capsys.readouterr().err
    work = Workspace(own.parent / "work")
    labels, world = np.load(work.index / "labels.npy"), open_map(work.map)
    num = [np.count_nonzero(labels[world.observations(i)]) for i in range(len(world))]
    assert open_index(work.index).offsets[1] == 0 and num[0] == 0 < min(num[1:])


def test_label_images_that_places_without_instances_lack_are_one_problem(world: ExactWorld, tmp_path: Path):
    scene, vocabulary = world.map(), InstanceVocabulary(np.array([0, 5]), np.array([0, 1], np.int32))
    masks = {name: tmp_path / f"{number}.png" for number, name in enumerate(scene.names)}
    first, *others = masks
    write_mask(masks[first], np.ones((48, 64), np.int32), vocabulary)
    context = SimpleNamespace(makes_labels=True, config=SimpleNamespace(parallel=ParallelSettings(workers=1)))
    work = Making(PartStore(tmp_path / "parts"))
    shares, labels = _shown(context, scene, masks, vocabulary, work)
    assert shares == {first: {1: 1.0}, **{name: {} for name in others}}
    shown = {name: set(labels[scene.observations(image)].tolist()) for image, name in enumerate(scene.names)}
    assert shown == {first: {1}, **{name: {0} for name in others}}
    assert [str(problem) for problem in work.problems] == [
        f"labels: {len(others)} images have none, so show no instance (first: {masks[others[0]]})"
    ]


@pytest.mark.parametrize(
    "name, said",
    [("run", "set dataset.labels"), ("index", "set dataset.labels"), ("localize", "run `lbr index` first")],
)
def test_progressive_without_label_images_is_one_clear_line(
    tmp_path: Path, scene: RenderedScene, finished: Workspace, write_config: Callable, capsys, name: str, said: str
):
    """And never plain matching of everything, unasked."""
    shutil.copytree(finished.root, tmp_path / "work")
    assert verb(name, write_config(tmp_path, scene.root, CONFIG), "run=x") == 2
    assert said in one_line(capsys) and not (tmp_path / "work/runs/x").exists()


@pytest.mark.parametrize(
    "name, missing, said",
    [
        ("index", "predictions-db.h5", "run `lbr recognise` first"), ("index", "map", "run reconstruct first"),
        ("localize", "predictions-query.h5", "run `lbr recognise` first"),
        ("localize", "index", "run `lbr index` first"),
    ],
)  # fmt: skip
def test_a_verb_before_its_time_says_what_to_run_first(own: Path, name: str, missing: str, said: str, capsys):
    remove(own.parent / "work" / missing)
    assert verb(name, own, "run=x") == 2
    assert missing in (found := one_line(capsys)) and said in found


# ---- parts of the flow


def verbs_said(capsys: pytest.CaptureFixture) -> list[str]:
    first_words = [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()]
    return [word for word in dict.fromkeys(first_words) if word in STAGES]


def test_from_and_until_take_a_part_of_the_flow(own: Path, capsys: pytest.CaptureFixture):
    assert run(own, "--from", "pairs", "--until", "reconstruct") == 0
    assert verbs_said(capsys) == ["pairs", "match", "reconstruct"]
    assert run(own, "--until", "train") == 0
    assert verbs_said(capsys) == ["train"]
    assert run(own, "--from", "index", "run=part") == 0
    assert verbs_said(capsys) == ["index", "localize", "evaluate", "report"]
    assert run(own, "--from", "index", "--until", "index") == 0
    assert verbs_said(capsys) == ["index"]


def test_from_after_until_is_refused(own: Path, capsys: pytest.CaptureFixture):
    assert run(own, "--from", "localize", "--until", "match") == 2
    assert "--from localize comes after --until match; the order is train, recognise, extract" in one_line(capsys)


@pytest.mark.parametrize("option", ["--from", "--until"])
def test_unknown_verbs_are_argparses(own: Path, option: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as stop:
        run(own, option, "town")
    assert stop.value.code == 2 and "invalid choice: 'town'" in capsys.readouterr().err


def test_keypoints_of_instances_are_favoured_when_asked_for(own: Path, capsys: pytest.CaptureFixture):
    """Of few keypoints, more lie on instances; an image without a mask is said and has its keypoints all the same."""
    labels, file = own.parent / "labels", own.parent / "work/features-db.h5"
    masks = {}
    for path in sorted((load_config(own).dataset.root / "global_seg_instance").rglob("*.png")):
        name = path.relative_to(load_config(own).dataset.root / "global_seg_instance")
        masks[name] = np.where(read_mask(path, VOCABULARY) == 2, 2, 0)  # the middle of the box alone
        (labels / name).parent.mkdir(parents=True, exist_ok=True)
        write_mask(labels / name, masks[name], VOCABULARY)
    few = [f"dataset.labels={labels}", "extractor.max_keypoints=60", "--overwrite"]

    def share_on_instances(favoured: str) -> float:
        assert verb("extract", own, f"labelling.favour_instances={favoured}", *few) == 0
        on = []
        with FeatureFile(file) as features:
            for name, mask in masks.items():
                found = features.read(next(n for n in features.names if Path(n).with_suffix(".png") == name))
                assert len(found) == 60
                on.append(np.mean(labels_at(found.keypoints, found.image_size, mask) > 0))
        return float(np.mean(on))

    assert share_on_instances("true") > share_on_instances("false") + 0.2
    (labels / min(masks)).unlink()
    assert verb("extract", own, "labelling.favour_instances=true", *few) == 1
    assert "no mask: its keypoints were chosen by score alone" in capsys.readouterr().err
    with FeatureFile(file) as features:
        assert len(features.names) == len(masks)


def test_keypoints_of_queries_are_chosen_when_they_are_localized(own: Path, scene: RenderedScene):
    """By what is recognised then; the file holds more than are used, and the report draws those that were."""
    few = ["labelling.favour_instances=true", "extractor.max_keypoints=200", "--overwrite"]
    assert verb("extract", own, *few) == 0
    assert run(own, "--from", "pairs", "--until", "report", "run=few", *few) == 0
    assert {record["status"] for record in results(own, "few")} == {"refined"}
    work, config, name = Workspace(own.parent / "work"), load_config(own, few[:2]), scene.queries[0]
    with FeatureFile(work.query_features) as stored, PredictionFile(work.query_predictions) as predictions:
        features, prediction = stored.read(name), predictions.read(name)
    used = chosen(features, prediction, config.labelling, 200)
    assert len(features) > 200 == len(used)
    assert np.all(chosen(features, prediction, config.labelling, 99_999).keypoints == features.keypoints)
    by_score = chosen(features, prediction, LabellingSettings(), 200)
    assert np.mean(used.labels > 0) >= np.mean(by_score.labels > 0) and len(by_score) == 200
    assert chosen(features, None, config.labelling, 200).labels is None
