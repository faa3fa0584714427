"""A bank that can be published: customers, products, creatives and behaviour drawn from a known truth."""

from recsys.simulator.config import SimulatorConfig
from recsys.simulator.simulation import SimulationReport, simulate

__all__ = ["SimulationReport", "SimulatorConfig", "simulate"]
