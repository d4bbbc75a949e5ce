"""The published refinement."""

from __future__ import annotations

import numpy as np
import pytest

from lbr.geometry.pose import pose_error
from lbr.localization.clurefpos import published_frames
from lbr.localization.localizer import Localizer
from lbr.localization.refine import RefinementSettings
from lbr.mapping.map import Map
from lbr.types import PoseEstimate, Status
from tests.localization.test_localizer import POSE, settings
from tests.synthetic import CAMERA, ExactWorld, between_views_deg

METHOD = {"method": "clurefpos", "covisible_frames": 50, "max_angle_deg": 10, "radius_px": 20, "max_error_px": 12}


@pytest.fixture(scope="module")
def scene(world: ExactWorld) -> Map:
    return world.map()


def test_frames_are_the_nearest_that_look_alike_then_those_that_share_most(scene: Map):
    """Cameras are 5 degrees apart."""
    estimate = PoseEstimate(scene.pose(1), np.ones(4, bool), None, CAMERA)
    turned = [between_views_deg(scene.pose(i), scene.pose(1)) for i in range(5)]
    away = [np.linalg.norm(scene.pose(i).centre - scene.pose(1).centre) for i in range(5)]
    alike = sorted((i for i in range(5) if turned[i] <= 10), key=lambda i: away[i])
    rest = [int(i) for i in [4, *scene.covisible(4)[0]] if i not in alike]
    found = published_frames(scene, 4, estimate, RefinementSettings(max_angle_deg=10))
    assert found == [*alike, *rest] and found[0] == 1 and 1 < len(alike) < 5
    assert published_frames(scene, 4, estimate, RefinementSettings(max_angle_deg=10, covisible_frames=2)) == found[:2]


def test_it_refines_exactly_and_is_called_refined(world: ExactWorld):
    localizer = Localizer(world.map(), settings(refinement=METHOD))
    found = localizer.localize_features(world.features(POSE), CAMERA)
    assert found.status is Status.REFINED and max(pose_error(found.estimate.pose, POSE)) < 1e-6


def test_short_tracks_are_dropped(world: ExactWorld):
    """No point is seen by more than five images."""
    strict = settings(refinement={**METHOD, "min_track_length": 6})
    found = Localizer(world.map(), strict).localize_features(world.features(POSE), CAMERA)
    assert found.status is Status.WEAK and "around which no more is found" in found.reason
    lifted = settings(min_track_length=6)
    assert Localizer(world.map(), lifted).localize_features(world.features(POSE), CAMERA).status is Status.FAILED
