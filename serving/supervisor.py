"""Keeps the workers of a server going."""

import logging
from time import sleep
from typing import Final

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

LOGGER: Final = logging.getLogger("recsys.serving")
RETRY_SECONDS: Final = 2.0
"""Before a worker that did not start is tried again."""
_ANSWER_SECONDS: Final = 10.0
"""How long a worker that is busy may take to say that it serves."""


class Supervisor(Multiprocess):
    """As uvicorn's, but a worker that cannot start does not end those that answer.

    One that died while a store is down cannot be replaced until the store is back. The others answer meanwhile, by what
    they can read; uvicorn would stop them.
    """

    failed = False
    """Whether no worker was left that answers, and none could be started."""

    def keep_subprocess_alive(self) -> None:
        """Replaces workers that died or hang."""
        if self.should_exit.is_set():
            return
        super().keep_subprocess_alive()
        if not self.should_exit.is_set():
            return
        dead = [place for place, worker in enumerate(self.processes) if worker.exitcode == STARTUP_FAILURE]
        if not any(worker.is_ready(_ANSWER_SECONDS) for worker in self.processes if worker.exitcode is None):
            self.failed = True
            return
        self.should_exit.clear()
        LOGGER.error("a worker did not start and is tried again; the others answer")
        sleep(RETRY_SECONDS)
        for place in dead:
            self.processes[place] = Process(self.config, self.sockets)
            self.processes[place].start()
