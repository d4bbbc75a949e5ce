import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from lbr.errors import DataError
from lbr.io.images import ImageFolder
from lbr.io.labels import mask_path, vocabulary_digest, write_mask, write_vocabulary
from lbr.io.predictions_file import PredictionFile, prediction_to_arrays, write_predictions
from lbr.pipeline.reporting import with_recognition
from lbr.pipeline.workspace import Recipe, Workspace, making
from lbr.recognition.metrics import score_image, summarise
from lbr.recognition.ranking import EvidenceRanking, PublishedRanking
from lbr.types import InstancePrediction, InstanceVocabulary
from lbr.visualization import colours
from lbr.visualization.naming import Named, keys_of, name_queries, names_of, rank_words
from lbr.visualization.recognition import confidence_stops, facades_picture, recognition_picture
from lbr.visualization.recognition_section import evenly, recognition_section
from lbr.visualization.report import ReportInputs, report_html
from tests.synthetic import ExactWorld
from tests.visualization.test_report import Page, record_of, without_pictures

GRID, SIZE, CLASSES = (12, 16), (320, 240), 6
NAMES = [f"query/{condition}/{i:02}.png" for condition in ("night", "day") for i in range(10)]
LACKING = "query/day/09.png"
RED = (255, 0, 0)


def true_mask(name: str) -> np.ndarray:
    """Left half 1 by day and 3 at night, right half 2, a strip of background above."""
    mask = np.full((48, 64), 2)
    mask[:, :32], mask[:6] = 1 if "day" in name else 3, 0
    return mask


def prediction(name: str) -> InstancePrediction:
    """What is there, the surer the higher the number, but at night 5 for 3; a stray cell of 4 above everything."""
    mask = true_mask(name)[::4, ::4].copy()
    mask[mask == 3] = 5
    mask[0, 0] = 4
    ids = np.stack([mask, np.where(mask == 0, 1, 0)], -1).astype(np.uint16)
    sure = np.float32(0.6 + 0.03 * int(Path(name).stem))
    confidences = np.full((*GRID, 2), 1 - sure, np.float32)
    confidences[..., 0] = sure
    confidences[0, 0] = [0.999, 0.001]
    presence = np.isin(np.arange(CLASSES), mask[1:]).astype(np.float32)
    return InstancePrediction(ids, confidences, presence, np.ones(4, np.float32) / 2, SIZE)


def found(name: str) -> InstancePrediction | None:
    return None if name == LACKING else prediction(name)


def nothing(name: str) -> None:
    return None


@pytest.fixture(scope="module")
def inputs(world: ExactWorld, tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name in NAMES:
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        cv2.imwrite(str(root / name), rng.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8))
    (root / NAMES[0]).write_text("no picture")
    records = [record_of(name, None, "failed", Path(name).parent.name) for name in NAMES]
    scores = {
        ranking.name: {
            condition: summarise([score_image(prediction(n), true_mask(n), ranking) for n in NAMES if condition in n])
            for condition in ("day", "night")
        }
        for ranking in (EvidenceRanking(), PublishedRanking())
    }
    return ReportInputs(
        "A run", records, world.map(), ImageFolder(root), nothing, predictions=found,
        true_masks=true_mask, recognition=scores,
    )  # fmt: skip


@pytest.fixture(scope="module")
def section(inputs: ReportInputs) -> str:
    return recognition_section(inputs, name_queries(inputs))


def figures(section: str) -> list[str]:
    return re.findall("<figure>.*?</figure>", section)


def test_without_predictions_one_line_says_so_and_no_picture_is_made(inputs: ReportInputs):
    page = report_html(replace(inputs, predictions=nothing))
    words = Page(page).text
    assert "Recognition was not run: there is a prediction of none of the 20 queries." in words
    assert "recognition of" not in page and "facades of" not in page and "right in first" not in words
    assert "<dt>instances that rank first" not in page


def test_the_page_with_recognition_is_well_formed_and_has_facades_in_the_cards(inputs: ReportInputs):
    page = report_html(replace(inputs, num_expanded=4))
    words = without_pictures(page).lower()
    assert "was not run" not in Page(page).text and "<script" not in page
    assert ">nan" not in words and " nan" not in words
    shown = re.findall('alt="facades of ([^"]*)"', page)
    assert page.count('class="card"') == 6 and 3 <= len(shown) == len(set(shown)) and LACKING not in shown
    assert page.count("<dt>instances that rank first") == 19


def test_both_rankings_stand_beside_each_other(section: str):
    table = section[: section.index("</table>")]
    rows = [re.findall("<td[^>]*>([^<]*)</td>", row) for row in table.split("<tr")[2:]]
    assert [row[2 if len(row) > 6 else 0] for row in rows] == ["evidence", "published"] * 2
    assert [row[:2] for row in rows[::2]] == [["day", "10"], ["night", "10"]]
    assert rows[0][3] == "100 %" and rows[1][1:3] == ["0 %", "100 %"]  # the stray cell leads the published ranking
    assert table.count('rowspan="2"') == 2 * 6


def test_one_ranking_is_one_row(inputs: ReportInputs):
    scores = {"published": (inputs.recognition or {})["published"]}
    made = recognition_section(replace(inputs, recognition=scores), name_queries(inputs))
    assert 'rowspan="1"' in made and "beside" not in made and "evidence" not in made


def test_eight_of_a_condition_from_the_least_sure_to_the_surest(section: str):
    day = [f for f in figures(section[section.index("<h3>day") : section.index("<h3>night")]) if "query/day" in f]
    assert len(day) == 8 and len(figures(section)) == 16
    shares = [float(re.search(r"mean confidence ([\d.]+) %", f).group(1)) for f in day]
    assert shares == sorted(shares)
    assert "query/day/00.png" in day[0] and "query/day/08.png" in day[-1]


def test_few_queries_are_all_shown():
    named = {f"{i}": Named((), None, None, 0.1 * (5 - i)) for i in range(5)}
    assert evenly(named) == ["4", "3", "2", "1", "0"] and evenly(named, 2) == ["4", "0"] and evenly({}) == []


def test_a_query_without_a_prediction_is_named_and_so_is_a_broken_photograph(section: str):
    assert f"1 of 20 queries without recognition: {LACKING}: no prediction." in Page(section).text
    assert f'class="blank">{NAMES[0]}: not an image' in section


def test_an_unreadable_prediction_is_a_reason(inputs: ReportInputs):
    def unreadable(name: str) -> InstancePrediction:
        if name == LACKING:
            raise DataError("predictions-query.h5: damaged")
        return prediction(name)

    named = name_queries(replace(inputs, predictions=unreadable))
    assert named[LACKING] == "predictions-query.h5: damaged" and isinstance(named[NAMES[0]], Named)


def test_many_queries_without_a_prediction_are_counted(inputs: ReportInputs):
    kept = NAMES[-1]
    some = replace(inputs, predictions=lambda name: prediction(name) if name == kept else None)
    words = Page(recognition_section(some, name_queries(some))).text
    assert "19 of 20 queries without recognition" in words and "; and 11 more." in words


def test_what_is_named_is_right_where_it_is_in_sight(inputs: ReportInputs):
    named = name_queries(inputs)
    day, night = named["query/day/03.png"], named["query/night/03.png"]
    assert isinstance(day, Named) and isinstance(night, Named)
    assert set(day.first[:2]) == {1, 2} and day.first[2] == 4 and day.right == (True, True, False) and day.rank == 1
    assert set(night.first[:2]) == {2, 5} and night.right == tuple(i == 2 for i in night.first)
    assert night.rank == night.first.index(2) + 1
    assert "4 (not in sight)" in keys_of(day, None) and rank_words(day) == "first right one at rank 1"


def test_without_truth_nothing_is_called_right_and_nothing_scored(inputs: ReportInputs):
    blind = replace(inputs, true_masks=nothing, recognition=None)
    words = Page(recognition_section(blind, name_queries(blind))).text
    assert "Not scored" in words and "(right)" not in words and "rank 1" not in words and "mean confidence" in words


def test_no_instance_at_all_is_said():
    assert "no instance" in keys_of(Named((), (), 0, 0.9), None) and names_of(Named((), None, None, 0.9)) == "none"
    assert rank_words(Named((), (), 0, 0.9)) == "none is right"
    assert rank_words(Named((1,), (False,), -1, 0.9)) == "shows no instance"


def test_classes_beyond_the_mask_of_the_network_are_not_in_sight(inputs: ReportInputs):
    """Without a classification head the number of classes is not known but from the ids, of which any may rank."""
    bare = prediction("query/day/01.png")
    bare.ids[..., 1] = 40
    bare = replace(bare, presence=np.zeros(0, np.float32))
    named = name_queries(replace(inputs, predictions=lambda name: bare))["query/day/01.png"]
    assert isinstance(named, Named) and 40 in named.first and named.right is not None
    assert dict(zip(named.first, named.right, strict=True))[40] is False


def colour_in(picture: np.ndarray, place: tuple[int, int]) -> list[int]:
    return picture[place].tolist()


@pytest.mark.parametrize("given", [None, {1: RED}], ids=["own", "given"])
def test_an_instance_has_one_colour_everywhere(inputs: ReportInputs, given: dict | None):
    wanted = RED if given else tuple(colours.by_instance(np.array([1]))[0].tolist())
    black = np.zeros((240, 320, 3), np.uint8)
    for name in ("query/day/01.png", "query/day/05.png"):
        over = facades_picture(black, prediction(name), given, opacity=1.0)
        strip = recognition_picture(black, prediction(name), 320, given)
        assert colour_in(over, (150, 60)) == list(wanted) and colour_in(over, (3, 100)) == [0, 0, 0]
        np.testing.assert_allclose(strip[150, 320 + 60], 0.6 * np.array(wanted), atol=1)
    named = name_queries(inputs)["query/day/01.png"]
    assert isinstance(named, Named) and colours.css(wanted) in keys_of(named, given)
    assert colours.css(wanted) in report_html(replace(inputs, instance_colours=given, num_expanded=1))


def test_given_colours_replace_the_fixed_ones_of_their_instances_alone():
    labels = np.array([[0, 1], [2, 1]])
    made, plain = colours.by_instance(labels, {1: RED}), colours.by_instance(labels)
    assert (made[:, 1] == RED).all()
    np.testing.assert_array_equal(made[:, 0], plain[:, 0])
    assert colours.by_instance(np.zeros((0,), np.int64)).shape == (0, 3)
    assert colours.css(colours.rgb("#0b7285")) == "#0b7285" and len(confidence_stops(5)) == 5


@pytest.mark.parametrize("max_bytes", [500_000, 1_500_000])
def test_the_page_keeps_to_its_size(inputs: ReportInputs, max_bytes: int):
    page = report_html(replace(inputs, max_bytes=max_bytes, num_expanded=4))
    pictures = re.findall('src="(data:[^"]*)" alt="recognition of', page)
    assert len(page.encode()) < max_bytes and len(pictures) == 15
    assert sum(map(len, pictures)) < 0.21 * max_bytes
    assert max(map(len, pictures)) <= 40_100


def test_a_wide_photograph_has_its_facades_below_it(inputs: ReportInputs, tmp_path: Path):
    name = NAMES[1]
    (tmp_path / name).parent.mkdir(parents=True)
    cv2.imwrite(str(tmp_path / name), np.full((100, 400, 3), 90, np.uint8))
    only: Callable = prediction
    page = report_html(
        replace(inputs, images=ImageFolder(tmp_path), records=[record_of(name, None, "failed")], predictions=only)
    )
    assert 'class="stack"' in page and page.count('alt="facades of') == 1
    Page(page)


def context_of(folder: Path, truth: Path | None) -> Any:
    """What the report stage reads of its context."""
    vocabulary = InstanceVocabulary(np.arange(CLASSES) * 1000, np.arange(CLASSES, dtype=np.int32))
    path, predictions = folder / "vocabulary.txt", folder / "predictions-query.h5"
    write_vocabulary(path, vocabulary)
    kept = [name for name in NAMES if name != LACKING]
    with making(predictions, Recipe("recognise", {}, {})):
        arrays = ((name, prediction_to_arrays(prediction(name))) for name in kept)
        write_predictions(predictions, arrays, vocabulary_digest(vocabulary))
    for name in NAMES if truth else []:
        write_mask(mask_path(truth, name), true_mask(name), vocabulary)
    queries = [SimpleNamespace(name=name, condition=Path(name).parent.name) for name in NAMES]
    return SimpleNamespace(
        labels=SimpleNamespace(truth=truth, vocabulary=path, masks=None),
        dataset=SimpleNamespace(queries=queries),
        workspace=Workspace(folder),
        config=SimpleNamespace(recognition=SimpleNamespace(ranking=EvidenceRanking())),
    )


def test_the_stage_gives_predictions_truth_and_scores(inputs: ReportInputs, tmp_path: Path):
    bare = replace(inputs, predictions=nothing, true_masks=nothing, recognition=None)
    context = context_of(tmp_path, tmp_path / "truth")
    with PredictionFile(context.workspace.query_predictions) as file:
        made = with_recognition(bare, file, context)
        assert made.predictions(LACKING) is None and made.predictions(NAMES[0]) is not None
        np.testing.assert_array_equal(made.true_masks(NAMES[0]), true_mask(NAMES[0]))
        assert made.true_masks("query/day/99.png") is None
        assert made.recognition is not None and list(made.recognition) == ["evidence", "published"]
        assert made.recognition["evidence"]["all"].num == 19 and not made.problems
        assert "19" in Page(recognition_section(made, name_queries(made))).text


def test_the_stage_says_why_nothing_was_scored(inputs: ReportInputs, tmp_path: Path):
    bare = replace(inputs, predictions=nothing, true_masks=nothing, recognition=None)
    context = context_of(tmp_path, None)
    with PredictionFile(context.workspace.query_predictions) as file:
        blind = with_recognition(bare, file, context)
        assert blind.recognition is None and not blind.problems and blind.predictions(NAMES[0]) is not None
        context.labels.truth = tmp_path / "empty"
        made = with_recognition(bare, file, context)
    assert made.recognition is None and "true label image of no query" in made.problems[0].why
