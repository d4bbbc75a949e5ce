"""A query of the report: its photograph, what became of it and why, what supports its pose, where that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lbr.geometry.pixels import fit_within, rescale
from lbr.geometry.pose import Pose, pose_error
from lbr.io.images import resize
from lbr.mapping.map import Map
from lbr.types import LocalFeatures
from lbr.visualization import colours as palette
from lbr.visualization import units
from lbr.visualization.embedding import jpeg_uri
from lbr.visualization.entries import Entry, ReportInputs
from lbr.visualization.ground import MapPlan
from lbr.visualization.markup import element, key, text
from lbr.visualization.matches import draw_matches
from lbr.visualization.material import features_of, photo_of, prediction_of
from lbr.visualization.naming import Named, keys_of, names_of, rank_words
from lbr.visualization.overlays import draw_keypoints, draw_residuals
from lbr.visualization.plan import PlanQuery, draw_close_up, draw_plan, window_around
from lbr.visualization.recognition import facades_picture
from lbr.visualization.steps import search_list
from lbr.visualization.support import Support, find_support, observations_around

PHOTO_SIDE, MATCHES_WIDTH, THUMBNAIL = 760, 1280, (132, 88)
NUM_COVISIBLE = 10
MAGNIFY = 8.0
WIDE = 2.0  # a photograph of this aspect leaves room for the figures below it
OF_PHOTO, OF_FACADES, OF_MATCHES = 0.35, 0.15, 0.5  # shares of a card's bytes
SOURCES = {  # of intrinsics, for whom it concerns
    "given": "", "map": " (as of the map's photographs)", "queries": " (estimated from queries together)",
    "exif": " (estimated with the pose, from EXIF's)", "guess": " (estimated with the pose)",
}  # fmt: skip
KINDS = {1: "alone", 2: "pair two", 3: "pair"}  # how many pictures stand side by side
FACADE_KINDS = {2: "pair even", 3: "pair photos", 4: "pair stacked"}  # of them with facades


@dataclass(frozen=True, eq=False)
class Desk:
    """What all cards share: the inputs, the plan of each place, and how many bytes the pictures of one card may take.

    named: what recognition names in each query, or why nothing.
    """

    inputs: ReportInputs
    named: Mapping[str, Named | str]
    plans: Mapping[int, MapPlan]
    picture_bytes: int

    def plan_of(self, entry: Entry) -> MapPlan:
        """The plan of the place that a query is in."""
        return self.plans[entry.place if entry.place in self.plans else 0]


@dataclass(frozen=True, eq=False)
class View:
    """A query in the map, with the pose to look at it from: its estimate, or its true pose where it has none."""

    scene: Map
    entry: Entry
    features: LocalFeatures | None
    pose: Pose | None
    image: int | None  # db image to compare with
    is_estimate: bool

    @cached_property
    def support(self) -> Support | None:
        """What supports the pose in the db image and in those that share most points with it."""
        camera = self.entry.camera
        if self.features is None or self.pose is None or camera is None or self.image is None:
            return None
        observations = observations_around(self.scene, self.image, NUM_COVISIBLE)
        return find_support(self.scene, observations, camera, self.pose, self.features)

    @cached_property
    def support_of_image(self) -> Support | None:
        """What of it concerns the db image itself."""
        if self.support is None or self.image is None:
            return None
        return self.support.within(self.scene.observations(self.image))


def card(entry: Entry, desk: Desk) -> str:
    """A query with pictures."""
    view, photo, facts = _view_of(entry, desk), photo_of(desk.inputs, entry.name), facts_of(entry, desk)
    is_wide = not isinstance(photo, str) and photo.shape[1] > WIDE * photo.shape[0]
    views, facades = [_photo_figure(photo, view, desk), *_plan_figures(view, desk)], _facades_figure(photo, entry, desk)
    kinds = KINDS
    if is_wide:
        views[0] = element("div", views[0], facades, facts, class_="stack")
    elif facades:
        views.insert(2 if len(views) == 3 else 1, facades)  # with a close-up below the photograph, else beside it
        kinds = FACADE_KINDS
    searched = search_list(entry.steps, desk.inputs.instance_colours)
    body = [_words(entry), _diagnosis(view, desk), searched, "" if is_wide else facts]
    body += [element("div", *views, class_=kinds[len(views)]), _matches_figure(photo, view, desk)]
    return element(
        "details", _headline(entry), element("div", *body, class_="body"), class_="card", open=True,
        style=_status_style(entry),
    )  # fmt: skip


def row(entry: Entry, desk: Desk, with_thumbnail: bool) -> str:
    """A query as one line that unfolds to its figures."""
    thumbnail = ""
    if with_thumbnail:
        photo = photo_of(desk.inputs, entry.name)
        thumbnail = element("span", class_="thumb", title=photo) if isinstance(photo, str) else _thumbnail(photo)
    body = element("div", _words(entry), facts_of(entry, desk), class_="body")
    return element("details", _headline(entry, thumbnail), body, class_="row", style=_status_style(entry))


def facts_of(entry: Entry, desk: Desk) -> str:
    """The figures of a query as a list of terms."""
    record, camera = entry.record, entry.camera
    facts = []
    if entry.error_m is not None:
        facts.append(("error against truth", _error_text(entry) + _against_stated(entry)))
    if entry.pose is not None:
        stated = f"{entry.std_text}, {units.degrees(record.get('rotation_std_deg'))}"
        stated = stated if units.is_known(record.get("position_std", entry.std_m)) else "not stated"
        facts += [("stated uncertainty (std)", stated), ("inliers", units.count(record.get("num_inliers")))]
    if geo := record.get("geo"):
        facts.append(("on earth (WGS84)", _earth_text(geo)))
    if entry.reference:
        facts.append(("db image with most inliers", entry.reference))
    named = desk.named.get(entry.name)
    if isinstance(named, Named):
        rank = rank_words(named)
        facts.append(("instances that rank first", names_of(named) + (f" ({rank})" if rank else "")))
    share = 100 * len(entry.tried) / len(desk.inputs.scene) if len(desk.inputs.scene) else None
    facts.append(("images compared", f"{units.count(len(entry.tried))} ({units.percent(share)} of the map)"))
    timings = record.get("timings") or {}
    facts.append(
        ("time", units.seconds(entry.seconds) + _in_brackets(f"{k} {units.seconds(v)}" for k, v in timings.items()))
    )
    if camera is not None:
        size = f"{camera.width} × {camera.height}, focal length {camera.focal[0]:.0f} px"
        facts.append(("camera", size + SOURCES.get(camera.source, f" ({camera.source})")))
    items = [element("div", element("dt", text(term)), element("dd", text(value))) for term, value in facts]
    return element("dl", *items)


def nearest_view(plan: MapPlan, truth: Pose) -> int:
    """The map's image that stands nearest to a true pose, of those that look within 60 degrees of its direction."""
    distance = np.linalg.norm(plan.cameras - plan.ground.flat(truth.centre), axis=1)
    ahead = plan.ground.flat(truth.R[2])
    lengths = np.linalg.norm(plan.directions, axis=1) * np.linalg.norm(ahead)
    alike = plan.directions @ ahead >= 0.5 * lengths
    return int(plan.images[np.argmin(np.where(alike, distance, np.inf) if alike.any() else distance)])


def _view_of(entry: Entry, desk: Desk) -> View:
    scene, is_estimate = desk.inputs.scene, entry.pose is not None
    image: int | None = None
    if entry.reference is not None and entry.reference in scene and is_estimate:
        image = scene.index_of(entry.reference)
    elif entry.truth is not None and not is_estimate:
        image = nearest_view(desk.plan_of(entry), entry.truth)
    return View(scene, entry, features_of(desk.inputs, entry.name), entry.pose or entry.truth, image, is_estimate)


def _headline(entry: Entry, before: str = "") -> str:
    condition = element("span", text(entry.condition), class_="tag") if entry.condition != "all" else ""
    misleading = element("span", "wrong", class_="pill", style=f"--status:{palette.STATUS['failed']}")
    if entry.error_m is not None:
        figure = _error_text(entry)
    elif units.is_known(entry.record.get("position_std", entry.std_m)):
        figure = f"± {entry.std_text}"
    else:
        figure = ""
    return element(
        "summary", before, element("span", text(entry.status), class_="pill"),
        misleading if entry.is_misleading else "", element("span", text(entry.name), class_="name"), condition,
        element("span", text(figure), class_="figure"),
    )  # fmt: skip


def _words(entry: Entry) -> str:
    notes = entry.record.get("notes") or ()
    reason = element("p", text(_sentence(str(entry.record.get("reason") or "no reason given"))))
    return reason + "".join(element("p", text(_sentence(str(note))), class_="soft") for note in notes)


def _diagnosis(view: View, desk: Desk) -> str:
    """For a query that failed or went wrong and whose truth is known: could it have been found?"""
    entry = view.entry
    if entry.truth is None or not (entry.pose is None or entry.is_misleading or entry.status == "weak"):
        return ""
    image = nearest_view(desk.plan_of(entry), entry.truth)
    name = desk.inputs.scene.names[image]
    seen = View(view.scene, entry, view.features, entry.truth, image, False).support_of_image
    if seen is None:
        return ""
    distance = pose_error(desk.inputs.scene.pose(image), entry.truth)[0]
    compared = "it was compared" if name in entry.tried else "it was not compared"
    words = (
        f"At the true pose, {units.count(len(seen))} of {units.count(len(seen.visible))} points of the nearest db "
        f"image ({name}, {units.length(distance, entry.metres_per_unit)} away; {compared}) lie on a keypoint that "
        "looks like them."
    )
    return element("p", text(words), class_="warn")


def _photo_figure(photo: np.ndarray | str, view: View, desk: Desk) -> str:
    if isinstance(photo, str):
        return element("figure", element("div", text(photo), class_="blank"), element("figcaption", "The query."))
    picture = resize(photo, fit_within((photo.shape[1], photo.shape[0]), PHOTO_SIDE))
    caption = "The query; no keypoints at hand."
    if view.features is not None:
        size, drawn = view.features.image_size, (picture.shape[1], picture.shape[0])
        xy = rescale(view.features.keypoints, size, drawn)
        support = view.support
        inlier = np.zeros(len(xy), bool)
        if support is not None:
            inlier[support.keypoint_index] = True
        picture = draw_keypoints(picture, xy, inlier)
        caption = f"The query with its {units.count(len(xy))} keypoints."
        if support is not None:
            assert view.entry.camera is not None
            to = rescale(support.projected, view.entry.camera.size, drawn)
            picture = draw_residuals(picture, xy[support.keypoint_index], to, MAGNIFY)
            caption += _support_words(support, view)
    source = jpeg_uri(picture, int(desk.picture_bytes * OF_PHOTO))
    tall = "tall" if picture.shape[0] > picture.shape[1] else None
    image = element("img", src=source, alt=f"query {view.entry.name}", class_=tall)
    return element("figure", image, element("figcaption", text(caption)))


def _facades_figure(photo: np.ndarray | str, entry: Entry, desk: Desk) -> str:
    """The photograph with its recognised facades; nothing where there is no prediction."""
    named, prediction = desk.named.get(entry.name), prediction_of(desk.inputs, entry.name)
    if isinstance(photo, str) or isinstance(prediction, str) or not isinstance(named, Named):
        return ""
    picture = resize(photo, fit_within((photo.shape[1], photo.shape[0]), PHOTO_SIDE))
    colours = desk.inputs.instance_colours
    source = jpeg_uri(facades_picture(picture, prediction, colours), int(desk.picture_bytes * OF_FACADES))
    tall = "tall" if picture.shape[0] > picture.shape[1] else None
    image = element("img", src=source, alt=f"facades of {entry.name}", class_=tall)
    words = text("Its facades; first in rank: ") + keys_of(named, colours)
    return element("figure", image, element("figcaption", words))


def _support_words(support: Support, view: View) -> str:
    which = "the pose" if view.is_estimate else "the true pose"
    assert view.features is not None
    observed = view.features.keypoints[support.keypoint_index]
    apart = np.linalg.norm(observed - support.projected, axis=1)
    words = f" Green: {units.count(len(support))} that {which} explains by map points"
    if not len(support):
        return words + "."
    return words + f", median residual {np.median(apart):.1f} px, lines {MAGNIFY:.0f} times as long."


def _plan_figures(view: View, desk: Desk) -> list[str]:
    entry = view.entry
    if entry.pose is None and entry.truth is None:
        return []
    plan_of_place = desk.plan_of(entry)
    camera = None if view.image is None else plan_of_place.camera_of(view.image)
    query = PlanQuery(entry.pose, entry.position_covariance, entry.truth, camera)
    seen = np.zeros((0, 3))
    if view.image is not None:
        seen = desk.inputs.scene.points[desk.inputs.scene.point_index[desk.inputs.scene.observations(view.image)]]
    plan = draw_plan(plan_of_place, query, window_around(plan_of_place, query, seen))
    keys = [("estimate", palette.ACCENT)] * (entry.pose is not None) + [("truth", palette.TRUTH)] * (
        entry.truth is not None
    )
    keys += [("db image", palette.INK)] * (view.image is not None)
    figures = [element("figure", plan, element("figcaption", text("From above: "), "".join(key(*k) for k in keys)))]
    has_ellipse = entry.position_covariance is not None
    if entry.pose is not None and (has_ellipse or entry.truth is not None):
        words = "Close-up: the estimate" + (" with its 2σ ellipse" if has_ellipse else " (no covariance)")
        words += ", and the truth." if entry.truth is not None else "."
        figures.append(element("figure", draw_close_up(plan_of_place, query), element("figcaption", text(words))))
    return figures


def _matches_figure(photo: np.ndarray | str, view: View, desk: Desk) -> str:
    """The query beside the db image, with the pairs that support the pose."""
    support = view.support_of_image
    if isinstance(photo, str) or view.image is None or support is None:
        return ""
    assert view.features is not None
    name = desk.inputs.scene.names[view.image]
    other = photo_of(desk.inputs, name)
    if isinstance(other, str):
        return element("figure", element("div", text(other), class_="blank"), element("figcaption", text(name)))
    observed = desk.inputs.scene.keypoints[support.observation_index]
    labels = view.features.labels
    shades = _shades(support, labels, desk)
    sizes = [(p.shape[1], p.shape[0]) for p in (photo, other)]
    points = (
        rescale(view.features.keypoints[support.keypoint_index], view.features.image_size, sizes[0]),
        rescale(observed, desk.inputs.scene.camera(view.image).size, sizes[1]),
    )
    picture = draw_matches((photo, other), points, shades, MATCHES_WIDTH)
    image = element("img", src=jpeg_uri(picture, int(desk.picture_bytes * OF_MATCHES)), alt=f"matches with {name}")
    legend = _depth_legend(support.depth, view.entry.metres_per_unit) if labels is None and len(support) else ""
    return element("figure", image, element("figcaption", text(_matches_words(view, support, name)), legend))


def _shades(support: Support, labels: np.ndarray | None, desk: Desk) -> np.ndarray:
    if labels is None:
        return palette.by_depth(support.depth)
    return palette.by_instance(labels[support.keypoint_index], desk.inputs.instance_colours)


def _matches_words(view: View, support: Support, name: str) -> str:
    kind = "the db image with most inliers" if view.is_estimate else "the db image nearest to the truth"
    which = "the estimated pose" if view.is_estimate else "the true pose"
    lines = f"; lines for {min(120, len(support))} of them" if len(support) > 120 else ""
    return (
        f"Left the query, right {name}, {kind}: {units.count(len(support))} of {units.count(len(support.visible))} "
        f"visible points that {which} puts on a keypoint that looks like them{lines}."
    )


def _depth_legend(depth: np.ndarray, metres_per_unit: float | None) -> str:
    near, far = palette.depth_range(depth)
    stops = ",".join(palette.depth_stops())
    ramp = element("span", class_="ramp", style=f"background:linear-gradient(90deg,{stops})")
    shallow, deep = (units.length(d, metres_per_unit) for d in (near, far))
    return text(f" Depth {shallow}") + ramp + text(deep) + "."


def _thumbnail(photo: np.ndarray) -> str:
    height, width = photo.shape[:2]
    scale = max(THUMBNAIL[0] / width, THUMBNAIL[1] / height)
    small = resize(photo, (max(1, round(width * scale)), max(1, round(height * scale)))) if scale < 1 else photo
    return element("img", src=jpeg_uri(small, 5000), alt="", class_="thumb")


def _error_text(entry: Entry) -> str:
    if not units.is_known(entry.error_m):
        return "no pose"
    return f"{units.metres(entry.error_m)}, {units.degrees(entry.error_deg)}"


def _against_stated(entry: Entry) -> str:
    """How many times its stated standard deviation the position is off."""
    stated = entry.std_m
    if not units.is_known(entry.error_m) or not units.is_known(stated) or stated <= 0:
        return ""
    times = entry.error_m / stated
    return f" ({times:.1f} × the stated std)" if times < 100 else " (over 100 × the stated std)"


def _earth_text(geo: Mapping[str, float | None]) -> str:
    """Latitude, longitude, height and heading, each with its standard deviation."""
    height, heading = geo["height"], f"{geo['heading_deg']:.1f}° ± {units.degrees(geo['heading_std_deg'])}"
    place = f"{geo['latitude']:.7f}, {geo['longitude']:.7f} ± {units.metres(geo['horizontal_std_m'])}"
    if height is not None:
        place += f"; height {height:.2f} m ± {units.metres(geo['vertical_std_m'])}"
    return f"{place}; heading {heading} from north"


def _in_brackets(items: Iterable[str]) -> str:
    joined = ", ".join(items)
    return f" ({joined})" if joined else ""


def _sentence(words: str) -> str:
    return words + ("" if words.endswith((".", "!", "?")) else ".")


def _status_style(entry: Entry) -> str:
    return f"--status:{palette.STATUS.get(entry.status, palette.SOFT)}"
