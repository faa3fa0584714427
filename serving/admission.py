"""How many requests may be in progress: many in a burst, few while more comes than can be done."""

from asyncio import CancelledError, Future, get_running_loop
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

AT_ONCE: Final = 4
"""Of a burst; the others wait. While one is worked on, others wait for a store or the disk."""
FEWEST: Final = 2
"""While it is too much: then an answer takes about two times its own work, whatever comes."""
CALM_SECONDS: Final = 2.0
"""After so long without a refusal a burst may be queued again: whoever was told to come back in a second has."""


class Admission:
    """Decides about one request at a time. For one thread: the event loop's.

    A worker answers one request after the other, so all but a few of those that it takes in wait for their turn. A
    burst may wait, for it passes: eight clients that wait for their answers get them. Once one is too many, more comes
    than is finished, and waiting helps nobody: those that wait are turned away with it, and none may wait until it has
    been calm for a while. So those who are answered hardly waited. (The idea is CoDel's, RFC 8289: a standing queue is
    a bad queue.)

    Args:
        most: in a burst.
        at_once: of them are worked on, the others wait.
        fewest: while it is too much.
        timer: seconds.
    """

    def __init__(
        self, most: int, at_once: int = AT_ONCE, fewest: int = FEWEST, timer: Callable[[], float] = monotonic
    ) -> None:
        self._most = most
        self._at_once = min(at_once, most)
        self._fewest = min(fewest, most)
        self._timer = timer
        self._working = 0
        self._waiting: deque[Future[bool]] = deque()
        self._refused_at = timer() - CALM_SECONDS
        self.limit = most
        """How many may be in progress now."""

    async def enters(self) -> bool:
        """Whether one more may be worked on, as soon as it is its turn; if so, it is in progress until `leaves`."""
        if self.limit < self._most and self._timer() - self._refused_at >= CALM_SECONDS:
            self.limit = self._most
        if self._working + len(self._waiting) >= self.limit:
            self._refuse()
            return False
        if self._working < self._at_once:
            self._working += 1
            return True
        turn: Future[bool] = get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled() and turn.result():
                self.leaves()
            raise

    def leaves(self) -> None:
        """One is finished: the one that has waited longest is next."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(True)
                return
        self._working -= 1

    def _refuse(self) -> None:
        """One too many came: so none of those that wait would be answered soon."""
        self._refused_at = self._timer()
        self.limit = self._fewest
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(False)
