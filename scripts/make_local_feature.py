"""The weights of the local feature `daynight`, learned from folders of photographs of facades, in any light.

    .venv/bin/python scripts/make_local_feature.py FOLDER... [--out FILE] [--workspace DIR] [key=value ...]

Three quarters of an hour on two cores; keys are those of lbr/learning/settings.py. A killed run goes on.
The weights that are shipped were made of 598 photographs of the facades of Swiss towns (HSLU, CC BY 4.0) and 675 of
Saint Petersburg (CC0); those of any town will do.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import yaml
from pydantic import ValidationError

from lbr.errors import LbrError
from lbr.features.daynight import SHIPPED
from lbr.io.files import atomic_path
from lbr.io.images import list_images
from lbr.learning.settings import LearningSettings
from lbr.learning.train import learn
from lbr.recognition.checkpoints import stored

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arguments", nargs="+", metavar="FOLDER | key=value")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--workspace", type=Path, default=ROOT / "outputs" / "daynight")
    options = parser.parse_intermixed_args()
    folders = [Path(text) for text in options.arguments if "=" not in text]
    values = dict(text.split("=", 1) for text in options.arguments if "=" in text)
    try:
        settings = LearningSettings(**{key: yaml.safe_load(value) for key, value in values.items()})
        paths = [folder / name for folder in folders for name in list_images(folder)]
        network = learn(paths, settings, options.workspace)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        print(f"make_local_feature: {wrong} (keys: lbr/learning/settings.py)", file=sys.stderr)
        return 2
    except LbrError as error:
        print(f"make_local_feature: {error}", file=sys.stderr)
        return 2
    weights = {name: stored(name, tensor, half=True) for name, tensor in network.state_dict().items()}
    with atomic_path(options.out) as temporary:
        torch.save(weights, temporary)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
