"""The stage `label` through the command line: a street, its map, and what a person corrects."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from lbr.cli import main
from lbr.config import load_config
from lbr.geometry.pose import Pose
from lbr.io.files import remove
from lbr.io.images import image_size, list_images, write_image
from lbr.io.labels import mask_path, read_mask, read_vocabulary, write_mask, write_vocabulary
from lbr.mapping.changes import without_images
from lbr.mapping.map import Map, open_map, write_map
from lbr.pipeline.changes import REMOVE, Change, changed, publish_map
from lbr.pipeline.stage import Context
from lbr.pipeline.stages import flow, left_out
from lbr.pipeline.vocabulary import BACKGROUND, load_vocabulary
from lbr.pipeline.workspace import Recipe, Workspace, making, read_manifest
from lbr.types import InstanceVocabulary
from tests.street import elsewhere, map_of, row

STREET = row(10)
CONFIG = """
dataset: {name: folder, root: scene, model: null, queries: null, ground_truth: null}
workspace: work
parallel: {workers: 1}
instances: {name: facades}
"""


def place(folder: Path, scene: Map) -> Path:
    """A street's photographs and its map, as the stages before would have made it; the configuration."""
    for name in scene.names:
        write_image(folder / "scene/images" / name, STREET.photograph(f"db/{Path(name).name}")[0])
    workspace = Workspace(folder / "work")
    with making(workspace.map, Recipe("reconstruct", {}, {})) as work:
        write_map(workspace.map, scene)
        work.facts["summary"] = "a street"
    (folder / "config.yaml").write_text(CONFIG)
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a street that was labelled. Read-only; `own` is a copy."""
    config = place(tmp_path_factory.mktemp("street"), STREET.map())
    assert main(["label", "--config", str(config)]) == 0
    return config


@pytest.fixture
def own(labelled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(labelled.parent, tmp_path / "own")) / "config.yaml"


def labels_of(config: Path) -> dict[str, np.ndarray]:
    folder = config.parent / "work/labels"
    vocabulary = read_vocabulary(folder / "vocabulary.txt")
    return {name: read_mask(mask_path(folder, name), vocabulary) for name in STREET.poses}


def test_label_images_list_and_pictures(labelled: Path):
    folder = labelled.parent / "work/labels"
    listed = yaml.safe_load((folder / "instances.yaml").read_text())["instances"]
    made = labels_of(labelled)
    for name, ids in made.items():
        assert ids.shape[::-1] == image_size(labelled.parent / "scene/images" / name)
        true = STREET.photograph(name)[1]
        assert np.mean((ids > 0) == (true > 0)) > 0.93, name
    assert {entry["id"] for entry in listed} == {int(k) for ids in made.values() for k in np.unique(ids)} - {0}
    for entry in listed:
        assert entry["images"] == sum(np.any(ids == entry["id"]) for ids in made.values())
        assert image_size(folder / f"thumbnails/{entry['id']}.jpg")[0] == 320
    assert len(list_images(folder / "previews")) == len(STREET.poses)
    steps = [path.name for path in sorted((folder / "steps").iterdir())]
    assert steps[:2] == ["1-points.jpg", "2-walls.jpg"] and len(steps) > 4
    page = (folder / "instances.html").read_text()
    assert all(f"thumbnails/{entry['id']}.jpg" in page for entry in listed) and "steps/2-walls.jpg" in page


def test_every_place_has_a_frame_and_instances_of_its_own(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    """The street as two places of one map, the second tilted by 40 degrees, where the first stands: its
    instances are those of the first, with other ids. A third place, of two photographs, has none, which is said."""
    tilted = Pose.from_quaternion(
        Rotation.from_euler("xyz", [40, 10, 70], degrees=True).as_quat()[[3, 0, 1, 2]], [1, 2, 3]
    )
    model = STREET.model()
    few = replace(
        elsewhere(model, "few", Pose.identity()), names=("few/00.png", "few/01.png"), cameras=model.cameras[:2],
        poses=model.poses[:2], offsets=model.offsets[:3], keypoints=model.keypoints[: model.offsets[2]],
        point_index=model.point_index[: model.offsets[2]],
    )  # fmt: skip
    config = place(tmp_path, map_of([model, elsewhere(model, "other", tilted), few]))
    assert main(["label", "--config", str(config)]) == 1
    told = capsys.readouterr()
    assert "place 2 of the map (2 images): no instances: not one of" in told.err and " of 2 places; " in told.out
    folder = tmp_path / "work/labels"
    vocabulary = read_vocabulary(folder / "vocabulary.txt")
    found = {
        name: read_mask(mask_path(folder, name), vocabulary)
        for name in [*STREET.poses, *(name.replace("db/", "other/") for name in STREET.poses)]
    }
    first, num = labels_of(labelled), int(max(ids.max() for ids in labels_of(labelled).values()))
    for name, ids in first.items():
        np.testing.assert_array_equal(found[name], ids, "as if it were alone")
        other = found[name.replace("db/", "other/")]
        assert np.mean((other > 0) == (ids > 0)) > 0.98 and other.max() <= 2 * num
        both = (other > 0) & (ids > 0)
        assert np.mean(other[both] == ids[both] + num) > 0.98
    assert {p.name for p in (folder / "steps").glob("[12]-*")} == {
        f"{k}-of-place-{p}.jpg" for k in ("1-points", "2-walls") for p in (0, 1)
    }


def test_made_labels_take_the_place_of_given_ones(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    context = Context(load_config(labelled))
    assert context.labels.masks == labelled.parent / "work/labels"
    assert load_vocabulary(context) == read_vocabulary(labelled.parent / "work/labels/vocabulary.txt")
    given = f"dataset.labels={labelled.parent / 'work/labels'}"
    capsys.readouterr()
    assert main(["label", "--config", str(labelled), given]) == 0
    assert "the dataset's own label images are used" in capsys.readouterr().out
    context = Context(load_config(labelled, [given]))
    assert not context.makes_labels and "own label images" in left_out(context)["label"]
    assert Context(load_config(labelled, [given, "instances.prefer_given=false"])).makes_labels


def test_the_order_of_the_flow(labelled: Path):
    search = ["candidates.name=progressive"]
    made = flow(Context(load_config(labelled, search)))
    mapped = ("extract", "pairs", "match", "reconstruct", "georeference", "label")
    assert made == (*mapped, "train", "recognise", "index", "localize")
    given = Context(load_config(labelled, [*search, "instances.name=given", f"dataset.labels={labelled.parent}"]))
    assert flow(given)[:3] == ("train", "recognise", "extract")
    assert not {"label", "train", "index"} & set(left_out(Context(load_config(labelled, search))))
    assert {"label", "train", "recognise", "index"} <= set(left_out(Context(load_config(labelled)))), (
        "nobody asks for them"
    )


def test_what_cannot_be_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "config.yaml").write_text(CONFIG)
    write_image(tmp_path / "scene/images/db/0.png", STREET.photograph("db/00.png")[0])
    run = ["--config", str(tmp_path / "config.yaml")]
    assert main(["label", *run]) == 2 and "run `lbr reconstruct` first" in capsys.readouterr().err
    assert main(["train", *run]) == 2 and "run `lbr label` first" in capsys.readouterr().err
    assert main(["label", *run, "instances.name=given"]) == 2 and "use facades" in capsys.readouterr().err


def test_label_images_of_additions_go_when_the_map_is_looked_at_anew(own: Path):
    added = own.parent / "work/additions"
    write_mask(added / "labels/new.png", np.zeros((4, 4), np.int32), BACKGROUND)
    write_vocabulary(added / "vocabulary.txt", BACKGROUND)
    assert main(["label", "--config", str(own)]) == 0 and (added / "labels/new.png").is_file(), "reused"
    assert main(["label", "--config", str(own), "--overwrite", "instances.min_points=20"]) == 0
    assert not list(added.iterdir())


def test_a_map_that_was_changed_is_looked_at_anew_when_asked(own: Path, capsys: pytest.CaptureFixture):
    """Its ids are others then: neither label images nor corrections of before are taken for those of them."""
    workspace = Workspace(own.parent / "work")
    scene, before = open_map(workspace.map), read_manifest(workspace.instances)
    gone = scene.names[0]
    change = changed(workspace, Change(REMOVE, (gone,), {}))
    publish_map(workspace, without_images(scene, {gone})[0], change, (), {"summary": "smaller", "problems": []})
    call, mask = ["label", "--config", str(own)], mask_path(workspace.labels, gone)
    assert main(call) == 0 and mask.is_file()
    assert "the map was changed since: `lbr label --overwrite`" in capsys.readouterr().out
    assert main([*call, "--overwrite"]) == 0 and not mask.is_file()
    after = read_manifest(workspace.instances)
    assert after["made_as"] == before["identity"] != after["identity"]
    capsys.readouterr()
    assert main(call) == 0 and "changed since" not in capsys.readouterr().out


def test_corrections_survive_and_are_applied(own: Path, capsys: pytest.CaptureFixture):
    before, folder = labels_of(own), own.parent / "work"
    listed = yaml.safe_load((folder / "labels/instances.yaml").read_text())
    first, second, third = (entry["id"] for entry in listed["instances"][:3])
    for entry in listed["instances"]:
        if entry["id"] == first:
            entry["name"] = "Am Markt"
        if entry["id"] == second:
            entry["merge_into"] = first
        if entry["id"] == third:
            entry["drop"] = True
    edits = folder / "instances-edits.yaml"
    edits.write_text(yaml.safe_dump(listed))
    text = edits.read_text()
    assert main(["label", "--config", str(own)]) == 2, "what was made from the labels is not thrown away unasked"
    assert "--overwrite" in capsys.readouterr().err
    found = read_manifest(folder / "instances")
    assert main(["label", "--config", str(own), "--overwrite"]) == 0
    assert read_manifest(folder / "instances") == found, "nothing is looked for anew"
    assert edits.read_text() == text and "Am Markt" in (folder / "labels/instances.html").read_text()
    after = labels_of(own)
    for name, ids in before.items():
        wanted = np.where(ids == second, first, np.where(ids == third, 0, ids))
        np.testing.assert_array_equal(after[name], wanted)
    assert second not in read_vocabulary(folder / "labels/vocabulary.txt").classes
    edits.write_text("instances: [{id: 99, drop: true}]")
    capsys.readouterr()
    assert main(["label", "--config", str(own), "--overwrite"]) == 2
    error = capsys.readouterr().err.strip()
    assert "there is no instance 99" in error and len(error.splitlines()) == 1


def test_where_all_look_like_trees_they_are_kept_and_it_is_said(
    own: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("lbr.mapping.instances.pieces.LEAVES", 0.0)  # the street's points keep to their planes
    assert main(["label", "--config", str(own), "--overwrite", "instances.min_square=1"]) == 1
    assert "no instance has level and upright edges" in capsys.readouterr().err
    assert any(ids.any() for ids in labels_of(own).values())


@pytest.mark.parametrize("workers", [("threads", 2), ("processes", 2)])
def test_workers_change_nothing(own: Path, labelled: Path, workers: tuple[str, int]):
    remove(own.parent / "work/instances")
    remove(own.parent / "work/labels")
    backend = [f"parallel.backend={workers[0]}", f"parallel.workers={workers[1]}"]
    assert main(["label", "--config", str(own), *backend]) == 0
    for name in STREET.poses:
        one, two = (mask_path(c.parent / "work/labels", name).read_bytes() for c in (own, labelled))
        assert one == two
    assert (own.parent / "work/labels/instances.yaml").read_bytes() == (
        labelled.parent / "work/labels/instances.yaml"
    ).read_bytes()


def test_a_killed_run_goes_on(own: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch):
    from lbr.pipeline import label_workers

    for output in ("instances", "labels"):
        remove(own.parent / f"work/{output}")
        remove(own.parent / f"work/{output}.manifest.json")
    true, count = label_workers.label_pixels, []

    def dies(*arguments: object) -> np.ndarray:
        count.append(1)
        if len(count) == 6:
            raise KeyboardInterrupt
        return true(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(label_workers, "label_pixels", dies)
    assert main(["label", "--config", str(own)]) == 2
    assert main(["label", "--config", str(own)]) == 0
    assert len(count) == 6 + len(STREET.poses) - 5, "what was finished was not done again"
    for name, ids in labels_of(own).items():
        np.testing.assert_array_equal(ids, labels_of(labelled)[name])


def test_a_broken_photograph_is_listed_and_the_rest_done(tmp_path: Path, capsys: pytest.CaptureFixture):
    config = place(tmp_path, STREET.map())
    (tmp_path / "scene/images/db/04.png").write_bytes(b"no image")
    assert main(["label", "--config", str(config)]) == 1
    assert "db/04.png" in capsys.readouterr().err
    assert mask_path(tmp_path / "work/labels", "db/05.png").is_file()
    assert not mask_path(tmp_path / "work/labels", "db/04.png").exists()


def test_the_baseline_makes_labels_too(own: Path):
    change = ["instances.name=kmeans", "instances.num=3", "--overwrite"]
    assert main(["label", "--config", str(own), *change]) == 0
    shares = [np.mean(ids > 0) for ids in labels_of(own).values()]
    assert 0.2 < np.mean(shares) < 0.9


def test_no_torch_is_needed(labelled: Path):
    run = f"main(['label', '--config', {str(labelled)!r}])"
    code = f"import sys; from lbr.cli import main; {run}; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "[reused]" in told and told.split()[-1] == "False"


def test_the_benchmark_scores_them_against_true_label_images(own: Path):
    from benchmarks.labels import score_labels

    truth = own.parent / "truth"
    vocabulary = InstanceVocabulary(np.array([0, 0x0A141E, 0x0A1428, 0x14141E]), np.arange(4, dtype=np.int32))
    for name in STREET.poses:
        write_mask(mask_path(truth, name), STREET.photograph(name)[1], vocabulary)
    write_vocabulary(truth / "vocabulary.txt", vocabulary)
    scores = score_labels(Context(load_config(own, [f"dataset.labels={truth}", "instances.prefer_given=false"])))
    assert len(scores.purity) == 3 and scores.purity.min() > 0.9 and scores.among_facades.min() > 0.97
    assert scores.coverage.min() > 0.9 and scores.persistence.min() > 0.95 and scores.main.min() > 0.9
