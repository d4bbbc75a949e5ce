"""The pictures of assets/: the town's overview, a contact sheet of places by day, at dusk and by night, what two local
features match of one of them by day and by night, and instances that are made from photographs and poses.

    .venv/bin/python scripts/make_assets.py

About twelve minutes; the town of configs/town.yaml is made first where it is not there yet.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from lbr.config import load_config
from lbr.features import ExtractorConfig, make_extractor
from lbr.features.daynight import DayNightSettings
from lbr.features.extractor import Extractor
from lbr.features.sift import SiftSettings
from lbr.geometry.pose import Pose
from lbr.io.images import read_image
from lbr.io.text_lists import read_poses
from lbr.matching.nearest import NearestSettings, match_descriptors
from lbr.pipeline.labelling import PREVIEWS
from lbr.pipeline.scenes import make_town
from lbr.pipeline.stage import Context
from lbr.pipeline.stages import STAGES
from lbr.town import build_town, contact_sheet
from lbr.town.pictures import overview_picture, photographs_of, places
from lbr.visualization.matches import draw_matches

ROOT = Path(__file__).resolve().parents[1]
CONDITIONS = ("overcast", "dusk", "night")
MATCHED = 2  # of the places: the one whose matches are shown


def main() -> int:
    config = load_config(ROOT / "configs" / "town.yaml")
    town = build_town(config.town)
    make_town(Context(config))
    groups: dict[str, list[Pose]] = defaultdict(list)
    for name, pose in read_poses(config.dataset.ground_truth).items():
        groups[name.split("/")[1] if name.startswith("query/") else name.split("/")[0]].append(pose)
    _write("overview.jpg", overview_picture(town, groups))
    photographs = [[view.image for view in row] for row in photographs_of(town, places(town, 8), CONDITIONS)]
    _write("places.jpg", contact_sheet(photographs, 400))
    day, _, night = photographs[MATCHED]
    features: tuple[tuple[ExtractorConfig, float], ...] = (
        (SiftSettings(max_keypoints=1000), 0.8), (DayNightSettings(max_keypoints=1000), 0.9),
    )  # fmt: skip
    _write("night.jpg", np.vstack([matched_picture(day, night, make_extractor(f), ratio) for f, ratio in features]))
    _write("instances.jpg", instances_picture(Context(load_config(ROOT / "configs" / "town-unlabelled.yaml"))))
    return 0


def instances_picture(context: Context) -> np.ndarray:
    """Previews of label images that are made of a town as if it had none."""
    for verb in ("extract", "pairs", "match", "reconstruct", "label"):
        STAGES[verb](context)
    previews = sorted((context.workspace.labels / PREVIEWS).rglob("*.jpg"))
    chosen = [read_image(path) for path in previews[len(previews) // 18 :: len(previews) // 9][:9]]
    return contact_sheet([chosen[k : k + 3] for k in (0, 3, 6)], 400)


def matched_picture(day: np.ndarray, night: np.ndarray, extractor: Extractor, ratio: float) -> np.ndarray:
    """What is matched between two photographs from one pose: green where it is one place in both, red elsewhere."""
    a, b = extractor.extract(day), extractor.extract(night)
    indices = match_descriptors(a.descriptors, b.descriptors, NearestSettings(ratio=ratio)).indices
    points = a.keypoints[indices[:, 0]], b.keypoints[indices[:, 1]]
    right = np.linalg.norm(points[0] - points[1], axis=1) < 3
    colours = np.where(right[:, None], (60, 220, 90), (230, 60, 50)).astype(np.uint8)
    return draw_matches((day, night), points, colours, width=1000, max_lines=len(right))


def _write(name: str, picture: np.ndarray) -> None:
    path = ROOT / "assets" / name
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(f"{path.relative_to(ROOT)}: {picture.shape[1]}x{picture.shape[0]}, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    sys.exit(main())
