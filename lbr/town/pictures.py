"""Pictures about the town: its plan with cameras, and contact sheets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from lbr.geometry.pose import Pose
from lbr.town.coverage import PROBE, probe
from lbr.town.design import ROOFS
from lbr.town.export import photograph
from lbr.town.layouts import colour_mask
from lbr.town.plan import Plan
from lbr.town.render import View
from lbr.town.viewpoints import Shot, query_shots
from lbr.town.world import Town

OVERVIEW = ("overcast", "sun", "dawn", "dusk", "night", "rain", "night-rain", "snow")
PAPER, STREET, SQUARE, INK = (244, 240, 230), (255, 255, 255), (226, 214, 186), (70, 64, 58)


def plan_picture(town: Town, poses: Mapping[str, Sequence[Pose]] | None = None, width: int = 1400) -> np.ndarray:
    """The plan from above, north up, RGB uint8 [H, W, 3]: lots, facades in their label colours, and cameras.

    poses: cam_from_world by group name; each group gets a colour and a line in the legend.
    """
    low, high = town.plan.bounds
    scale = width / (high[0] - low[0])
    picture = np.full((round((high[1] - low[1]) * scale), width, 3), PAPER, np.uint8)

    def px(xy: np.ndarray) -> np.ndarray:
        return np.round(((np.asarray(xy) - low) * [1, -1] * scale + [0, picture.shape[0]]) * 16).astype(np.int32)

    cv2.fillPoly(picture, [px(town.plan.outline)], STREET, cv2.LINE_AA, 4)
    for square in town.plan.squares:
        cv2.fillPoly(picture, [px(square)], SQUARE, cv2.LINE_AA, 4)
    _draw_lots(picture, town.plan, px, scale)
    colours = ((40, 90, 200), (230, 140, 20), (90, 20, 120), (20, 140, 90))
    for k, (group, members) in enumerate((poses or {}).items()):
        for pose in members:
            _draw_camera(picture, pose, px, colours[k % len(colours)], scale)
        at = (16, 34 + 30 * k)
        cv2.circle(picture, (at[0] + 6, at[1] - 7), 7, colours[k % len(colours)], -1, cv2.LINE_AA)
        cv2.putText(
            picture,
            f"{group} ({len(members)})",
            (at[0] + 22, at[1]),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.7,
            INK,
            2,
            cv2.LINE_AA,
        )
    return picture


def _draw_lots(picture: np.ndarray, plan: Plan, px: Callable[[np.ndarray], np.ndarray], scale: float) -> None:
    for facade in plan.facades:
        back = -facade.outward[:2] * facade.depth
        lot = np.array([facade.start, facade.end, facade.end + back, facade.start + back])
        roof = ROOFS[facade.style_seed % len(ROOFS)]
        cv2.fillPoly(picture, [px(lot)], tuple(0.45 * c + 135 for c in roof), cv2.LINE_AA, 4)
        cv2.polylines(picture, [px(lot)], True, PAPER, 1, cv2.LINE_AA, 4)
    for facade in plan.facades:
        colour = facade.colour_id >> 16, facade.colour_id >> 8 & 255, facade.colour_id & 255
        ends = px(np.array([facade.start, facade.end]))
        cv2.polylines(picture, [ends], False, colour, max(2, round(0.55 * scale)), cv2.LINE_AA, 4)


def _draw_camera(
    picture: np.ndarray, pose: Pose, px: Callable[[np.ndarray], np.ndarray], colour: tuple, scale: float
) -> None:
    """A small wedge in the viewing direction."""
    centre, forward, right = pose.centre[:2], pose.R[2, :2], pose.R[0, :2]
    wedge = np.array([centre, centre + 1.5 * forward + 0.7 * right, centre + 1.5 * forward - 0.7 * right])
    cv2.fillPoly(picture, [px(wedge)], colour, cv2.LINE_AA, 4)


def contact_sheet(pictures: Sequence[Sequence[np.ndarray]], width: int = 480, gap: int = 6) -> np.ndarray:
    """Rows of RGB pictures of one shape, each shrunk to `width`, on white paper."""
    height = round(width * pictures[0][0].shape[0] / pictures[0][0].shape[1])
    cells = [[cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in row] for row in pictures]
    rows, cols = len(cells), max(len(row) for row in cells)
    sheet = np.full((rows * (height + gap) + gap, cols * (width + gap) + gap, 3), 255, np.uint8)
    for r, row in enumerate(cells):
        for c, cell in enumerate(row):
            y, x = gap + r * (height + gap), gap + c * (width + gap)
            sheet[y : y + height, x : x + width] = cell
    return sheet


def places(town: Town, count: int) -> list[Shot]:
    """Views that show much of the town, spread over its streets."""
    found = query_shots(town, 6 * count, "places", "db", np.random.default_rng([town.config.seed, 10]))
    return [max(found[6 * k : 6 * k + 6], key=lambda shot: _richness(town, shot)) for k in range(count)]


def _richness(town: Town, shot: Shot) -> float:
    """How many facades are in view, each counting up to an eighth of the picture."""
    share = np.bincount(probe(town, shot.pose, shot.camera).instance) / np.prod(PROBE)
    return float(np.minimum(share, 0.125).sum())


def photographs_of(town: Town, spots: Sequence[Shot], conditions: Sequence[str]) -> list[list[View]]:
    """One row per spot, one photograph per condition."""
    return [
        [photograph(town, Shot(f"{s.name}-{c}", s.camera, s.pose, c, f"{s.moment}-{c}")) for c in conditions]
        for s in spots
    ]


def overview_picture(town: Town, poses: Mapping[str, Sequence[Pose]], width: int = 2000) -> np.ndarray:
    """One picture that tells what the town is, RGB uint8: the plan with cameras, a place in all lights, truth."""
    plan = plan_picture(town, poses, width // 2)
    spots = places(town, 3)
    cell = width // 4 - 8
    rows = [photographs_of(town, spots[k : k + 1], group)[0] for k, group in ((0, OVERVIEW[:4]), (0, OVERVIEW[4:]))]
    sample = photographs_of(town, spots[1:], ("overcast",))
    truth = [p for (v,) in sample for p in (v.image, colour_mask(town.plan, v.instance_ids))]
    side = contact_sheet([truth[:2], truth[2:], [_depth_colours(v.depth) for (v,) in sample]], cell)
    below = contact_sheet([[v.image for v in row] for row in rows], cell)
    sheet: np.ndarray = np.full(
        (max(plan.shape[0], side.shape[0]) + below.shape[0], max(below.shape[1], plan.shape[1] + side.shape[1]), 3),
        255,
        np.uint8,
    )
    sheet[: plan.shape[0], : plan.shape[1]] = plan
    sheet[: side.shape[0], plan.shape[1] : plan.shape[1] + side.shape[1]] = side
    sheet[-below.shape[0] :, : below.shape[1]] = below
    return sheet


def _depth_colours(depth: np.ndarray) -> np.ndarray:
    """Depth [H, W] as colours: near bright, far dark, sky black."""
    near = np.where(depth > 0, np.clip(255 - 60 * np.log(np.maximum(depth, 1.5) / 1.5), 20, 255), 0).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(near, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
