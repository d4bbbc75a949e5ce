"""From GPS in the photographs to poses on earth, through the command line."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from lbr.cli import main
from lbr.geometry.camera import guess_camera
from lbr.geometry.geodetic import enu_from_geodetic, geodetic_from_enu
from lbr.geometry.pose import Pose
from lbr.geometry.similarity import Similarity
from lbr.io.text_lists import read_positions
from lbr.mapping.georeference import Georeference, read_georeferences
from lbr.pipeline.geography import on_earth as placed_on_earth
from lbr.pipeline.results import localization_to_json, read_localizations
from lbr.pipeline.workspace import Workspace
from lbr.types import Localization, PoseEstimate, Status
from tests.synthetic import RenderedScene

ORIGIN = np.array([47.05, 8.31, 436.0])
ENU = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # of the scene's world: x right, y down, z forward
SFM = ["reconstruction.name=sfm", "pairs.name=exhaustive", "dataset.model=null"]


def on_earth(pose: Pose) -> np.ndarray:
    return geodetic_from_enu(ENU @ pose.centre, ORIGIN)


def sexagesimal(value: float) -> tuple[IFDRational, ...]:
    """Degrees, minutes and seconds, these to a tenth of a millimetre."""
    minutes, seconds = divmod(abs(value) * 3600, 60)
    degrees, minutes = divmod(minutes, 60)
    return IFDRational(int(degrees), 1), IFDRational(int(minutes), 1), IFDRational(round(seconds * 10**6), 10**6)


def write_gps(path: Path, geodetic: np.ndarray) -> None:
    image, tags = Image.open(path), Image.Exif()
    tags[ExifTags.Base.Orientation] = 1  # Pillow writes no EXIF into a PNG that has none but GPS
    tags.get_ifd(ExifTags.IFD.GPSInfo).update({
        ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLatitude: sexagesimal(geodetic[0]),
        ExifTags.GPS.GPSLongitudeRef: "E", ExifTags.GPS.GPSLongitude: sexagesimal(geodetic[1]),
        ExifTags.GPS.GPSAltitudeRef: b"\x00", ExifTags.GPS.GPSAltitude: IFDRational(round(geodetic[2] * 1000), 1000),
    })  # fmt: skip
    image.load()
    image.save(path, exif=tags)


@pytest.fixture
def copied(tmp_path: Path, scene: RenderedScene, finished: Workspace, write_config: Callable) -> Callable:
    """Runs a verb in a copy of the finished workspace, whose map was made with given, metric poses."""
    config = write_config(tmp_path, scene.root)
    shutil.copytree(finished.root, tmp_path / "work")
    return lambda verb, *arguments: main([verb, "--config", str(config), *arguments])


def check_queries(tmp_path: Path, scene: RenderedScene, metres: float, degrees: float) -> None:
    records = {r["query"]: r for r in read_localizations(tmp_path / "work/runs/default/localizations.jsonl")}
    assert set(records) == set(scene.queries)
    for name, record in records.items():
        geo, truth = record["geo"], scene.poses[name]
        found = np.array([geo["latitude"], geo["longitude"], geo["height"]])
        assert np.linalg.norm(enu_from_geodetic(found, on_earth(truth))) < metres
        ahead = ENU @ truth.R[2]
        off = geo["heading_deg"] - np.degrees(np.arctan2(ahead[0], ahead[1]))
        assert abs((off + 180) % 360 - 180) < degrees
        assert 0 < geo["horizontal_std_m"] < metres and geo["vertical_std_m"] > 0 and geo["heading_std_deg"] > 0
        assert record["position_std_m"] > 0


def level(scale: float) -> Georeference:
    """Of a place that is level, its x to the east, and surely so."""
    similarity, none = Similarity(scale, np.eye(3), np.zeros(3)), np.zeros((1, 3))
    return Georeference(0, ORIGIN, similarity, np.zeros((7, 7)), np.zeros(3), (), (), none, True, True)


def test_a_query_that_told_its_own_lens_lies_on_earth_too():
    """Its camera has a covariance beside what makes a camera; none of it is lost."""
    pose = Pose(np.eye(3), np.array([1.0, -1.6, 4.0]))
    lens = guess_camera(640, 480)
    estimate = PoseEstimate(pose, np.ones(9, bool), 1e-6 * np.eye(6), lens)
    told = Localization("a.jpg", Status.REFINED, "", estimate, lens, place=0, intrinsics_covariance=np.eye(4))
    record = placed_on_earth(localization_to_json(told), {0: level(1)})
    where = np.array([record["geo"][of] for of in ("latitude", "longitude", "height")])
    np.testing.assert_allclose(enu_from_geodetic(where, ORIGIN), pose.centre, atol=1e-6)
    assert record["camera"]["covariance"] == np.eye(4).tolist() and record["geo"]["horizontal_std_m"] > 0


def test_what_is_stated_of_a_query_is_in_degrees_and_metres_on_earth():
    """A unit of the map is four metres; the camera is level and looks north."""
    north, lens = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), guess_camera(640, 480)
    estimate = PoseEstimate(Pose(north, np.zeros(3)), np.ones(9, bool), np.diag([1e-6] * 3 + [4e-4] * 3), lens)
    told = Localization("a.jpg", Status.REFINED, "", estimate, lens, place=0)
    record = placed_on_earth(localization_to_json(told, metres_per_unit=None), {0: level(4)})
    assert record["geo"]["heading_std_deg"] == pytest.approx(np.degrees(1e-3))
    assert record["position_std_m"] == pytest.approx(4 * record["position_std"])
    assert record["geo"]["vertical_std_m"] == pytest.approx(4 * 0.02)


def test_photographs_with_gps_alone_give_poses_on_earth_in_metres(
    own_scene: Path, tmp_path: Path, scene: RenderedScene, write_config: Callable, capsys: pytest.CaptureFixture
):
    for name in scene.db:
        write_gps(own_scene / "images" / name, on_earth(scene.poses[name]))
    write_gps(own_scene / "images" / scene.db[3], np.zeros(3))
    assert main(["run", "--config", str(write_config(tmp_path, own_scene)), *SFM]) == 1, "one position is no position"
    assert f"{scene.db[3]}: its GPS position is 0, 0: the receiver had none; not used" in capsys.readouterr().err
    check_queries(tmp_path, scene, metres=0.4, degrees=2)
    with (tmp_path / "work/runs/default/positions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["query"] for row in rows] == scene.queries and float(rows[0]["latitude"]) == pytest.approx(
        47.05, abs=1e-3
    )
    features = json.loads((tmp_path / "work/runs/default/positions.geojson").read_text())["features"]
    longitude, latitude, height = features[0]["geometry"]["coordinates"]
    assert (longitude, latitude, height) == pytest.approx((8.31, 47.05, 436), abs=10)
    assert features[0]["properties"]["query"] == scene.queries[0] and features[0]["properties"]["heading_deg"]
    page = (tmp_path / "work/runs/default/report.html").read_text()
    assert "6 of 6 positions agree" in page and "on earth (WGS84)" in page and "units of the model" not in page


def test_a_list_of_positions_places_a_metric_map_and_tells_the_scale_it_found(
    copied: Callable, tmp_path: Path, scene: RenderedScene, capsys: pytest.CaptureFixture
):
    lines = [" ".join([n, *map(repr, on_earth(scene.poses[n]).tolist())]) for n in scene.db]
    (tmp_path / "positions.txt").write_text("\n".join(["# surveyed", *lines, "other.png 47 8", "wrong 99 8"]))
    option = f"georeference.positions={tmp_path}/positions.txt"
    assert copied("georeference", option) == 2, "it was made without; so only when asked to overwrite"
    assert copied("georeference", option, "--overwrite") == 1, "two lines could not be used"
    problems = capsys.readouterr().err
    assert "positions.txt:10: not a position (not on earth): 'wrong 99 8'" in problems
    assert "1 names are no images of the map (first: other.png)" in problems
    assert copied("localize", option) == 2, "localizations made before do not have it"
    assert copied("localize", option, "--overwrite") == 0
    check_queries(tmp_path, scene, metres=0.05, degrees=0.3)
    found = read_georeferences(tmp_path / "work/map")[0]
    assert found.similarity.scale == pytest.approx(1, rel=0.01) and len(found.inliers) == 7
    capsys.readouterr()
    assert copied("georeference", option) == 1
    assert "[reused]" in capsys.readouterr().out


def test_without_gps_nothing_changes(finished: Workspace):
    assert read_georeferences(finished.map) == {}
    assert not any(path.exists() for path in finished.positions)
    assert all("geo" not in record for record in read_localizations(finished.localizations))


def test_too_few_positions_are_a_problem_and_place_nothing(
    copied: Callable, tmp_path: Path, scene: RenderedScene, capsys: pytest.CaptureFixture
):
    (tmp_path / "few.txt").write_text("".join(f"{name} 47 8\n" for name in scene.db[:2]))
    assert copied("georeference", f"georeference.positions={tmp_path}/few.txt", "--overwrite") == 1
    told = capsys.readouterr()
    assert "not georeferenced: 2 of its 7 db images have a position, 3 wanted" in told.err
    assert "no place could be georeferenced" in told.out and read_georeferences(tmp_path / "work/map") == {}
    assert copied("run", "georeference.enabled=never", "--until", "georeference") == 0
    assert "skipped: georeference.enabled=never" in capsys.readouterr().out
    assert copied("georeference", "georeference.enabled=never") == 2


def test_names_with_spaces_in_a_list_of_positions(tmp_path: Path):
    (tmp_path / "p.txt").write_text("db/a name 2.png 47.5 -8.25 436.5\nb.jpg 1e1 2\nb.jpg 3 4\nc.jpg 1\n")
    found, problems = read_positions(tmp_path / "p.txt")
    first = found["db/a name 2.png"]
    assert (first.latitude, first.longitude, first.height) == (47.5, -8.25, 436.5)
    assert (found["b.jpg"].latitude, found["b.jpg"].height) == (10, None)
    assert ["twice" in str(problems[0]), "wanted" in str(problems[1]), len(problems)] == [True, True, 2]
