"""Starts the server: finds what would stop it first, then loads, then listens."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from recsys.errors import HomeError, RecsysError
from serving.auth.exposure import check_exposure
from serving.exposition import start_shared
from serving.logs import configure_logs
from serving.process import settle
from serving.settings import Mode, Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

BACKLOG: Final = 2048
METRICS_FOLDER: Final = "metrics"
"""Where several workers of a home write what they count."""
HANGS_SECONDS: Final = 30
"""A worker that has not said anything for so long is replaced. A new one first imports and compiles, on a busy machine
for longer than uvicorn's five seconds, which would kill one after the other."""
GRACE_SECONDS: Final = 10
"""How long requests in flight may take to finish after SIGTERM."""


def serve(settings: Settings, workers: int = 1, announce: Callable[[str], None] | None = None) -> None:
    """Serves until it is told to stop.

    Args:
        settings: the operator's.
        workers: processes.
        announce: is told the address of the page, where there is one, once nothing stands against the start.

    Raises:
        ConfigError: it would stand open to others.
        HomeError: the port is busy (found before anything is loaded), or the SQL store cannot be used.
        ModelError: there is no version to serve, or it does not fit the features.
        RecsysError: the service did not start for another reason; with several workers, none did.
    """
    check_exposure(settings)
    with closing(listen(settings.host, settings.port)) as listener:
        from serving.champion import check_start

        check_start(settings)
        if announce is not None and settings.mode is Mode.LOCAL:
            announce(page_address(settings.host, listener.getsockname()[1]))
        if workers == 1:
            _serve_here(settings, listener)
        else:
            _serve_workers(settings, listener, workers)


def page_address(host: str, port: int, customer_id: str | None = None) -> str:
    """Where a browser finds the page: the list of customers, or one of them.

    >>> page_address("::1", 8000, "c7")
    'http://[::1]:8000/?customer=c7'
    """
    name = f"[{host}]" if ":" in host else host
    query = "" if customer_id is None else f"?{urlencode({'customer': customer_id})}"
    return f"http://{name}:{port}/{query}"


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one.

    Raises:
        HomeError: the port is busy, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)  # two servers may bind a port that neither listens on
    except OSError as error:
        listener.close()
        raise HomeError(
            f"cannot listen on {host}:{port} ({error.strerror}): stop what uses it, or name another --port"
        ) from error
    listener.set_inheritable(True)
    return listener


def _serve_here(settings: Settings, listener: socket.socket) -> None:
    from serving.app import create_app
    from serving.champion import load_components

    components = load_components(settings)  # here and not in the lifespan: an error reaches the command line plainly
    configure_logs(settings)
    run_app(create_app(settings, load=lambda _: components, ready=settle), listener)


def run_app(app: "FastAPI", listener: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT: then no new connection is taken, and what was begun is answered.

    Raises:
        RecsysError: it did not start.
    """
    import uvicorn

    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE_SECONDS, backlog=BACKLOG
    )
    server = uvicorn.Server(config)
    with _stop_is_success():
        server.run(sockets=[listener])
    if not server.started:
        raise RecsysError("the server did not start; the log above says why")


@contextmanager
def _stop_is_success() -> Iterator[None]:
    """SIGTERM and SIGINT end the process with 0.

    Once it has shut down uvicorn raises the signal again, so that a wanted stop would look like a crash.
    """
    signals = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: sys.exit(0)) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serve_workers(settings: Settings, listener: socket.socket, workers: int) -> None:
    import uvicorn

    from serving.supervisor import Supervisor

    os.environ["RECSYS_HOME"] = str(settings.home.resolve())
    os.environ["RECSYS_HOST"] = settings.host
    os.environ["RECSYS_MODE"] = settings.mode
    os.environ["RECSYS_SECRET"] = settings.signing_key()
    os.environ["RECSYS_DATABASE_URL"] = settings.store_url()
    start_shared(settings.home.resolve() / METRICS_FOLDER)
    configure_logs(settings)
    config = uvicorn.Config(
        "serving.app:app_from_environment",
        factory=True,
        log_config=None,
        access_log=False,
        workers=workers,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=HANGS_SECONDS,
        backlog=BACKLOG,
    )
    supervisor = Supervisor(config, sockets=[listener])
    supervisor.run()
    if supervisor.failed:
        raise RecsysError("no worker started; the log above says why")
