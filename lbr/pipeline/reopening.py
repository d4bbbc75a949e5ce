"""Objects that go to other processes, and open their files and networks there anew."""

from __future__ import annotations

from functools import cached_property
from typing import Any


class Reopened:
    """What it opens are cached properties, which do not travel: a copy sent to another process makes its own."""

    def __getstate__(self) -> dict[str, Any]:
        cached = {
            name for kind in type(self).__mro__ for name, v in vars(kind).items() if isinstance(v, cached_property)
        }
        return {key: value for key, value in self.__dict__.items() if key not in cached}
