"""Instances for the eye."""

from __future__ import annotations

import numpy as np

from lbr.visualization.instances import InstanceRow, list_page, plan_picture, preview, wall_picture

GREY = np.full((60, 80, 3), 120, np.uint8)


def test_a_preview_colours_the_instances_and_names_them():
    ids = np.zeros((30, 40), np.int64)
    ids[5:25, 5:35] = 7
    picture = preview(GREY, ids, {7: (255, 0, 0)}, {7: "Am Markt"}, 160)
    assert picture.shape == (120, 160, 3)
    assert picture[25, 25, 0] > picture[25, 25, 2] + 50 and (picture[5, 5] == 120).all()
    unnamed = preview(GREY, ids, {7: (255, 0, 0)}, {}, 160)
    assert (unnamed != picture).any(), "the name is written"


def test_places_far_apart_are_both_to_be_seen():
    rng = np.random.default_rng(0)
    xy = np.concatenate([rng.uniform(0, 20, (200, 2)), rng.uniform(0, 20, (200, 2)) + [1000, 3]])
    labels = np.repeat([1, 2], 200)
    picture = plan_picture(xy, labels, np.array([[10.0, -5], [1010, -5]]), 400)
    coloured = np.flatnonzero((picture.max(axis=-1).astype(int) - picture.min(axis=-1) > 40).any(axis=0))
    assert max(picture.shape) <= 400 and coloured[-1] - coloured[0] > 250
    assert len(coloured) > 200, "a kilometre of nothing takes little room"


def test_cuts_stand_on_the_picture_of_a_wall():
    picture = wall_picture(GREY, [(0, 40, 1), (40, 80, 2)], 200)
    assert picture.shape[1] == 200 and (picture[:60, 38:42] != 120).any() and (picture[:60, 100:] == 255).all()


def test_the_page_lists_all_and_escapes_names():
    rows = [InstanceRow(1, "<b>", (1, 2, 3), 4, 0.25, 30), InstanceRow(2, "", (4, 5, 6), 0, 0.0, 9, "part of 1")]
    page = list_page("Instances", "How to edit.", rows, ["1-points.jpg"])
    assert "thumbnails/1.jpg" in page and "thumbnails/2.jpg" not in page and "part of 1" in page
    assert "&lt;b&gt;" in page and "4 images, 25 % of each, 30 points" in page and "steps/1-points.jpg" in page
