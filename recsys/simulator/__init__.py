"""A bank that can be published: customers, products, creatives and behaviour drawn from a known truth."""

from recsys.simulator.bank import SimulationReport, simulate
from recsys.simulator.config import SimulatorConfig

__all__ = ["SimulationReport", "SimulatorConfig", "simulate"]
