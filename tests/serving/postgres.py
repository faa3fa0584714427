"""A real PostgreSQL for tests: its own data folder and loopback port, gone when they end."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from serving.live_server import free_port

USER = "recsys"
START_SECONDS = 30.0
UNPRIVILEGED = ("postgres", "nobody")


class Postgres:
    """A running server that makes empty places for tables: a schema each, which costs far less than a database."""

    def __init__(self, port: int, arguments: list[Any], folder: Path, owner: dict[str, Any]) -> None:
        self.port = port
        self._numbers = count(1)
        self._arguments, self._folder, self._owner = arguments, folder, owner
        self.start()

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._arguments, stdout=log, stderr=log, cwd=self._folder, **self._owner)
        _wait(self, self._process, self._folder / "log")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """By default "fast": what it holds is written, connections are closed at once."""
        self._process.send_signal(how)
        self._process.wait(20)

    def new_database(self) -> str:
        """The SQLAlchemy URL of an empty schema."""
        name = f"test_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/postgres?options=-csearch_path%3D{name}"

    def connect(self) -> Any:
        address = f"host=127.0.0.1 port={self.port} user={USER} dbname=postgres connect_timeout=2"
        return psycopg.connect(address, autocommit=True)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Skips the test where the machine has no PostgreSQL."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine: install its server (initdb, postgres) to run this test")
    folder = Path(tempfile.mkdtemp(prefix="recsys-postgres-"))
    owner = _unprivileged(folder)
    data, port = folder / "data", free_port()
    make = [binaries / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(make, check=True, capture_output=True, cwd=folder, **owner)
    settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "max_connections": "60"}
    arguments = [binaries / "postgres", "-D", data, "-p", str(port)]
    arguments += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server = Postgres(port, arguments, folder, owner)
    try:
        yield server
    finally:
        server.stop(signal.SIGQUIT)  # "immediate": what it holds is thrown away, so nothing needs to be written
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    """The newest server that is installed: Debian keeps it out of the path."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def _unprivileged(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then the folder is given to somebody else, who runs it."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = next(name for name in UNPRIVILEGED if name in names)
    shutil.chown(folder, user)
    return {"user": user, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C"}}


def _wait(server: Postgres, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.connect().close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}") from None
            time.sleep(0.05)
