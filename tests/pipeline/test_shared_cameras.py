"""Queries of a camera that took db images: its refined intrinsics, and what is done when it was another one."""

from __future__ import annotations

import json

import pytest

from lbr.config import Config
from lbr.geometry.camera import Camera, guess_camera
from lbr.io.images import ImageFolder
from lbr.localization.cameras import SharedCamera, SharedCameras
from lbr.pipeline.querying import QueryLocalizer
from lbr.pipeline.searching import SearchedScene
from lbr.pipeline.workers import LocalizeQuery
from lbr.pipeline.workspace import Workspace
from lbr.types import Query
from tests.synthetic import PHOTOGRAPH, RenderedScene


def localize(finished: Workspace, scene: RenderedScene, query: Query, shared: SharedCameras) -> dict:
    config = Config.model_validate({"dataset": {"name": "folder", "root": scene.root}, "workspace": finished.root})
    searched = SearchedScene(
        finished.map, None, None, config.candidates, config.labelling, config.recognition.ranking, 4096
    )  # fmt: skip
    localizer = QueryLocalizer(searched, config.localization, 0, 1, shared)
    worker = LocalizeQuery(localizer, finished.query_features, ImageFolder(scene.root / "images"))
    return json.loads(worker.make(query)["line"].tobytes())


def refined(focal: float, num: int = 7) -> SharedCamera:
    return SharedCamera(Camera("SIMPLE_RADIAL", 480, 360, (focal, 240, 180, 0.02), "map"), num)


def shared(focal: float) -> SharedCameras:
    return {guess_camera(480, 360): {0: refined(focal)}}


def test_the_refined_intrinsics_are_used_and_the_result_says_so(finished: Workspace, scene: RenderedScene):
    found = localize(finished, scene, Query(scene.queries[0]), shared(450))
    assert found["status"] == "refined" and found["camera"]["source"] == "map"
    assert found["camera"]["params"][0] == 450
    (note,) = found["notes"]
    assert note == "intrinsics as in the map, of 7 db images of the same size (no EXIF tells which camera)"


@pytest.mark.parametrize("focal", [455, 2500])
def test_in_a_place_with_intrinsics_of_its_own_these_are_taken(finished: Workspace, scene: RenderedScene, focal: float):
    """Those that most images have, in another place, were tried first; with the latter nothing is found."""
    cameras = {1: refined(focal, 9), 0: refined(450)}
    found = localize(finished, scene, Query(scene.queries[0]), {guess_camera(480, 360): cameras})
    assert found["status"] == "refined" and found["camera"]["params"][0] == 450
    assert found["notes"][0].startswith("intrinsics as in the map, of 7 db images")


@pytest.mark.parametrize("focal", [2500, 550])
def test_another_zoom_is_noticed_and_its_focal_length_estimated(
    finished: Workspace, scene: RenderedScene, focal: float
):
    """Also one with which nearly as many pairs are found, around a pose that is further off."""
    found = localize(finished, scene, Query(scene.queries[0]), shared(focal))
    assert found["status"] == "refined" and found["camera"]["source"] == "guess"
    assert found["camera"]["params"][0] == pytest.approx(450, rel=0.03)
    assert found["notes"] == ["focal length not given: estimated from guess 576 px"]


def test_given_intrinsics_come_first(finished: Workspace, scene: RenderedScene):
    found = localize(finished, scene, Query(scene.queries[0], PHOTOGRAPH), shared(2500))
    assert found["camera"]["source"] == "given" and found["notes"] == []
