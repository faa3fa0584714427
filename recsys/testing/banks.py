"""Small simulated banks that tests of every part start from."""

from recsys.simulator.config import SimulatorConfig


def tiny_bank_config(seed: int = 7) -> SimulatorConfig:
    """About 300 customers x 24 products x 90 days: written in seconds, with enough in it for a model to learn from."""
    return SimulatorConfig(
        customers=300, products=24, days=90, seed=seed, creatives_per_product=(2, 4), sent_pictures=48
    )
