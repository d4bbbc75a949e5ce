"""The scripts at the top of the repository: what they call, and the eight of the datasets on the tiny town."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from lbr.cli import OTHERS, STAGES, main
from lbr.config import load_config
from lbr.io.text_lists import read_poses
from tests.notebook import run_notebook

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"aachen": "aachen_v1.1", "robotcar": "RobotCar-Seasons"}
SCRIPTS = {  # file: verb, first, last, dataset
    "train_aachen": ("train", None, None, "aachen"),
    "test_aachen": ("recognise", None, None, "aachen"),
    "run_reconstruct_aachen": ("run", "extract", "reconstruct", "aachen"),
    "run_loc_aachen": ("run", "index", None, "aachen"),
    "run_loc_aachn": ("run", "index", None, "aachen"),
    "train_robotcar": ("train", None, None, "robotcar"),
    "test_robotcar": ("recognise", None, None, "robotcar"),
    "run_reconstruct_robotcar": ("run", "extract", "reconstruct", "robotcar"),
    "run_loc_robotcar": ("run", "index", None, "robotcar"),
}
SHORT = ("recognition.training.epochs=6", "recognition.training.validate_every=3")  # the rest is as it stands


@pytest.mark.slow
@pytest.mark.parametrize("layout", FOLDERS)
def test_the_scripts_run_on_the_tiny_town_with_another_root(tmp_path: Path, layout: str):
    root, work = tmp_path / FOLDERS[layout], tmp_path / "work"
    config = ROOT / "configs" / ("town-tiny.yaml" if layout == "aachen" else "town-robotcar.yaml")
    scene = ["--config", str(config), "town.size=tiny", f"dataset.root={root}", f"workspace={work}"]
    assert main(["town", *scene]) == 0 and main(["stylize", *scene]) == 0

    def run(script: str) -> str:
        made = subprocess.run(
            [ROOT / f"{script}_{layout}", f"dataset.root={root}", f"workspace={work}", *SHORT],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode in (0, 1), made.stderr[-2000:]  # 1: some images of so small a town have no 3D point
        return made.stdout

    assert "6 epochs" in run("train")
    assert "recognise" in run("test") and list((work / "recognition/masks").rglob("*.png"))
    assert "observations" in run("run_reconstruct")
    assert "localize" in run("run_loc")
    records = [json.loads(line) for line in (work / "runs/default/localizations.jsonl").read_text().splitlines()]
    assert records and all(r["status"] in ("refined", "verified", "weak", "failed") for r in records)
    assert all(step["source"] for r in records for step in r["steps"])
    written = set(read_poses(work / "runs/default/poses.txt"))
    assert written <= {name for r in records for name in (r["query"], _result_name(layout, r["query"]))}
    assert len(written) == sum(r["pose"] is not None for r in records)
    assert (work / "runs/default/report.html").stat().st_size > 10_000
    if layout == "aachen":
        truth = f"dataset.ground_truth={tmp_path}/ground_truth/poses.txt"
        arguments = [str(ROOT / "configs/aachen.yaml"), f"dataset.root={root}", f"workspace={work}", *SHORT, truth]
        told = run_notebook("tutorial", {"LBR_TUTORIAL": " ".join(arguments)})
        assert "image/svg+xml" in told or "compared" in told


@pytest.mark.parametrize("name", ["tutorial", "own_photographs"])
def test_notebooks_are_shipped_executed_and_small(name: str):
    path = ROOT / "notebooks" / f"{name}.ipynb"
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert cells[-1]["outputs"] and not [o for o in outputs if o["output_type"] == "error"]
    assert path.stat().st_size < 1_500_000
    for cell in cells:
        compile("".join(cell["source"]), name, "exec")


def _result_name(layout: str, name: str) -> str:
    """As the benchmark's server takes it: the base name, with its camera for RobotCar."""
    return "/".join(name.split("/")[-1 if layout == "aachen" else -2 :])


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_calls_a_verb_that_there_is(name: str):
    script = ROOT / name
    assert os.access(script, os.X_OK) and script.read_bytes().startswith(b"#!/usr/bin/env bash\nset -euo pipefail\n")
    subprocess.run(["bash", "-n", script], check=True)
    words = shlex.split(script.read_text().splitlines()[-1])
    assert words[:4] == ["exec", ".venv/bin/python", "-m", "lbr"] and words[-1] == "$@"
    given = dict(zip(words[5:-1:2], words[6:-1:2], strict=True))
    kind, first, last, dataset = SCRIPTS[name]
    assert words[4] == kind and kind in {**STAGES, **OTHERS}
    assert (given.get("--from"), given.get("--until")) == (first, last)
    config = load_config(ROOT / given["--config"])
    assert config.dataset.name == dataset and given["--config"] == f"configs/{dataset}.yaml"
    assert config.candidates.name == "progressive" and config.localization.matcher.name == "instancewise"


@pytest.mark.parametrize("name", ["train_aachen", "run_loc_aachn"])
def test_a_script_passes_on_its_arguments_from_any_folder(name: str, tmp_path: Path):
    """To a dataset that is not there: one line says so, and where it was looked for."""
    if not (ROOT / ".venv/bin/python").exists():
        pytest.skip("no .venv in the checkout")
    done = subprocess.run(
        [ROOT / name, f"dataset.root={tmp_path / 'nowhere'}", f"workspace={tmp_path / 'work'}"], cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and str(tmp_path / "nowhere") in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "work").exists()
