import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbr.errors import DataError
from lbr.io.files import PartStore, atomic_path, read_text, remove, write_text


def contents(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_whole_file_appears_under_its_name(tmp_path: Path):
    with atomic_path(tmp_path / "new" / "f.txt") as temporary:
        temporary.write_text("all of it")
        assert not (tmp_path / "new" / "f.txt").exists()
    assert contents(tmp_path / "new") == ["f.txt"]
    assert (tmp_path / "new" / "f.txt").read_text() == "all of it"


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("there", [True, False])
def test_an_exception_inside_changes_nothing(tmp_path: Path, kind: str, there: bool):
    path = tmp_path / "out"
    if there and kind == "file":
        path.write_text("old")
    elif there:
        path.mkdir()
        (path / "old").touch()
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        if kind == "file":
            temporary.write_text("half")
        else:
            temporary.mkdir()
            (temporary / "half").touch()
        raise RuntimeError
    assert contents(tmp_path) == (["out"] if there else [])
    if there:
        assert path.read_text() == "old" if kind == "file" else contents(path) == ["old"]


def test_a_folder_is_replaced_whole(tmp_path: Path):
    for name in ("first", "second"):
        with atomic_path(tmp_path / "out") as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert contents(tmp_path / "out") == ["second"]
    assert contents(tmp_path) == ["out"]


def test_remove_takes_files_folders_and_nothing(tmp_path: Path):
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "f").touch()
    for name in ("d", "f", "none"):
        remove(tmp_path / name)
    assert contents(tmp_path) == []


def test_remove_of_a_link_leaves_what_it_points_to(tmp_path: Path):
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "d")
    remove(tmp_path / "link")
    assert contents(tmp_path) == ["d"]


def test_text_round_trip_and_its_errors(tmp_path: Path):
    write_text(tmp_path / "t", "grüße\n")
    assert read_text(tmp_path / "t") == "grüße\n"
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    for name in ("b", "none", "."):
        with pytest.raises(DataError):
            read_text(tmp_path / name)


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12),
        st.integers(0, 5),
        max_size=4,
    )
)
def test_parts_of_any_name_round_trip(tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, int]):
    store = PartStore(tmp_path_factory.mktemp("store") / "parts")
    for key, size in sizes.items():
        store.put(key, {"a": np.full(size, size), "b": np.array(key.encode())})
    assert store.keys() == set(sizes)
    for key, size in sizes.items():
        np.testing.assert_array_equal(store.get(key)["a"], np.full(size, size))


LONG = {"chinese": "db/" + "街" * 40 + ".jpg", "umlauts": "db/" + "ö" * 60 + ".jpg", "deep": "sequence/" * 25 + "1.jpg"}


@pytest.mark.parametrize("key", LONG.values(), ids=LONG)
def test_parts_of_long_names_round_trip(tmp_path: Path, key: str):
    """Each is a legal image name (no component over 255 bytes, the path far under 4096)."""
    store = PartStore(tmp_path / "parts")
    store.put(key, {"a": np.arange(3)})
    assert PartStore(tmp_path / "parts").keys() == {key}


def test_parts_are_there_again_for_the_next_store_and_gone_once_deleted(tmp_path: Path):
    PartStore(tmp_path / "parts").put("x", {"a": np.arange(3)})
    again = PartStore(tmp_path / "parts")
    assert again.keys() == {"x"}
    again.delete()
    assert contents(tmp_path) == []


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from lbr.io.files import PartStore, atomic_path
folder = Path(sys.argv[1])
store = PartStore(folder / "parts")
store.put("first", {"a": np.arange(5)})
with atomic_path(folder / "out.txt") as temporary:
    temporary.write_text("half")
    with atomic_path(store._path("second")) as part:
        part.write_bytes(b"half a part")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_in_the_middle_of_writing(tmp_path: Path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env={**os.environ}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out.txt").exists()
    store = PartStore(tmp_path / "parts")
    assert store.keys() == {"first"}
    np.testing.assert_array_equal(store.get("first")["a"], np.arange(5))
    store.delete()
    assert not (tmp_path / "parts").exists(), "and with it what was half written"


def test_what_others_are_writing_is_left_alone(tmp_path: Path):
    store = PartStore(tmp_path / "parts")
    with atomic_path(store._path("slow")) as temporary:
        temporary.write_bytes(b"half a part")
        assert PartStore(tmp_path / "parts").keys() == set()
        assert temporary.exists()
