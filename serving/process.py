"""What a process that does nothing but serve sets for itself, once everything is loaded."""

import gc
import sys
from typing import Final

SWITCH_SECONDS: Final = 0.001
"""How long a thread may keep the interpreter while the event loop waits for it; Python's own 5 ms is a p99."""


COLLECTIONS: Final = (20_000, 20, 50)
"""An answer makes thousands of objects, almost none of which refer to each other in circles: Python's own 700 would
look through them twenty times an answer."""


def settle() -> None:
    """Lets answers wait neither for a collection of what stays anyway, nor long for the threads beside them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)
    sys.setswitchinterval(SWITCH_SECONDS)
