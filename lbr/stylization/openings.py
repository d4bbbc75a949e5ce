"""Windows, shop fronts and signs as far as an image tells: dark upright rectangles, and saturated bands low down."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lbr.stylization.scene import Scene, contact_row, enlarge, luminance, shrink

WORK_SIDE = 400
DARK = 0.66  # glass is darker than this share of its surroundings (square root of the luminance)
WINDOW_DARK = 0.82  # a window as a whole, frames and curtains in it
MIN_FILL = 0.68  # of the rectangle around it
MAX_TILT_DEG = 14.0
PANE_AREA = (0.0006, 0.04)  # of the image

# Linear RGB: bulb, warm LED, neutral, cold tube, television.
ROOM_COLOURS = np.array(
    [[1.5, 0.85, 0.3], [1.4, 0.95, 0.5], [1.15, 1.0, 0.75], [0.95, 1.02, 1.05], [0.6, 0.85, 1.5]], np.float32
)
ROOM_ODDS = np.array([0.35, 0.35, 0.17, 0.09, 0.04])


@dataclass(frozen=True)
class Panes:
    """Dark rectangles. labels: int32 [h, w], 0 = none, at a longer side of `WORK_SIDE`; boxes: int [N, 4] as left,
    top, width, height of label i + 1; rooms: int [N], panes of one window share a number."""

    labels: np.ndarray
    boxes: np.ndarray
    rooms: np.ndarray


def find_panes(scene: Scene) -> Panes:
    """Window panes of the scene: dark, upright, filled rectangles, neither ground nor leaves."""
    light = shrink(scene.light, WORK_SIDE)
    value = np.sqrt(luminance(light))
    height, width = value.shape
    local = cv2.blur(value, (_odd(0.16 * width), _odd(0.16 * width)))
    green = light[..., 1] > 1.15 * np.maximum(light[..., 0], light[..., 2])
    free = (shrink(scene.sky, WORK_SIDE) < 0.05) & (shrink(scene.ground, WORK_SIDE) < 0.5) & ~green
    whole = cv2.blur(value, (_odd(0.016 * width),) * 2)
    dark = ((whole < WINDOW_DARK * local) & free).astype(np.uint8)
    dark = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, rooms = cv2.connectedComponents(cv2.dilate(dark, np.ones((3, 1 + _odd(0.012 * width)), np.uint8)))
    labels = np.zeros((height, width), np.int32)
    boxes, room = [], []
    for contour in cv2.findContours(dark, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
        corners = _rectangle(contour, (height, width))
        if corners is not None:
            boxes.append(cv2.boundingRect(corners))
            room.append(rooms[contour[0, 0, 1], contour[0, 0, 0]])
            cv2.fillConvexPoly(labels, corners, len(boxes))
    return Panes(labels, np.array(boxes, np.int64).reshape(-1, 4), np.array(room, np.int64))


def _rectangle(contour: np.ndarray, shape: tuple[int, int]) -> np.ndarray | None:
    """Corners int32 [4, 2] of the rectangle that a contour [N, 1, 2] nearly fills, if it may be a window's."""
    (_, centre_y), sides, angle = cv2.minAreaRect(contour)
    area, tilt = sides[0] * sides[1], min(angle % 90, 90 - angle % 90)
    upright = sides if angle % 180 < 45 or angle % 180 > 135 else sides[::-1]
    aspect = upright[1] / max(upright[0], 1e-3)
    fits = PANE_AREA[0] <= area / (shape[0] * shape[1]) <= PANE_AREA[1] and min(sides) >= 4
    if not fits or cv2.contourArea(contour) < MIN_FILL * area or tilt > MAX_TILT_DEG or not 0.4 < aspect < 4:
        return None
    if centre_y + upright[1] / 2 > 0.97 * shape[0]:
        return None
    return np.round(cv2.boxPoints(cv2.minAreaRect(contour))).astype(np.int32)


def window_light(scene: Scene, rng: np.random.Generator, share: float, shop_share: float) -> np.ndarray:
    """Light float32 [H, W, 3] that lit windows send to the camera; about 1 in a bright one.

    share: of the windows that are lit · shop_share: of those in the lowest storey. Frames stay dark before the light.
    """
    panes = find_panes(scene)
    count = len(panes.boxes)
    if count == 0:
        return np.zeros_like(scene.light)
    height = panes.labels.shape[0]
    contact = contact_row(scene.ground) * height / scene.shape[0]
    low = panes.boxes[:, 1] + panes.boxes[:, 3] / 2 > 0.62 * contact
    draws = rng.random(int(panes.rooms.max()) + 1)
    lit = draws[panes.rooms] < np.where(low, shop_share, share)
    hue = rng.choice(len(ROOM_COLOURS), len(draws), p=ROOM_ODDS)[panes.rooms]
    hue = np.where(low, rng.choice([1, 2, 3], count), hue)
    level = np.where(low, rng.uniform(0.4, 1.0, count), np.exp(rng.uniform(-1.6, 0.0, count)))
    colours = np.zeros((count + 1, 3), np.float32)
    colours[1:] = ROOM_COLOURS[hue] * (level * lit)[:, None]
    boxes = np.vstack([[0, 0, 1, 1], panes.boxes]).astype(np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None]
    down = np.clip((rows - boxes[panes.labels, 1]) / boxes[panes.labels, 3], 0, 1)
    small = colours[panes.labels] * (1.15 - 0.7 * down)[..., None]
    return enlarge(small, scene.shape) * _pane_weight(scene)[..., None]


def sign_light(scene: Scene, rng: np.random.Generator, share: float) -> np.ndarray:
    """Light float32 [H, W, 3] of signs that shine in their own colour: saturated patches low on the facades."""
    if scene.grey or share <= 0:
        return np.zeros_like(scene.light)
    light = shrink(scene.light, WORK_SIDE)
    height, width = light.shape[:2]
    red, green, blue = cv2.split(light)
    strongest = cv2.max(red, cv2.max(green, blue))
    weakest = cv2.min(red, cv2.min(green, blue))
    vivid = (weakest < 0.25 * strongest) & (strongest > 0.06) & (shrink(scene.sky, WORK_SIDE) < 0.05)
    vivid &= green < 1.3 * cv2.max(red, blue)
    vivid[: round(0.25 * height)] = False
    vivid[round(0.92 * height) :] = False
    count, labels, stats, _ = cv2.connectedComponentsWithStats(vivid.astype(np.uint8), connectivity=8)
    area, box = stats[:, cv2.CC_STAT_AREA], stats[:, :4]
    fits = (area > 0.0002 * vivid.size) & (area < 0.012 * vivid.size) & (box[:, 3] < 0.12 * height)
    fits &= area > 0.35 * box[:, 2] * box[:, 3]
    fits[0] = False
    gain = np.where(fits & (rng.random(count) < share), rng.uniform(0.5, 1.5, count), 0).astype(np.float32)
    small = light / np.maximum(strongest, 0.05)[..., None] * gain[labels][..., None]
    return enlarge(small.astype(np.float32), scene.shape)


def _pane_weight(scene: Scene) -> np.ndarray:
    """float32 [H, W]: 1 on what is dark beside its surroundings (glass), 0 on frames and walls; at full size."""
    value = np.sqrt(luminance(scene.light))
    local = enlarge(cv2.blur(shrink(value, WORK_SIDE), (_odd(0.16 * WORK_SIDE),) * 2), scene.shape)
    return np.clip((1.3 * DARK * local - value) / (0.45 * DARK * local + 1e-3), 0, 1)


def _odd(value: float) -> int:
    return max(1, int(value) // 2 * 2 + 1)
