"""What happens to every request: an id, security headers, a measurement."""

import re
from time import perf_counter
from typing import Final
from uuid import uuid4

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.deprecations import headers_of
from serving.headers import Headers, complete
from serving.metrics import Metrics
from serving.problems import on_failure
from serving.rate_limits import header_fields

_REQUEST_ID: Final = re.compile(rb"^[A-Za-z0-9._-]{1,64}$")
_HEADER: Final = b"x-request-id"
_UNMATCHED: Final = "unmatched"
"""The route label of a path that does not exist: paths that clients make up must not become labels."""


class RequestMiddleware:
    """Plain ASGI: a `BaseHTTPMiddleware` costs a task per request.

    Args:
        app: what is wrapped.
        metrics: measures.
        defaults: headers of an answer that does not say otherwise.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, defaults: Headers) -> None:
        self._app = app
        self._metrics = metrics
        self._defaults = defaults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wraps one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == _HEADER), b"")
        request_id = given.decode() if _REQUEST_ID.match(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status, started, begun = 500, perf_counter(), False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                if (answered_at := scope["state"].get("answered_at")) is not None:
                    self._metrics.stages.labels("json").observe(perf_counter() - answered_at)
                headers = message["headers"] = [*message["headers"], (_HEADER, request_id.encode())]
                headers.extend(_told(scope))
                complete(headers, self._defaults)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            if begun:
                raise
            # Here and not in Starlette's outermost layer: an error of ours has the same headers as any answer.
            await on_failure(Request(scope), error)(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path", _UNMATCHED)
            self._metrics.latency.labels(route, str(status)).observe(perf_counter() - started)


def _told(scope: Scope) -> Headers:
    """What of the request's own has to be told: how often it may ask again, and what it uses that will go."""
    state, found = scope["state"], []
    if limits := state.get("rate_limits"):
        found += header_fields(limits)
    if registry := scope["app"].state.deprecations if "app" in scope else None:
        route = f"{scope['method']} {getattr(scope.get('route'), 'path', _UNMATCHED)}"
        found += headers_of([route, *state.get("deprecated", ())], registry)
    return found
