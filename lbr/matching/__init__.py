"""Matchers of local features: `match(a, b) -> Matches`. A new one is a file and two lines here."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from pydantic import Field

from lbr.matching.instancewise import InstanceWise, InstanceWiseSettings
from lbr.matching.lightglue import LightGlueMatcher, LightGlueSettings
from lbr.matching.nearest import GuidedSettings, Nearest, NearestSettings
from lbr.types import LocalFeatures, Matches


class Matcher(Protocol):
    def match(self, a: LocalFeatures, b: LocalFeatures) -> Matches: ...


MATCHERS: dict[str, Any] = {"nearest": Nearest, "lightglue": LightGlueMatcher, "instancewise": InstanceWise}
MatcherConfig = Annotated[NearestSettings | LightGlueSettings | InstanceWiseSettings, Field(discriminator="name")]


def guidance(config: MatcherConfig) -> GuidedSettings | None:
    """How db images are matched once their poses are known; None where they are matched as others are."""
    return config.guided if isinstance(config, NearestSettings) else None


def make_matcher(config: MatcherConfig) -> Matcher:
    """The matcher of a configuration; learned ones load their weights here."""
    return MATCHERS[config.name](config)
