"""What will go away, and when: told in headers to who still uses it (RFC 9745 `Deprecation`, RFC 8594 `Sunset`).

To deprecate a route: mark it `deprecated=True` and enter it here as `METHOD /path/{template}`. To deprecate a field of
a request: mark it `Field(deprecated=True)` and enter it as `Model.field`. Tests keep both in step.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import format_datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from fastapi import Request
from pydantic import BaseModel


class Deprecation(NamedTuple):
    """The announced end of something."""

    since: datetime
    """Aware; may lie ahead."""
    sunset: datetime
    """Aware: from then on it may be gone."""
    link: str
    """What to use instead: a page for developers."""


DEPRECATIONS: Final[Mapping[str, Deprecation]] = MappingProxyType({})
"""Nothing at present."""


def headers_of(names: list[str], registry: Mapping[str, Deprecation]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer to a request that used what `names` says: of the one that goes first."""
    found = sorted((registry[name] for name in names if name in registry), key=lambda known: known.sunset)
    if not found:
        return []
    first = found[0]
    return [
        (b"deprecation", f"@{int(first.since.timestamp())}".encode()),
        (b"sunset", format_datetime(first.sunset, usegmt=True).encode()),
        *((b"link", f'<{link}>; rel="deprecation"; type="text/html"'.encode()) for link in {one.link for one in found}),
    ]


def note_fields(request: Request, body: BaseModel) -> None:
    """Remembers which deprecated fields a request has, for the headers of its answer."""
    registry: Mapping[str, Deprecation] = request.app.state.deprecations
    if registry:
        request.state.deprecated = [name for name in _used(body) if name in registry]


def _used(body: Any) -> Iterator[str]:
    """`Model.field` of every field that was sent, at every depth."""
    if isinstance(body, BaseModel):
        for name in body.model_fields_set:
            yield f"{type(body).__name__}.{name}"
            yield from _used(getattr(body, name))
    elif isinstance(body, list):
        for one in body:
            yield from _used(one)
