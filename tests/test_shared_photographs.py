"""Real photographs with surveyed poses, kept beside the checkout (docs/DATA.md there)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lbr.cli import main
from lbr.geometry.pose import pose_error
from lbr.io.text_lists import read_poses
from lbr.pipeline.results import read_localizations

pytestmark = pytest.mark.shared


@pytest.mark.slow
def test_strecha_with_sift_is_within_2_cm_and_a_fifth_of_a_degree(tmp_path: Path, shared: Path):
    """Two places a kilometre apart, 14 db images, 7 queries. Half the keypoints of the benchmark, for time."""
    root = shared / "data/strecha-dev"
    config = tmp_path / "config.yaml"
    config.write_text(
        f"dataset: {{name: folder, root: '{root}'}}\nworkspace: work\nextractor: {{name: sift, max_keypoints: 2048}}\n"
        "parallel: {workers: 2}\n"
    )
    for verb in ("extract", "pairs", "match", "reconstruct", "localize"):
        assert main([verb, "--config", str(config)]) == 0
    found, truth = read_poses(tmp_path / "work/runs/default/poses.txt"), read_poses(root / "gt.txt")
    assert set(found) == set(truth) and len(found) == 7
    errors = np.array([pose_error(found[name], truth[name]) for name in truth])
    assert errors[:, 0].max() < 0.02
    assert np.degrees(errors[:, 1]).max() < 0.2
    records = read_localizations(tmp_path / "work/runs/default/localizations.jsonl")
    assert {r["status"] for r in records} == {"refined"}
    for r in records:
        place = r["query"].split("/")[-1].split("-")[0]
        assert place in r["reference"]


def test_aliked_weights_load_and_find_corners(shared: Path):
    """The public weights through `weights=`; the same figures whatever the machine."""
    from lbr.features import make_extractor
    from lbr.features.aliked import AlikedSettings
    from lbr.io.images import read_image

    settings = AlikedSettings(weights=shared / "weights/aliked-n16.pth", max_keypoints=512, max_size=480, device="cpu")
    found = make_extractor(settings).extract(read_image(shared / "data/strecha-dev/images/query/fountain-P11_0001.jpg"))
    assert 300 < len(found) <= 512 and found.descriptors.shape[1] == 128
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-4)
