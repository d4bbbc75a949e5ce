"""Instances for the eye: named on photographs, from above, on the pictures of walls; and the page that lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lbr.io.images import resize
from lbr.visualization import colours as palette
from lbr.visualization import style
from lbr.visualization.markup import element, text
from lbr.visualization.overlays import draw_instances, draw_lines, draw_points

FONT, THICKNESS = cv2.FONT_HERSHEY_SIMPLEX, 1


@dataclass(frozen=True)
class InstanceRow:
    """One line of the list: id, name (may be empty), colour, images that show it, the mean share of them it fills,
    points."""

    id: int
    name: str
    colour: palette.Colour
    images: int
    area: float
    points: int
    note: str = ""  # merged into another, or dropped

    @property
    def title(self) -> str:
        return self.name or str(self.id)


def preview(
    image: np.ndarray, ids: np.ndarray, colours: Mapping[int, palette.Colour], names: Mapping[int, str], width: int
) -> np.ndarray:  # fmt: skip
    """A photograph RGB [H, W, 3], `width` wide, with its instances int [h, w] coloured and named."""
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    small = cv2.resize(ids.astype(np.uint16), (width, height), interpolation=cv2.INTER_NEAREST).astype(np.int64)
    picture = draw_instances(resize(image, (width, height)), small, colours, opacity=0.5)
    for number in np.unique(small[small > 0]).tolist():
        _write(picture, names.get(number) or str(number), _middle(small == number))
    return picture


def plan_picture(xy: np.ndarray, labels: np.ndarray, cameras: np.ndarray, size: int = 1200) -> np.ndarray:
    """Points [N, 2] from above, coloured by instance int [N] (0 grey), and the cameras [I, 2]: RGB, at most `size` a
    side."""
    together = np.concatenate([np.percentile(xy, [1, 99], axis=0), cameras])
    low, high = together.min(axis=0), together.max(axis=0)
    scale = (size - 40) / max(float(np.max(high - low)), 1e-9)
    width, height = (np.ceil((high - low) * scale).astype(int) + 40).tolist()

    def place(at: np.ndarray) -> np.ndarray:
        return (at - low) * scale * [1, -1] + [20, height - 20]

    picture = np.full((height, width, 3), 255, np.uint8)
    order = np.argsort(labels > 0, kind="stable")
    shades = palette.by_instance(labels[order])
    picture = draw_points(picture, place(xy[order]), np.where((labels[order] > 0)[:, None], shades, 215), 1.2)
    picture = draw_points(picture, place(cameras), palette.rgb(palette.INK), 2.2, filled=False)
    for number in np.unique(labels[labels > 0]).tolist():
        _write(picture, str(number), np.median(place(xy[labels == number]), axis=0))
    return picture


def wall_picture(painted: np.ndarray, cuts: Sequence[tuple[int, int, int]], width: int = 1400) -> np.ndarray:
    """The picture of a wall RGB [H, W, 3] with the pieces (first column, last column, id) that it was cut into."""
    picture = painted.copy()
    for first, last, number in cuts:
        sides = np.array([[first, 0], [last - 1, 0]], np.float64)
        colour = palette.by_instance(np.array([number]))[0]
        picture = draw_lines(picture, sides, sides + [0, len(picture)], colour, thickness=3)
        _write(picture, str(number), np.array([(first + last) / 2, len(picture) / 2]))
    scale = min(1.0, width / picture.shape[1])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    framed = np.full((size[1] + 6, width, 3), 255, np.uint8)
    framed[: size[1], : size[0]] = resize(picture, size)
    return framed


def step_picture(
    image: np.ndarray, keypoints: np.ndarray, labels: np.ndarray, ids: np.ndarray, height: int = 360
) -> np.ndarray:  # fmt: skip
    """Three parts: the photograph, its observations (keypoints [N, 2] of a picture as wide as 1) by instance, its
    pixels."""
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    plain = resize(image, (width, height))
    points = draw_points(plain, keypoints * width, palette.by_instance(labels), 2.5)
    colours = {int(k): tuple(palette.by_instance(np.array([k]))[0].tolist()) for k in np.unique(ids) if k > 0}
    return np.hstack([plain, points, preview(image, ids, colours, {}, width)[:height]])


def list_page(title: str, lead: str, rows: Sequence[InstanceRow], steps: Sequence[str]) -> str:
    """The page: a card for each instance with its thumbnail (thumbnails/<id>.jpg), then the pictures of the steps."""
    cards = "".join(
        element("figure",
                element("img", src=f"thumbnails/{row.id}.jpg", alt=row.title) if not row.note else "",
                element("figcaption", element("span", class_="key", style=f"background:{palette.css(row.colour)}"),
                        element("b", text(row.title)), text(f" {row.note or _facts(row)}")),
                class_="panel")
        for row in rows
    )  # fmt: skip
    pictures = "".join(
        element("figure", element("img", src=f"steps/{name}", alt=name), element("figcaption", text(name)))
        for name in steps
    )
    grid = "display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:12px"
    body = (
        element("h1", text(title)) + element("p", text(lead), class_="lead") + element("div", cards, style=grid)
        + element("h2", "Step by step") + element("div", pictures, class_="stack")
    )  # fmt: skip
    head = element("meta", charset="utf-8") + element("title", text(title)) + element("style", style.SHEET)
    return "<!doctype html>" + element(
        "html", element("head", head) + element("body", element("main", body)), lang="en"
    )


def _facts(row: InstanceRow) -> str:
    return f"id {row.id}, {row.images} images, {100 * row.area:.0f} % of each, {row.points} points"


def _middle(inside: np.ndarray) -> np.ndarray:
    """The point (x, y) of a region that is farthest from its edge: a name stands well there."""
    padded = np.pad(inside.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return np.array([column - 1, row - 1], np.float64)


def _write(picture: np.ndarray, words: str, at: np.ndarray) -> None:
    (width, height), _ = cv2.getTextSize(words, FONT, 0.5, THICKNESS)
    x = int(np.clip(at[0] - width / 2, 1, max(1, picture.shape[1] - width - 1)))
    y = int(np.clip(at[1] + height / 2, height + 1, max(height + 1, picture.shape[0] - 2)))
    cv2.putText(picture, words, (x, y), FONT, 0.5, (255, 255, 255), THICKNESS + 2, cv2.LINE_AA)
    cv2.putText(picture, words, (x, y), FONT, 0.5, (20, 28, 36), THICKNESS, cv2.LINE_AA)
