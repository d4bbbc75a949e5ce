"""False joins of structure from motion: parts of a model that cannot all be where it puts them.

Streets with a facade alike are laid over each other at that facade, and every reprojection error stays small. What
tells is what cameras do not see. Missing correspondences (Zach, Irschara and Bischof, CVPR 2008): of the surface that
two images should both see they share what is alike, and nothing beside it. Free space: points of the one street stand
before what cameras of the other see (as the conflicting observations of Heinly, Dunn and Frahm, ECCV 2014).

The first tells nearly every two images, but depends on light and distance too: it says in which order parts are put
together. The second depends on neither: it alone says that two parts do not belong together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from lbr.mapping.co_observation import CoObservation
from lbr.settings import Settings

LINK_POINTS = 15  # that two images share, to be linked
SURE_CELLS = 60, 200  # that two images, two parts should both see; of fewer, agreement is taken for less than it is
USUAL_FILLED, USUAL_CELLS = 0.01, 100  # of free space: what a share of few cells is drawn to


class FalseJoinSettings(Settings):
    """What is a contradiction: by maps whose truth is known.

    Of the cells where images of one part see where points of another are, these stand in free space in 4 % at most
    between parts of a drive along a street with trees, whose map is right, and in 13 % and more between streets of the
    town that structure from motion laid over each other.
    """

    rounds: int = Field(default=3, ge=0, description="of structure from motion without what joins falsely")
    max_filled: float = Field(default=0.07, gt=0, lt=1, description="of free space, by points of another part")
    times_own: float = Field(default=3.0, ge=1, description="and so many times what groups fill of their own")
    cohesion: float = Field(
        default=0.5, gt=0, le=1, description="of images put together at first, in agreements of images closest together"
    )
    min_images: int = Field(default=3, ge=1, description="that show it: fewer may show a passing lorry")


@dataclass(frozen=True, eq=False)
class _Evidence:
    """Counts of cells, between images and groups [I, K] or between groups [K, K].

    viewed: of an image (row), before which points of a group stand. placed: of a group, before which points of an image
    (row) stand. reached: of an image, at or before which points of a group stand. links: images of a group that an
    image is linked to. shared, both_should: of linked images, with points that both see, and with such that both
    should.
    """

    viewed: np.ndarray
    placed: np.ndarray
    reached: np.ndarray
    links: np.ndarray
    shared: np.ndarray
    both_should: np.ndarray

    @classmethod
    def of(cls, found: CoObservation, member: np.ndarray) -> _Evidence:
        """member: float [I, K], 1 where an image is of a group."""
        linked = (found.points >= LINK_POINTS) & ~np.eye(len(member), dtype=bool)
        return cls(
            found.before @ member, found.before.T @ member, (found.before + found.level) @ member, linked @ member,
            *(member.T @ (cells * linked) @ member for cells in found.by_both),
        )  # fmt: skip

    def together(self, kept: int, gone: int) -> _Evidence:
        """With the group `gone` in the group `kept`."""
        into = np.eye(len(self.shared), dtype=np.float32)
        into[gone, kept] = 1
        into = np.delete(into, gone, axis=1)
        by_image = (counts @ into for counts in (self.viewed, self.placed, self.reached, self.links))
        return _Evidence(*by_image, *(into.T @ cells @ into for cells in (self.shared, self.both_should)))


def contradicting(found: CoObservation, settings: FalseJoinSettings) -> np.ndarray:
    """Images of parts of a model that contradict each other, bool [I, I], symmetric."""
    part, contradict = consistent_parts(found, settings)
    return contradict[np.ix_(part, part)]


def consistent_parts(found: CoObservation, settings: FalseJoinSettings) -> tuple[np.ndarray, np.ndarray]:
    """The part of each image, int [I] from 0, and which parts contradict each other, bool [K, K], symmetric.

    Linked groups of images are put together, those first that agree most, unless they contradict each other.
    """
    part = _groups(found, settings.cohesion)
    evidence = _Evidence.of(found, np.eye(part.max() + 1, dtype=np.float32)[part])
    most = max(settings.max_filled, settings.times_own * _usual(evidence, part))
    while True:
        contradict = _contradict(evidence, part, most, settings.min_images)
        agreement = evidence.shared / (evidence.both_should + SURE_CELLS[1])
        apart = contradict | (evidence.both_should == 0) | np.eye(len(agreement), dtype=bool)
        if apart.all():
            return _moved(evidence, part, most), contradict
        agreement[apart] = -1
        kept, gone = sorted(np.unravel_index(agreement.argmax(), agreement.shape))
        evidence = evidence.together(kept, gone)
        part = np.where(part == gone, kept, part - (part > gone))


def _groups(found: CoObservation, cohesion: float) -> np.ndarray:
    """Images that agree well with each other, at the mean: the group of each, int [I]."""
    if len(found.shared) == 1:
        return np.zeros(1, np.int64)
    shared, both_should = found.by_both
    agreement = shared / np.maximum(both_should, SURE_CELLS[0])
    distance = 1 - agreement
    np.fill_diagonal(distance, 0)
    least = cohesion * np.median(agreement.max(1))
    return fcluster(linkage(squareform(distance, checks=False), "average"), 1 - least, "distance").astype(np.int64) - 1


def _moved(evidence: _Evidence, part: np.ndarray, most: float) -> np.ndarray:
    """The part of each image, int [I], where one that looks through its own part is of another that it is linked to.

    An image that shows little beside what is alike is put together with either street.
    """
    filled = _share(evidence.viewed, evidence.reached)
    fits = (filled <= most) & (evidence.links > 0)
    wrong = (filled[np.arange(len(part)), part] > most) & fits.any(1)
    return np.where(wrong, np.where(fits, evidence.links, -1).argmax(1), part)


def _contradict(evidence: _Evidence, part: np.ndarray, most: float, min_images: int) -> np.ndarray:
    """bool [K, K]: parts of which one fills more than a share `most` of the free space of the other.

    What fewer than `min_images` images show is left out, and what is seen of as few.
    """
    images = [np.flatnonzero(part == p) for p in range(part.max() + 1)]

    def few(cells: np.ndarray) -> np.ndarray:
        """Of each part its images with the most cells, for each column: their sum [K, K]."""
        return np.stack([np.sort(cells[i], 0)[::-1][: min_images - 1].sum(0) for i in images])

    before, reached = (np.stack([cells[i].sum(0) for i in images]) for cells in (evidence.viewed, evidence.reached))
    filled = _share(before - np.maximum(few(evidence.viewed), few(evidence.placed).T), reached)
    return (np.maximum(filled, filled.T) > most) & ~np.eye(len(images), dtype=bool)


def _usual(evidence: _Evidence, part: np.ndarray) -> float:
    """The share of its own free space that a part fills, at the median."""
    own = np.arange(len(part)), part
    before, reached = (np.bincount(part, cells[own]) for cells in (evidence.viewed, evidence.reached))
    return float(np.median(_share(before, reached)))


def _share(before: np.ndarray, reached: np.ndarray) -> np.ndarray:
    return (before + USUAL_FILLED * USUAL_CELLS) / (reached + USUAL_CELLS)
