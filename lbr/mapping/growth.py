"""New views in a map whose poses and points stay as they are: which points they see, and which points they add.

Everything is vectorised over keypoints. A match is an edge between two keypoints (nodes); no bundle adjustment moves
what is there. Errors are in undistorted image coordinates times the focal length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose
from lbr.mapping.database import Pair
from lbr.mapping.triangulation import TriangulationSettings
from lbr.mapping.verification import normalised_rays

ROUNDS = 3  # of handing points on from view to view, and of making points from what is left
MAX_HYPOTHESES = 30  # of one component: false matches chain many tracks together
ITERATIONS = 6  # of Gauss-Newton, from a start that is right to a few pixels


@dataclass(frozen=True, eq=False)
class View:
    """A photograph with its pose. keypoints: float32 [N, 2]. points: int64 [N], the map's point of each, -1 for none.

    new: whether the map does not have it yet; only then may its keypoints take points of the map.
    """

    camera: Camera
    pose: Pose
    keypoints: np.ndarray
    points: np.ndarray
    new: bool


@dataclass(frozen=True, eq=False)
class Growth:
    """What views add to a map of P points. points: float64 [Q, 3], numbered from P on.

    views, keypoints, point_index: int64 [K], observation k is of keypoint keypoints[k] of view views[k] (in the order
    of the views given) and point point_index[k].
    """

    points: np.ndarray
    views: np.ndarray
    keypoints: np.ndarray
    point_index: np.ndarray


@dataclass(frozen=True, eq=False)
class _Nodes:
    """The keypoints of all views in one row. view: [N]. xy: undistorted [N, 2]. R, t, focal, new: of the views."""

    view: np.ndarray
    xy: np.ndarray
    R: np.ndarray
    t: np.ndarray
    focal: np.ndarray
    new: np.ndarray

    def in_camera(self, points: np.ndarray, nodes: np.ndarray) -> np.ndarray:
        """Points [M, 3] in the frame of each node's camera [M, 3]."""
        view = self.view[nodes]
        return np.einsum("mij,mj->mi", self.R[view], points) + self.t[view]

    def errors_px(self, points: np.ndarray, nodes: np.ndarray) -> np.ndarray:
        """float64 [M]: how far each point lies from its node; inf behind the camera."""
        x, y, z = self.in_camera(points, nodes).T
        ahead = np.where(z > 1e-9, z, 1.0)
        off = np.stack([x / ahead, y / ahead], 1) - self.xy[nodes]
        return np.where(z > 1e-9, np.linalg.norm(off, axis=1) * self.focal[self.view[nodes]], np.inf)

    def rays(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Camera centres [M, 3] and unit viewing directions [M, 3] of nodes, in the world."""
        R, t = self.R[self.view[nodes]], self.t[self.view[nodes]]
        towards = np.einsum("mji,mj->mi", R, np.hstack([self.xy[nodes], np.ones((len(nodes), 1))]))
        return -np.einsum("mji,mj->mi", R, t), towards / np.linalg.norm(towards, axis=1, keepdims=True)


def grow(
    views: Mapping[str, View], points: np.ndarray, matches: Mapping[Pair, np.ndarray], settings: TriangulationSettings
) -> Growth:
    """Observations of the map's points [P, 3] in the new views, and new points from the matches left over.

    matches: int [M, 2] keypoints of pairs of views of which at least one is new, already verified against the poses.
    Keypoints of old views without a point may take part in new points; points and what is seen of them stay.
    """
    starts = np.concatenate([[0], np.cumsum([len(v.keypoints) for v in views.values()])]).astype(np.int64)
    place = dict(zip(views, starts, strict=False))
    edges = [indices.astype(np.int64) + [place[a], place[b]] for (a, b), indices in matches.items()]
    edge = np.concatenate([np.zeros((0, 2), np.int64), *edges])
    nodes = _nodes(list(views.values()), np.diff(starts))
    given = np.concatenate([np.zeros(0, np.int64), *(v.points for v in views.values())]).astype(np.int64)
    point = _attach(nodes, edge, given, points, settings.max_reprojection_error_px)
    made = [np.zeros((0, 3))]
    for _ in range(ROUNDS):
        found, node, track = _create(nodes, edge[(point[edge] < 0).all(axis=1)], settings)
        if not len(found):
            break
        point[node] = len(points) + sum(map(len, made)) + track
        made.append(found)
    fresh = np.flatnonzero((point >= 0) & (given < 0))
    return Growth(np.concatenate(made), nodes.view[fresh], fresh - starts[nodes.view[fresh]], point[fresh])


def _nodes(views: Sequence[View], counts: np.ndarray) -> _Nodes:
    return _Nodes(
        np.repeat(np.arange(len(views)), counts),
        np.concatenate([np.zeros((0, 2)), *(normalised_rays(v.camera, v.keypoints)[:, :2] for v in views)]),
        np.stack([v.pose.R for v in views]), np.stack([v.pose.t for v in views]),
        np.array([np.mean(v.camera.focal) for v in views]), np.array([v.new for v in views]),
    )  # fmt: skip


def _attach(nodes: _Nodes, edge: np.ndarray, given: np.ndarray, points: np.ndarray, max_px: float) -> np.ndarray:
    """int64 [N]: the point of each node: as given, and for nodes of new views what their partners see, if it fits.

    Most partners decide, then the least error; a view sees a point once.
    """
    point, both = given.copy(), np.concatenate([edge, edge[:, ::-1]])
    for _ in range(ROUNDS):
        free = (point[both[:, 0]] < 0) & nodes.new[nodes.view[both[:, 0]]] & (point[both[:, 1]] >= 0)
        pairs = np.stack([both[free, 0], point[both[free, 1]]], 1)
        (node, target), votes = (a := np.unique(pairs, axis=0, return_counts=True))[0].T, a[1]
        error = nodes.errors_px(points[target], node)
        seen = np.isin(_key(nodes.view[node], target), _key(nodes.view[point >= 0], point[point >= 0]))
        kept = np.flatnonzero((error <= max_px) & ~seen)
        kept = kept[np.lexsort((error[kept], -votes[kept]))]
        kept = kept[np.sort(np.unique(node[kept], return_index=True)[1])]
        kept = kept[np.unique(_key(nodes.view[node[kept]], target[kept]), return_index=True)[1]]
        if not len(kept):
            break
        point[node[kept]] = target[kept]
    return point


def _key(view: np.ndarray, point: np.ndarray) -> np.ndarray:
    return view.astype(np.int64) << 40 | point


def _create(
    nodes: _Nodes, edge: np.ndarray, settings: TriangulationSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points float64 [Q, 3] from matches of nodes without one; their observations: node [K] and point [K], below Q.

    Every match is a hypothesis for the track it belongs to; the one that most views agree with wins, and is refined.
    """
    nothing = np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros(0, np.int64)
    max_px = settings.max_reprojection_error_px
    start, apart = _midpoints(nodes, edge)
    worst = np.maximum(nodes.errors_px(start, edge[:, 0]), nodes.errors_px(start, edge[:, 1]))
    kept = (worst <= max_px) & (apart >= np.radians(settings.min_triangulation_angle_deg))
    edge, start = edge[kept], start[kept]
    if not len(edge):
        return nothing
    hypothesis, node, track = _support(nodes, edge, start, max_px)
    point = _refined(nodes, start[hypothesis], node, track)
    good = nodes.errors_px(point[track], node) <= max_px
    node, track = node[good], track[good]
    sure = _seen_apart(nodes, point, node, track, settings.min_triangulation_angle_deg)
    sure &= np.bincount(track, nodes.new[nodes.view[node]], len(point)) > 0
    renumbered = np.cumsum(sure) - 1
    return point[sure], node[sure[track]], renumbered[track[sure[track]]]


def _midpoints(nodes: _Nodes, edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each edge the point nearest to both rays [M, 3], and their angle [M] in radians."""
    (ca, da), (cb, db) = nodes.rays(edge[:, 0]), nodes.rays(edge[:, 1])
    cosine = np.clip((da * db).sum(1), -1, 1)
    sine2 = np.maximum(1 - cosine**2, 1e-18)
    between = cb - ca
    along_a, along_b = (between * da).sum(1), (between * db).sum(1)
    depth_a, depth_b = (along_a - cosine * along_b) / sine2, (cosine * along_a - along_b) / sine2
    middle = (ca + depth_a[:, None] * da + cb + depth_b[:, None] * db) / 2
    return middle, np.arctan2(np.linalg.norm(np.cross(da, db), axis=1), cosine)


def _support(
    nodes: _Nodes, edge: np.ndarray, start: np.ndarray, max_px: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The winning edge [T] of each component, and its observations: node [K], track [K]; one for each view."""
    used, local = np.unique(edge, return_inverse=True)
    local = local.reshape(-1, 2)
    graph = sparse.coo_matrix((np.ones(len(local), bool), local.T), (len(used), len(used)))
    count, component = connected_components(graph, directed=False)
    of_edge = component[local[:, 0]]
    by_component = np.argsort(of_edge, kind="stable")
    rank = np.arange(len(edge)) - np.searchsorted(of_edge[by_component], of_edge[by_component])
    edges, members = by_component[rank < MAX_HYPOTHESES], np.argsort(component, kind="stable")
    a, b = _combinations(np.bincount(of_edge[edges], minlength=count), np.bincount(component[members], minlength=count))
    tried, node = edges[a], used[members[b]]
    error = nodes.errors_px(start[tried], node)
    fits = np.flatnonzero(error <= max_px)
    fits = fits[np.lexsort((error[fits], nodes.view[node[fits]], tried[fits]))]
    fits = fits[np.unique(tried[fits] << 24 | nodes.view[node[fits]], return_index=True)[1]]  # one node of each view
    tried, node, error = tried[fits], node[fits], error[fits]
    score = np.bincount(tried, 1 - error / (2 * max_px), len(edge))
    order = np.lexsort((-score[edges], of_edge[edges]))
    winner = edges[order][np.unique(of_edge[edges][order], return_index=True)[1]]
    track = np.full(len(edge), -1)
    track[winner] = np.arange(len(winner))
    kept = track[tried] >= 0
    by_track = np.argsort(track[tried[kept]], kind="stable")
    return winner, node[kept][by_track], track[tried[kept]][by_track]


def _combinations(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs within groups: group g has first[g] things of one kind and second[g] of another, group after group."""
    sizes = first * second
    group = np.repeat(np.arange(len(sizes)), sizes)
    number = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    begin = np.cumsum(first) - first, np.cumsum(second) - second
    return begin[0][group] + number // second[group], begin[1][group] + number % second[group]


def _refined(nodes: _Nodes, point: np.ndarray, node: np.ndarray, track: np.ndarray) -> np.ndarray:
    """Points [T, 3] that reproject best into their observations (track sorted, each point with two or more)."""
    begins = np.searchsorted(track, np.arange(len(point)))
    focal = nodes.focal[nodes.view[node]][:, None, None]
    for _ in range(ITERATIONS):
        x, y, z = nodes.in_camera(point[track], node).T
        z = np.where(np.abs(z) < 1e-9, 1e-9, z)
        zero = np.zeros_like(z)
        inner = np.stack([np.stack([1 / z, zero, -x / z**2], 1), np.stack([zero, 1 / z, -y / z**2], 1)], 1)
        J = focal * (inner @ nodes.R[nodes.view[node]])
        residual = focal[..., 0] * (np.stack([x / z, y / z], 1) - nodes.xy[node])
        H = np.add.reduceat(np.einsum("kij,kil->kjl", J, J), begins)
        g = np.add.reduceat(np.einsum("kij,ki->kj", J, residual), begins)
        H = H + 1e-9 * np.trace(H, axis1=1, axis2=2)[:, None, None] * np.eye(3)
        point = point - np.linalg.solve(H, g[..., None])[..., 0]
    return point


def _seen_apart(
    nodes: _Nodes, point: np.ndarray, node: np.ndarray, track: np.ndarray, min_angle_deg: float
) -> np.ndarray:
    """bool [T]: whether two of a point's observations see it from directions this far apart."""
    sizes = np.bincount(track, minlength=len(point))
    i, j = _combinations(sizes, sizes)
    towards = point[track] - nodes.rays(node)[0]
    towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-12)
    cosine = np.full(len(point), 1.0)
    np.minimum.at(cosine, track[i], (towards[i] * towards[j]).sum(1))
    return (sizes >= 2) & (cosine <= np.cos(np.radians(min_angle_deg)))
