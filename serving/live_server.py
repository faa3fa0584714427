"""The real server as a process of its own, for tests and measurements over a real socket."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 240.0
"""Much: a machine that does other things may take this long for what takes some seconds alone."""
STOP_SECONDS = 20.0


def command_line() -> Path:
    """The `recsys` command of this environment."""
    return Path(sys.executable).with_name("recsys")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LiveServer:
    """`recsys serve` for a home; a context that starts it, waits until it is ready, and ends it.

    Args:
        home: the state directory.
        log: where the server's output goes.
        port: by default a free one.
        environment: beside this process's own.
        workers: processes that answer.
    """

    def __init__(
        self,
        home: Path,
        log: Path,
        port: int | None = None,
        environment: Mapping[str, str] | None = None,
        workers: int = 1,
    ) -> None:
        self.home = home
        self.log = log
        self.port = port or free_port()
        self._environment = dict(environment or {})
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the process and waits for /readyz.

        Raises:
            RuntimeError: it ended, or was not ready in time; the error holds its log.
        """
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **self._environment}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.arguments(), stdout=log, stderr=subprocess.STDOUT, env=environment)
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server did not get ready:\n{self.log.read_text()}")
            time.sleep(0.05)

    def arguments(self) -> list[str]:
        """The command that it is."""
        serve = ["serve", "--port", str(self.port), "--workers", str(self._workers)]
        return [str(command_line()), "--home", str(self.home), *serve]

    @property
    def pid(self) -> int:
        """Of the running process."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        return self._process.pid

    def stop(self) -> int:
        """Asks it to end, waits, and returns its exit code."""
        if self._process is None:
            raise RuntimeError("the server was not started")
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _is_ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
