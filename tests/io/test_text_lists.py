from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lbr.errors import DataError
from lbr.geometry.camera import MODELS, Camera
from lbr.geometry.pose import Pose
from lbr.io.text_lists import (
    read_listed_poses,
    read_names,
    read_pairs,
    read_poses,
    read_query_list,
    write_pairs,
    write_poses,
    write_query_list,
)
from tests.geometry.test_camera import example

fuzzed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
words = st.text("abcxyzABC019._-()+%#äß街", min_size=1, max_size=6)
spaces = st.sampled_from(" \u00a0\u2028\u3000")  # no-break, of a line's end to Unicode, as wide as a letter of Japanese
names = st.builds(
    lambda folder, space, parts: "/".join([folder, space.join(parts)]) + ".jpg",
    words, spaces, st.lists(words, min_size=1, max_size=3),
).filter(lambda name: not name.startswith("./"))  # fmt: skip
floats = st.floats(-1e6, 1e6, allow_nan=False)
cameras = st.one_of(st.none(), st.sampled_from([example(model) for model in MODELS]))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "list.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_names_come_once_in_their_order(tmp_path: Path):
    listed = read_names(written(tmp_path, "b.jpg\n\n  #1 street.jpg \nb.jpg\na b.jpg"))
    assert listed == ["b.jpg", "#1 street.jpg", "a b.jpg"]


@fuzzed
@given(listed=st.dictionaries(names, cameras, min_size=1, max_size=5))
def test_query_list_round_trip(tmp_path: Path, listed: dict[str, Camera | None]):
    write_query_list(tmp_path / "q.txt", listed)
    found, problems = read_query_list(tmp_path / "q.txt")
    assert (found, problems) == (listed, [])
    assert list(found) == list(listed), "the order of the file is kept"


@pytest.mark.parametrize("name", ["IMG OLD 1.jpg", "db/MY BIG house.jpg", "a PINHOLE camera.jpg"])
def test_names_alone_may_hold_words_in_capitals(tmp_path: Path, name: str):
    assert read_query_list(written(tmp_path, f"{name}\n")) == ({name: None}, [])


def test_query_lines_with_tabs_comments_and_blank_lines(tmp_path: Path):
    text = "# cameras of the queries\n\n  q/1 a.b.jpg\tPINHOLE 640  480\t500 510 320 240 \r\n\nq/2.jpg\n"
    found, problems = read_query_list(written(tmp_path, text))
    assert found == {"q/1 a.b.jpg": Camera("PINHOLE", 640, 480, (500, 510, 320, 240)), "q/2.jpg": None}
    assert problems == []


@pytest.mark.parametrize(
    "line, why",
    [
        ("bad.jpg PINHOL 640 480 500 500 320 240", "unknown camera model 'PINHOL'"),
        ("bad.jpg PINHOLE 640 480 500 320 240", "takes 4 parameters"),
        ("bad.jpg PINHOLE 640 480", "takes 4 parameters"),
        ("bad.jpg PINHOLE 0 480 500 500 320 240", "must be positive"),
        ("bad.jpg PINHOLE 640 480 500 abc 320 240", ""),
        ("bad.jpg PINHOLE 640 480 5-0 500 320 240", ""),
        ("bad.jpg PINHOLE 1e999 480 500 500 320 240", ""),
        ("bad.jpg PINHOLE 640.5 480 500 500 320 240", ""),
        ("good.jpg PINHOLE 640 480 500 500 320 240", "listed twice"),
    ],
)
def test_a_wrong_line_is_a_problem_with_its_place_and_the_rest_is_read(tmp_path: Path, line: str, why: str):
    text = f"good.jpg PINHOLE 640 480 500 510 320 240\n{line}\nlast.jpg\n"
    found, problems = read_query_list(written(tmp_path, text))
    assert found == {"good.jpg": Camera("PINHOLE", 640, 480, (500, 510, 320, 240)), "last.jpg": None}
    assert len(problems) == 1 and "list.txt:2" in str(problems[0]) and why in str(problems[0])
    assert "\n" not in str(problems[0])


@pytest.mark.parametrize("text", ["", "\n \n", "# nothing\n"])
def test_an_empty_query_list_is_said(tmp_path: Path, text: str):
    found, problems = read_query_list(written(tmp_path, text))
    assert found == {} and len(problems) == 1 and "the list is empty" in str(problems[0])


def test_a_missing_list_is_said(tmp_path: Path):
    for read in (read_query_list, read_pairs, read_poses):
        with pytest.raises(DataError, match="no such file"):
            read(tmp_path / "none.txt")


@fuzzed
@given(text=st.text(max_size=80))
def test_any_text_is_read_or_refused_with_a_data_error(tmp_path: Path, text: str):
    path = written(tmp_path, text.encode("utf-8", "ignore").decode())
    for read in (read_query_list, read_pairs, read_poses):
        try:
            read(path)
        except DataError as error:
            assert str(error)


@fuzzed
@given(pairs=st.lists(st.tuples(names, names), min_size=1, max_size=5, unique=True))
def test_pairs_round_trip(tmp_path: Path, pairs: list[tuple[str, str]]):
    write_pairs(tmp_path / "p.txt", pairs)
    assert read_pairs(tmp_path / "p.txt") == pairs


def test_pairs_of_hloc_are_read_and_repeated_ones_once(tmp_path: Path):
    path = written(tmp_path, "a.jpg b.jpg\n# comment\na.jpg   c.jpg\na.jpg b.jpg\nx y.jpg\tz.jpg\n")
    assert read_pairs(path) == [("a.jpg", "b.jpg"), ("a.jpg", "c.jpg"), ("x y.jpg", "z.jpg")]


@pytest.mark.parametrize("line", ["a.jpg", "a.jpg b.jpg c.jpg", "a\tb\tc"])
def test_what_is_no_pair_is_named_with_its_line(tmp_path: Path, line: str):
    with pytest.raises(DataError, match="list.txt:2: not a pair"):
        read_pairs(written(tmp_path, f"a b\n{line}\n"))


def test_a_pair_file_without_pairs_is_said(tmp_path: Path):
    with pytest.raises(DataError, match="no pairs in it"):
        read_pairs(written(tmp_path, "# none\n"))


@fuzzed
@given(
    quaternions=st.lists(
        st.tuples(floats, floats, floats, floats).filter(lambda q: np.linalg.norm(q) > 1e-3), min_size=1, max_size=4
    ),
    shift=st.tuples(floats, floats, floats),
    name=names,
)
def test_poses_round_trip_bit_for_bit(tmp_path: Path, quaternions: list, shift: tuple, name: str):
    poses = {f"q {i}.x.jpg": Pose.from_quaternion(q, shift) for i, q in enumerate(quaternions)}
    poses[name] = poses["q 0.x.jpg"]
    write_poses(tmp_path / "a.txt", poses)
    found = read_poses(tmp_path / "a.txt")
    for name, pose in poses.items():
        assert found[name].t.tobytes() == pose.t.tobytes()
        np.testing.assert_allclose(found[name].R, pose.R, atol=1e-14)
    fields = (tmp_path / "a.txt").read_text().splitlines()[0].removeprefix("q 0.x.jpg ").split()
    assert [float(f) for f in fields] == [*poses["q 0.x.jpg"].quaternion, *shift]


@pytest.mark.parametrize(
    "line",
    ["a.jpg 1 0 0 0 1 2", "a.jpg 0 0 0 0 1 2 3", "a.jpg 1 0 0 x 1 2 3", "1 0 0 0 1 2 3", "a.jpg 1 0 0 0 nan 2 3"],
)
def test_what_is_no_pose_is_named_with_its_line(tmp_path: Path, line: str):
    with pytest.raises(DataError, match="list.txt:2: not a pose"):
        read_poses(written(tmp_path, f"good.jpg 1 0 0 0 1 2 3\n{line}\n"))
    found, problems = read_listed_poses(tmp_path / "list.txt")
    assert list(found) == ["good.jpg"] and len(problems) == 1
