"""What happens to every request: an id, security headers, a measurement."""

import re
from time import perf_counter
from typing import Final
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import Metrics

_REQUEST_ID: Final = re.compile(rb"^[A-Za-z0-9._-]{1,64}$")
_HEADER: Final = b"x-request-id"
_UNMATCHED: Final = "unmatched"
"""The route label of a path that does not exist: paths that clients make up must not become labels."""


class RequestMiddleware:
    """Plain ASGI: a `BaseHTTPMiddleware` costs a task per request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wraps one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == _HEADER), b"")
        request_id = given.decode() if _REQUEST_ID.match(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status, started = 500, perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", _UNMATCHED)
            self._metrics.latency.labels(route, str(status)).observe(perf_counter() - started)
