"""The map from above as SVG: where the db cameras stand, where a query is thought to be, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from lbr.geometry.pose import Pose
from lbr.visualization import colours as palette
from lbr.visualization import units
from lbr.visualization.axes import label, line, round_step
from lbr.visualization.embedding import png_uri
from lbr.visualization.ground import MapPlan, ellipse
from lbr.visualization.markup import element, path_data, svg

MAX_TICKS = 3000


@dataclass(frozen=True, eq=False)
class Window:
    """The part of the plan that a picture shows: centre [2] and half its width, in its units; the picture's size."""

    centre: np.ndarray
    half_width: float
    size: tuple[int, int] = (320, 320)

    @property
    def scale(self) -> float:
        """Picture units per unit of the plan."""
        return self.size[0] / (2 * self.half_width)

    def place(self, xy: np.ndarray) -> np.ndarray:
        """Plan positions [..., 2] -> the picture [..., 2], y down."""
        offset = (np.asarray(xy, np.float64) - self.centre) * self.scale
        return np.asarray(self.size) / 2 + offset * [1, -1]

    def holds(self, xy: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """Whether the picture shows plan positions [..., 2]; those within `margin` picture units of its edge not."""
        placed = self.place(xy)
        return np.all((placed >= margin) & (placed <= np.asarray(self.size) - margin), axis=-1)

    @staticmethod
    def around(positions: np.ndarray, size: tuple[int, int] = (320, 320), padding: float = 0.15) -> Window:
        """The smallest window that holds all positions [N, 2], with a padding."""
        low, high = positions.min(axis=0), positions.max(axis=0)
        half = max((high - low)[0], (high - low)[1] * size[0] / size[1]) / 2
        return Window((low + high) / 2, max(half * (1 + 2 * padding), 1e-4), size)


@dataclass(frozen=True, eq=False)
class PlanQuery:
    """One query on the plan: its estimated and its true pose (cam_from_world), the covariance [3, 3] of its position
    in the world, the db camera (of the plan) it was found by. What is not known is None."""

    estimate: Pose | None = None
    covariance: np.ndarray | None = None
    truth: Pose | None = None
    reference: int | None = None


def draw_plan(plan: MapPlan, query: PlanQuery, window: Window) -> str:
    """The surroundings of a query: points, db cameras, the estimate with its 2-sigma ellipse, the truth."""
    flat = plan.ground.flat
    parts = [_background(plan, window), _camera_ticks(plan, window)]
    if query.reference is not None:
        place, ahead = plan.cameras[query.reference], plan.directions[query.reference]
        parts.append(_wedge(window, place, ahead, palette.INK, 0.22))
    if query.truth is not None:
        parts.append(_wedge(window, flat(query.truth.centre), flat(query.truth.R[2]), palette.TRUTH, 0.0))
    if query.estimate is not None:
        parts.append(_estimate(plan, query, window))
    return svg(window.size, "map from above", *parts, scale_bar(window, plan.metres_per_unit), class_="plan")


def draw_close_up(plan: MapPlan, query: PlanQuery, size: tuple[int, int] = (320, 320)) -> str:
    """The estimate, its 2-sigma ellipse and the truth alone, as large as they fit. Needs an estimate."""
    if query.estimate is None:
        raise ValueError("a close-up needs an estimate")
    centre = plan.ground.flat(query.estimate.centre)
    axes, directions = _flat_ellipse(plan, query)
    around = [centre[None], centre + axes[:, None] * directions, centre - axes[:, None] * directions]
    if query.truth is not None:
        around.append(plan.ground.flat(query.truth.centre)[None])
    window = Window.around(np.concatenate(around), size, padding=0.22)
    parts = [element("rect", width=size[0], height=size[1], fill=palette.PAPER), _grid(window)]
    parts.append(_ellipse_path(window, centre, axes, directions))
    x, y = window.place(centre)
    if query.truth is not None:
        u, v = window.place(plan.ground.flat(query.truth.centre))
        parts += [line(x, y, u, v, palette.TRUTH, stroke_dasharray="4 3"), _dot(u, v, palette.TRUTH, 5)]
    parts.append(_cross(x, y))
    return svg(size, "close-up of the estimate", *parts, scale_bar(window, plan.metres_per_unit), class_="plan")


def draw_overview(
    plan: MapPlan, positions: Sequence[np.ndarray], colours: Sequence[str], size: tuple[int, int] = (640, 400)
) -> str:
    """The whole map with a dot for every position [3] of a query, in its colour; those far away at the edge, hollow."""
    low, high = plan.bounds()
    window = Window.around(np.stack([low, high]), size, padding=0.06)
    parts = [_background(plan, window), _camera_ticks(plan, window)]
    for position, colour in zip(positions, colours, strict=True):
        flat = plan.ground.flat(position)
        inside = bool(window.holds(flat, 4))
        x, y = np.clip(window.place(flat), 6, np.asarray(size) - 6)
        parts.append(_dot(x, y, colour if inside else "none", 4.2, palette.PAPER if inside else colour))
    return svg(
        size, "all queries on the map from above", *parts, scale_bar(window, plan.metres_per_unit), class_="plan"
    )


def window_around(plan: MapPlan, query: PlanQuery, seen: np.ndarray) -> Window:
    """A window on the query's poses, its reference and most of the points [N, 3] seen there.

    Poses far outside the map do not widen it: they are shown by an arrow at the edge.
    """
    low, high = plan.bounds()
    middle, reach = (low + high) / 2, 1.5 * np.linalg.norm(high - low) + 1.0 / (plan.metres_per_unit or np.inf)
    poses = [pose for pose in (query.estimate, query.truth) if pose is not None]
    places = [plan.ground.flat(pose.centre)[None] for pose in poses]
    places = [xy for xy in places if np.linalg.norm(xy - middle) < reach]
    if query.reference is not None:
        places.append(plan.cameras[query.reference][None])
    if len(seen):
        places.append(np.percentile(plan.ground.flat(seen), [10, 90], axis=0))
    return Window.around(np.concatenate(places) if places else np.stack([low, high]))


def density_picture(points: np.ndarray, window: Window) -> np.ndarray:
    """Points [P, 2] of the plan as a light picture, darker where there are more: RGB uint8 [H, W, 3]."""
    inside = points[window.holds(points)]
    width, height = window.size
    column, row = window.place(inside).T.astype(np.int64)
    counts = np.bincount(
        np.clip(row, 0, height - 1) * width + np.clip(column, 0, width - 1), minlength=width * height
    ).reshape(height, width)  # fmt: skip
    soft = cv2.GaussianBlur(counts.astype(np.float32), (0, 0), 1.1)
    full = np.percentile(soft[soft > 1e-3], 97) if (soft > 1e-3).any() else 1.0
    share = np.clip(soft / full, 0, 1)[..., None] ** 0.6
    light, dark = np.array(palette.rgb("#f7f9fa")), np.array(palette.rgb("#7f93a6"))
    return np.round(light + share * (dark - light)).astype(np.uint8)


def scale_bar(window: Window, metres_per_unit: float | None = 1.0) -> str:
    """A bar of a round length, about a quarter of the picture, with its length in metres, or in the map's units."""
    size = metres_per_unit or 1.0
    length = round_step(window.half_width * 0.55 * size)
    words = f"{length:.4g} units of the model" if metres_per_unit is None else units.limit(length)
    x, y, wide = 12.0, window.size[1] - 12.0, length / size * window.scale
    return line(x, y, x + wide, y, palette.INK, stroke_width=2.5) + label(
        x, y - 7, words, "start", palette.INK, halo=True
    )


def _background(plan: MapPlan, window: Window) -> str:
    width, height = window.size
    return element("image", href=png_uri(density_picture(plan.points, window)), width=width, height=height)


def _camera_ticks(plan: MapPlan, window: Window) -> str:
    """Every db camera in the window as a short stroke where it looks, with a foot where it stands."""
    shown = np.flatnonzero(window.holds(plan.cameras))
    shown = shown[:: max(1, -(-len(shown) // MAX_TICKS))]
    ahead = plan.directions[shown] / np.maximum(np.linalg.norm(plan.directions[shown], axis=1, keepdims=True), 1e-9)
    start = window.place(plan.cameras[shown])
    end = start + 8 * ahead * [1, -1]
    strokes = path_data(*([tuple(a), tuple(b)] for a, b in zip(start, end, strict=True)))
    feet = path_data(*([(x - 0.1, y), (x + 0.1, y)] for x, y in start))
    return element("path", d=strokes, stroke=palette.SOFT, stroke_width=1, fill="none") + element(
        "path", d=feet, stroke=palette.SOFT, stroke_width=3.4, stroke_linecap="round", fill="none"
    )


def _estimate(plan: MapPlan, query: PlanQuery, window: Window) -> str:
    assert query.estimate is not None
    centre = plan.ground.flat(query.estimate.centre)
    if not window.holds(centre, 2):
        return _arrow_at_edge(window, centre, plan.metres_per_unit)
    body = _ellipse_path(window, centre, *_flat_ellipse(plan, query))
    return body + _wedge(window, centre, plan.ground.flat(query.estimate.R[2]), palette.ACCENT, 0.35)


def _flat_ellipse(plan: MapPlan, query: PlanQuery) -> tuple[np.ndarray, np.ndarray]:
    if query.covariance is None or not np.isfinite(query.covariance).all():
        return np.zeros(2), np.eye(2)
    axes = plan.ground.axes
    return ellipse(axes @ query.covariance @ axes.T)


def _ellipse_path(window: Window, centre: np.ndarray, axes: np.ndarray, directions: np.ndarray) -> str:
    turn = np.linspace(0, 2 * np.pi, 49)[:, None]
    outline = window.place(centre + axes[0] * np.cos(turn) * directions[0] + axes[1] * np.sin(turn) * directions[1])
    return element(
        "path", d=path_data([tuple(p) for p in outline]) + "Z", fill=palette.ACCENT, fill_opacity=0.16,
        stroke=palette.ACCENT, stroke_width=1.3,
    )  # fmt: skip


def _wedge(window: Window, at: np.ndarray, ahead: np.ndarray, colour: str, opacity: float) -> str:
    """A camera: a dot, and its field of view as a small triangle."""
    x, y = window.place(at)
    turn = np.arctan2(-ahead[1], ahead[0])
    corners = [(x + 26 * np.cos(turn + side), y + 26 * np.sin(turn + side)) for side in (-0.45, 0.45)]
    cone = element(
        "path", d=path_data([(x, y), *corners]) + "Z", fill=colour, fill_opacity=opacity, stroke=colour,
        stroke_width=1.1, stroke_linejoin="round",
    )  # fmt: skip
    return cone + _dot(x, y, colour, 3.6)


def _arrow_at_edge(window: Window, centre: np.ndarray, metres_per_unit: float | None) -> str:
    """Where an estimate lies that the picture does not show."""
    away = centre - window.centre
    ahead = away / np.linalg.norm(away) * [1, -1]
    middle = np.asarray(window.size) / 2
    tip = middle + ahead * (middle.min() - 12)
    tail = tip - 30 * ahead
    wings = [tuple(tip - 10 * ahead + side * 5 * np.array([-ahead[1], ahead[0]])) for side in (-1, 1)]
    arrow = element("path", d=path_data([tuple(tail), tuple(tip)], [wings[0], tuple(tip), wings[1]]), fill="none",
                    stroke=palette.ACCENT, stroke_width=2)  # fmt: skip
    words = f"{units.length(float(np.linalg.norm(away)), metres_per_unit)} away"
    return arrow + label(tail[0], tail[1] - 6, words, fill=palette.ACCENT, halo=True)


def _grid(window: Window) -> str:
    step = round_step(window.half_width * 0.55) * window.scale
    half = np.asarray(window.size) / 2
    offsets = [step * i for i in range(-int(half.max() / step), int(half.max() / step) + 1)]
    lines = [line(half[0] + o, 0, half[0] + o, window.size[1]) for o in offsets]
    return "".join(lines + [line(0, half[1] + o, window.size[0], half[1] + o) for o in offsets])


def _dot(x: float, y: float, colour: str, radius: float, edge: str = palette.PAPER) -> str:
    return element(
        "circle", cx=float(x), cy=float(y), r=float(radius), fill=colour, stroke=edge, stroke_width=1.2
    )  # fmt: skip


def _cross(x: float, y: float) -> str:
    return line(x - 7, y, x + 7, y, palette.ACCENT, stroke_width=2.4) + line(
        x, y - 7, x, y + 7, palette.ACCENT, stroke_width=2.4
    )
