"""The weights that recognition of a place of one's own starts from, learned from folders of photographs of facades.

    .venv/bin/python scripts/make_encoder.py FOLDER... [--number N] [--out FILE] [key=value ...]

N of the photographs are learned, each as an instance of its own, with their stylised copies; half an hour on two
cores. Keys are those of configs/facades.yaml. A killed run goes on. The weights that are shipped were made of the
photographs that made `daynight` (scripts/make_local_feature.py).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lbr.cli import main as lbr
from lbr.config import load_config
from lbr.errors import LbrError
from lbr.learning.album import write_album
from lbr.pipeline.workspace import Workspace
from lbr.recognition.checkpoints import load_checkpoint, save_checkpoint, without_heads

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "facades.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arguments", nargs="+", metavar="FOLDER | key=value")
    parser.add_argument("--number", type=int, default=300, help="of photographs, drawn from all folders")
    parser.add_argument("--out", type=Path, default=ROOT / "weights" / "facades.pt")
    options = parser.parse_intermixed_args()
    folders = [Path(text) for text in options.arguments if "=" not in text]
    overrides = [text for text in options.arguments if "=" in text]
    try:
        config = load_config(CONFIG, overrides)
        write_album(folders, config.dataset.root, options.number)
        for verb in ("stylize", "train"):
            if code := lbr([verb, "--config", str(CONFIG), *overrides]):
                return code
        learned = load_checkpoint(Workspace(config.workspace).recognition)
        save_checkpoint(options.out, without_heads(learned), half=True)
    except LbrError as error:
        print(f"make_encoder: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
