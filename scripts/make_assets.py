"""The pictures of assets/: the town's overview, and a contact sheet of places by day, at dusk and by night.

    .venv/bin/python scripts/make_assets.py

About three minutes; the town of configs/town.yaml is made first where it is not there yet.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from lbr.config import load_config
from lbr.geometry.pose import Pose
from lbr.io.text_lists import read_poses
from lbr.pipeline.scenes import make_town
from lbr.pipeline.stage import Context
from lbr.town import build_town, contact_sheet
from lbr.town.pictures import overview_picture, photographs_of, places

ROOT = Path(__file__).resolve().parents[1]
CONDITIONS = ("overcast", "dusk", "night")


def main() -> int:
    config = load_config(ROOT / "configs" / "town.yaml")
    town = build_town(config.town)
    make_town(Context(config))
    groups: dict[str, list[Pose]] = defaultdict(list)
    for name, pose in read_poses(config.dataset.ground_truth).items():
        groups[name.split("/")[1] if name.startswith("query/") else name.split("/")[0]].append(pose)
    _write("overview.jpg", overview_picture(town, groups))
    sheet = contact_sheet([[v.image for v in row] for row in photographs_of(town, places(town, 8), CONDITIONS)], 400)
    _write("places.jpg", sheet)
    return 0


def _write(name: str, picture: np.ndarray) -> None:
    path = ROOT / "assets" / name
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(f"{path.relative_to(ROOT)}: {picture.shape[1]}x{picture.shape[0]}, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    sys.exit(main())
