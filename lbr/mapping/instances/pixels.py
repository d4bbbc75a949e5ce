"""The instance of every pixel of a photograph: what its plane predicts, as far as the photograph agrees."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import cv2
import numpy as np

from lbr.mapping.instances.pieces import BEHIND_CAMERA, Piece
from lbr.mapping.instances.texture import FLAT, likeness
from lbr.mapping.instances.views import View

WINDOW = 9  # pixels of the small photograph
ALIKE = 0.3  # a correlation above speaks for the piece, below against it
DETAILED, LEAST_ALIKE = 0.3, 0.3  # share of a piece with detail, mean correlation there: no point need tell of it
FLAT_PRIOR = 0.12  # what a place without detail says
NEAR_POINT, FAR_POINT = 0.05, 0.2  # from a point of the piece, in shares of the viewing distance
OTHER_COLOUR = 14.0, 30.0  # difference in a, b that begins to tell, that tells all
KEYPOINT_SIGMA = 4.0
OTHERS_VOTE = -0.6
BEHIND = 0.3  # evidence that a piece loses where another one stands before it
RADIUS, EDGE = 6, 12.0  # of the guided filter: pixels; grey levels that make an edge
NOTHING = -1.0
SURE = 0.05
SPREAD_PX = 14.0  # of the small photograph: how far a point's label reaches without planes
MIN_SHARE = 0.0015  # of the photograph: smaller islands are dropped, smaller holes filled


def label_pixels(
    view: View,
    pieces: Sequence[tuple[int, Piece]],
    keypoints: np.ndarray,
    labels: np.ndarray,
    size: tuple[int, int],
    unseen: Collection[int] = (),
) -> np.ndarray:
    """Ids uint16 [H, W] of a photograph of (width, height) `size`; 0 is background.

    pieces: (id, piece), those that may be in view. keypoints: float [N, 2], pixels of the small photograph, with the
    ids int [N] of their points (0: of no instance). unseen: ids of which no point tells that they are in view: the
    photograph must show them by itself, as a wall without detail before them might be anything.
    """
    found = [
        (number, *seen)
        for number, piece in pieces
        if (seen := _evidence(view, piece, alone=number in unseen)) is not None
    ]
    if not found:
        return np.zeros(size[::-1], np.uint16)
    scores = _nearest_first(np.stack([e for _, e, _ in found]), np.stack([d for _, _, d in found]))
    ids = np.unique([number for number, _, _ in found])
    best = [np.max([s for s, (n, _, _) in zip(scores, found, strict=True) if n == number], axis=0) for number in ids]
    guide = view.lab[..., 0]
    told = [np.where(e > NOTHING, e + _keypoints_say(view, keypoints, labels == n), NOTHING)
            for n, e in zip(ids, best, strict=True)]  # fmt: skip
    scores = np.stack([guided(guide, score) for score in told])
    chosen = _without_islands(_choose(scores, guide.shape))
    own = chosen[None] == np.arange(1, len(ids) + 1)[:, None, None]
    scores = np.where(own, np.maximum(scores, SURE), np.minimum(scores, -SURE)).astype(np.float32)
    large = (cv2.resize(score, size, interpolation=cv2.INTER_LINEAR) for score in scores)
    return np.append(0, ids).astype(np.uint16)[_choose(large, size[::-1])]


def spread_labels(
    keypoints: np.ndarray, labels: np.ndarray, small: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Ids uint16 [H, W]: those of the nearest labelled keypoint of the small photograph, if it is near (the
    baseline)."""
    empty, seeds = np.full(small[::-1], 255, np.uint8), np.zeros(small[::-1], np.int64)
    kept = labels > 0
    column, row = np.clip(np.floor(keypoints[kept]).astype(np.int64), 0, np.array(small) - 1).T
    empty[row, column], seeds[row, column] = 0, labels[kept]
    if not kept.any():
        return np.zeros(size[::-1], np.uint16)
    distance, nearest = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    table = np.zeros(int(nearest.max()) + 1, np.int64)
    table[nearest[row, column]] = seeds[row, column]
    spread = np.where(distance <= SPREAD_PX, table[nearest], 0).astype(np.uint16)
    return cv2.resize(spread, size, interpolation=cv2.INTER_NEAREST)


def guided(guide: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` smoothed float32 [H, W], except across edges of `guide` (He et al. 2010, the guided filter)."""

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(x, cv2.CV_32F, (2 * RADIUS + 1, 2 * RADIUS + 1), borderType=cv2.BORDER_REFLECT)

    guide, values = guide.astype(np.float32), values.astype(np.float32)
    mean_g, mean_v = mean(guide), mean(values)
    slope = (mean(guide * values) - mean_g * mean_v) / (mean(guide * guide) - mean_g**2 + EDGE**2)
    return mean(slope) * guide + mean(mean_v - slope * mean_g)


def _evidence(view: View, piece: Piece, alone: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """(evidence float32 [H, W] for the piece, NOTHING outside of it; depth float32 [H, W]); None when it is not in
    view. alone: whether the likeness must tell that it is."""
    box = _box_in_view(view, piece)
    if box is None:
        return None
    depth, column, row = _meet(view, piece, box)
    width, rows = piece.canvas.size
    inside = np.isfinite(depth) & (column >= 0) & (column < width) & (row >= 0) & (row < rows)
    if np.count_nonzero(inside) < WINDOW**2:
        return None
    at = [(np.where(inside, x, -9) - 0.5).astype(np.float32) for x in (column, row)]

    def sampled(picture: np.ndarray) -> np.ndarray:
        return cv2.remap(picture, at[0], at[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    known = inside & (sampled(piece.shown.astype(np.uint8)) > 0)
    if not known.any():
        return None
    picture = sampled(_as_coarse(piece, _step(column, known, 1), _step(row, known, 0)))
    grey = view.lab[box][..., 0]
    alike, deviation = likeness(grey, np.where(known, picture[..., 0], grey), WINDOW)
    if alone and not _is_told(alike[known], deviation[known]):
        return None
    says = _agreement(view.lab[box], picture, alike, deviation) + _support(sampled(piece.support))
    shape = view.lab.shape[:2]
    evidence, depths = np.full(shape, NOTHING, np.float32), np.full(shape, np.inf, np.float32)
    evidence[box], depths[box] = np.where(known, says, NOTHING), np.where(inside, depth, np.inf)
    return evidence, depths


def _step(cells: np.ndarray, known: np.ndarray, axis: int) -> int:
    """How many cells of the canvas there are from one pixel to the next, at the median; at least 1."""
    both = np.delete(known, 0, axis) & np.delete(known, -1, axis)
    steps = np.abs(np.diff(np.where(known, cells, 0), axis=axis))[both]
    return max(1, round(float(np.median(steps)))) if len(steps) else 1


def _as_coarse(piece: Piece, columns: int, rows: int) -> np.ndarray:
    """The picture of a piece float32 [H, W, 3] as a photograph from far off or from the side has it: each cell the mean
    of so many `columns` and `rows` around it, of those that are known."""
    shown = piece.shown.astype(np.float32)
    weight = cv2.blur(shown, (columns, rows))[..., None]
    total = cv2.blur(piece.lab * shown[..., None], (columns, rows))
    return np.where(weight > 0, total / np.maximum(weight, 1e-6), piece.lab).astype(np.float32)


def _meet(view: View, piece: Piece, box: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the rays of a part of the photograph meet the plane of a piece: depth, column and row of its canvas [h,
    w]."""
    rays, centre, wall = view.rays[box], view.pose.centre, piece.wall
    towards = rays[..., :2] @ wall.outward
    before = (centre[:2] - wall.origin) @ wall.outward
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(towards < -1e-3, -before / towards, np.inf)
        along = (centre[:2] - wall.origin) @ wall.along + depth * (rays[..., :2] @ wall.along)
        return depth, piece.canvas.column(along), piece.canvas.row(centre[2] + depth * rays[..., 2])


def _box_in_view(view: View, piece: Piece) -> tuple[slice, slice] | None:
    """The part of the photograph where a piece may be, from the corners of its canvas; None when it shows none of
    it."""
    wall = piece.wall
    if (view.pose.centre[:2] - wall.origin) @ wall.outward <= 0:
        return None  # seen from behind
    height, width = view.lab.shape[:2]
    depth = view.pose.apply(piece.corners)[:, 2]
    if (depth <= 0).all():
        return None
    if (depth < BEHIND_CAMERA * wall.reach).any():
        return np.s_[0:height, 0:width]  # it reaches behind the camera: anywhere
    xy = view.project(piece.corners)
    low = np.clip(np.floor(xy.min(axis=0)) - WINDOW, 0, [width, height]).astype(int)
    high = np.clip(np.ceil(xy.max(axis=0)) + WINDOW, 0, [width, height]).astype(int)
    return None if (high - low < WINDOW).any() else np.s_[low[1] : high[1], low[0] : high[0]]


def _is_told(alike: np.ndarray, deviation: np.ndarray) -> bool:
    """Whether enough of what a piece would show has detail, and is alike. Of its pixels: float32 [N] each."""
    detailed = deviation > FLAT
    return bool(np.mean(detailed) >= DETAILED and np.mean(alike[detailed]) >= LEAST_ALIKE)


def _agreement(lab: np.ndarray, predicted: np.ndarray, alike: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """What likeness to the picture says, -1..1: of the pattern where there is one, and of the colour."""
    detailed = np.clip(deviation / (2 * FLAT), 0, 1)
    says = detailed * np.clip(2.5 * (alike - ALIKE), -1, 1) + (1 - detailed) * FLAT_PRIOR
    blurred = cv2.blur(lab[..., 1:] - predicted[..., 1:], (5, 5))
    low, high = OTHER_COLOUR
    return says - np.clip((np.linalg.norm(blurred, axis=-1) - low) / (high - low), 0, 1)


def _support(distance: np.ndarray) -> np.ndarray:
    """What the distance to the nearest point of the piece says: +0.3 at it, -0.4 far from it."""
    return np.interp(distance, [NEAR_POINT, FAR_POINT], [0.3, -0.4]).astype(np.float32)


def _keypoints_say(view: View, keypoints: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Evidence float32 [H, W] of the photograph's own observations: the `own` ones bool [N] for it, others against
    it."""
    height, width = view.lab.shape[:2]
    votes = np.zeros((height, width), np.float32)
    if len(keypoints):
        column, row = np.clip(np.floor(keypoints).astype(np.int64), 0, [width - 1, height - 1]).T
        np.add.at(votes, (row, column), np.where(own, 1.0, OTHERS_VOTE).astype(np.float32))
    spread = cv2.GaussianBlur(votes, (0, 0), KEYPOINT_SIGMA)
    return np.tanh(spread * 2 * np.pi * KEYPOINT_SIGMA**2)


def _nearest_first(evidence: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """Evidence [K, H, W], less for a piece where another that has evidence is before it."""
    before = np.where(evidence > 0.1, depths, np.inf).min(axis=0)
    hidden = depths > 1.05 * before
    return np.where(hidden & (evidence > NOTHING), evidence - BEHIND, evidence)


def _choose(scores: Iterable[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """uint16 [H, W], `shape`: 1 + the piece with the best of the scores, [H, W] each, 0 where none is positive. One at
    a time is looked at: those of a large photograph would be gigabytes together."""
    chosen, best = np.zeros(shape, np.uint16), np.zeros(shape, np.float32)
    for number, score in enumerate(scores, 1):
        better = score > best
        chosen[better], best[better] = number, score[better]
    return chosen


def _without_islands(chosen: np.ndarray) -> np.ndarray:
    """Small islands of a label become background, small holes what surrounds them."""
    least = MIN_SHARE * chosen.size
    cleaned = chosen.copy()
    for number in np.unique(chosen[chosen > 0]):
        _, parts, stats, _ = cv2.connectedComponentsWithStats((chosen == number).astype(np.uint8), connectivity=4)
        small = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < least)
        cleaned[np.isin(parts, small[small > 0])] = 0
    _, parts, stats, _ = cv2.connectedComponentsWithStats((cleaned == 0).astype(np.uint8), connectivity=4)
    holes = np.isin(parts, [k for k in np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < 2 * least) if k > 0])
    if holes.any() and (cleaned > 0).any():
        _, nearest = cv2.distanceTransformWithLabels((cleaned == 0).astype(np.uint8), cv2.DIST_L2, 3,
                                                     labelType=cv2.DIST_LABEL_PIXEL)  # fmt: skip
        table = np.zeros(int(nearest.max()) + 1, np.int64)
        table[nearest[cleaned > 0]] = cleaned[cleaned > 0]
        cleaned[holes] = table[nearest[holes]]
    return cleaned
