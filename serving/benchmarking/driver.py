"""Sends requests over real sockets and takes the time of each, from a process that is not the server's."""

import asyncio
import itertools
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

CONNECT_SECONDS = 10.0


class Timing(NamedTuple):
    """What came of many requests; times in ms."""

    statuses: dict[int, int]
    per_second: float
    """Answers with status 200."""
    p50: float
    """Of those too."""
    p99: float
    rejected_p99: float | None
    """Of answers with another status."""


class _Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def post(self, request: bytes) -> int:
        """Sends one request and returns the status."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self.reader.readexactly(int(length.partition(b":")[2]))
        return int(head.split(b" ", 2)[1])

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


class Driver:
    """Drives one server.

    Args:
        port: of 127.0.0.1.
        requests: whole HTTP requests; sent in turn, for ever.
    """

    def __init__(self, port: int, requests: list[bytes]) -> None:
        self._port = port
        self._requests: Iterator[bytes] = itertools.cycle(requests)

    def clients(self, clients: int, count: int) -> Timing:
        """`count` requests by so many clients, each of which waits for an answer before it asks again."""
        return asyncio.run(self._clients(clients, count))

    def rate(self, per_second: float, seconds: float, most: int) -> Timing:
        """Requests at a steady rate, whatever becomes of those before: what an overload is.

        Args:
            per_second: how many.
            seconds: how long.
            most: connections; a request that finds none free waits, and its time counts from when it was due.
        """
        return asyncio.run(self._rate(per_second, seconds, most))

    async def _clients(self, clients: int, count: int) -> Timing:
        found: list[tuple[int, float]] = []
        left = iter(range(count))

        async def client() -> None:
            connection = await self._open()
            for _ in left:
                started = time.perf_counter()
                status = await connection.post(next(self._requests))
                found.append((status, time.perf_counter() - started))
            await connection.close()

        started = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return _timing(found, time.perf_counter() - started)

    async def _rate(self, per_second: float, seconds: float, most: int) -> Timing:
        found: list[tuple[int, float]] = []
        free: asyncio.Queue[_Connection] = asyncio.Queue()
        for _ in range(most):
            free.put_nowait(await self._open())

        async def one(due: float) -> None:
            connection = await free.get()
            status = await connection.post(next(self._requests))
            found.append((status, time.perf_counter() - due))
            free.put_nowait(connection)

        started = time.perf_counter()
        running = []
        for number in range(int(per_second * seconds)):
            due = started + number / per_second
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            running.append(asyncio.create_task(one(due)))
        await asyncio.gather(*running)
        whole = time.perf_counter() - started
        while not free.empty():
            await free.get_nowait().close()
        return _timing(found, whole)

    async def _open(self) -> _Connection:
        opening = asyncio.open_connection("127.0.0.1", self._port)
        return _Connection(*await asyncio.wait_for(opening, CONNECT_SECONDS))


def _timing(found: list[tuple[int, float]], whole: float) -> Timing:
    good = [seconds for status, seconds in found if status == 200]
    bad = [seconds for status, seconds in found if status != 200]
    p50, p99 = _cuts(good)
    statuses = dict(sorted(Counter(status for status, _ in found).items()))
    return Timing(statuses, len(good) / whole, p50, p99, _cuts(bad)[1] if bad else None)


def _cuts(seconds: list[float]) -> tuple[float, float]:
    """p50 and p99 in ms; infinite where there is nothing to cut."""
    if not seconds:
        return float("inf"), float("inf")
    if len(seconds) == 1:
        return 1000 * seconds[0], 1000 * seconds[0]
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return 1000 * cuts[49], 1000 * cuts[98]
