"""How fast answers come while a dependency is broken, and how soon they are whole again once it is back.

Every part is broken for real, under the running server: files are taken away or overwritten, the network to Redis is
slowed down or cut, the operating system refuses writes.
"""

import resource
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from serving.benchmarking.driver import Driver, Timing
from serving.benchmarking.measure import ROUTE, requests_of, sums
from serving.benchmarking.slow_proxy import SlowProxy
from serving.live_server import LiveServer

PERSONAL: Final = frozenset({"personalised", "partial"})
SLOW_SECONDS: Final = 0.5
WARM_UP: Final = 50
SETTLE: Final = 30
"""Requests after a breakage that are not measured: they open the breaker, and are reported by themselves."""
GIVE_UP_SECONDS: Final = 60.0
GARBAGE: Final = b"no database " * 4096
Break = Callable[[], Callable[[], None]]
"""Breaks a part, and returns what mends it."""


class Breakage(NamedTuple):
    """What one breakage did; times in ms."""

    name: str
    opening: Timing
    """The first requests: those that wait for a time-out."""
    broken: Timing
    """Those after them."""
    modes: dict[str, float]
    """Answers by mode, while it was broken."""
    recovery_seconds: float
    """From its being mended to the first personal answer."""


def measure_breakages(
    home: Path, customers: list[str], requests: int, environment: dict[str, str], redis_port: int | None = None
) -> list[Breakage]:
    """Breaks one part after the other of a server on `home`, which must be a copy.

    Args:
        home: with a champion.
        customers: are asked about in turn.
        requests: of each measurement.
        environment: of the server.
        redis_port: of the online store, where it is in Redis; it is then reached by way of a proxy.
    """
    with ExitStack() as stack:
        proxy = None
        if redis_port is not None:
            proxy = stack.enter_context(SlowProxy(redis_port))
            environment = {**environment, "RECSYS_REDIS": f"127.0.0.1:{proxy.port}"}
        server = stack.enter_context(LiveServer(home, home / "breakages.log", environment=environment))
        asked = requests_of(home, customers)
        personal = _personal(server.port, asked)
        driver = Driver(server.port, asked)
        driver.clients(1, WARM_UP)
        parts = _parts(home, server.pid, proxy)
        return [_measure(name, part, server, driver, (personal, requests)) for name, part in parts.items()]


def _measure(name: str, breaks: Break, server: LiveServer, driver: Driver, asked: tuple[bytes, int]) -> Breakage:
    personal, requests = asked
    mend = breaks()
    try:
        opening = driver.clients(1, SETTLE)
        before = sums(server.port, "recsys_answers_total", "mode")
        broken = driver.clients(1, requests)
        after = sums(server.port, "recsys_answers_total", "mode")
    finally:
        mend()
    modes = {mode: count - before.get(mode, 0.0) for mode, count in after.items() if count > before.get(mode, 0.0)}
    return Breakage(name, opening, broken, modes, _seconds_until_personal(server.port, personal))


def _parts(home: Path, pid: int, proxy: SlowProxy | None) -> dict[str, Break]:
    online = home / "feast" / "online.db"
    parts: dict[str, Break] = {}
    if proxy is not None:
        parts["features slow by 500 ms"] = lambda: _slowed(proxy)
        parts["features down"] = lambda: _cut(proxy)
    else:
        parts["features down"] = lambda: _taken(online, None)
        parts["features corrupt"] = lambda: _taken(online, GARBAGE)
        parts["features empty"] = lambda: _emptied(online)
    parts["SQL store down"] = lambda: _taken(home / "store.db", None)
    parts["SQL store corrupt"] = lambda: _taken(home / "store.db", GARBAGE)
    parts["MLflow down"] = lambda: _taken(home / "mlflow" / "mlflow.db", None)
    parts["disk full"] = lambda: _full(pid)
    return parts


def _slowed(proxy: SlowProxy) -> Callable[[], None]:
    proxy.delay = SLOW_SECONDS
    return proxy.mend


def _cut(proxy: SlowProxy) -> Callable[[], None]:
    proxy.cut()
    return proxy.mend


def _taken(path: Path, instead: bytes | None) -> Callable[[], None]:
    """Takes a database away, with garbage in its place or nothing."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = Path(shutil.copy(path, path.with_name(f"{path.name}.kept")))
    _forget(path)
    if instead is not None:
        path.write_bytes(instead)

    def mend() -> None:
        _forget(path)
        kept.replace(path)

    return mend


def _emptied(path: Path) -> Callable[[], None]:
    mend = _taken(path, None)
    shutil.copy(path.with_name(f"{path.name}.kept"), path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            connection.execute(f'DELETE FROM "{name}"')  # noqa: S608 - Feast's own names
    return mend


def _full(pid: int) -> Callable[[], None]:
    """No file of the process may grow any more (Linux)."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))

    def mend() -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

    return mend


def _forget(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _personal(port: int, requests: list[bytes]) -> bytes:
    """The request of a customer whose answer is personal."""
    with _connected(port) as connection:
        for request in requests:
            if _mode(connection, request) in PERSONAL:
                return request
    raise RuntimeError("no customer's answer is personal")


def _seconds_until_personal(port: int, request: bytes) -> float:
    started = time.perf_counter()
    with _connected(port) as connection:
        while _mode(connection, request) not in PERSONAL:
            if time.perf_counter() - started > GIVE_UP_SECONDS:
                return float("inf")
            time.sleep(0.01)
    return time.perf_counter() - started


@contextmanager
def _connected(port: int) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


def _mode(connection: HTTPConnection, request: bytes) -> str | None:
    """Of the answer; None where there is none."""
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:]]
    connection.request("POST", ROUTE, body, {name.decode(): value.decode() for name, _, value in lines})
    answer = connection.getresponse()
    content = answer.read()
    found: Any = orjson.loads(content) if answer.status == 200 else {}
    return found.get("mode")


def describe_breakages(found: list[dict[str, Any]]) -> list[str]:
    """The breakages as lines."""
    lines = []
    for one in found:
        broken, opening = one["broken"], one["opening"]
        modes = ", ".join(f"{mode} {count:.0f}" for mode, count in one["modes"].items())
        lines.append(
            f"    {one['name']:<24} p50 {broken['p50']:.1f}, p99 {broken['p99']:.1f}; first {SETTLE}: p99 "
            f"{opening['p99']:.1f}; statuses {broken['statuses']}; {modes}; personal again after "
            f"{one['recovery_seconds']:.2f} s"
        )
    return lines
