"""What a process that does nothing but serve sets for itself, once everything is loaded."""

import gc
import sys
from typing import Final

SWITCH_SECONDS: Final = 0.001
"""How long a thread may keep the interpreter while the event loop waits for it; Python's own 5 ms is a p99."""


def settle() -> None:
    """Lets answers wait neither for a collection of what stays anyway, nor long for the threads beside them."""
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)
