"""`python -m benchmarks [NAME ...] [--out FILE]`: run benchmarks and print their tables under the machine's header."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks.machine import header

BENCHMARKS = {
    "photographs": "accuracy on real photographs with known poses, beside the field's toolbox",
    "own": "./run_own on real photographs with known poses, by day and darkened, and from nothing: half an hour",
    "nothing": "./run_own on the embedded town's photographs alone, by day and by night: an hour",
    "splits": "./run_own on the same photographs, others of them as queries: a quarter of an hour",
    "changed": "real queries resized, cut, blurred, covered, pressed, and those of other places: ten minutes",
    "sparse": "few photographs: a map of a quarter of the drive's, guided and not, and extended: ten minutes",
    "onward": "a drive that goes on: its map extended by what comes after, with new instances: a quarter of an hour",
    "light": "real light, by day and by night: what local features match, and what recognition knows again",
    "speed": "db matching, triangulation and localization, paired with the field's way on the same features",
    "engines": "nearest-neighbour engines: numpy, torch, faiss, OpenCV",
    "town": "the embedded town: time, map, difficulty, twins",
    "recognition": "the network: time, size, and scores on the embedded town, by ranking and condition",
    "ranking": "which instance is tried first, beside the published ranking, on 640 queries of two other walks",
    "augmentation": "what stylised copies and night made on the fly are worth: four short trainings, on the town",
    "labels": "instances made from images and poses alone, against the true masks; k-means beside it",
    "ablations": "what search, matching, refinement, keypoints and labels are worth, on the embedded town",
    "cost": "time of a query on the demo town, paired with that of all db images and plain matching",
    "growth": "time of a query on the demo town and on the large one, ten times its images; maps both: an hour",
    "seeds": "other towns than the one the limits were chosen on: recall, and refined poses that are wrong; maps four",
    "walks": "the demo town photographed from elsewhere, db images and queries: the shipped network",
    "changes": "photographs added to a map and taken away: recall, and time beside making it anew",
    "memory": "a map of 10,000 images x 2,000 points: opening it, and one query against 50 of them",
}


def main() -> int:
    listing = "\n".join(f"  {name:<12} {text}" for name, text in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        "python -m benchmarks", epilog=listing, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="all by default")
    parser.add_argument("--out", type=Path, help="also write the report there (Markdown)")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    parts = [f"# Benchmarks\n\n{header()}\n"]
    print(parts[0], flush=True)
    for name in options.names or BENCHMARKS:
        parts.append(f"## {name}: {BENCHMARKS[name]}\n\n{importlib.import_module(f'benchmarks.{name}').run()}\n")
        print(parts[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
