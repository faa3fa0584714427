"""What is not let in at all: a body that is too large, and in local mode whatever does not come from this machine."""

from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

from fastapi import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.problems import respond

_TEST_CLIENT: Final = ("testclient", "testserver")
"""What Starlette's test client calls itself: no address that a network could bring here."""


class BodyLimitMiddleware:
    """Ends a request whose body is longer than its path may take, before it is read as a whole.

    Args:
        app: what is protected.
        default: bytes.
        larger: beginnings of paths that take more, to bytes.
    """

    def __init__(self, app: ASGIApp, default: int, larger: Mapping[str, int]) -> None:
        self._app = app
        self._default = default
        self._larger = tuple(larger.items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets one request in, or not."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        limit = next((size for start, size in self._larger if path.startswith(start)), self._default)
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if said.isdigit() and int(said) > limit:
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            response = respond(Request(scope), status, f"the body is longer than {limit} bytes")
            await response(scope, receive, send)
            return
        await self._app(scope, _counting(receive, limit), send)


def _counting(receive: Receive, limit: int) -> Receive:
    """Counts what arrives: a body that comes in pieces does not say how long it is."""
    got = 0

    async def counted() -> Message:
        nonlocal got
        message = await receive()
        if message["type"] == "http.request":
            got += len(message.get("body", b""))
            if got > limit:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {limit} bytes")
        return message

    return counted


class LocalOnlyMiddleware:
    """Answers this machine only, under its own names: local mode has no other protection.

    A page of the internet that has its name point to 127.0.0.1 (DNS rebinding) is recognised by that name.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets one request in, or not."""
        if scope["type"] == "http":
            client, host = scope.get("client"), next((v for name, v in scope["headers"] if name == b"host"), b"")
            if (client is not None and not _is_here(client[0])) or not _is_here(_name(host.decode("latin-1"))):
                detail = "local mode answers this machine only, as 127.0.0.1 or localhost; see RECSYS_MODE"
                response = respond(Request(scope), HTTPStatus.MISDIRECTED_REQUEST, detail)
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _name(host: str) -> str:
    """The header Host without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_here(name: str) -> bool:
    if name in ("127.0.0.1", "localhost", "", *_TEST_CLIENT):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
