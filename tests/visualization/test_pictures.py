import io
import xml.etree.ElementTree as ElementTree
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from lbr.visualization import axes, colours, units
from lbr.visualization.embedding import jpeg_uri, png_uri
from lbr.visualization.markup import element, path_data, standalone, svg, text
from lbr.visualization.matches import draw_matches, subsample
from lbr.visualization.overlays import draw_instances, draw_keypoints, draw_lines, draw_points, draw_residuals
from lbr.visualization.plots import error_histogram, recall_curves, time_bars

GREY = np.full((60, 80, 3), 100, np.uint8)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (units.metres(0.00112), "1.1 mm"),
        (units.metres(0.17), "17 cm"),
        (units.metres(0.4567), "46 cm"),
        (units.metres(12.34), "12.3 m"),
        (units.metres(1e5), "100 km"),
        (units.metres(0), "0 mm"),
        (units.limit(0.25), "25 cm"),
        (units.limit(0.5), "50 cm"),
        (units.limit(5.0), "5 m"),
        (units.limit(0.001), "1 mm"),
        (units.degrees(0.0204), "0.020°"),
        (units.seconds(0.0283), "28 ms"),
        (units.seconds(94.3), "94.3 s"),
        (units.seconds(120), "2 min 0 s"),
        (units.seconds(7300), "2 h 1 min"),
        (units.percent(100), "100 %"),
        (units.percent(78.26), "78.3 %"),
        (units.count(57344), "57\u2009344"),
    ],
)
def test_numbers_are_written_as_people_read_them(written: str, wanted: str):
    assert written == wanted


@pytest.mark.parametrize(
    "write",
    [units.metres, units.limit, units.degrees, units.seconds, units.percent, units.count],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("value", [None, np.nan, np.inf, -np.inf])
def test_what_is_not_known_is_a_dash(write, value):
    assert write(value) == units.UNKNOWN


def test_markup_escapes_text_and_attributes_and_leaves_out_what_is_not_finite():
    made = element("a", text("<b> & 'c'"), title='"<', class_="x", open=True, hidden=False, x=np.nan, y=1.005, z=3)
    assert made == '<a title="&quot;&lt;" class="x" open y="1" z="3">&lt;b&gt; &amp; &#x27;c&#x27;</a>'
    assert element("img", src="s") == '<img src="s">'
    assert path_data([(0, 1), (np.nan, 2), (3, 4)], [(np.inf, 0)]) == "M0.0 1.0L3.0 4.0"
    ElementTree.fromstring(standalone(svg((2, 1), "a <label>", element("g"))))


def test_a_point_is_drawn_around_its_corner_origin_place_and_the_picture_given_stays():
    before = GREY.copy()
    drawn = draw_points(GREY, np.array([[20.5, 10.5], [np.nan, 3], [1e7, 3]]), (255, 0, 0), radius=2.0)
    weight = drawn[..., 0].astype(float) - 100
    middle = [(weight.sum(axis=1 - axis) @ np.arange(weight.shape[axis])) / weight.sum() for axis in (0, 1)]
    np.testing.assert_allclose(middle, [10, 20], atol=0.05)  # pixel (20, 10) has its centre there
    assert (drawn[10, 20] == [255, 0, 0]).all() and (drawn[:7] == 100).all()
    np.testing.assert_array_equal(GREY, before)


def test_lines_go_from_start_to_end_in_their_own_colours():
    start, end = np.array([[5.5, 5.5], [5.5, 40.5]]), np.array([[70.5, 5.5], [70.5, 40.5]])
    drawn = draw_lines(GREY, start, end, np.array([[255, 0, 0], [0, 0, 255]]))
    np.testing.assert_allclose(drawn[[5, 40], [40, 40]], [[255, 0, 0], [0, 0, 255]], atol=16)
    assert (drawn[20] == 100).all()


def test_inliers_are_bright_and_residuals_are_as_long_as_asked():
    xy = np.array([[20.5, 20.5], [60.5, 40.5]])
    drawn = draw_keypoints(GREY, xy, np.array([True, False]))
    assert drawn[20, 20, 1] > 180 and drawn[20, 20, 0] < 120
    assert np.ptp(drawn[40, 60].astype(int)) < 20
    lined = draw_residuals(GREY, xy[:1], xy[:1] + [2.0, 0], magnify=8)
    columns = np.flatnonzero((lined[20] != 100).any(axis=1))
    assert 34 <= columns.max() <= 38


def test_instances_are_tinted_and_the_background_is_not():
    ids = np.zeros((60, 80), np.int64)
    ids[10:30, 10:30], ids[10:30, 30:50] = 7, 9
    drawn = draw_instances(GREY, ids, {7: (255, 0, 0)}, opacity=0.5)
    np.testing.assert_array_equal(drawn[20, 20], [178, 50, 50])
    np.testing.assert_array_equal(drawn[20, 40], np.round(50 + 0.5 * colours.by_instance(np.array([9]))[0]))
    assert (drawn[40:, 60:] == 100).all()
    with pytest.raises(ValueError, match="ids"):
        draw_instances(GREY, ids[:-1])


def test_matches_stand_side_by_side_with_their_ends_where_the_points_are():
    pictures = (GREY, np.full((120, 160, 3), 50, np.uint8))
    points = (np.array([[40.0, 30.0]]), np.array([[80.0, 60.0]]))
    drawn = draw_matches(pictures, points, np.array([[255, 0, 0]], np.uint8), width=160)
    assert drawn.shape == (60, 166, 3) and drawn.dtype == np.uint8
    for column in (39, 40, 125, 126):
        assert drawn[29:31, column].max() == 255
    assert drawn[29:31, 80:86, 0].max() > 150 and (drawn[:25, 80:86] == 255).all()


def test_the_choice_of_lines_is_always_the_same():
    assert subsample(5, 10).tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(subsample(1000, 50), subsample(1000, 50))
    assert len(np.unique(subsample(1000, 50))) == 50


def test_colours_by_depth_run_from_warm_to_cool_and_by_instance_stay():
    near, far = colours.by_depth(np.array([1.0, 50.0]))
    assert near[0] > near[2] and far[2] > far[0]
    assert colours.by_depth(np.zeros(0)).shape == (0, 3)
    np.testing.assert_array_equal(
        colours.by_instance(np.array([[3, 0], [5, 3]]))[0, 0], colours.by_instance(np.array([3]))[0]
    )
    assert (colours.by_instance(np.array([0]))[0] == 150).all()


def test_an_embedded_picture_keeps_to_its_bytes():
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), np.uint8)
    for limit in (100_000, 9_000):
        data = b64decode(jpeg_uri(noise, limit).removeprefix("data:image/jpeg;base64,"))
        assert 0.2 * limit < len(data) <= limit
        assert abs(np.divide(*Image.open(io.BytesIO(data)).size) - 1.5) < 0.1
    assert png_uri(GREY).startswith("data:image/png;base64,")


def test_axes_have_round_ticks_and_bring_outliers_to_their_ends():
    log = axes.log_axis(np.array([0.003, 0.7, np.inf, 0.0]), 0, 300)
    assert (log.low, log.high) == (0.001, 1.0)
    np.testing.assert_allclose(log(np.array([0.001, 0.1, 5.0])), [0, 200, 300])
    np.testing.assert_allclose(log.ticks(), [0.001, 0.01, 0.1, 1.0])
    assert axes.Axis(0, 100, 0, 1).ticks() == [0, 20, 40, 60, 80, 100]
    assert [axes.round_step(x) for x in (0.09, 1.0, 4.9, 75.0)] == [0.05, 1.0, 2.0, 50.0]
    assert axes.log_axis(np.zeros(0), 0, 1).high > 0


def test_a_recall_curve_rises_to_the_share_that_was_found():
    errors = {"day": np.array([0.01, 0.1, 1.0, np.inf]), "night": np.array([np.inf, 1e5])}
    root = ElementTree.fromstring(standalone(recall_curves(errors, [0.25])))
    curves = [p.get("d") for p in root.iter("{http://www.w3.org/2000/svg}path")]
    bottom, top = 252.0, 34.0
    heights = [sorted({float(pair.split()[1]) for pair in d[1:].split("L")}) for d in curves]
    np.testing.assert_allclose(
        heights[0], [bottom + share * (top - bottom) for share in (0.75, 0.5, 0.25, 0)], atol=0.06
    )
    np.testing.assert_allclose(heights[1], [bottom])


@pytest.mark.parametrize(
    "values",
    [[0.01, 0.2, 3.0, np.inf, np.nan, 1e6], [], [np.inf], [0.0], [2.0, 2.0]],
    ids=["all kinds", "none", "no pose", "zero", "equal"],
)
def test_a_histogram_counts_every_query_once(values: list):
    root = ElementTree.fromstring(standalone(error_histogram(np.array(values))))
    counts = [int(title.text) for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert sum(counts) == len(values)


def test_time_bars_name_stages_with_units_and_bear_zeros():
    drawn = time_bars({"extract <db>": 31.3, "pairs": 0.0, "match": 300.0, "odd": np.nan}, "time")
    ElementTree.fromstring(standalone(drawn))
    assert "extract &lt;db&gt;" in drawn and "31.3 s" in drawn and "5 min 0 s" in drawn and "nan" not in drawn
    ElementTree.fromstring(standalone(time_bars({}, "nothing")))
