"""Sheds what is too much, so that what is accepted stays fast."""

from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.admission import Admission
from serving.metrics import Metrics
from serving.problems import respond

ALWAYS: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""An overloaded service is alive, and its operators want to see it."""
ANSWERS: Final = "/v1/recommendations"
RETRY_AFTER_SECONDS: Final = 1
_READS: Final = 4
"""Times the limit. A browser asks for six pictures at once, and those of the page it left are in progress still."""


class OverloadMiddleware:
    """Bounds the requests in progress; one too many is told at once to come back later.

    Answers have a bound of their own, so events that wait for a slow store take no place away from them; pages and
    pictures, which are cheap and come many at a time, have another.

    Args:
        app: what is protected.
        limit: how many answers, and again how many of all else that is no mere reading, may be in progress; of answers
            fewer while it is too much, see `Admission`.
        metrics: counts what was shed.
    """

    def __init__(self, app: ASGIApp, limit: int, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._answers = Admission(limit)
        self._others = Admission(limit, limit, limit)  # these wait for a store, and not for each other
        self._reads = Admission(_READS * limit, _READS * limit, _READS * limit)
        metrics.admitted.set(limit)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets one request in, or not."""
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self._app(scope, receive, send)
            return
        admission = self._of(scope)
        entered = await admission.enters()
        self._metrics.admitted.set(self._answers.limit)
        if not entered:
            self._metrics.shed.inc()
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            response = respond(
                Request(scope), HTTPStatus.TOO_MANY_REQUESTS, "the service is overloaded; ask again", headers=headers
            )
            await response(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            admission.leaves()

    def _of(self, scope: Scope) -> Admission:
        if scope["path"] == ANSWERS:
            return self._answers
        return self._reads if scope["method"] in ("GET", "HEAD") else self._others
