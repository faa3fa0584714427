"""Measures the service on one home, and in the same run the bare app beside it."""

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from pydantic import Field

from recsys.config import BaseConfig
from recsys.home import Home
from serving.benchmarking.driver import Driver, Timing
from serving.benchmarking.servers import BareServer, DirectServer, LiveServer
from serving.tokens import READ, issue_token

ROUTE: Final = "/v1/recommendations"
PLACEMENTS: Final = (
    {"name": "home", "kind": "products", "limit": 1},
    {"name": "banner", "kind": "contents", "limit": 1},
)
MOST_CONNECTIONS: Final = 256
SERVERS: Final = ("service", "bare", "direct")
StoreKind = Literal["sqlite", "redis"]


class LoadConfig(BaseConfig):
    """How hard the servers are driven."""

    requests: int = Field(default=2_000, ge=10)
    """Of each measurement."""
    clients: tuple[int, ...] = (1, 8)
    warm_up: int = Field(default=200, ge=1)
    overload: float = Field(default=4.0, gt=1)
    """Times the rate that so many clients as the last of `clients` get."""
    overload_seconds: float = Field(default=5.0, gt=0)


class Measured(NamedTuple):
    """One server."""

    ready_seconds: float
    """From the start of the process to readiness, imports included."""
    resident_mb: float
    """Of the worker, after it was driven."""
    timings: dict[int, Timing]
    """By number of clients."""


class StoreReport(NamedTuple):
    """The service and the bare app on one online store."""

    store: StoreKind
    service: Measured
    bare: Measured
    """It reads by Feast's own API."""
    direct: Measured
    """It reads by the service's path: the strictest comparison."""
    stages: dict[str, float]
    """Mean ms in the server with one client, by stage; `total` is the whole route."""
    overload: Timing
    answered: dict[str, float]
    """Answers by mode: a service that answers `safe` is fast for nothing."""

    def to_json(self) -> dict[str, Any]:
        """With the comparison that a reader would make himself."""
        found = {**self._asdict(), "overload": self.overload._asdict()}
        found["compared"] = compare(self.service, self.bare)
        found["compared_direct"] = compare(self.service, self.direct)
        for name in SERVERS:
            one: Measured = getattr(self, name)
            timings = {str(count): timing._asdict() for count, timing in one.timings.items()}
            found[name] = {**one._asdict(), "timings": timings}
        found["overload_p99_times"] = self.overload.p99 / self.service.timings[min(self.service.timings)].p99
        return found


def compare(service: Measured, bare: Measured) -> dict[str, dict[str, float]]:
    """By number of clients: how many times the bare app's p50 and p99, and what share of its requests a second."""
    return {
        str(count): {
            "p50_times": one.p50 / bare.timings[count].p50,
            "p99_times": one.p99 / bare.timings[count].p99,
            "rate_share": one.per_second / bare.timings[count].per_second,
        }
        for count, one in service.timings.items()
    }


def measure_store(
    home: Path, kind: StoreKind, customers: list[str], load: LoadConfig, environment: dict[str, str]
) -> StoreReport:
    """Drives both servers on one online store, one after the other.

    Args:
        home: has a champion; its features are in the store.
        kind: names the store.
        customers: are asked about in turn.
        load: how hard.
        environment: tells the processes where the store is.

    Raises:
        RuntimeError: a server did not start; the error holds its log.
    """
    requests = requests_of(home, customers)
    stages: dict[str, float] = {}
    overloads: list[Timing] = []
    modes: dict[str, float] = {}

    def beyond(server: LiveServer, driver: Driver, timings: dict[int, Timing]) -> None:
        capacity = timings[load.clients[-1]].per_second
        overloads.append(driver.rate(load.overload * capacity, load.overload_seconds, MOST_CONNECTIONS))
        modes.update(sums(server.port, "recsys_answers_total", "mode"))

    bare, direct = (
        _measure(server(home, home / f"{server.way}-{kind}.log", environment=environment), requests, load, {}, None)
        for server in (BareServer, DirectServer)
    )
    live = LiveServer(home, home / f"service-{kind}.log", environment=environment)
    service = _measure(live, requests, load, stages, beyond)
    return StoreReport(kind, service, bare, direct, stages, overloads[0], modes)


def _measure(
    server: LiveServer,
    requests: list[bytes],
    load: LoadConfig,
    stages: dict[str, float],
    beyond: Callable[[LiveServer, Driver, dict[int, Timing]], None] | None,
) -> Measured:
    started = time.perf_counter()
    with server:
        ready = time.perf_counter() - started
        driver, timings = Driver(server.port, requests), {}
        for clients in load.clients:
            driver.clients(clients, load.warm_up)
            before = {} if beyond is None else stage_sums(server.port)
            timings[clients] = driver.clients(clients, load.requests)
            if beyond is not None and not stages:
                stages |= _means(before, stage_sums(server.port))
        if beyond is not None:
            beyond(server, driver, timings)
        return Measured(ready, resident_mb(server.pid), timings)


def requests_of(home: Path, customers: list[str]) -> list[bytes]:
    """A request for one product and one creative for each customer."""
    secret = Home(home).secret()
    token = issue_token(secret, subject="benchmark", scopes=[READ], customer_id=None, lifetime=timedelta(hours=6))
    made = []
    for customer in customers:
        body = {"customer_id": customer, "placements": list(PLACEMENTS), "channel": "app", "locale": "en"}
        content = json.dumps(body).encode()
        lines = (
            f"POST {ROUTE} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: Bearer {token}",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
        )
        made.append("\r\n".join((*lines, "", "")).encode() + content)
    return made


def stage_sums(port: int) -> dict[str, tuple[float, float]]:
    """Seconds spent and times entered, by stage, since the server started; `total` is the whole route."""
    seconds = sums(port, "recsys_stage_seconds_sum", "stage")
    times = sums(port, "recsys_stage_seconds_count", "stage")
    seconds["total"] = sums(port, "recsys_request_seconds_sum", "route").get(ROUTE, 0.0)
    times["total"] = sums(port, "recsys_request_seconds_count", "route").get(ROUTE, 0.0)
    return {stage: (seconds[stage], times[stage]) for stage in seconds}


def sums(port: int, sample: str, label: str) -> dict[str, float]:
    """A metric of a running server, summed by one of its labels."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            if one.name == sample:
                found[one.labels[label]] = found.get(one.labels[label], 0.0) + one.value
    return found


def _means(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Mean ms of what was entered in between."""
    means = {}
    for stage, (seconds, times) in after.items():
        old_seconds, old_times = before.get(stage, (0.0, 0.0))
        if times > old_times:
            means[stage] = 1000 * (seconds - old_seconds) / (times - old_times)
    return means


def resident_mb(pid: int) -> float:
    """The resident memory of a process, in MB (Linux's /proc; 0 where there is none)."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
