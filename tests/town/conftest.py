import pytest

from lbr.town import TownConfig, build_town


@pytest.fixture(scope="session")
def town():
    return build_town(
        TownConfig(size="tiny", seed=3, stretch_m=1000, width=128, height=96, num_db=4, num_day=1, num_night=1)
    )
