"""The records that flow between functions: frozen, and checked when they are made.

Conventions (docs/conventions.md): pixels are corner-origin (the first pixel's centre is (0.5, 0.5)), sizes are
(width, height), poses are cam_from_world in metres, instance 0 is background, point -1 is none, image names
are posix paths relative to the image root.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from lbr.geometry.camera import Camera
from lbr.geometry.pose import Pose

__all__ = [
    "Camera", "Candidates", "Correspondences", "InstancePrediction", "InstanceVocabulary", "LocalFeatures",
    "Localization", "Matches", "Pose", "PoseEstimate", "Query", "RecognisedInstances", "RigPlace", "SearchStep",
    "Status",
]  # fmt: skip


@dataclass(frozen=True)
class Query:
    """A photograph to localize. `camera` is None when nobody gave its intrinsics; `condition` groups results.

    place: where it stands in a rig of cameras that took photographs at one moment; None for a single camera.
    """

    name: str
    camera: Camera | None = None
    condition: str = "all"
    place: RigPlace | None = None


@dataclass(frozen=True)
class RigPlace:
    """One camera of a rig at one moment. side: its name in the rig. cam_from_rig: its pose there, metres."""

    moment: str
    side: str
    cam_from_rig: Pose


@dataclass(frozen=True, eq=False)
class InstanceVocabulary:
    """The global instances of a map: which colour of a label image is which class of the network.

    colours: int64 [N], colour ids (R * 65536 + G * 256 + B), each once. classes: int32 [N], each once.
    The background, colour 0 and class 0, is the first. Raises ValueError otherwise.
    """

    colours: np.ndarray
    classes: np.ndarray

    def __post_init__(self) -> None:
        _check_shape("classes", self.classes, self.colours.shape)
        if len(self.colours) == 0 or self.colours[0] != 0 or self.classes[0] != 0:
            raise ValueError("a vocabulary starts with the background: colour 0, class 0")
        for what, values in (("colour", self.colours), ("class", self.classes)):
            unique, counts = np.unique(values, return_counts=True)
            if np.any(counts > 1) or unique[0] < 0:
                wrong = unique[0] if unique[0] < 0 else unique[counts > 1][0]
                raise ValueError(f"{what} {wrong} is negative or named twice")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InstanceVocabulary):
            return NotImplemented
        return np.array_equal(self.colours, other.colours) and np.array_equal(self.classes, other.classes)

    @property
    def num_classes(self) -> int:
        """Channels of a network that names these classes, the background among them."""
        return int(self.classes.max()) + 1


@dataclass(frozen=True, eq=False)
class InstancePrediction:
    """What the recognition network says of one image.

    ids: uint16 [H, W, K], the K likeliest classes of each cell of a grid over the whole image, best first;
    confidences: float32 [H, W, K], their (calibrated) probabilities, 0 where a rank is empty.
    presence: float32 [C], for each class the probability that the image shows it (classification head).
    feature: float32 [D], global feature, L2-normalised. image_size: (width, height) of the photograph.
    """

    ids: np.ndarray
    confidences: np.ndarray
    presence: np.ndarray
    feature: np.ndarray
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        if self.ids.ndim != 3:
            raise ValueError(f"ids {list(self.ids.shape)}: wanted [H, W, K]")
        _check_shape("confidences", self.confidences, self.ids.shape)

    @property
    def mask(self) -> np.ndarray:
        """uint16 [H, W]: the likeliest class of each cell."""
        return self.ids[..., 0]

    @property
    def confidence(self) -> np.ndarray:
        """float32 [H, W]: the probability of the likeliest class."""
        return self.confidences[..., 0]


@dataclass(frozen=True, eq=False)
class RecognisedInstances:
    """The instances of a query in the order to try them, without the background.

    instances: int32 [M]. scores: float64 [M], descending: how surely each is there. areas: float64 [M], the share of
    the image that each is expected to fill. feature: float32 [D], global feature, L2-normalised; D is 0 where there is
    none.
    """

    instances: np.ndarray
    scores: np.ndarray
    areas: np.ndarray
    feature: np.ndarray

    def __post_init__(self) -> None:
        m = len(self.instances)
        _check_shape("scores", self.scores, (m,))
        _check_shape("areas", self.areas, (m,))

    @property
    def evidence(self) -> np.ndarray:
        """float64 [M]: how surely how much of the image is of each; in no order."""
        return self.scores * self.areas


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """Keypoints and descriptors of one image.

    keypoints: float32 [N, 2] xy in pixels of the full image, inside `image_size`.
    scores: float32 [N]. descriptors: [N, D] L2-normalised, float32 or float16.
    labels: int32 [N], the instance of the keypoint's pixel, or None when nothing was labelled.
    image_size: (width, height). Raises ValueError when shapes disagree.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    descriptors: np.ndarray
    image_size: tuple[int, int]
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.keypoints)
        _check_shape("keypoints", self.keypoints, (n, 2))
        _check_shape("scores", self.scores, (n,))
        _check_shape("descriptors", self.descriptors, (n, -1))
        if self.labels is not None:
            _check_shape("labels", self.labels, (n,))

    def __len__(self) -> int:
        return len(self.keypoints)

    def select(self, mask: np.ndarray) -> LocalFeatures:
        """The features of a boolean mask [N] or of indices [M], in that order."""
        labels = None if self.labels is None else self.labels[mask]
        return LocalFeatures(
            self.keypoints[mask], self.scores[mask], self.descriptors[mask], self.image_size, labels
        )  # fmt: skip

    def top(self, max_keypoints: int | None) -> LocalFeatures:
        """The `max_keypoints` of highest score, best first; ties in their present order. None keeps all."""
        order = np.argsort(-self.scores, kind="stable")
        return self.select(order[:max_keypoints])


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs of keypoints of two images, a and b. indices: int32 [M, 2] (in a, in b). scores: float32 [M]."""

    indices: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        m = len(self.indices)
        _check_shape("indices", self.indices, (m, 2))
        _check_shape("scores", self.scores, (m,))

    def __len__(self) -> int:
        return len(self.indices)

    @staticmethod
    def empty() -> Matches:
        return Matches(np.zeros((0, 2), np.int32), np.zeros(0, np.float32))


@dataclass(frozen=True)
class Candidates:
    """Db images to compare a query with, best first. `source` says who proposed them (exhaustive, a file, ...).

    instance: the one that they show, 0 where it is not for one that they are proposed. look_alike: it is not what
    was recognised, but may have been taken for that. evidence: the score of what was; 0 where nothing was.
    twin: the instance that looks most like it, 0 where none does. alike: all instances that look like another. shown:
    of what was recognised in the query, how much each of them shows, 0..1 in shares of its area, nan where hardly
    anything of the image is labelled; empty where nothing was recognised. advantage: how much more they show than those
    of the twin do, -1..1; 0 without a twin.
    doubts: the db images whose look-alikes they are: they say something of a pose that those gave, and of no other.
    """

    names: tuple[str, ...]
    scores: tuple[float, ...]
    source: str
    evidence: float = 0.0
    instance: int = 0
    look_alike: bool = False
    twin: int = 0
    alike: frozenset[int] = frozenset()
    advantage: float = 0.0
    shown: tuple[float, ...] = ()
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.names) != len(self.scores):
            raise ValueError(f"{len(self.names)} candidates with {len(self.scores)} scores")
        if self.shown and len(self.shown) != len(self.names):
            raise ValueError(f"{len(self.names)} candidates, of {len(self.shown)} of which it is known what they show")


@dataclass(frozen=True, eq=False)
class Correspondences:
    """2D-3D matches of one query, each (keypoint, point) pair once, with the db images that vote for it.

    keypoint_index: int [M], into the query's features. point_index: int [M], into the map's points.
    points2d: float64 [M, 2] pixels. points3d: float64 [M, 3] world.
    vote_pair, vote_image: int [V], vote v says that db image vote_image[v] supports pair vote_pair[v];
    a pair seen through several images is credited to each of them.
    quality: float64 [M], the higher the likelier a pair is right; None when they are all alike.
    """

    keypoint_index: np.ndarray
    point_index: np.ndarray
    points2d: np.ndarray
    points3d: np.ndarray
    vote_pair: np.ndarray
    vote_image: np.ndarray
    quality: np.ndarray | None = None

    def __post_init__(self) -> None:
        m, v = len(self.keypoint_index), len(self.vote_pair)
        _check_shape("point_index", self.point_index, (m,))
        _check_shape("points2d", self.points2d, (m, 2))
        _check_shape("points3d", self.points3d, (m, 3))
        _check_shape("vote_image", self.vote_image, (v,))
        if self.quality is not None:
            _check_shape("quality", self.quality, (m,))

    def __len__(self) -> int:
        return len(self.keypoint_index)

    def select(self, mask: np.ndarray) -> Correspondences:
        """The pairs of a boolean mask [M], with their votes."""
        kept = mask[self.vote_pair]
        renumber = np.cumsum(mask) - 1
        return Correspondences(
            self.keypoint_index[mask], self.point_index[mask], self.points2d[mask], self.points3d[mask],
            renumber[self.vote_pair[kept]], self.vote_image[kept],
            None if self.quality is None else self.quality[mask],
        )  # fmt: skip

    def votes_by_image(self, mask: np.ndarray, num_images: int) -> np.ndarray:
        """int [num_images]: how many pairs of the boolean mask [M] each db image supports."""
        return np.bincount(self.vote_image[mask[self.vote_pair]], minlength=num_images)


@dataclass(frozen=True, eq=False)
class PoseEstimate:
    """A pose with its evidence.

    pose: cam_from_world. inliers: bool [M] over the correspondences it was made from.
    covariance: float64 [6, 6] of (w, v), w a rotation vector (rad), v a shift (m): R' = exp([w]x) R, t' = t + v;
    None when it could not be computed. camera: the intrinsics used (estimated, maybe). loss_scale_px: of the Cauchy
    loss that the pose minimises.
    """

    pose: Pose
    inliers: np.ndarray
    covariance: np.ndarray | None
    camera: Camera
    loss_scale_px: float = 1.0

    @property
    def num_inliers(self) -> int:
        return int(np.count_nonzero(self.inliers))

    @property
    def position_covariance(self) -> np.ndarray | None:
        """float64 [3, 3]: covariance of the camera's centre c = -R' t in the world, metres squared.

        To first order a rotation w and a shift v of cam_from_world move it by -R' [t]x w - R' v.
        """
        if self.covariance is None:
            return None
        R, (x, y, z) = self.pose.R, self.pose.t
        jacobian = -R.T @ np.hstack([np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]), np.eye(3)])
        return jacobian @ self.covariance @ jacobian.T

    @property
    def position_std(self) -> float | None:
        """Standard deviation of the camera's position, metres: the root of the covariance's trace."""
        covariance = self.position_covariance
        return None if covariance is None else float(np.sqrt(max(np.trace(covariance), 0.0)))

    @property
    def rotation_std(self) -> float | None:
        """Standard deviation of the camera's rotation, radians: the root of the covariance's trace."""
        return None if self.covariance is None else float(np.sqrt(max(np.trace(self.covariance[:3, :3]), 0.0)))


class Status(StrEnum):
    """How far a localization came; only `refined` and `verified` are to be trusted."""

    REFINED = "refined"  # verified, and refined with more frames of the map
    VERIFIED = "verified"  # enough inliers, from enough of one db image
    WEAK = "weak"  # a pose, but with less support than asked for, or one that something else speaks against
    FAILED = "failed"  # no pose


@dataclass(frozen=True)
class SearchStep:
    """One step of the search for a query: where the candidates came from, what was compared, what came of it.

    source: 'instance 17', 'look-alike 9 of 17', 'global', 'list', 'exhaustive'. names: the db images newly compared.
    matches: of the best of them. inliers, image_inliers: of the best pose of this step, in all and from its best db
    image; 0 without a pose. outcome: 'accepted', or why not, in words. instance: as of its `Candidates`.
    """

    source: str
    names: tuple[str, ...]
    matches: int
    inliers: int
    image_inliers: int
    outcome: str
    instance: int = 0


@dataclass(frozen=True, eq=False)
class Localization:
    """The answer for one query: what, how sure, from what, and why.

    estimate is None exactly when status is failed. tried: db images compared, in order; steps: the search, in order.
    instances: those recognised in the query, with their scores, best first.
    reference: the db image with most inliers. place: the map's place that it belongs to, in whose frame the pose is;
    None without a pose. counts, timings (seconds): by name. notes: what the user should
    know (a guessed focal length, say). intrinsics_covariance: float64 [P, P] of the camera's parameters, where they
    were estimated with the pose.
    """

    query: str
    status: Status
    reason: str
    estimate: PoseEstimate | None = None
    camera: Camera | None = None
    tried: tuple[str, ...] = ()
    reference: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    steps: tuple[SearchStep, ...] = ()
    instances: tuple[tuple[int, float], ...] = ()
    place: int | None = None
    intrinsics_covariance: np.ndarray | None = None

    def __post_init__(self) -> None:
        if (self.estimate is None) != (self.status is Status.FAILED):
            raise ValueError(f"{self.query}: status {self.status} with{'out' if self.estimate is None else ''} a pose")

    def with_timings(self, **seconds: float) -> Localization:
        return replace(self, timings={**self.timings, **seconds})


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    fits = array.ndim == len(shape) and all(want in (-1, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits:
        raise ValueError(f"{name} must be {list(shape)}, not {list(array.shape)}")
