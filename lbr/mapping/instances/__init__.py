"""Global instances from a map: settings by name. `find.py` is the method in the order of its steps."""

from __future__ import annotations

from lbr.mapping.instances.settings import (
    FacadeInstances,
    GivenInstances,
    InstancesConfig,
    KMeansInstances,
    MadeInstances,
)  # fmt: skip

__all__ = ["FacadeInstances", "GivenInstances", "InstancesConfig", "KMeansInstances", "MadeInstances"]
