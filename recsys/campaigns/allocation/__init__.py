"""Who gets what: the highest expected incremental value under budget, capacities, caps and cell sizes."""

from recsys.campaigns.allocation.allocate import Allocation, ConstraintPrice, allocate
from recsys.campaigns.allocation.limits import AllocationLimits, Cell

__all__ = ["Allocation", "AllocationLimits", "Cell", "ConstraintPrice", "allocate"]
