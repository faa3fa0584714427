"""How many requests may be in progress: many in a burst, few while more comes than can be done."""

from collections.abc import Callable
from time import monotonic
from typing import Final

FEWEST: Final = 2
"""One that is worked on, and one that waits: then an answer takes about two times its own work, whatever comes."""
CALM_SECONDS: Final = 2.0
"""After so long without a refusal a burst may be queued again: whoever was told to come back in a second has."""


class Admission:
    """Decides about one request at a time. For one thread: the event loop's.

    A worker answers one request after the other, so what is let in beside the one it works on waits. A burst is let
    in, for it passes: eight clients that wait for their answers get them. Where more comes than is finished, again and
    again, letting it in helps nobody: every finished request after a refusal takes one place away, down to `FEWEST`, so
    that those who are let in do not wait. (The idea is CoDel's, RFC 8289: a standing queue is a bad queue.)

    Args:
        most: in a burst.
        fewest: while it is too much.
        timer: seconds.
    """

    def __init__(self, most: int, fewest: int = FEWEST, timer: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._fewest = min(fewest, most)
        self._timer = timer
        self._in_progress = 0
        self._refused = False
        self._calm_since = timer() - CALM_SECONDS
        self.limit = most
        """How many may be in progress now."""

    def enters(self) -> bool:
        """Whether one more may be worked on; if so, it is in progress until `leaves`."""
        if self._in_progress >= self.limit:
            self._refused = True
            self._calm_since = self._timer()
            return False
        self._in_progress += 1
        return True

    def leaves(self) -> bool:
        """One is finished; returns whether the limit is another now."""
        self._in_progress -= 1
        before = self.limit
        if self._refused:
            self._refused = False
            self.limit = max(self._fewest, self.limit - 1)
        elif self.limit < self._most and self._timer() - self._calm_since >= CALM_SECONDS:
            self.limit += 1
        return self.limit != before
