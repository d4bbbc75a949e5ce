"""A run that is killed at any moment and started again ends with the poses of an undisturbed one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lbr.cli import main
from lbr.errors import DataError
from lbr.pipeline.workspace import Recipe, Workspace, _set_aside, making, read_manifest, reusable
from tests.synthetic import RenderedScene

# Imports once, then forks a run, kills it after a random delay, and so on; the last run is left alone.
# Delays are parts of the time that an undisturbed run takes here and now.
KILLER = """
import json, os, random, signal, sys, time
import lbr.pipeline.stages
from lbr.cli import main
config, spare, seed = sys.argv[1:]

def run(*overrides, kill_after=None):
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = open(os.devnull, "w")
        os._exit(main(["run", "--config", config, *overrides]))
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), time.monotonic() - start

code, seconds = run(f"workspace={spare}")
assert code == 0
rng = random.Random(int(seed))
killed = [run(kill_after=rng.uniform(0.02, 0.5) * seconds)[0] for _ in range(5)]
print(json.dumps({"killed": killed, "last": run()[0]}))
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments_five_times_in_a_row(
    tmp_path: Path, scene: RenderedScene, finished: Workspace, write_config: Callable, seed: int
):
    config = write_config(tmp_path, scene.root)
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(config), str(tmp_path / "spare"), str(seed)], capture_output=True, text=True,
        env={**os.environ}, check=True,
    )  # fmt: skip
    codes = json.loads(done.stdout)
    assert -9 in codes["killed"] and set(codes["killed"]) <= {-9, 0}
    assert codes["last"] == 0
    assert (tmp_path / "work/runs/default/poses.txt").read_bytes() == finished.poses.read_bytes()


def snapshots(config: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str]]:
    """Copies of the workspace as a kill right after each renaming of an output would leave it.

    What is on disk at that moment is all that a killed process leaves. Parts are many and alike: left out.
    """
    work, taken, really = config.parent / "work", [], os.replace

    def replace(source: Path, target: Path) -> None:
        really(source, target)
        if ".parts" not in str(target):
            taken.append((folder / f"{len(taken):02d}", Path(target).name))
            shutil.copytree(work, taken[-1][0])

    monkeypatch.setattr(os, "replace", replace)
    assert main(["run", "--config", str(config), "parallel.workers=1"]) == 0
    monkeypatch.undo()
    return taken


def test_killed_right_after_every_output(
    tmp_path: Path, scene: RenderedScene, finished: Workspace, write_config: Callable, monkeypatch: pytest.MonkeyPatch
):
    config = write_config(tmp_path, scene.root)
    taken = snapshots(config, tmp_path / "snapshots", monkeypatch)
    assert {"matches.h5", "map", "map.manifest.json", "poses.txt"} <= {output for _, output in taken}
    wrong = []
    for copy, output in taken:
        code = main(["run", "--config", str(config), f"workspace={copy}"])
        if code != 0 or (copy / "runs/default/poses.txt").read_bytes() != finished.poses.read_bytes():
            wrong.append(f"{output}: exit code {code}")
    assert wrong == []


def test_overwriting_killed_between_output_and_manifest_gives_no_wrong_reuse(
    tmp_path: Path, scene: RenderedScene, finished: Workspace, write_config: Callable, monkeypatch: pytest.MonkeyPatch
):
    """The old manifest must not vouch for the new output."""
    shutil.copytree(finished.root, tmp_path / "work")
    config = write_config(tmp_path, scene.root)
    really, new = os.replace, ["extract", "--config", str(config), "extractor.max_keypoints=100", "--overwrite"]

    class Killed(BaseException):
        pass

    def replace(source: Path, target: Path) -> None:
        really(source, target)
        if Path(target).name == "features-db.h5" and not (tmp_path / "killed").exists():
            shutil.copytree(tmp_path / "work", tmp_path / "killed")
            raise Killed

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(Killed):
        main(new)
    monkeypatch.undo()
    at = f"workspace={tmp_path / 'killed'}"
    assert main(["extract", "--config", str(config), at]) == 2, "made with 100 keypoints, asked for 4096"
    assert main([*new, at]) == 0


@pytest.mark.parametrize("killed_before", [False, True])
def test_what_was_to_be_overwritten_is_there_again_where_it_could_not(tmp_path: Path, killed_before: bool):
    output, old, new = tmp_path / "map", Recipe("reconstruct", {"a": 1}, {}), Recipe("reconstruct", {"a": 2}, {})
    with making(output, old) as work:
        output.mkdir()
        (output / "points").write_text("hours of work")
        work.facts["summary"] = "good"
    manifest = read_manifest(output)
    if killed_before:  # between the new output and its manifest
        _set_aside(output)
        output.mkdir()
    with pytest.raises(DataError, match="no model"), making(output, new):
        output.mkdir()
        (output / "points").write_text("half")
        raise DataError("no model")
    assert (output / "points").read_text() == "hours of work" and read_manifest(output) == manifest
    assert reusable(output, old, overwrite=False)
    with making(output, new) as work:
        output.mkdir()
    assert list(output.iterdir()) == [] and not list(tmp_path.glob(".*before"))


def test_what_a_killed_run_left_behind_is_cleared_away(
    tmp_path: Path, scene: RenderedScene, write_config: Callable, finished: Workspace
):
    config, work = write_config(tmp_path, scene.root), tmp_path / "work"
    (work / ".map.99999.tmp").mkdir(parents=True)
    (work / ".features-db.h5.99999.tmp").write_bytes(b"half of it")
    (work / ".features-db.h5.0123456789abcdef.parts").mkdir()
    assert main(["run", "--config", str(config)]) == 0
    assert sorted(p.name for p in work.iterdir() if p.name.startswith(".")) == []
    assert (work / "runs/default/poses.txt").read_bytes() == finished.poses.read_bytes()


def test_a_training_that_was_killed_is_not_cleared_away_with_the_pictures_of_recognition(tmp_path: Path):
    """`recognition` is the pictures' folder, `recognition.pt` the network."""
    names = ("recognition.pt.0123456789abcdef", "recognition.0123456789abcdef")
    training, old = (tmp_path / f".{name}.parts" for name in names)
    for folder in (training, old):
        folder.mkdir()
    with making(tmp_path / "recognition", Recipe("recognise", {}, {})) as work:
        work.facts["summary"] = "pictures"
    assert training.is_dir() and not old.exists()


def test_what_another_command_is_writing_is_left_alone(tmp_path: Path, scene: RenderedScene, write_config: Callable):
    """Two commands at once in one workspace: pairs need not wait for extract."""
    config, work = write_config(tmp_path, scene.root), tmp_path / "work"
    work.mkdir()
    (work / f".features-db.h5.{os.getppid()}.tmp").write_bytes(b"half of it")
    assert main(["pairs", "--config", str(config)]) == 0
    assert (work / f".features-db.h5.{os.getppid()}.tmp").exists()


def test_finished_items_are_not_made_again(
    tmp_path: Path, scene: RenderedScene, write_config: Callable, monkeypatch: pytest.MonkeyPatch
):
    """Stopped after some images, the next call extracts the others only."""
    from lbr.features.sift import Sift

    config, extract, extracted = write_config(tmp_path, scene.root), Sift.extract, []

    def counting(self, image):
        if len(extracted) == 5:
            raise KeyboardInterrupt
        extracted.append(image.tobytes())
        return extract(self, image)

    monkeypatch.setattr(Sift, "extract", counting)
    assert main(["extract", "--config", str(config), "parallel.workers=1"]) == 2
    first, extracted[:] = list(extracted), []
    monkeypatch.setattr(Sift, "extract", lambda self, image: extracted.append(image.tobytes()) or extract(self, image))
    assert main(["extract", "--config", str(config), "parallel.workers=1"]) == 0
    assert len(first) == 5 and len(extracted) == 10 - 5 and not set(first) & set(extracted)
