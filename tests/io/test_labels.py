from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lbr.errors import DataError
from lbr.io.labels import (
    colours_to_classes,
    mask_path,
    read_colour_ids,
    read_mask,
    read_vocabulary,
    vocabulary_digest,
    vocabulary_of_colours,
    write_mask,
    write_vocabulary,
)
from lbr.types import InstanceVocabulary

fuzzed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NEAR = [0x0A141E, 0x0A1428, 0x14141E, 0x0A1E1E, 0x0A141F]  # of the first, one channel differs, by 10 (and by 1)
VOCABULARY = InstanceVocabulary(np.array([0, *NEAR]), np.array([0, 3, 1, 5, 2, 4], np.int32))


def vocabulary_of(colours: list[int], classes: list[int]) -> InstanceVocabulary:
    return InstanceVocabulary(np.array([0, *colours], np.int64), np.array([0, *classes], np.int32))


vocabularies = st.lists(
    st.tuples(st.integers(1, 2**24 - 1), st.integers(1, 9999)), max_size=20,
    unique_by=(lambda row: row[0], lambda row: row[1]),
).map(lambda rows: vocabulary_of([c for c, _ in rows], [k for _, k in rows]))  # fmt: skip


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "vocabulary.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_colour_id_is_red_then_green_then_blue(tmp_path: Path):
    Image.fromarray(np.array([[[1, 2, 3], [255, 0, 10]]], np.uint8)).save(tmp_path / "m.png")
    assert read_colour_ids(tmp_path / "m.png").tolist() == [[0x010203, 0xFF000A]]


def test_near_colours_stay_apart_and_unknown_ones_are_background():
    assert colours_to_classes(np.array([0, *NEAR]), VOCABULARY).tolist() == [0, 3, 1, 5, 2, 4]
    beside = np.array([c + d for c in NEAR for d in (-1, 1, 256, -65536)])
    unknown = beside[~np.isin(beside, NEAR)]
    assert len(unknown) > 15 and not colours_to_classes(unknown, VOCABULARY).any()
    assert colours_to_classes(np.array([[0xFFFFFF], [0x1]]), VOCABULARY).tolist() == [[0], [0]]


def test_label_images_round_trip_with_a_palette(tmp_path: Path):
    classes = np.random.default_rng(0).integers(0, 6, (20, 30))
    write_mask(tmp_path / "a/m.png", classes, VOCABULARY)
    assert Image.open(tmp_path / "a/m.png").mode == "P"
    np.testing.assert_array_equal(read_mask(tmp_path / "a/m.png", VOCABULARY), classes)


@pytest.mark.parametrize("num, mode", [(256, "P"), (257, "RGB")])
def test_label_images_of_very_many_instances_are_in_true_colour(tmp_path: Path, num: int, mode: str):
    """256 colours are what a palette holds."""
    rng = np.random.default_rng(1)
    vocabulary = vocabulary_of(rng.choice(np.arange(1, 2**24), num - 1, False).tolist(), list(range(1, num)))
    classes = np.resize(rng.permutation(num), (20, 30))
    write_mask(tmp_path / "m.png", classes, vocabulary)
    assert Image.open(tmp_path / "m.png").mode == mode
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", vocabulary), classes)


@pytest.mark.parametrize("size", [(7, 5), (61, 33), (90, 14)])
def test_resizing_invents_no_instance(tmp_path: Path, size: tuple[int, int]):
    """Every colour between two others is an instance too: a blend would show."""
    colours = np.array([0x000000, 0xFF0000, 0x00FF00])
    image = np.random.default_rng(2).choice(colours, (14, 30))
    rgb = np.stack([image >> 16, image >> 8 & 255, image & 255], 2).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "m.png")
    found = read_colour_ids(tmp_path / "m.png", size)
    assert found.shape == (size[1], size[0]) and set(np.unique(found)) == set(colours.tolist())


def test_resizing_keeps_places(tmp_path: Path):
    classes = np.zeros((20, 40), int)
    classes[:10, 20:] = 4
    write_mask(tmp_path / "m.png", classes, VOCABULARY)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", VOCABULARY, (20, 10)), classes[::2, ::2])


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("db/1.jpg", "db/1.png"),
        ("db/a.b.c.JPEG", "db/a.b.c.png"),
        ("my.jpg.folder/x.jpg/img.jpg.jpg", "my.jpg.folder/x.jpg/img.jpg.png"),
        ("db/already.png", "db/already.png"),
    ],
)
def test_the_label_image_is_at_the_same_place(name: str, wanted: str):
    assert mask_path(Path("masks"), name) == Path("masks") / wanted


@fuzzed
@given(vocabulary=vocabularies)
def test_vocabularies_round_trip(tmp_path: Path, vocabulary: InstanceVocabulary):
    write_vocabulary(tmp_path / "v.txt", vocabulary)
    assert (tmp_path / "v.txt").read_text().startswith("0 0\n")
    found = read_vocabulary(tmp_path / "v.txt")
    assert found == vocabulary and found.classes.dtype == np.int32
    assert vocabulary_digest(found) == vocabulary_digest(vocabulary)


@fuzzed
@given(a=vocabularies, b=vocabularies)
def test_the_digest_tells_vocabularies_apart(a: InstanceVocabulary, b: InstanceVocabulary):
    assert (vocabulary_digest(a) == vocabulary_digest(b)) == (a == b)


def test_blank_lines_and_tabs_are_let_pass(tmp_path: Path):
    assert read_vocabulary(written(tmp_path, "0 0\n\n 7\t1 \r\n")) == vocabulary_of([7], [1])


@pytest.mark.parametrize(
    "line",
    ["5", "5 6 7", "5 x", "-5 2", "5 -2", "5.0 2", "5,2", "# c", "16777216 2", "99999999999999999999 2", "5 65536"],
)
def test_wrong_lines_are_named(tmp_path: Path, line: str):
    """A colour has 24 bits, a class 16."""
    with pytest.raises(DataError, match=rf"vocabulary\.txt:3: .*{line!r}") as said:
        read_vocabulary(written(tmp_path, f"0 0\n7 1\n{line}\n"))
    assert len(str(said.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text, why",
    [
        ("0 0\n7 1\n7 2\n", r"colour \[?7\]? .*twice"),
        ("0 0\n7 3\n8 3\n", r"class \[?3\]? .*twice"),
        ("0 0\n0 1\n", r"colour \[?0\]? .*twice"),
        ("7 1\n0 0\n", "starts with the background"),
        ("0 1\n7 0\n", "starts with the background"),
        ("", "starts with the background"),
    ],
)
def test_vocabularies_that_contradict_themselves(tmp_path: Path, text: str, why: str):
    with pytest.raises(DataError, match=rf"vocabulary\.txt.*{why}"):
        read_vocabulary(written(tmp_path, text))


def test_a_vocabulary_of_what_two_label_images_show():
    images = [np.array(ids) for ids in ([0, 9, 5], [5, 0, 70], [9, 4, 0], [5])]
    assert vocabulary_of_colours(images) == vocabulary_of([5, 9], [1, 2])
    assert vocabulary_of_colours(images, min_images=1) == vocabulary_of([4, 5, 9, 70], [1, 2, 3, 4])
    assert vocabulary_of_colours(images, min_images=3) == vocabulary_of([5], [1])


@pytest.mark.parametrize("images", [[], [[0, 5], [0, 6]], [[0], [0]]])
def test_no_instance_in_two_label_images_is_said(images: list[list[int]]):
    with pytest.raises(DataError, match=rf"in 2 of {len(images)} label images"):
        vocabulary_of_colours([np.array(ids) for ids in images])
