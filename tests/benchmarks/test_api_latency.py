"""How fast the API answers: one worker, one and eight clients, over real sockets.

    python tests/benchmarks/test_api_latency.py HOME

measures the champion of a home; under pytest (`-m benchmark`) the home is that of RECSYS_BENCH_HOME or the trained tiny
bank. The home is copied first, since a server writes to it. Clients are coroutines on kept-alive connections of this
process: where it shares its only core with the server, their cost is in the numbers.
"""

import asyncio
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from recsys.data.contract import Dataset
from recsys.home import Home
from recsys.schema import CUSTOMER_ID, Table
from serving.live_server import LiveServer
from serving.tokens import READ, issue_token

CLIENTS = (1, 8)
REQUESTS = 500
WARM_UP = 50
CUSTOMERS = 1000
PLACEMENTS = [{"name": "home", "kind": "products", "limit": 5}, {"name": "banner", "kind": "contents", "limit": 1}]


class Measurement(NamedTuple):
    """One setting's numbers; times in ms."""

    clients: int
    statuses: set[int]
    per_second: float
    p50: float
    p99: float
    stages: dict[str, float]
    """Mean time in the server, by stage, and the whole route as `total`."""


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    """Sends one request on a kept-alive connection and returns the status."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))
    return int(head.split(b" ", 2)[1])


async def drive(port: int, requests: Iterator[bytes], clients: int, count: int) -> tuple[list[float], set[int], float]:
    """Seconds of each of `count` requests that `clients` send one after the other, the statuses, and the whole time."""
    seconds: list[float] = []
    statuses: set[int] = set()
    left = iter(range(count))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            started = time.perf_counter()
            statuses.add(await post(reader, writer, next(requests)))
            seconds.append(time.perf_counter() - started)
        writer.close()
        await writer.wait_closed()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return seconds, statuses, time.perf_counter() - started


def requests_of(home: Path) -> Iterator[bytes]:
    """Requests for many customers, in turn, for ever."""
    token = issue_token(
        Home(home).secret(), subject="benchmark", scopes=[READ], customer_id=None, lifetime=timedelta(hours=1)
    )
    customers = Dataset.open(Home(home).dataset_path()).scan(Table.CUSTOMERS).select(pl.col(CUSTOMER_ID).unique())
    made = []
    for customer in sorted(customers.collect()[CUSTOMER_ID])[:CUSTOMERS]:
        body = {"customer_id": customer, "placements": PLACEMENTS, "channel": "app", "locale": "en"}
        content = json.dumps(body).encode()
        lines = (
            "POST /v1/recommendations HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: Bearer {token}",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
        )
        made.append("\r\n".join((*lines, "", "")).encode() + content)
    return itertools.cycle(made)


def stage_sums(port: int) -> dict[str, tuple[float, float]]:
    """Seconds spent and times entered, by stage, since the server started."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name, _, part = sample.name.rpartition("_")
            stage = sample.labels.get("stage")
            if name == "recsys_request_seconds" and sample.labels.get("route") == "/v1/recommendations":
                stage = "total"
            if stage and part in ("sum", "count"):
                found.setdefault(stage, {})[part] = sample.value
    return {stage: (values["sum"], values["count"]) for stage, values in found.items()}


def measure(home: Path, folder: Path) -> list[Measurement]:
    """Every setting, on a copy of `home` in `folder`."""
    copy = folder / "home"
    shutil.copytree(home, copy)
    measurements = []
    with LiveServer(copy, folder / "server.log") as server:
        requests = requests_of(copy)
        for clients in CLIENTS:
            asyncio.run(drive(server.port, requests, clients, WARM_UP))
            before = stage_sums(server.port)
            seconds, statuses, whole = asyncio.run(drive(server.port, requests, clients, REQUESTS))
            after = stage_sums(server.port)
            stages = {
                stage: 1000 * (after[stage][0] - before[stage][0]) / (after[stage][1] - before[stage][1])
                for stage in after
            }
            cuts = statistics.quantiles(seconds, n=100)
            measurements.append(
                Measurement(clients, statuses, len(seconds) / whole, 1000 * cuts[49], 1000 * cuts[98], stages)
            )
    return measurements


def describe(measurements: list[Measurement]) -> str:
    """The numbers as lines."""
    lines = [f"load average {os.getloadavg()[0]:.2f}, {len(os.sched_getaffinity(0))} core(s)"]
    for one in measurements:
        stages = ", ".join(f"{name} {value:.2f}" for name, value in one.stages.items())
        lines.append(
            f"{one.clients} client(s): {one.per_second:.0f} requests/s, p50 {one.p50:.1f} ms, p99 {one.p99:.1f} ms; "
            f"server, mean ms: {stages}"
        )
    return "\n".join(lines)


@pytest.mark.benchmark
def test_api_latency_every_answer_is_good(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = os.environ.get("RECSYS_BENCH_HOME")
    home = Path(given) if given else request.getfixturevalue("champion_home")
    measurements = measure(home, tmp_path)
    with capsys.disabled():
        sys.stdout.write("\n" + describe(measurements) + "\n")
    assert all(one.statuses == {200} for one in measurements)


def main(home: Path) -> None:
    """Measures a home and prints the numbers."""
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(describe(measure(home, Path(folder))) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
