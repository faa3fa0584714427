"""Headers that every answer has, whatever it is: nothing of an answer is run, framed, sniffed or kept by mistake."""

from collections.abc import Sequence
from typing import Final

from serving.settings import Mode

API_VERSION: Final = "1.0.0"
"""Of the contract (semantic): a breaking change raises the first number, and the `/v1` of the paths."""
Headers = Sequence[tuple[bytes, bytes]]
PRIVATE: Final = "private, no-store"
"""What is about a customer is kept by nobody on the way."""
_DEFAULTS: Final[Headers] = (
    (b"cache-control", PRIVATE.encode()),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"api-version", API_VERSION.encode()),
)
_TLS_ONLY: Final = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


def default_headers(mode: Mode) -> Headers:
    """What an answer gets where it does not say otherwise itself."""
    return (*_DEFAULTS, _TLS_ONLY) if mode is Mode.PRODUCTION else _DEFAULTS


def complete(present: list[tuple[bytes, bytes]], defaults: Headers) -> None:
    """Adds what an answer does not say itself. One with an ETag may be kept, as it says or as it is asked again."""
    names = {name.lower() for name, _ in present}
    if b"etag" in names:
        names.add(b"cache-control")
    present.extend(header for header in defaults if header[0] not in names)
