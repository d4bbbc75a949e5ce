"""How instances come about: the dataset's own label images, facades found in the map, or the plain baseline."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lbr.settings import Settings


class GivenInstances(Settings):
    """The label images that the dataset has."""

    name: Literal["given"] = "given"


class MadeInstances(Settings):
    """prefer_given: a dataset that has label images keeps them. The rest is for instances that are made.

    min_images: instances seen in fewer are dropped; null: 3 of ten images, up to 6 of many. min_points: that one is
    made of. min_track: images that must see a point for it to tell of an instance; 3 where matching is guided
    (`matcher.guided`): two images agree on what was looked for along their epipolar line, whatever it is.
    """

    prefer_given: bool = True
    min_images: int | None = Field(default=None, ge=1)
    min_points: int = Field(default=15, ge=3)
    min_track: int = Field(default=2, ge=2)

    def images_needed(self, num_images: int) -> int:
        return self.min_images or int(min(6, max(3, round(num_images**0.5 / 3))))


class FacadeInstances(MadeInstances):
    """Pieces of upright walls: cut where their picture changes, spread to the pixels that agree with it.

    min_width, max_width: of a piece, in shares of the distance it is seen from. price: what a cut of a wall must
    explain. alike: neighbours that differ by fewer grey levels are joined again (larger values of both: fewer, wider
    pieces). min_rise: the share of a piece's points above the eyes of those who see it; cars, hedges and fences do not
    rise over them. min_agreement: mean correlation of the photographs with the picture of the piece. min_square: the
    share of its stronger edges that are level or upright, where its points do not keep to a plane; in trees and hedges,
    which have no direction, a third is. min_told: the share of it that is not flat or has a point near; of facades four
    fifths and more, of the sky between wires half. min_covered: the share of it that its points tell of, where it is no
    layer of a larger one; of facades mostly four fifths, of what pavement and roofs make a third.
    """

    name: Literal["facades"] = "facades"
    min_width: float = Field(default=0.25, gt=0)
    max_width: float = Field(default=1.2, gt=0)
    price: float = Field(default=1.3, ge=0)
    alike: float = Field(default=18.0, ge=0)
    min_rise: float = Field(default=0.2, ge=0, le=1)
    min_agreement: float = Field(default=0.35, ge=-1, le=1)
    min_square: float = Field(default=0.41, ge=0, le=1)
    min_told: float = Field(default=0.75, ge=0, le=1)
    min_covered: float = Field(default=0.4, ge=0, le=1)


class KMeansInstances(MadeInstances):
    """The baseline: k-means of the points in the ground plane, pixels by the nearest observed point.

    num: of clusters; null: one for every three images.
    """

    name: Literal["kmeans"] = "kmeans"
    num: int | None = Field(default=None, ge=1)


InstancesConfig = Annotated[GivenInstances | FacadeInstances | KMeansInstances, Field(discriminator="name")]
