"""Bearer tokens that the local server issues, and tracking tokens that tie an event to what was shown."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple

import jwt
import orjson

ALGORITHM: Final = "HS256"
AUDIENCE: Final = "recsys-api"
ISSUER: Final = "recsys-local"
READ: Final = "recommendations:read"
WRITE: Final = "events:write"
CONSENT: Final = "consents:write"
AUDIT: Final = "audit:read"
CATALOGUE: Final = "catalogue:write"
METRICS: Final = "metrics:read"
CAMPAIGNS_READ: Final = "campaigns:read"
CAMPAIGNS_WRITE: Final = "campaigns:write"
CAMPAIGNS_APPROVE: Final = "campaigns:approve"
CAMPAIGNS_EXPORT: Final = "campaigns:export"
"""Lets somebody take a plan out of the house: who may write campaigns may not do that by itself."""
ANY_CUSTOMER: Final = "customers:all"
"""In production: lets a token that names no customer ask about every one."""
MAX_ID: Final = 128
_SIGNATURE_BYTES: Final = 16


class InvalidTokenError(Exception):
    """A bearer token that is not ours, or no longer valid; the message says what is wrong, never what was sent."""


class Principal(NamedTuple):
    """Who is asking."""

    subject: str
    scopes: frozenset[str]
    customer_id: str | None
    """The only customer he may ask about; None: he is no customer."""
    any_customer: bool = False
    """Whether he may ask about all."""


def issue_token(
    secret: str, *, subject: str, scopes: Sequence[str], customer_id: str | None, lifetime: timedelta
) -> str:
    """A signed bearer token (RFC 7519; scopes as in RFC 9068)."""
    now = datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": subject,
        "iat": now,
        "exp": now + lifetime,
        "scope": " ".join(scopes),
    }
    if customer_id is not None:
        claims["customer_id"] = customer_id
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


class Shown(NamedTuple):
    """What a tracking token stands for."""

    decision_id: str
    product_id: str
    content_id: str | None
    placement: str
    position: int
    """From 1."""
    campaign_id: str | None = None
    """The campaign that put it there."""


class Seal:
    """Signs small values for one customer, without his id in them.

    Args:
        secret: of the service.
        purpose: what is sealed for one purpose cannot be opened for another.
    """

    def __init__(self, secret: str, purpose: str) -> None:
        self._key = hmac.digest(secret.encode(), purpose.encode(), sha256)

    def close(self, values: Sequence[Any], customer_id: str) -> str:
        """The values as text that fits into an address."""
        payload = orjson.dumps(list(values))
        return urlsafe_b64encode(self._signature(payload, customer_id) + payload).decode().rstrip("=")

    def open(self, text: str, customer_id: str) -> list[Any] | None:
        """The values; None where the text is not ours or was made for another customer."""
        try:
            raw = urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
        except (Base64Error, ValueError):
            return None
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(payload, customer_id)):
            return None
        values: list[Any] = orjson.loads(payload)
        return values

    def _signature(self, payload: bytes, customer_id: str) -> bytes:
        return hmac.digest(self._key, customer_id.encode() + b"\0" + payload, sha256)[:_SIGNATURE_BYTES]


class TrackingSigner:
    """Makes and reads tracking tokens."""

    def __init__(self, secret: str) -> None:
        self._seal = Seal(secret, "tracking-token/1")

    def sign(self, shown: Shown, customer_id: str) -> str:
        """The token of one item of one answer."""
        return self._seal.close(shown if shown.campaign_id is not None else shown[:-1], customer_id)

    def read(self, token: str, customer_id: str) -> Shown | None:
        """What the token stands for; None where it is not ours or was given to another customer."""
        values = self._seal.open(token, customer_id)
        return None if values is None else Shown(*values)


class Cursor(NamedTuple):
    """Where a customer is in the ranking of one placement of one decision."""

    decision_id: str
    placement: str
    position: int
    """Of the first that was not looked at yet, in the order of those that the answer did not show."""
    shown: int
    """How many he was shown at the placement so far."""


class CursorSigner:
    """Makes and reads cursors."""

    def __init__(self, secret: str) -> None:
        self._seal = Seal(secret, "cursor/1")

    def sign(self, cursor: Cursor, customer_id: str) -> str:
        """The text of a cursor."""
        return self._seal.close(cursor, customer_id)

    def read(self, text: str, customer_id: str) -> Cursor | None:
        """The cursor; None where it is not ours or was given to another customer."""
        values = self._seal.open(text, customer_id)
        return None if values is None else Cursor(*values)


class Signers(NamedTuple):
    """What answers are signed with."""

    tracking: TrackingSigner
    cursors: CursorSigner
