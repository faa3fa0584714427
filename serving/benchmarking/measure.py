"""Measures the service on one home, and in the same run the bare app beside it."""

import json
import os
import time
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
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
Spent = dict[str, tuple[float, float]]
"""Stage to seconds and how often it was entered."""


_AT_ONCE: Final = 1 << 24
"""Bytes."""


class LoadConfig(BaseConfig):
    """How hard the servers are driven."""

    requests: int = Field(default=2_000, ge=10)
    """Of each measurement, all rounds together."""
    rounds: int = Field(default=5, ge=1)
    """The servers take turns so often: what else the machine does befalls all of them."""
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
    """By number of clients; the median of the rounds."""
    rounds: dict[int, list[Timing]]
    """Each round, by number of clients."""
    cpu_ms: dict[int, float]
    """Processor time of the process a request, all threads, by number of clients: what a busy machine changes least."""


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
    unloaded_p99: float
    """With one client."""
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
            rounds = {str(count): [timing._asdict() for timing in each] for count, each in one.rounds.items()}
            cpu = {str(count): ms for count, ms in one.cpu_ms.items()}
            found[name] = {**one._asdict(), "timings": timings, "rounds": rounds, "cpu_ms": cpu}
        found["overload_p99_times"] = self.overload.p99 / self.unloaded_p99
        return found


def compare(service: Measured, bare: Measured) -> dict[str, dict[str, float]]:
    """By number of clients: how many times the bare app's p50 and p99, and what share of its requests a second.

    The median over the rounds, in each of which both had the same machine.
    """
    found = {}
    for count, rounds in service.rounds.items():
        pairs = list(zip(rounds, bare.rounds[count], strict=True))
        found[str(count)] = {
            "p50_times": median(own.p50 / other.p50 for own, other in pairs),
            "p99_times": median(own.p99 / other.p99 for own, other in pairs),
            "rate_share": median(own.per_second / other.per_second for own, other in pairs),
            "cpu_times": service.cpu_ms[count] / bare.cpu_ms[count],
        }
    return found


def measure_store(
    home: Path, kind: StoreKind, customers: list[str], load: LoadConfig, environment: dict[str, str]
) -> StoreReport:
    """Drives the servers on one online store, in turns.

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
    _read_once(home)
    with ExitStack() as stack:
        running: dict[str, _Running] = {}
        for name, way in zip(SERVERS, (LiveServer, BareServer, DirectServer), strict=True):
            started = time.perf_counter()
            server = stack.enter_context(way(home, home / f"{name}-{kind}.log", environment=environment))
            ready = time.perf_counter() - started
            rounds: dict[int, list[Timing]] = {count: [] for count in load.clients}
            driver, cpu = Driver(server.port, requests), dict.fromkeys(load.clients, 0.0)
            running[name] = _Running(server, driver, ready, rounds, cpu)
        service = running["service"]
        stages = _drive(running, load)
        timings = service.measured().timings
        capacity, alone = timings[load.clients[-1]].per_second, timings[load.clients[0]]
        beyond = service.driver.rate(load.overload * capacity, load.overload_seconds, MOST_CONNECTIONS)
        modes = sums(service.server.port, "recsys_answers_total", "mode")
        measured = {name: one.measured() for name, one in running.items()}
    return StoreReport(kind, **measured, stages=stages, overload=beyond, unloaded_p99=alone.p99, answered=modes)


class _Running(NamedTuple):
    """A server while it is measured."""

    server: LiveServer
    driver: Driver
    ready_seconds: float
    rounds: dict[int, list[Timing]]
    cpu: dict[int, float]
    """Seconds of processor time, by number of clients."""

    def measured(self) -> Measured:
        """What was found so far."""
        timings = {count: _median(rounds) for count, rounds in self.rounds.items()}
        asked = {count: sum(timing.statuses.values()) for count, timing in timings.items()}
        cpu_ms = {count: 1000 * self.cpu[count] / asked[count] for count in timings}
        return Measured(self.ready_seconds, resident_mb(self.server.pid), timings, self.rounds, cpu_ms)


def _drive(running: dict[str, _Running], load: LoadConfig) -> dict[str, float]:
    """All rounds; returns the mean ms of the service's stages with the fewest clients."""
    spent: dict[str, tuple[float, float]] = {}
    each = max(10, load.requests // load.rounds)
    for count in load.clients:
        for one in running.values():
            one.driver.clients(count, load.warm_up)
        for _ in range(load.rounds):
            for name, one in running.items():
                watched = name == "service" and count == load.clients[0]
                before = stage_sums(one.server.port) if watched else {}
                busy = cpu_seconds(one.server.pid)
                one.rounds[count].append(one.driver.clients(count, each))
                one.cpu[count] += cpu_seconds(one.server.pid) - busy
                if watched:
                    spent = _added(spent, before, stage_sums(one.server.port))
    return _means(spent)


def _read_once(home: Path) -> None:
    """Reads the stores' files, so that who is asked first about a customer is not the one who waits for the disk."""
    for path in (home / "feast" / "online.db", home / "store.db"):
        if path.exists():
            with path.open("rb") as file:
                while file.read(_AT_ONCE):
                    pass


def _median(rounds: list[Timing]) -> Timing:
    """Each number's median; the statuses of all."""
    statuses: Counter[int] = Counter()
    for timing in rounds:
        statuses.update(timing.statuses)
    rejected = [timing.rejected_p99 for timing in rounds if timing.rejected_p99 is not None]
    rate, p50, p99 = (median(getattr(timing, name) for timing in rounds) for name in ("per_second", "p50", "p99"))
    return Timing(dict(sorted(statuses.items())), rate, p50, p99, median(rejected) if rejected else None)


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


def stage_sums(port: int) -> Spent:
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


def _added(spent: Spent, before: Spent, after: Spent) -> Spent:
    """What was spent before, and what came between two looks."""
    found = dict(spent)
    for stage, (seconds, times) in after.items():
        old, own = before.get(stage, (0.0, 0.0)), found.get(stage, (0.0, 0.0))
        found[stage] = own[0] + seconds - old[0], own[1] + times - old[1]
    return found


def _means(spent: Spent) -> dict[str, float]:
    """Mean ms a request of each stage; `rest` is what no stage accounts for: HTTP and what frames it."""
    requests = spent["total"][1]
    means = {stage: 1000 * seconds / requests for stage, (seconds, times) in spent.items() if times}
    means["rest"] = means["total"] - sum(ms for stage, ms in means.items() if stage != "total")
    return means


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used (Linux's /proc; 0 where there is none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """The resident memory of a process, in MB (Linux's /proc; 0 where there is none)."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
