"""Base of the configuration models, and the path type that remembers which file named it.

The models themselves live beside the code that reads them; `config.py` composes them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Settings(BaseModel):
    """A section of the configuration: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Located(str):
    """A string from a YAML file or the command line that knows the folder its relative paths start from."""

    base: Path

    def __new__(cls, text: str, base: Path) -> Located:
        located = super().__new__(cls, text)
        located.base = base
        return located


def _resolve(value: Any) -> Any:
    if isinstance(value, Located):
        return Path(os.path.normpath(value.base / Path(str(value)).expanduser()))
    return value


ConfigPath = Annotated[Path, BeforeValidator(_resolve)]
