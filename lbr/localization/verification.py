"""What makes a pose verified: the limits, an attempt at a pose with what supports it, and what it falls short of."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from lbr.localization.refine import Refined
from lbr.settings import Settings
from lbr.types import Candidates, Correspondences, PoseEstimate


class VerificationSettings(Settings):
    """A pose is verified with this many inliers in all and from the best db image; under weak_inliers there is none.

    min_kept: refinement with covisible frames must keep this share of the inliers. Where a look-alike of the right
    place was matched, what stands around it does not fit, and they melt away. (Db poses that are decimetres off cost
    some as well: the street drive needs 0.5.)
    min_support: instead of the first two, a pose is refined from hopeful_inliers on, and verified with so many inliers
    beyond those of a wrong place: a right pose finds more and more of what should be there, a wrong one never.
    min_significance: and with so many of them against what is in view (`Guided.significance`), or, where few points
    are, with min_found of them: of 33 that are alike no pose would reach 5.75 before it found all.
    sure_significance: below it a verified pose, which may be a near twin's, is compared with what is found where
    anything stands that looks like what stands there, and with what one more step finds, of a rival (rival_evidence)
    or, where not the first step found the pose, of the fallback; the more significant one is taken. A sure one that is
    of look-alikes alone (`rivals.is_of_look_alikes`) is compared with its twin, unless what was recognised beside it
    tells them apart. Where it is given, a place whose pose is not verified is sampled a second time, unless refinement
    found next to nothing around it.
    """

    min_inliers: int = Field(default=40, ge=4)
    min_image_inliers: int = Field(default=10, ge=4)
    weak_inliers: int = Field(default=12, ge=4)
    min_kept: float = Field(default=0.5, ge=0)
    min_support: int | None = Field(default=None, ge=4)
    hopeful_inliers: int = Field(default=8, ge=4)
    min_pairs: int | None = Field(default=None, ge=4, description="a place with fewer is passed over: rec_th")
    fallback_inliers: int | None = Field(default=None, ge=4, description="min_inliers of the fallback's steps: nv_th")
    weak_image_inliers: int = Field(default=0, ge=0, description="a pose with fewer from its best image is none")
    min_significance: float = Field(default=0.0, ge=0, description="beside min_support")
    min_found: float = Field(default=0.5, gt=0, description="share of the points in view that is as good")
    sure_significance: float | None = Field(default=None, gt=0, description="null: the first pose verified is taken")
    rival_evidence: float = Field(
        default=0.0, ge=0, description="if that is for an instance with this share of the evidence for the pose's own"
    )
    min_advantage: float = Field(
        default=0.1, ge=0, description="of one look-alike over the other, in what is beside it, that tells which it is"
    )
    min_shown: float = Field(
        default=0.1, ge=0, le=1, description="of what was recognised; a pose of the fallback that shows less is doubted"
    )

    def of_step(self, candidates: Candidates) -> VerificationSettings:
        """The limits for these candidates: the fallback may have its own."""
        if self.fallback_inliers is None or candidates.instance:
            return self
        pairs = None if self.min_pairs is None else self.fallback_inliers
        return self.model_copy(update={"min_inliers": self.fallback_inliers, "min_pairs": pairs})


@dataclass(frozen=True, eq=False)
class Attempt:
    """A pose by RANSAC, the pairs it is from, the db image that supports it most.

    refined: what refinement made of it, None when it was not tried (`hopeful` false) or came to nothing.
    repeats: that is what it had made of an earlier attempt at the same pose.
    """

    estimate: PoseEstimate
    pairs: Correspondences
    reference: int
    reference_inliers: int
    hopeful: bool = False
    refined: Refined | None = None
    verified: bool = False
    repeats: bool = False

    def has_support(self, limits: VerificationSettings) -> bool:
        return self.estimate.num_inliers >= limits.min_inliers and self.reference_inliers >= limits.min_image_inliers

    def stands_out(self, limits: VerificationSettings) -> bool:
        """Whether refinement finds more than at a wrong place, where that is what verifies."""
        if limits.min_support is None:
            return True
        tells = self.significance >= limits.min_significance or self.found >= limits.min_found
        return self.support >= limits.min_support and tells

    def holds(self, limits: VerificationSettings) -> bool:
        """Whether refinement keeps enough of it, and finds enough."""
        return self.kept >= limits.min_kept and self.stands_out(limits)

    @property
    def final(self) -> PoseEstimate:
        """What refinement made of it, or, where that came to nothing, the first pose."""
        return self.refined.estimate if self.refined else self.estimate

    @property
    def final_pairs(self) -> Correspondences:
        """What `final` is from."""
        return self.refined.pairs if self.refined else self.pairs

    @property
    def final_inliers(self) -> Correspondences:
        """Those of `final_pairs` that `final` explains."""
        return self.final_pairs.select(self.final.inliers)

    @property
    def kept(self) -> float:
        """Inliers after refinement as a share of those before."""
        return self.refined.estimate.num_inliers / self.estimate.num_inliers if self.refined else 0.0

    @property
    def support(self) -> float:
        """Inliers after refinement beyond those of chance."""
        return self.refined.support if self.refined else 0.0

    @property
    def found(self) -> float:
        """The support as a share of the points in view."""
        return self.refined.found if self.refined else 0.0

    @property
    def significance(self) -> float:
        """Of the support, against all that is in view."""
        return self.refined.significance if self.refined else 0.0


def shortcoming(attempt: Attempt, limits: VerificationSettings) -> str:
    """Why an attempt is not verified, in words."""
    if not attempt.hopeful:
        wanted = f"{limits.min_inliers}, {limits.min_image_inliers}"
        if limits.min_support is not None:
            wanted = f"{limits.hopeful_inliers} to look further"
        return f"{attempt.reference_inliers} of one image; wanted {wanted}"
    if attempt.refined is None:
        return "around which no more is found than by chance"
    if attempt.kept < limits.min_kept:
        return (
            f"of which refinement keeps {100 * attempt.kept:.0f} %, wanted {100 * limits.min_kept:.0f} %: a look-alike"
        )
    if attempt.support < (limits.min_support or 0):
        return f"{attempt.support:.0f} beyond chance after refinement, wanted {limits.min_support}"
    return (
        f"{attempt.support:.0f} beyond chance of {attempt.refined.in_view} map points in view, of significance "
        f"{attempt.significance:.2f}, wanted {limits.min_significance:g}: a look-alike may have as much"
    )
