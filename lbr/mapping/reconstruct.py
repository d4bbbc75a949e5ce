"""The variants of making a model: triangulation with known poses, or structure from motion."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lbr.mapping.sfm import SfmSettings
from lbr.mapping.triangulation import TriangulationSettings

ReconstructionConfig = Annotated[TriangulationSettings | SfmSettings, Field(discriminator="name")]
