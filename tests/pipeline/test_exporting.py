"""`lbr export`: the map as a COLMAP model, and as all that a machine without the dataset localizes with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lbr.cli import main
from lbr.errors import DataError
from lbr.features.daynight import DayNightSettings
from lbr.geometry.geodetic import enu_from_geodetic, geodetic_from_enu
from lbr.geometry.similarity import Similarity
from lbr.io.colmap import project, read_models
from lbr.io.colmap_arrays import model_arrays
from lbr.io.exif import GpsPosition
from lbr.io.images import read_image
from lbr.mapping.georeference import FILE, Georeference, write_georeferences
from lbr.mapping.georeferencing import GeoreferenceSettings, georeference
from lbr.mapping.map import Map, open_map, write_map
from lbr.pipeline.exporting import CONFIG, EXPORTS, ORIGIN
from lbr.pipeline.locating import Locator
from lbr.pipeline.workspace import Workspace
from lbr.types import Localization
from tests.mapping.test_places import two_places, worlds  # noqa: F401  # fixtures
from tests.synthetic import RenderedScene, random_rotation
from tests.thirds import LABELLED

ORIGIN_OF_ALL = np.array([47.05, 8.31, 436.0])


def export(config: Path, kind: str, to: Path, *overrides: str) -> int:
    return main(["export", "--config", str(config), "--as", kind, "--to", str(to), *overrides])


# ---- for COLMAP


def test_the_model_is_the_map_in_the_colours_of_its_photographs(
    finished: Workspace, scene: RenderedScene, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert export(finished.root.parent / "config.yaml", "colmap", tmp_path / "model") == 0
    found, (model,) = open_map(finished.map), read_models(tmp_path / "model")
    assert f"7 images, {len(found.points):,} points" in capsys.readouterr().out
    arrays = model_arrays(model)
    assert arrays.names == found.names and arrays.cameras == tuple(found.camera(i) for i in range(len(found)))
    np.testing.assert_allclose([pose.matrix for pose in arrays.poses], found.poses, atol=1e-12)
    for array in ("offsets", "keypoints", "point_index", "points", "point_errors"):
        np.testing.assert_array_equal(getattr(arrays, array), getattr(found, array), array)
    image, rows = 3, found.observations(3)
    alone = np.flatnonzero(found.track_lengths[found.point_index[rows]] == 2)[:5]
    for row in (alone + rows.start).tolist():
        point = model.points3D[int(found.point_index[row]) + 1]
        other = next(e.image_id - 1 for e in point.track.elements if e.image_id - 1 != image)
        pair = [
            read_image(scene.root / "images" / found.names[i])[tuple(found.keypoints[r].astype(int)[::-1])]
            for i, r in (
                (image, row),
                (other, found.offsets[other] + _keypoint(point, other)),
            )
        ]
        np.testing.assert_allclose(point.color, np.mean(pair, 0), atol=0.51)


def _keypoint(point, image: int) -> int:
    return next(e.point2D_idx for e in point.track.elements if e.image_id - 1 == image)


def test_places_are_models_of_their_own_and_lost_photographs_are_told(
    two_places, tmp_path: Path, write_config: Callable, own_scene: Path, capsys: pytest.CaptureFixture  # noqa: F811
):  # fmt: skip
    write_map(tmp_path / "work/map", two_places)
    assert export(write_config(tmp_path, own_scene), "colmap", tmp_path / "model") == 1
    models = read_models(tmp_path / "model")
    assert [model.num_reg_images() for model in models] == [np.count_nonzero(two_places.place == p) for p in (0, 1)]
    assert sum(model.num_points3D() for model in models) == len(two_places.points)
    for place, model in enumerate(models):
        arrays = model_arrays(model)
        assert set(arrays.names) == {two_places.names[i] for i in two_places.images_of(place)}
        xy = project(arrays.cameras[0], arrays.poses[0], arrays.points[arrays.point_index[: arrays.offsets[1]]])
        np.testing.assert_allclose(xy, arrays.keypoints[: arrays.offsets[1]], atol=0.01)
    said = capsys.readouterr()
    assert "in 2 models, as their places have no common frame" in said.out
    assert said.err.count("no such image") == len(two_places) and "everything else is done" in said.err


def on_earth(scene: Map, places: dict[int, Similarity]) -> list[Georeference]:
    """Georeferences of places by exact positions; places: enu_from_map at ORIGIN_OF_ALL."""
    positions = {
        scene.names[i]: GpsPosition(*geodetic_from_enu(frame.apply(scene.centres[i]), ORIGIN_OF_ALL))
        for place, frame in places.items()
        for i in scene.images_of(place)
    }
    return [georeference(scene, place, positions, GeoreferenceSettings()) for place in places]


@pytest.mark.parametrize("placed", [(0, 1), (1,)])
def test_places_that_lie_on_earth_are_one_model_in_metres(
    two_places, tmp_path: Path, write_config: Callable, own_scene: Path, capsys: pytest.CaptureFixture,  # noqa: F811
    placed: tuple[int, ...],
):  # fmt: skip
    rng = np.random.default_rng(2)
    frames = {k: Similarity(3.0 + k, random_rotation(rng), np.array([900.0 * k, -200, 5])) for k in placed}
    write_map(tmp_path / "work/map", two_places)
    write_georeferences(tmp_path / "work/map" / FILE, on_earth(two_places, frames))
    assert export(write_config(tmp_path, own_scene), "colmap-enu", tmp_path / "model") == 1
    said = capsys.readouterr()
    assert ("place 0 of the map: 5 images, not on earth: left out" in said.err) == (placed == (1,))
    assert "in metres east, north, up of 47." in said.out
    (model,) = read_models(tmp_path / "model")
    arrays, origin = model_arrays(model), np.loadtxt(tmp_path / "model" / ORIGIN)
    images = [i for i in range(len(two_places)) if two_places.place[i] in placed]
    assert arrays.names == tuple(two_places.names[i] for i in images)
    for k, i in enumerate(images):
        centre = frames[int(two_places.place[i])].apply(two_places.centres[i])
        found = enu_from_geodetic(geodetic_from_enu(arrays.poses[k].centre, origin), ORIGIN_OF_ALL)
        np.testing.assert_allclose(found, centre, atol=2e-3)  # the height is written to a tenth of a millimetre
        rows = slice(*arrays.offsets[k : k + 2])
        xy = project(arrays.cameras[k], arrays.poses[k], arrays.points[arrays.point_index[rows]])
        np.testing.assert_allclose(xy, arrays.keypoints[rows], atol=0.01)


def test_a_map_that_lies_nowhere_on_earth_is_not_exported_so(
    finished: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert export(finished.root.parent / "config.yaml", "colmap-enu", tmp_path / "model") == 2
    assert "no place of it lies on earth; `lbr georeference` tells why" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


# ---- for a machine that localizes


def found_by(locator: Locator, scene: RenderedScene) -> list[dict]:
    """The records of all queries, without how long they took."""
    found: list[Localization] = [locator.locate(scene.root / "images" / name) for name in scene.queries]
    records = json.loads(json.dumps([locator.record(one) for one in found]))
    return [{key: value for key, value in record.items() if key != "timings"} for record in records]


def test_what_is_exported_finds_the_same_without_the_dataset(
    mapped: Path, scene: RenderedScene, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert export(mapped, "locator", tmp_path / "first", *LABELLED) == 0
    assert "lbr locate --config" in capsys.readouterr().out
    moved = Path(shutil.move(tmp_path / "first", tmp_path / "elsewhere"))
    assert not {"dataset", "features-db.h5"} & {path.name for path in moved.iterdir()}
    records = found_by(Locator.open(moved / CONFIG), scene)
    assert records == found_by(Locator.open(mapped, LABELLED), scene)
    assert all(r["status"] == "refined" and r["instances"] and r["camera"]["source"] == "map" for r in records)


def test_weights_that_the_configuration_names_go_along(mapped: Path, scene: RenderedScene, tmp_path: Path):
    for part in ("scene", "work"):
        shutil.copytree(mapped.parent / part, tmp_path / part)
    config, net = Path(shutil.copy(mapped, tmp_path)), tmp_path / "nets/best.pt"
    config.write_text(config.read_text().replace(str(mapped.parent), str(tmp_path)))
    net.parent.mkdir()
    shutil.move(tmp_path / "work/recognition.pt", net)
    named = [*LABELLED, f"recognition.weights={net}"]
    flow = ["run", "--config", str(config), "--overwrite", "--from", "recognise", "--until", "index", *named]
    assert main(flow) == 0
    expected = found_by(Locator.open(config, named), scene)
    assert export(config, "locator", tmp_path / "out", *named) == 0
    shutil.rmtree(net.parent)
    assert (tmp_path / "out/weights/recognition/best.pt").is_file()
    assert found_by(Locator.open(tmp_path / "out" / CONFIG), scene) == expected


@pytest.fixture
def with_own_feature(scene: RenderedScene, tmp_path: Path, write_config: Callable) -> tuple[Path, Path]:
    """A map of a local feature of one's own: its configuration, and the checkpoint that this names."""
    weights = tmp_path / "nets/own.pt"
    weights.parent.mkdir()
    shutil.copy(DayNightSettings().shipped, weights)
    config = write_config(tmp_path, scene.root)
    feature = f"extractor: {{name: daynight, max_keypoints: 600, weights: {weights}, device: cpu}}"
    config.write_text(
        "\n".join([*(x for x in config.read_text().splitlines() if not x.startswith("extractor")), feature])
    )
    assert main(["run", "--config", str(config), "--until", "reconstruct"]) == 0
    return config, weights


def test_a_local_feature_of_ones_own_goes_along(
    with_own_feature: tuple[Path, Path], scene: RenderedScene, tmp_path: Path
):
    config, weights = with_own_feature
    expected = found_by(Locator.open(config), scene)
    assert export(config, "locator", tmp_path / "out") == 0
    shutil.rmtree(weights.parent)
    assert found_by(Locator.open(tmp_path / "out" / CONFIG), scene) == expected
    assert all(record["status"] == "refined" for record in expected)


def test_other_weights_than_those_of_the_map_are_refused(with_own_feature: tuple[Path, Path], scene: RenderedScene):
    config, weights = with_own_feature
    network = torch.load(weights, weights_only=True)
    torch.save({key: value + 1 if value.is_floating_point() else value for key, value in network.items()}, weights)
    with pytest.raises(DataError, match=r"made with another local feature .*\(extractor.weights: they hold others\)"):
        Locator.open(config)


def test_a_map_without_instances_goes_without_a_network(finished: Workspace, scene: RenderedScene, tmp_path: Path):
    config = finished.root.parent / "config.yaml"
    assert export(config, "locator", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {CONFIG, "map", "map.manifest.json"}
    assert found_by(Locator.open(tmp_path / "out" / CONFIG), scene) == found_by(Locator.open(config), scene)


@pytest.mark.parametrize("kind", EXPORTS)
def test_what_is_there_is_not_written_over_and_nothing_is_made_of_nothing(
    finished: Workspace, tmp_path: Path, kind: str, write_config: Callable, scene: RenderedScene,
    capsys: pytest.CaptureFixture
):  # fmt: skip
    (tmp_path / "there").mkdir()
    assert export(finished.root.parent / "config.yaml", kind, tmp_path / "there") == 2
    assert "is there already; export to another folder" in capsys.readouterr().err
    assert export(write_config(tmp_path, scene.root), kind, tmp_path / "new") == 2
    assert "run" in capsys.readouterr().err and not (tmp_path / "new").exists()
