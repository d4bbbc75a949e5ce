"""What several of these tests start from: the rendered scene with instances."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lbr.cli import main
from lbr.pipeline.workspace import Workspace
from tests.synthetic import RenderedScene
from tests.thirds import CONFIG, LABELLED, write_masks


@pytest.fixture(scope="session")
def mapped(
    tmp_path_factory: pytest.TempPathFactory, scene: RenderedScene, finished: Workspace, write_config: Callable
) -> Path:
    """The scene with instances, after `lbr run`. Read-only: copy it to change it."""
    folder = tmp_path_factory.mktemp("located")
    shutil.copytree(scene.root, folder / "scene")
    shutil.copytree(finished.root, folder / "work")
    write_masks(scene, folder / "scene")
    config = write_config(folder, folder / "scene", CONFIG)
    assert main(["run", "--config", str(config), *LABELLED, "run=instances"]) == 0
    return config
