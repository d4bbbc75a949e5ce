"""The poses do not depend on how many work, nor on how."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lbr.cli import main
from lbr.io.features_file import FeatureFile
from lbr.pipeline.workspace import Workspace
from tests.synthetic import RenderedScene


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
