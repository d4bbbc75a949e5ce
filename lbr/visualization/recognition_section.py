"""The report's section on recognition: its scores by condition and ranking, and pictures of sure and unsure queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lbr.geometry.pixels import fit_within
from lbr.recognition.metrics import FIRST, RecognitionScores
from lbr.visualization import units
from lbr.visualization.embedding import BASE64, jpeg_uri
from lbr.visualization.entries import ReportInputs
from lbr.visualization.markup import element, text
from lbr.visualization.material import photo_of, prediction_of
from lbr.visualization.naming import NUM_NAMED, Named, keys_of, rank_words
from lbr.visualization.recognition import confidence_stops, recognition_picture

NUM_PICTURES = 8  # of each condition
PART_SIDE = 400  # longer side of each of a picture's three parts
PICTURE_BYTES, SHARE = 30_000, 0.2  # at most, of a picture; of the page for all of them
MAX_LACKING = 8


def recognition_section(inputs: ReportInputs, named: Mapping[str, Named | str]) -> str:
    """Scores and pictures; one line where recognition was not run."""
    found = {name: of for name, of in named.items() if isinstance(of, Named)}
    title = element("h2", "Recognition")
    if not found:
        words = f"Recognition was not run: there is a prediction of none of the {units.count(len(named))} queries."
        return title + element("p", text(words), class_="soft")
    scores = _table(inputs.recognition) if inputs.recognition else ""
    if not scores:
        scores = element("p", "Not scored: no true label images of the queries at hand.", class_="soft")
    return title + scores + _lacking(named) + _pictures(inputs, found)


def evenly(found: Mapping[str, Named], num: int = NUM_PICTURES) -> list[str]:
    """At most `num` of the queries, evenly over their order by confidence, the least sure and the surest among them."""
    order = sorted(found, key=lambda name: (found[name].confidence, name))
    places = np.unique(np.round(np.linspace(0, len(order) - 1, min(num, len(order)))).astype(np.int64))
    return [order[place] for place in places]


def _table(recognition: Mapping[str, Mapping[str, RecognitionScores]]) -> str:
    """For each condition a row for each ranking; what does not depend on it stands once."""
    heads = ["condition", "queries", "ranking", *(f"right in first {n}" if n > 1 else "first right" for n in FIRST)]
    heads += ["pixels right", "mean IoU", "presence mAP", "calibration error"]
    rows = [element("tr", *(element("th", text(head)) for head in heads))]
    for condition, scores in next(iter(recognition.values())).items():
        rows += _rows(condition, scores, {name: of[condition] for name, of in recognition.items() if condition in of})
    note = (
        "Right in first n: % of the queries (with an instance in sight) where one of the n instances ranked first is "
        "in sight. Pixels, IoU: the likeliest instance of each pixel. Presence mAP: of the classification head. "
        "Calibration error: mean difference between confidence and share of right pixels, 0 to 1."
    )
    return element("div", element("table", *rows), class_="panel wide") + element("figcaption", text(note))


def _rows(condition: str, scores: RecognitionScores, rankings: Mapping[str, RecognitionScores]) -> list[str]:
    shown = f" ({units.count(scores.shown)} with an instance)" if scores.shown < scores.num else ""
    shares = [scores.pixel_accuracy, scores.mean_iou, scores.presence_map]
    last = [*(units.percent(share) for share in shares), f"{scores.calibration_error:.3f}"]
    rows = []
    for number, (ranking, of) in enumerate(rankings.items()):
        cells = [element("td", text(ranking)), *(element("td", text(units.percent(share))) for share in of.first)]
        if number == 0:
            before = _spanning([condition, units.count(scores.num) + shown], len(rankings))
            cells = [*before, *cells, *_spanning(last, len(rankings))]
        rows.append(element("tr", *cells, class_=None if number == 0 else "beside"))
    return rows


def _spanning(words: Sequence[str], rows: int) -> list[str]:
    return [element("td", text(word), rowspan=rows) for word in words]


def _lacking(named: Mapping[str, Named | str]) -> str:
    """Which queries have no prediction, and why."""
    reasons = [of for of in named.values() if isinstance(of, str)]
    if not reasons:
        return ""
    more = f"; and {units.count(len(reasons) - MAX_LACKING)} more" if len(reasons) > MAX_LACKING else ""
    which = "; ".join(reasons[:MAX_LACKING]) + more
    words = f"{units.count(len(reasons))} of {units.count(len(named))} queries without recognition: {which}."
    return element("p", text(words), class_="warn lacking")


def _pictures(inputs: ReportInputs, found: Mapping[str, Named]) -> str:
    of = {str(record["query"]): str(record.get("condition", "all")) for record in inputs.records}
    groups = {
        condition: evenly({name: named for name, named in found.items() if of[name] == condition})
        for condition in sorted({of[name] for name in found})
    }
    num = sum(len(names) for names in groups.values())
    limit = int(min(PICTURE_BYTES, SHARE * inputs.max_bytes / BASE64 / num))
    note = (
        f"The photograph, its facades, the confidence (0 {_ramp()} 1), with the {NUM_NAMED} instances that rank first. "
        f"Up to {NUM_PICTURES} queries of a condition, chosen evenly over the mean confidence, the least sure first."
    )
    parts = [element("p", note, class_="soft")]
    for condition, names in groups.items():
        title = element("h3", text(condition)) if len(groups) > 1 else ""
        parts += [title, element("div", *(_figure(inputs, n, found[n], limit) for n in names), class_="strips")]
    return "".join(parts)


def _figure(inputs: ReportInputs, name: str, named: Named, max_bytes: int) -> str:
    photo, prediction = photo_of(inputs, name), prediction_of(inputs, name)
    if isinstance(photo, str) or isinstance(prediction, str):
        reason = photo if isinstance(photo, str) else str(prediction)
        picture = element("div", text(reason), class_="blank")
    else:
        width = fit_within((photo.shape[1], photo.shape[0]), PART_SIDE)[0]
        drawn = recognition_picture(photo, prediction, width, inputs.instance_colours)
        picture = element("img", src=jpeg_uri(drawn, max_bytes), alt=f"recognition of {name}")
    facts = [f"mean confidence {units.percent(100 * named.confidence)}", rank_words(named)]
    words = text(f": {', '.join(fact for fact in facts if fact)}. ")
    keys = keys_of(named, inputs.instance_colours)
    return element("figure", picture, element("figcaption", element("b", text(name)), words, keys))


def _ramp() -> str:
    stops = ",".join(confidence_stops())
    return element("span", class_="ramp", style=f"background:linear-gradient(90deg,{stops})")
