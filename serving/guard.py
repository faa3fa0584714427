"""Keeps a dependency that is slow or down from making answers slow: a time-out, a few threads, and a breaker."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from time import monotonic
from typing import NamedTuple, ParamSpec, TypeVar

from serving.daemon_pool import DaemonPool
from serving.metrics import Metrics

LOGGER = logging.getLogger("recsys.serving")
P = ParamSpec("P")
T = TypeVar("T")


class UnavailableError(Exception):
    """A dependency did not answer in time, failed, or is known to be down."""


class GuardConfig(NamedTuple):
    """How much patience a dependency gets."""

    timeout: float
    """Seconds a call, its wait for a thread included."""
    threads: int = 1
    """How many calls may be under way: what hangs takes no more than these."""
    failures: int = 3
    """After so many in a row the dependency counts as down."""
    probe_seconds: float = 1.0
    """How often one that is down is tried."""


class Breaker:
    """Remembers whether a dependency is down. For one thread: the event loop's.

    Args:
        failures: so many in a row open it.
        probe_seconds: an open one lets one call pass in so many seconds; if that succeeds, all.
        timer: seconds.
    """

    def __init__(self, failures: int, probe_seconds: float, timer: Callable[[], float] = monotonic) -> None:
        self._limit = failures
        self._probe_seconds = probe_seconds
        self._timer = timer
        self._failures = 0
        self._waits_since: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the dependency counts as down."""
        return self._waits_since is not None

    def admits(self) -> bool:
        """Whether a call may be made now. Where it is a probe, the next one is an interval later."""
        if self._waits_since is None:
            return True
        now = self._timer()
        if now - self._waits_since < self._probe_seconds:
            return False
        self._waits_since = now
        return True

    def succeeded(self) -> None:
        """A call was answered."""
        self._failures = 0
        self._waits_since = None

    def failed(self) -> None:
        """A call was not."""
        self._failures += 1
        if self._failures >= self._limit:
            self._waits_since = self._timer()


class Guard:
    """Calls a dependency in threads of its own.

    Args:
        name: of the dependency, in metrics and log.
        config: how patient to be.
        metrics: counts failures.
        errors: what the dependency's failures are; another error is the program's and passes through.
    """

    def __init__(self, name: str, config: GuardConfig, metrics: Metrics, errors: type[Exception] = Exception) -> None:
        self._name = name
        self._config = config
        self._metrics = metrics
        self._errors = errors
        self._breaker = Breaker(config.failures, config.probe_seconds)
        self._pool = DaemonPool(config.threads, name)
        metrics.up.labels(name).set(1)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns.

        Raises:
            UnavailableError: at once where the dependency is down, else after the time-out at the latest. What was
                called may then still be under way.
        """
        if not self._breaker.admits():
            raise UnavailableError(self._name)
        running = self._pool.submit(function, *args, **kwargs)
        try:
            result = await self._within_time(running)
        except (TimeoutError, self._errors) as error:
            self._failed(error)
            raise UnavailableError(self._name) from error
        if self._breaker.is_open:
            LOGGER.warning("%s answers again", self._name)
            self._metrics.up.labels(self._name).set(1)
        self._breaker.succeeded()
        return result

    def close(self) -> None:
        """Takes no more calls; one that hangs is left to itself."""
        self._pool.close()

    async def _within_time(self, running: Future[T]) -> T:
        """What is awaited is woken by the result or by the clock: a task of its own and a chained future cost more."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()

        def wake_from_thread(_: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_wake, waiter)

        running.add_done_callback(wake_from_thread)
        clock = loop.call_later(self._config.timeout, _wake, waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            running.cancel()
            raise
        finally:
            clock.cancel()
        if not running.done():
            running.cancel()
            raise TimeoutError
        return running.result()  # also where it was in time, and the event loop late to notice

    def _failed(self, error: Exception) -> None:
        """Names the kind of failure only: a message may hold an id."""
        self._breaker.failed()
        self._metrics.failures.labels(self._name).inc()
        self._metrics.up.labels(self._name).set(not self._breaker.is_open)
        LOGGER.warning("%s failed: %s", self._name, type(error).__name__)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
