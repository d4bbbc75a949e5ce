import numpy as np
import pytest

from lbr.town.coverage import Seen, pool, probe, support
from lbr.town.survey import MIN_SHOWN, VIEWS, walk_shots


@pytest.fixture(scope="module")
def seen(town) -> list[Seen]:
    return [probe(town, s.pose, s.camera) for s in walk_shots(town, 40, "db", np.random.default_rng(0))]


def test_db_views_are_shared(seen: list[Seen]):
    shares = [support(view, pool(seen[:k] + seen[k + 1 :])) for k, view in enumerate(seen)]
    assert np.median(shares) > 0.25


def test_every_facade_is_shown(town, seen: list[Seen]):
    """In several photographs of the map, large enough; a plain walk misses some of this town's."""
    count = len(town.plan.facades)
    shares = np.stack([np.bincount(v.instance - 1, minlength=count) / max(len(v.instance), 1) * v.share for v in seen])
    assert ((shares >= MIN_SHOWN).sum(axis=0) >= VIEWS).all()
