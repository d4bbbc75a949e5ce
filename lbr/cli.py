"""The command line: verbs that parse, call a stage, and print what it says. Imports the rest only once it is needed."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lbr.io.text_lists import Problem
    from lbr.pipeline.stage import Context, Report

OK, PROBLEMS, FAILED = 0, 1, 2
MANY_ALIKE = 10  # problems with one reason: more are one line
NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # a disk that is full or only read, of which no path is told

STAGES = {
    "train": "a network that names the instances of the label images",
    "recognise": "the instances of the db and query images, with masks, pictures, and scores where there is truth",
    "extract": "local features of the db and query images",
    "pairs": "which db images to match with each other",
    "match": "match those pairs",
    "reconstruct": "3D points (with given poses, or structure from motion) and the map",
    "georeference": "where the map lies on earth, from GPS positions of its photographs",
    "label": "label images of instances found in the map, where the dataset has none; a list to correct",
    "index": "which db images show which instance, and the instance of every observation of the map",
    "localize": "poses of the queries",
    "evaluate": "scores of poses and of recognition, where there is truth; --compare-with RUN pairs two runs",
    "report": "one HTML file: scores, curves, and every query with its pictures",
}
SCENES = {
    "town": "build the embedded town at dataset.root (its truth beside it)",
    "stylize": "copies of the db images as by night, at dusk, in rain, in snow",
}
OWN = "your own photographs, in one command: PHOTOS [QUERIES] [section.key=value ...]"
LOCATE = "where photographs were taken, by the map as it stands: PHOTO... [section.key=value ...]"
EXPORT = "the map for others: a COLMAP model, or all that localizes photographs on a machine without the dataset"
CHANGES = {
    "extend": "add photographs to the map as it stands: with their poses, or localized in it",
    "remove": "take images from the map as it stands",
}
OTHERS = {
    "run": "all of these, in order; what is there already is reused",
    "config": "print the resolved configuration",
    "info": "what is in a workspace, an output of it, a COLMAP model or a list",
}
AFTER = ("evaluate", "report")  # what follows the flow
SHARDED = ("recognise", "extract", "match", "localize")  # their outputs are made of many items
EPILOG = """Exit code: 0 all done; 1 done, but some items could not be processed (listed); 2 could not run.
Example: lbr run --config configs/folder.yaml dataset.root=my/photographs workspace=out localization.cluster_size=10"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code."""
    # Read by the BLAS and OpenMP libraries as they load: waiting threads must sleep, or neighbours slow everything.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if wrong := [text for text in rest if text.startswith("-") or "=" not in text or "overrides" not in options]:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    if rest:  # overrides that stand behind an option, which argparse would not take
        options.overrides += rest
    from lbr.errors import LbrError

    try:
        return options.handle(options)
    except LbrError as error:
        print(f"lbr {options.verb}: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"lbr {options.verb}: stopped; the same command goes on from here", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        return OK
    except OSError as error:
        if error.filename is None and error.errno not in NO_PLACE:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"lbr {options.verb}: {where}{error.strerror}; see that it can be read and written", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "lbr", description="Localization by recognition: from photographs to camera poses.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    special = {"info": _add_info, "own": _add_own, "locate": _add_locate, "export": _add_export}
    texts = {**STAGES, **CHANGES, **SCENES, **OTHERS, "own": OWN, "locate": LOCATE, "export": EXPORT}
    for verb, text in texts.items():
        sub = verbs.add_parser(verb, help=text, description=text, epilog=EPILOG,
                               formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
        special.get(verb, _add_stage)(sub, verb)
    return parser


def _add_stage(sub: argparse.ArgumentParser, verb: str) -> None:
    """What a verb takes that has a configuration."""
    sub.add_argument("--config", type=Path, required=True, metavar="FILE")
    sub.add_argument("overrides", nargs="*", metavar="section.key=value")
    handles = {"config": _print_config, "run": _run_flow, **dict.fromkeys(CHANGES, _change_map)}
    sub.set_defaults(handle=handles.get(verb, _run_stage))
    if verb in CHANGES:
        _add_images(sub, verb)
    elif verb != "config":
        sub.add_argument("--overwrite", action="store_true", help="make anew what was made with other settings")
    if verb in SHARDED:
        sub.add_argument("--shard", metavar="I/N", help="do this share of the items; a later run packs them")
    if verb == "run":
        sub.add_argument("--from", dest="first", choices=STAGES, metavar="VERB", help="begin with this verb")
        sub.add_argument("--until", dest="last", choices=STAGES, metavar="VERB", help="end with this verb")
    if verb in ("evaluate", "run"):
        sub.add_argument("--compare-with", metavar="RUN", help="another run of the same workspace")


def _add_info(sub: argparse.ArgumentParser, _: str) -> None:
    sub.add_argument("path", type=Path)
    sub.set_defaults(handle=_info)


def _add_own(sub: argparse.ArgumentParser, _: str) -> None:
    sub.add_argument("overrides", nargs="+", metavar="PHOTOS [QUERIES] [section.key=value]")
    sub.add_argument("--workspace", type=Path, help="folder of all that is made; outputs/own/<name of PHOTOS>")
    sub.add_argument("--config", type=Path, help="what to start from; configs/folder.yaml")
    sub.add_argument("--overwrite", action="store_true", help="make anew what was made with other settings")
    sub.set_defaults(handle=_run_own)


def _add_locate(sub: argparse.ArgumentParser, _: str) -> None:
    sub.add_argument("--config", type=Path, required=True, metavar="FILE")
    what = "photographs, folders of them, lists `name MODEL width height params...`; section.key=value"
    sub.add_argument("overrides", nargs="+", metavar="PHOTO", help=what)
    sub.add_argument("--json", action="store_true", help="a record for each, as in localizations.jsonl")
    sub.set_defaults(handle=_locate)


def _add_export(sub: argparse.ArgumentParser, _: str) -> None:
    sub.add_argument("--config", type=Path, required=True, metavar="FILE")
    sub.add_argument("--as", dest="kind", choices=("colmap", "colmap-enu", "locator"), required=True,
                     help="a COLMAP model, in the map's frame or in metres east, north, up; or a locator")  # fmt: skip
    sub.add_argument("--to", type=Path, required=True, metavar="DIR", help="a folder that is not there yet")
    sub.add_argument("overrides", nargs="*", metavar="section.key=value")
    sub.set_defaults(handle=_export)


def _run_own(options: argparse.Namespace) -> int:
    """From a folder of photographs to a report, saying at the start how long it will take."""
    from lbr.config import load_config
    from lbr.errors import ConfigError
    from lbr.pipeline.estimate import clock, estimate, measure
    from lbr.pipeline.own import prepare, splits
    from lbr.pipeline.stage import Context
    from lbr.pipeline.stages import flow, left_out

    paths, overrides = splits(options.overrides)
    if not 1 <= len(paths) <= 2 or "" in paths:
        raise ConfigError("wants PHOTOS, maybe QUERIES: folders; and overrides section.key=value")
    photos, queries = Path(paths[0]), Path(paths[1]) if len(paths) > 1 else None
    workspace = options.workspace or Path("outputs", "own", photos.resolve().name)
    path, told = prepare(photos, queries, workspace, options.config, overrides)
    print("\n".join(told), flush=True)
    context = Context(load_config(path, overrides), options.overwrite)
    skipped = left_out(context)
    verbs = [verb for verb in (*flow(context), *AFTER) if verb not in skipped]
    if context.dataset.truth and (why := skipped.get("evaluate")):
        print(f"poses will not be scored: {why}")
    if "train" in verbs:  # from copies as by night and in rain, too
        verbs.insert(verbs.index("train"), "stylize")
    seconds = estimate(context, measure(context), verbs)
    parts = ", ".join(f"{verb} {clock(s)}" for verb, s in seconds.items() if s >= 1)
    print(f"about {clock(sum(seconds.values()))} minutes on this machine: {parts}; what is there already takes none")
    return _run_verbs(context, verbs)


def _locate(options: argparse.Namespace) -> int:
    """Each photograph by itself, told as soon as it is found."""
    from lbr.errors import ConfigError
    from lbr.io.text_lists import Problem
    from lbr.pipeline.locating import Locator, photographs_at, sentence
    from lbr.pipeline.own import splits
    from lbr.types import Status

    paths, overrides = splits(options.overrides)
    if not paths:
        raise ConfigError("wants photographs: PHOTO...")
    photographs = photographs_at([Path(path) for path in paths])
    locator, problems = Locator.open(options.config, overrides), list(photographs.problems)
    for name, path in photographs.files.items():
        found = locator.locate(path, photographs.cameras.get(name), name)
        record = locator.record(found)
        print(json.dumps(record) if options.json else sentence(record), flush=True)
        if found.status is Status.FAILED:
            problems.append(Problem(name, found.reason))
    return _exit_code([], problems)


def _export(options: argparse.Namespace) -> int:
    from lbr.pipeline.exporting import EXPORTS

    reports = EXPORTS[options.kind](_context(options), options.to)
    _print(options.verb, reports)
    return _exit_code(reports)


def _add_images(sub: argparse.ArgumentParser, verb: str) -> None:
    if verb == "remove":
        sub.add_argument("--images", nargs="+", required=True, metavar="NAME", help="names, patterns, or a list's path")
        return
    what = "a photograph, a folder of them, or a list: `name MODEL width height params...` or `name` per line"
    sub.add_argument("--images", type=Path, required=True, metavar="PATH", help=what)
    given = "their poses: a list `name qw qx qy qz tx ty tz`, or a COLMAP model; without, they are localized in the map"
    sub.add_argument("--poses", type=Path, metavar="PATH", help=given)


def _change_map(options: argparse.Namespace) -> int:
    from lbr.pipeline.extending import extend
    from lbr.pipeline.removing import remove

    if options.verb == "extend":
        reports = extend(_context(options), options.images, options.poses)
    else:  # overrides that stand behind the names, which argparse gives to them
        behind = [text for text in options.images if re.fullmatch(r"\w+(\.\w+)*=.*", text)]
        options.overrides += behind
        reports = remove(_context(options), [text for text in options.images if text not in behind])
    _print(options.verb, reports)
    return _exit_code(reports)


def _run_stage(options: argparse.Namespace) -> int:
    context = _context(options)
    if options.verb == "evaluate":
        unscored = _print_scores(context, options.compare_with)
        return _exit_code([], (*context.dataset.problems, *unscored))
    reports = _make(context, options.verb)
    return _exit_code(reports, () if options.verb in SCENES else context.dataset.problems)


def _run_flow(options: argparse.Namespace) -> int:
    context = _context(options)
    from lbr.pipeline.stages import flow, left_out

    skipped = left_out(context)
    verbs = _verbs_between([*flow(context), *AFTER], options.first, options.last)
    print("".join(f"{remark}\n" for remark in context.dataset.remarks), end="", flush=True)
    for verb in verbs:
        if verb in skipped:
            print(f"{verb:<12} skipped: {skipped[verb]}")
    return _run_verbs(context, [verb for verb in verbs if verb not in skipped], options.compare_with)


def _run_verbs(context: Context, verbs: Sequence[str], compare_with: str | None = None) -> int:
    reports: list[Report] = []
    unscored: Sequence[Problem] = ()
    for verb in verbs:
        if verb == "evaluate":
            unscored = _scored_or_said(context, compare_with)
        else:
            reports += _make(context, verb)
    return _exit_code(reports, (*context.dataset.problems, *unscored))


def _scored_or_said(context: Context, compare_with: str | None) -> Sequence[Problem]:
    """As `_print_scores`; what cannot be scored at all is a problem: the report follows."""
    from lbr.errors import DataError
    from lbr.io.text_lists import Problem

    try:
        return _print_scores(context, compare_with)
    except DataError as error:
        return [Problem("evaluate", str(error))]


def _verbs_between(verbs: list[str], first: str | None, last: str | None) -> list[str]:
    """The `verbs` of the flow from `first` to `last`, both with them. Raises ConfigError when there is none."""
    from lbr.errors import ConfigError

    chosen = verbs[verbs.index(first) if first else 0 : verbs.index(last) + 1 if last else None]
    if not chosen:
        raise ConfigError(f"--from {first} comes after --until {last}; the order is {', '.join(verbs)}")
    return chosen


def _context(options: argparse.Namespace) -> Context:
    from lbr.config import load_config
    from lbr.pipeline.stage import Context, Shard

    overwrite = getattr(options, "overwrite", False)
    shard = Shard.parse(options.shard) if options.verb in SHARDED and options.shard else None
    return Context(load_config(options.config, options.overrides), overwrite, shard)


def _make(context: Context, verb: str) -> list[Report]:
    """Run one stage and print what it says."""
    from lbr.pipeline import stages

    reports = stages.STAGES[verb](context)
    _print(verb, reports)
    return reports


def _print(verb: str, reports: Sequence[Report]) -> None:
    for report in reports:
        print(f"{verb:<12} {report.output}: {report.summary}{' [reused]' if report.reused else ''}", flush=True)


def _exit_code(reports: list[Report], others: Sequence[Problem] = ()) -> int:
    """Print what could not be done, each problem once; the exit code says whether there was any."""
    own = dict.fromkeys(str(problem) for problem in others)
    made = dict.fromkeys(problem for report in reports for problem in report.problems if str(problem) not in own)
    for line in [*own, *_folded(made)]:
        print(f"problem: {line}", file=sys.stderr)
    if problems := [*own, *made]:
        print(f"{len(problems)} problem(s); everything else is done", file=sys.stderr)
    return PROBLEMS if problems else OK


def _folded(problems: Iterable[Problem]) -> list[str]:
    """A line for each problem of the outputs; one for many with the same reason, whose names the manifests have."""
    alike: dict[str, list[Problem]] = {}
    for problem in problems:
        alike.setdefault(problem.why, []).append(problem)
    lines: list[str] = []
    for why, same in alike.items():
        if len(same) <= MANY_ALIKE:
            lines += map(str, same)
        else:
            first = ", ".join(problem.what for problem in same[:3])
            lines.append(f"{first} and {len(same) - 3} more, by name in the report and the manifests: {why}")
    return lines


def _print_scores(context: Context, compare_with: str | None) -> Sequence[Problem]:
    """Print the scores; what could not be scored."""
    from lbr.pipeline.evaluating import evaluate_run

    found = evaluate_run(context, compare_with)
    print(f"{'evaluate':<12} {found.path}\n\n{found.text}")
    return found.problems


def _print_config(options: argparse.Namespace) -> int:
    from lbr.config import dump_config, load_config

    print(dump_config(load_config(options.config, options.overrides)), end="")
    return OK


def _info(options: argparse.Namespace) -> int:
    from lbr.pipeline.info import describe

    print(describe(options.path))
    return OK
