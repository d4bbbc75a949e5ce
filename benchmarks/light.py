"""Real light: frames of two fixed cameras over a year, by day and by night, one of each pair seen from elsewhere.

The warp between two frames of one camera is the identity; the second is turned by a known homography, so that neither
local features nor recognition can go by the place in the picture.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from benchmarks.machine import SHARED, table
from lbr.config import load_config
from lbr.features import ExtractorConfig, make_extractor
from lbr.features.aliked import AlikedSettings
from lbr.features.daynight import DayNightSettings
from lbr.features.extractor import Extractor
from lbr.features.sift import SiftSettings
from lbr.features.sift_daynight import SiftDayNightSettings
from lbr.io.images import list_images, read_image, write_image
from lbr.io.labels import mask_path, write_mask, write_vocabulary
from lbr.matching.nearest import NearestSettings, match_descriptors
from lbr.parallel import limit_threads, num_cores
from lbr.pipeline.recognition import recognise, train
from lbr.pipeline.recognition_scoring import recognition_scores, recognition_table
from lbr.pipeline.scenes import make_stylized
from lbr.pipeline.stage import Context
from lbr.types import InstanceVocabulary, LocalFeatures

FRAMES = SHARED / "data" / "webcam-dev"
OUT = Path(__file__).resolve().parents[1] / "outputs" / "light-benchmark"
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "folder.yaml"
ALIKED = SHARED / "weights" / "aliked-n16.pth"
NIGHT = {
    "courbevoie": ("20140428_185701", "20140604_025707"),
    "frankfurt": (
        "20130809_032409", "20130913_185415", "20130920_192409", "20130930_205414", "20131005_002412",
        "20131017_045411", "20131019_052425", "20131113_182415", "20131203_182407", "20131203_222415",
        "20131213_202419", "20131214_172413", "20131218_052419", "20131218_065418",
    ),
}  # fmt: skip
REFERENCES = 6  # frames by day that the others are matched with
KEYPOINTS, MAX_ERROR_PX = 2048, 3.0
SIZE = (640, 480)
# Parts of a camera's picture that stand for facades: left, top, right, bottom.
PARTS = {
    "courbevoie": (
        (20, 120, 140, 330), (140, 40, 255, 330), (255, 180, 400, 330), (400, 150, 520, 330), (520, 90, 640, 370),
    ),
    "frankfurt": tuple(
        (x * 1024 // 6, top, (x + 1) * 1024 // 6, bottom) for top, bottom in ((270, 400), (400, 610)) for x in range(6)
    ),
}  # fmt: skip
MAPPED, VIEWS = 3, 6  # frames of a camera that recognition learns, and views of each


def run() -> str:
    if not FRAMES.is_dir():
        return f"skipped: {FRAMES} is not here"
    limit_threads(num_cores())
    columns = ["local feature, ratio", "frames matched with those by day", "right matches, median", "right", "error"]
    return f"{table(columns, _features())}\n\nRecognition of {_num_parts()} parts:\n\n{_recognition()}"


def _features() -> list[list[str]]:
    rows = []
    for name, extractor, ratio in _extractors():
        for camera in NIGHT:
            for condition, found in _matched(camera, extractor, ratio).items():
                rights, totals, errors = np.array(found).T
                rows += [[
                    f"{name}, {ratio}", f"{camera}, {condition}", f"{np.median(rights):.0f}",
                    f"{rights.sum() / max(totals.sum(), 1):.0%}", f"{np.nanmean(errors):.2f} px",
                ]]  # fmt: skip
    return rows


def _extractors() -> list[tuple[str, Extractor, float]]:
    """Each with the ratio that suits it."""
    found: list[tuple[str, ExtractorConfig, float]] = [
        ("SIFT", SiftSettings(max_keypoints=KEYPOINTS), 0.8),
        ("SIFT, large first", SiftSettings(max_keypoints=KEYPOINTS, size_power=1), 0.8),
        ("DayNight", DayNightSettings(max_keypoints=KEYPOINTS), 0.9),
        ("SIFT and DayNight", SiftDayNightSettings(max_keypoints=KEYPOINTS), 0.88),
    ]
    if ALIKED.is_file():
        found.append(("ALIKED", AlikedSettings(max_keypoints=KEYPOINTS, weights=ALIKED), 0.9))
    return [(name, make_extractor(settings), ratio) for name, settings, ratio in found]


def _matched(camera: str, extractor: Extractor, ratio: float) -> Mapping[str, list[tuple[float, float, float]]]:
    """condition -> for each pair of a frame and a reference: what `_right` says."""
    frames = _frames(camera)
    by_day = [name for name in frames if name not in NIGHT[camera]]
    references = by_day[:: len(by_day) // REFERENCES][:REFERENCES]
    known = {name: extractor.extract(frames[name]) for name in references}
    rng = np.random.default_rng(0)
    found: dict[str, list[tuple[float, float, float]]] = {"day": [], "night": []}
    for name in [n for n in by_day if n not in references][::3] + list(NIGHT[camera]):
        view, homography = _view(frames[name], rng, 0.75)
        features = extractor.extract(view)
        condition = "night" if name in NIGHT[camera] else "day"
        found[condition] += [_right(features, known[other], homography, ratio) for other in references]
    return found


def _right(
    view: LocalFeatures, frame: LocalFeatures, homography: np.ndarray, ratio: float
) -> tuple[float, float, float]:
    """How many matches are right, how many there are, and the mean error of the right ones in pixels."""
    matches = match_descriptors(view.descriptors, frame.descriptors, NearestSettings(ratio=ratio)).indices
    seen = view.keypoints[matches[:, :1]].astype(np.float64)
    expected = cv2.perspectiveTransform(seen, np.linalg.inv(homography))[:, 0]
    errors = np.linalg.norm(expected - frame.keypoints[matches[:, 1]], axis=1)
    right = errors < MAX_ERROR_PX
    mean = float(errors[right].mean()) if right.any() else np.nan
    return float(right.sum()), float(len(right)), mean


def _frames(camera: str) -> dict[str, np.ndarray]:
    return {Path(name).stem: read_image(FRAMES / camera / name) for name in list_images(FRAMES / camera)}


def _view(image: np.ndarray, rng: np.random.Generator, least: float) -> tuple[np.ndarray, np.ndarray]:
    """The image from elsewhere, RGB uint8 of SIZE, and the homography to it; both count pixels from the corner."""
    corners, size = _corners(image.shape[:2], rng, least), np.array(SIZE)
    there = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size
    homography = cv2.getPerspectiveTransform(corners.astype(np.float32), there.astype(np.float32))
    return _warped(image, homography, cv2.INTER_AREA), homography


def _corners(shape: tuple[int, int], rng: np.random.Generator, least: float) -> np.ndarray:
    """Corners float [4, 2], from top left, of a view of a share of the picture's sides, `least` to 1."""
    height, width = shape
    sides = rng.uniform(least, 1.0) * np.array([width, height])
    first = rng.uniform(0, 1, 2) * (np.array([width, height]) - sides)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    return first + (square + rng.uniform(-0.05, 0.05, (4, 2))) * sides


def _warped(image: np.ndarray, homography: np.ndarray, how: int) -> np.ndarray:
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # cv2 counts from the first pixel's centre
    return cv2.warpPerspective(image, np.linalg.inv(half) @ homography @ half, SIZE, flags=how)


def _num_parts() -> int:
    return sum(len(parts) for parts in PARTS.values())


def _recognition() -> str:
    """Learned from views of a few frames by day and their stylised copies; asked of all others."""
    shutil.rmtree(OUT, ignore_errors=True)
    root = OUT / "photographs"
    colours = np.arange(_num_parts() + 1) * 40503 % 2**24
    vocabulary = InstanceVocabulary(colours, np.arange(len(colours), dtype=np.int32))
    first = 1
    for camera, parts in PARTS.items():
        _photograph(camera, first, vocabulary, root)
        first += len(parts)
    write_vocabulary(root / "labels" / "vocabulary.txt", vocabulary)
    keys = {"root": root, "labels": root / "labels", "ground_truth_labels": root / "truth"}
    options = [f"dataset.{key}={value}" for key, value in {**keys, "model": "null", "queries": "null"}.items()]
    context = Context(load_config(CONFIG, [*options, f"workspace={OUT}", "reconstruction.name=sfm"]))
    stages: tuple[Callable[[Context], object], ...] = (make_stylized, train, recognise)
    for stage in stages:
        stage(context)
    return recognition_table(recognition_scores(context).scores)


def _photograph(camera: str, first: int, vocabulary: InstanceVocabulary, root: Path) -> None:
    """Views of a camera's frames with their label images; its parts are the instances from `first` on."""
    frames, rng = _frames(camera), np.random.default_rng(7)
    mask = np.zeros(next(iter(frames.values())).shape[:2], np.uint8)
    for number, (left, top, right, bottom) in enumerate(PARTS[camera], first):
        mask[top:bottom, left:right] = number
    by_day = [name for name in frames if name not in NIGHT[camera]]
    mapped = by_day[2 :: len(by_day) // MAPPED][:MAPPED]
    for name, image in frames.items():
        db, condition = name in mapped, "night" if name in NIGHT[camera] else "day"
        folder = "db" if db else f"query/{condition}"
        for number in range(VIEWS if db else 1):
            view, homography = _view(image, rng, 0.55 if db else 0.7)
            path = f"{folder}/{camera}-{name}-{number}.jpg"
            write_image(root / "images" / path, view, 95)
            labels = _warped(mask, homography, cv2.INTER_NEAREST)
            write_mask(mask_path(root / ("labels" if db else "truth"), path), labels, vocabulary)
