"""Starts the process that plans: planning takes a model and a minute, and neither is an answering process's to give.

The command is the composition root's (`recsys campaign work`); jobs and their progress are in SQL, so that any worker
of the server sees them and one that is killed loses nothing.
"""

import logging
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Final

from serving.engine import utc_now
from serving.settings import Settings
from serving.store.campaign_jobs import JobStore

LOGGER: Final = logging.getLogger("recsys.serving")
_STOP_SECONDS: Final = 10.0
LOG_FILE: Final = "campaign_jobs.log"


class JobRunner:
    """Sees to it that somebody works on what waits.

    Args:
        settings: whose home and store the process gets.
        jobs: what waits.
        command: the process; None: another process does the work.
    """

    def __init__(self, settings: Settings, jobs: JobStore, command: Sequence[str] | None) -> None:
        self._settings = settings
        self._jobs = jobs
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()

    def ensure(self) -> None:
        """Starts a process where a job waits and none runs."""
        with self._lock:
            if self._command is None or (self._process is not None and self._process.poll() is None):
                return
            if not self._jobs.waits(utc_now()):
                return
            self._process = self._start(self._command)

    def close(self) -> None:
        """Ends the process; it gives its job back, and the next start takes it up again."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                return
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        home: Path = self._settings.home.resolve()
        home.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "RECSYS_HOME": str(home),
            "RECSYS_DATABASE_URL": self._settings.store_url(),
            "OMP_NUM_THREADS": "1",
        }
        LOGGER.info("starting a process for campaign jobs")
        with (home / LOG_FILE).open("ab") as log:
            return subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
