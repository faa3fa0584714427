"""The processes that a measurement needs: the bare app, and a Redis of its own."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from serving.live_server import LiveServer, free_port

REDIS_SECONDS: Final = 10.0


class BareServer(LiveServer):
    """The bare app for a home, as a process of its own; it reads by Feast's own API unless `direct`."""

    way = "feast"

    def arguments(self) -> list[str]:
        """The command that it is."""
        return [sys.executable, "-m", "serving.benchmarking.bare_app", str(self.home), str(self.port), self.way]


class DirectServer(BareServer):
    """The bare app that reads by the service's own path."""

    way = "direct"


@contextmanager
def running_redis(folder: Path) -> Iterator[str | None]:
    """`host:port` of an empty Redis that keeps nothing; None where redis-server is not installed."""
    binary = shutil.which("redis-server")
    if binary is None:
        yield None
        return
    from redis import Redis
    from redis.exceptions import ConnectionError as RedisConnectionError

    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    client, deadline = Redis(port=port), time.monotonic() + REDIS_SECONDS
    try:
        while True:
            try:
                client.ping()
                break
            except RedisConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        client.close()
        process.terminate()
        process.wait(REDIS_SECONDS)
