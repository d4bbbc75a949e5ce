"""The instance of every pixel of a photograph: what its plane predicts, as far as the photograph agrees."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from lbr.mapping.instances.pieces import Piece
from lbr.mapping.instances.texture import FLAT, likeness
from lbr.mapping.instances.views import View

WINDOW = 9  # pixels of the small photograph
ALIKE = 0.3  # a correlation above speaks for the piece, below against it
FLAT_PRIOR = 0.12  # what a place without detail says
NEAR_POINT, FAR_POINT = 0.05, 0.2  # from a point of the piece, in shares of the viewing distance
OTHER_COLOUR = 14.0, 30.0  # difference in a, b that begins to tell, that tells all
KEYPOINT_SIGMA = 4.0
BEHIND = 0.3  # evidence that a piece loses where another one stands before it
RADIUS, EDGE = 6, 12.0  # of the guided filter: pixels; grey levels that make an edge
NOTHING = -1.0
SPREAD_PX = 14.0  # of the small photograph: how far a point's label reaches without planes
MIN_SHARE = 0.0015  # of the photograph: smaller islands are dropped, smaller holes filled


def label_pixels(
    view: View, pieces: Mapping[int, Piece], keypoints: np.ndarray, labels: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Ids uint16 [H, W] of a photograph of (width, height) `size`; 0 is background.

    pieces: by id, those that may be in view. keypoints: float [N, 2], pixels of the small photograph, with the ids int
    [N] of their points (0: of no instance).
    """
    evidence, depths, ids = [], [], []
    for number, piece in pieces.items():
        found = _evidence(view, piece)
        if found is not None:
            told = found[0] + _keypoints_say(view, keypoints, labels, number)
            evidence.append(np.where(found[0] > NOTHING, told, NOTHING))
            depths.append(found[1])
            ids.append(number)
    if not ids:
        return np.zeros(size[::-1], np.uint16)
    scores = _nearest_first(np.stack(evidence), np.stack(depths))
    guide = view.lab[..., 0]
    scores = np.stack([guided(guide, score) for score in scores])
    chosen = _without_islands(_choose(scores))
    scores = np.where(chosen[None] == np.arange(1, len(ids) + 1)[:, None, None], np.maximum(scores, 0.05),
                      np.minimum(scores, -0.05)).astype(np.float32)  # fmt: skip
    large = np.stack([cv2.resize(score, size, interpolation=cv2.INTER_LINEAR) for score in scores])
    return np.append(0, ids).astype(np.uint16)[_choose(large)]


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


def _evidence(view: View, piece: Piece) -> tuple[np.ndarray, np.ndarray] | None:
    """(evidence float32 [H, W] for the piece, NOTHING outside of it; depth float32 [H, W]); None when it is not in
    view."""
    rays, centre = view.rays, view.pose.centre
    towards = rays[..., :2] @ piece.wall.outward
    height = (centre[:2] - piece.wall.origin) @ piece.wall.outward
    if height <= 0:
        return None  # seen from behind
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(towards < -1e-3, -height / towards, np.inf)
        hit = centre + depth[..., None] * rays
        column = piece.canvas.column((hit[..., :2] - piece.wall.origin) @ piece.wall.along)
        row = piece.canvas.row(hit[..., 2])
    width, rows = piece.canvas.size
    inside = np.isfinite(depth) & (column >= 0) & (column < width) & (row >= 0) & (row < rows)
    if np.count_nonzero(inside) < WINDOW**2:
        return None
    column = np.where(inside, column, -9).astype(np.float32) - np.float32(0.5)
    row = np.where(inside, row, -9).astype(np.float32) - np.float32(0.5)

    def sampled(picture: np.ndarray) -> np.ndarray:
        return cv2.remap(picture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    predicted = sampled(piece.lab).astype(np.float32)
    known = inside & (sampled(piece.shown.astype(np.uint8)) > 0)
    evidence = _agreement(view.lab, predicted, known) + _support(sampled(piece.support))
    return np.where(known, evidence, NOTHING).astype(np.float32), depth.astype(np.float32)


def _agreement(lab: np.ndarray, predicted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What likeness to the picture says, -1..1: of the pattern where there is one, and of the colour."""
    filled = np.where(known, predicted[..., 0], lab[..., 0])
    alike, deviation = likeness(lab[..., 0], filled, WINDOW)
    detailed = np.clip(deviation / (2 * FLAT), 0, 1)
    says = detailed * np.clip(2.5 * (alike - ALIKE), -1, 1) + (1 - detailed) * FLAT_PRIOR
    blurred = cv2.blur(lab[..., 1:] - predicted[..., 1:], (5, 5))
    low, high = OTHER_COLOUR
    return says - np.clip((np.linalg.norm(blurred, axis=-1) - low) / (high - low), 0, 1)


def _support(distance: np.ndarray) -> np.ndarray:
    """What the distance to the nearest point of the piece says: +0.3 at it, -0.4 far from it."""
    return np.interp(distance, [NEAR_POINT, FAR_POINT], [0.3, -0.4]).astype(np.float32)


def _keypoints_say(view: View, keypoints: np.ndarray, labels: np.ndarray, number: int) -> np.ndarray:
    """Evidence float32 [H, W] of the photograph's own observations: those of this piece for it, others against it."""
    height, width = view.lab.shape[:2]
    votes = np.zeros((height, width), np.float32)
    if len(keypoints):
        column, row = np.clip(np.floor(keypoints).astype(np.int64), 0, [width - 1, height - 1]).T
        np.add.at(votes, (row, column), np.where(labels == number, 1.0, -0.6).astype(np.float32))
    spread = cv2.GaussianBlur(votes, (0, 0), KEYPOINT_SIGMA)
    return np.tanh(spread * 2 * np.pi * KEYPOINT_SIGMA**2)


def _nearest_first(evidence: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """Evidence [K, H, W], less for a piece where another that has evidence is before it."""
    before = np.where(evidence > 0.1, depths, np.inf).min(axis=0)
    hidden = depths > 1.05 * before
    return np.where(hidden & (evidence > NOTHING), evidence - BEHIND, evidence)


def _choose(scores: np.ndarray) -> np.ndarray:
    """int64 [H, W]: 1 + the piece with the best of scores [K, H, W], 0 where none is positive."""
    best = np.argmax(scores, axis=0)
    top = np.take_along_axis(scores, best[None], axis=0)[0]
    return np.where(top > 0, best + 1, 0)


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
