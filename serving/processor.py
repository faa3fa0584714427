"""One processor for all threads of a worker, where the operator wants that.

A worker's threads take turns at one interpreter, so a second processor makes none of them faster. It makes them slower:
whoever is woken on it finds it asleep and its memory cold, and the interpreter goes to and fro between the two.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final, Self

LOGGER = logging.getLogger("recsys.serving")
Anywhere = Callable[[], AbstractContextManager[None]]
"""What is done in it, and what is started in it, may run on any processor."""
_CLAIM: Final = "\0{}-on-processor-{}"
_THREADS: Final = Path("/proc/self/task")


class OwnProcessor:
    """A processor that no other worker of this machine has.

    The claim is a name in Linux's abstract namespace of sockets: it ends with the process, whatever ends that, and
    leaves nothing behind.

    Args:
        number: of the processor.
        allowed: all that the process may use.
        claim: holds the name.
    """

    def __init__(self, number: int, allowed: frozenset[int], claim: socket.socket) -> None:
        self.number = number
        self._allowed = allowed
        self._claim = claim

    @classmethod
    def claim(cls, whose: str = "recsys-worker") -> Self | None:
        """The first that no other of those has; None where there is none, no choice, or no way to keep to one."""
        if not hasattr(os, "sched_setaffinity"):
            LOGGER.warning("this system does not let a worker keep to one processor")
            return None
        allowed = frozenset(os.sched_getaffinity(0))
        if len(allowed) < 2:
            return None
        for number in sorted(allowed):
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                claim.bind(_CLAIM.format(whose, number))
            except OSError:
                claim.close()
                continue
            return cls(number, allowed, claim)
        LOGGER.warning("each of %d processors has a worker: this one keeps to none of its own", len(allowed))
        return None

    def keep(self) -> None:
        """From now on all threads of the process run on it, and those that they start."""
        for thread in _THREADS.iterdir():
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(int(thread.name), {self.number})

    @contextmanager
    def anywhere(self) -> Iterator[None]:
        """Meanwhile the calling thread may run on any processor, and what it starts may for ever."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self._allowed)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    def release(self) -> None:
        """Another worker may have it."""
        self._claim.close()
