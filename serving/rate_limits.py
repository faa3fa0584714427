"""How often a client may ask, and how often may be asked about one customer: counted by the minute, told in headers.

Counts are kept in the process, or in Redis so that they hold across workers. Where Redis does not answer every worker
counts for itself: no request fails for that.
"""

import logging
from collections.abc import Callable
from hashlib import blake2b
from http import HTTPStatus
from time import time
from typing import Any, Final, NamedTuple, Protocol

from fastapi import Request
from limits.aio.storage import RedisStorage

from serving.guard import Breaker
from serving.metrics import Metrics
from serving.problems import ProblemError
from serving.settings import Settings

LOGGER: Final = logging.getLogger("recsys.serving")
REDIS_SECONDS: Final = 0.05
"""How long a request waits for a count."""
_DEPENDENCY: Final = "rate_limits"
CLIENT: Final = "client"
CUSTOMER: Final = "customer"


class Window(NamedTuple):
    """A span of time in which requests are counted; all workers mean the same one by a number."""

    number: int
    seconds: int


class RequestCounter(Protocol):
    """Counts requests."""

    async def add(self, key: str, window: Window) -> int:
        """Counts one more and says how many there are in the window."""

    async def close(self) -> None:
        """Lets go of connections."""


class MemoryCounter:
    """Counts in the process. What `limits` keeps in memory looks through all keys on every request; this does not."""

    def __init__(self) -> None:
        self._number = -1
        self._counts: dict[str, int] = {}

    async def add(self, key: str, window: Window) -> int:
        """Counts one more; the counts of earlier windows are forgotten."""
        if window.number != self._number:
            self._number, self._counts = window.number, {}
        count = self._counts[key] = self._counts.get(key, 0) + 1
        return count

    async def close(self) -> None:
        """Has no connections."""


class RedisCounter:
    """Counts in Redis, and in the process while Redis is down.

    Args:
        url: `redis://` or `rediss://`.
        metrics: says whether Redis answers.
    """

    def __init__(self, url: str, metrics: Metrics) -> None:
        self._storage = RedisStorage(
            f"async+{url}",
            implementation="redispy",
            key_prefix="recsys",
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
        )
        self._alone = MemoryCounter()
        self._breaker = Breaker(failures=3, probe_seconds=1.0)
        self._metrics = metrics

    async def add(self, key: str, window: Window) -> int:
        """Counts one more."""
        if not self._breaker.admits():
            return await self._alone.add(key, window)
        try:
            count = await self._storage.incr(f"{key}/{window.number}", window.seconds)
        except Exception as error:  # whatever is wrong with it, a request is not refused for it
            self._breaker.failed()
            self._metrics.failures.labels(_DEPENDENCY).inc()
            self._metrics.up.labels(_DEPENDENCY).set(not self._breaker.is_open)
            LOGGER.warning("requests cannot be counted in Redis: %s", type(error).__name__)
            return await self._alone.add(key, window)
        self._breaker.succeeded()
        self._metrics.up.labels(_DEPENDENCY).set(1)
        return count

    async def close(self) -> None:
        """Closes the connections."""
        bridge: Any = self._storage.bridge  # its base class does not name the connection
        await bridge.storage.aclose()


class Quotas(NamedTuple):
    """How many requests a window has room for."""

    client: int
    customer: int
    seconds: int = 60


class RateLimiter:
    """Refuses who asks too often.

    Args:
        quotas: how often.
        counter: counts.
        key: of the digests under which clients and customers are counted: nobody's id leaves the process.
        clock: seconds since 1970.
    """

    def __init__(self, quotas: Quotas, counter: RequestCounter, key: bytes, clock: Callable[[], float] = time) -> None:
        self._limits = {CLIENT: quotas.client, CUSTOMER: quotas.customer}
        self._seconds = quotas.seconds
        self._counter = counter
        self._key = key[:64]
        self._clock = clock

    async def spend_client(self, request: Request, subject: str) -> None:
        """Counts a request of a service.

        Raises:
            ProblemError: 429 with Retry-After, where there were too many.
        """
        await self._spend(request, CLIENT, subject)

    async def spend_customer(self, request: Request, customer_id: str) -> None:
        """Counts a request about a customer.

        Raises:
            ProblemError: 429 with Retry-After, where there were too many.
        """
        await self._spend(request, CUSTOMER, customer_id)

    async def close(self) -> None:
        """Lets go of connections."""
        await self._counter.close()

    async def _spend(self, request: Request, kind: str, who: str) -> None:
        now = self._clock()
        number = int(now // self._seconds)
        digest = blake2b(f"{kind}/{who}".encode(), key=self._key, digest_size=16).hexdigest()
        used = await self._counter.add(f"{kind}/{digest}", Window(number, self._seconds))
        limit, wait = self._limits[kind], max(1, int((number + 1) * self._seconds - now + 0.999))
        told = request.state.rate_limits = getattr(request.state, "rate_limits", ())
        request.state.rate_limits = (*told, (kind, limit, self._seconds, max(0, limit - used), wait))
        if used > limit:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"more than {limit} requests in {self._seconds} s by this {kind}: wait {wait} s",
                {"Retry-After": str(wait)},
            )


def header_fields(told: tuple[tuple[str, int, int, int, int], ...]) -> list[tuple[bytes, bytes]]:
    """`RateLimit-Policy` and `RateLimit` (the IETF's draft of RateLimit header fields) of what was counted."""
    policies = ", ".join(f'"{kind}";q={limit};w={seconds}' for kind, limit, seconds, _, _ in told)
    left = ", ".join(f'"{kind}";r={remaining};t={wait}' for kind, _, _, remaining, wait in told)
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", left.encode())]


def make_rate_limiter(settings: Settings, metrics: Metrics) -> RateLimiter:
    """The limiter that is set."""
    quotas = Quotas(settings.client_quota(), settings.customer_quota(), settings.rate_limit_seconds)
    redis = settings.rate_limit_redis_url
    counter = MemoryCounter() if redis is None else RedisCounter(redis.get_secret_value(), metrics)
    return RateLimiter(quotas, counter, settings.signing_key().encode())
