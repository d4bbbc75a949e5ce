from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lbr.cli import MANY_ALIKE, OTHERS, STAGES, _exit_code, main
from lbr.io.text_lists import Problem
from lbr.pipeline.stage import Report

HEAVY = "torch", "numpy", "cv2", "pycolmap", "scipy", "h5py", "pydantic", "yaml", "kornia"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["info", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]):
    code = (
        "import sys\nfrom lbr.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as stop:\n"
        f"    print('CODE', stop.code, sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env={**os.environ}, check=True
    )
    assert "CODE 0 []" in done.stdout
    if arguments == ["--help"]:
        assert all(verb in done.stdout for verb in (*STAGES, *OTHERS)) and "Exit code" in done.stdout


def test_python_m_lbr_answers_with_the_exit_code(tmp_path: Path):
    command = [sys.executable, "-m", "lbr", "config", "--config", str(tmp_path / "none.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.strip() == f"lbr config: {tmp_path}/none.yaml: no such configuration file"


@pytest.mark.parametrize("run", [".", "..", ".hidden", "a/b"])
def test_a_run_has_the_name_of_a_folder_of_its_own(tmp_path: Path, run: str, capsys: pytest.CaptureFixture):
    (tmp_path / "c.yaml").write_text("dataset: {name: folder, root: .}\nworkspace: work\n")
    assert main(["config", "--config", str(tmp_path / "c.yaml"), f"run={run}"]) == 2
    assert "c.yaml: run: " in capsys.readouterr().err


def test_a_path_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    """A workspace that is a file."""
    (tmp_path / "images/db").mkdir(parents=True)
    (tmp_path / "images/db/a.png").touch()
    (tmp_path / "work").touch()
    (tmp_path / "c.yaml").write_text("dataset: {name: folder, root: ., model: null, queries: null}\nworkspace: work\n")
    Image.new("RGB", (64, 48)).save(tmp_path / "images/db/a.png")
    assert main(["extract", "--config", str(tmp_path / "c.yaml")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"lbr extract: {tmp_path}/work") and line.endswith("; see that it can be read and written")


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["run"], ["info"], ["config", "--overwrite", "--config", "x"]])
def test_wrong_usage_is_argparses(arguments: list[str], capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2 and "usage: lbr" in capsys.readouterr().err


def test_a_misspelt_key_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "c.yaml").write_text("dataset: {name: folder, root: x}\nworkspace: w\nmatchr: {ratio: 0.8}\n")
    assert main(["run", "--config", str(tmp_path / "c.yaml")]) == 2
    assert capsys.readouterr().err == f"lbr run: {tmp_path}/c.yaml: unknown key 'matchr'; did you mean 'matcher'?\n"


def test_a_missing_dataset_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "c.yaml").write_text("dataset: {name: folder, root: x}\nworkspace: w\n")
    assert main(["run", "--config", str(tmp_path / "c.yaml")]) == 2
    said = capsys.readouterr().err
    assert "no such folder of images; set dataset.root" in said and len(said.splitlines()) == 1
    assert not (tmp_path / "w").exists()


def test_many_problems_of_one_reason_are_one_line(capsys: pytest.CaptureFixture):
    """Those that a manifest lists by name; what is said but once, as of the call's own photographs, is not folded."""
    same = tuple(Problem(f"{i}.jpg", "not registered") for i in range(MANY_ALIKE + 1))
    own = [Problem(f"{i}.png", "no such image") for i in range(MANY_ALIKE + 1)]
    few = Report(Path("a"), "", problems=same[1:]), Report(Path("b"), "", problems=(Problem("x.jpg", "broken"),))
    assert _exit_code(list(few)) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[:-1] == [f"problem: {problem}" for report in few for problem in report.problems]
    assert _exit_code([*few, Report(Path("c"), "", problems=same)], own) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[: len(own)] == [f"problem: {problem}" for problem in own]
    assert told[len(own) :] == [
        "problem: 1.jpg, 2.jpg, 3.jpg and 8 more, by name in the report and the manifests: not registered",
        "problem: x.jpg: broken",
        "23 problem(s); everything else is done",
    ]
