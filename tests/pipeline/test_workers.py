"""The poses do not depend on how many work, nor on how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lbr.cli import main
from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.io.features_file import FeatureFile
from lbr.matching.nearest import NearestSettings
from lbr.pipeline.workers import MatchImage
from lbr.pipeline.workspace import Workspace
from lbr.types import LocalFeatures
from tests.synthetic import RenderedScene


def test_epipolar_lines_have_the_width_that_the_mean_focal_length_makes_of_pixels(tmp_path: Path):
    """A tolerance in pixels is one of rays by the mean of both cameras' focal lengths."""
    a, b = (Camera("PINHOLE", 640, 480, (f, f + 20, 320, 240)) for f in (500.0, 700.0))
    views = {"a.jpg": (a, Pose.identity()), "b.jpg": (b, Pose(np.eye(3), np.array([1.0, 0, 0])))}
    keypoints = np.array([[10.0, 20.0]], np.float32)
    features = LocalFeatures(keypoints, np.ones(1, np.float32), np.ones((1, 8), np.float32), (640, 480))
    worker = MatchImage((), NearestSettings(), views)
    worker.read = lambda name: features
    two = worker._two_views("a.jpg", "b.jpg")
    assert two.focal == pytest.approx(610)
    np.testing.assert_allclose(two.rays_a, [[(10 - 320) / 500, (20 - 240) / 520, 1]], rtol=1e-6)


@pytest.mark.parametrize("parallel", ["workers: 1", "workers: 3", "workers: 2, backend: processes"])
def test_poses_are_the_same_bits(
    tmp_path: Path, scene: RenderedScene, finished: Workspace, write_config: Callable, parallel: str
):
    config = write_config(tmp_path, scene.root)
    config.write_text(config.read_text().replace("workers: 2", parallel))
    assert main(["run", "--config", str(config)]) == 0
    assert (tmp_path / "work/runs/default/poses.txt").read_bytes() == finished.poses.read_bytes()
    with FeatureFile(tmp_path / "work/features-db.h5") as a, FeatureFile(finished.db_features) as b:
        for name in a.names:
            assert a.read(name).descriptors.tobytes() == b.read(name).descriptors.tobytes()
    for array in ("points", "point_index", "keypoints"):
        np.testing.assert_array_equal(
            np.load(tmp_path / f"work/map/{array}.npy"), np.load(finished.map / f"{array}.npy")
        )
