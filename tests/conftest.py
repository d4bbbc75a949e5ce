"""Session fixtures: a rendered scene, its finished workspace, and the photographs beside the checkout."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from lbr.cli import main
from lbr.pipeline.workspace import Workspace
from tests.synthetic import ExactWorld, RenderedScene, write_scene

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Photographs and weights kept beside the checkout, never in it."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no shared data at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> RenderedScene:
    """10 rendered photographs, 7 to map and 3 to localize. Read-only: copy it to change it."""
    return write_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="session")
def world() -> ExactWorld:
    """200 points, 5 db images, no errors but the rounding of keypoints to float32."""
    return ExactWorld.make()


@pytest.fixture(scope="session")
def write_config() -> Callable[..., Path]:
    """Writes a configuration for a scene at `root` with its workspace beside it."""

    def write(folder: Path, root: Path, text: str = "") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "config.yaml"
        path.write_text(f"dataset: {{name: folder, root: '{root}'}}\nworkspace: work\nparallel: {{workers: 2}}\n{text}")
        return path

    return write


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, scene: RenderedScene, write_config: Callable) -> Workspace:
    """The workspace of an undisturbed `lbr run` on the scene. Read-only: copy it to change it."""
    folder = tmp_path_factory.mktemp("finished")
    assert main(["run", "--config", str(write_config(folder, scene.root))]) == 0
    return Workspace(folder / "work")


@pytest.fixture
def own_scene(tmp_path: Path, scene: RenderedScene) -> Path:
    """A copy of the scene's folder that a test may damage."""
    return Path(shutil.copytree(scene.root, tmp_path / "scene"))
