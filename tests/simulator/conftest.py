"""One small bank for all tests of the simulator that only read it."""

from pathlib import Path

import pytest

from recsys.simulator import SimulatorConfig, simulate

BANK = SimulatorConfig(customers=800, products=40, days=90, seed=3, creatives_per_product=(2, 4), sent_pictures=48)


@pytest.fixture(scope="session")
def bank_config() -> SimulatorConfig:
    """The config of `bank`."""
    return BANK


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank of 800 customers."""
    out = tmp_path_factory.mktemp("simulator") / "bank"
    simulate(BANK, out)
    return out
