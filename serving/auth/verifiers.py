"""Who a bearer token speaks for: HS256 with the home's own key in local mode, RS256 and ES256 by JWKS in production."""

from collections.abc import Mapping
from hashlib import sha256
from time import time
from typing import Any, Final, NamedTuple, Protocol

import jwt
from cachetools import LRUCache

from serving.auth.keys import SigningKeys
from serving.tokens import (
    ALGORITHM,
    ANY_CUSTOMER,
    AUDIENCE,
    ISSUER,
    MAX_ID,
    InvalidTokenError,
    Principal,
)

REQUIRED: Final = ("exp", "iat", "sub", "aud", "iss")
MAX_TOKEN: Final = 8_192
"""Characters: a longer one is not read."""
REMEMBERED: Final = 10_000
REMEMBERED_SECONDS: Final = 60.0
LEEWAY_SECONDS: Final = 10
"""How far the clocks of the identity provider and of this service may be apart."""


class TokenVerifier(Protocol):
    """Judges bearer tokens."""

    async def verify(self, token: str) -> Principal:
        """Who a token speaks for.

        Raises:
            InvalidTokenError: it is not one of ours, or not valid any more.
            KeysUnreadableError: nobody can say.
        """

    async def start(self) -> None:
        """Gets what verifying needs."""


class Expected(NamedTuple):
    """What a token must say."""

    issuer: str
    audience: str
    customer_claim: str = "customer_id"
    """The claim that names the customer whom a token is for."""


class RememberedTokens:
    """What was verified, for a minute at most and never past its end or a change of keys.

    To verify costs ten times what all else of an authorisation does. Tokens are kept as digests.
    """

    def __init__(self) -> None:
        self._known: LRUCache[bytes, tuple[Principal, float, int]] = LRUCache(REMEMBERED)

    def find(self, token: str, generation: int = 0) -> Principal | None:
        """Whose a token is; None: it has to be verified."""
        found = self._known.get(_digest(token))
        return found[0] if found is not None and time() < found[1] and found[2] == generation else None

    def keep(self, token: str, principal: Principal, claims: Mapping[str, Any], generation: int = 0) -> Principal:
        """Remembers a token that is valid."""
        until = min(float(claims["exp"]), time() + REMEMBERED_SECONDS)
        self._known[_digest(token)] = (principal, until, generation)
        return principal


class LocalVerifier:
    """HS256 with one key: for this machine only.

    Args:
        secret: what `recsys token` signs with.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._expected = Expected(ISSUER, AUDIENCE)
        self._known = RememberedTokens()

    async def start(self) -> None:
        """Needs nothing."""

    async def verify(self, token: str) -> Principal:
        """Who a token speaks for; without a customer it is a service's, which may ask about all.

        Raises:
            InvalidTokenError: another algorithm, signature, audience or issuer; expired; a claim missing or malformed.
        """
        if (known := self._known.find(token)) is not None:
            return known
        claims = _decode(token, self._secret, ALGORITHM, self._expected, leeway=0)
        principal = principal_of(claims, self._expected.customer_claim)
        principal = principal._replace(any_customer=principal.customer_id is None)
        return self._known.keep(token, principal, claims)


class JwksVerifier:
    """RS256 and ES256 with the keys of an identity provider.

    Args:
        keys: of the provider.
        expected: what a token must say.
    """

    def __init__(self, keys: SigningKeys, expected: Expected) -> None:
        self._keys = keys
        self._expected = expected
        self._known = RememberedTokens()

    async def start(self) -> None:
        """Reads the keys."""
        await self._keys.start()

    async def verify(self, token: str) -> Principal:
        """Who a token speaks for; one without a customer may ask about all only by the scope `customers:all`.

        Raises:
            InvalidTokenError: another algorithm than its key's, signature, audience or issuer; expired; a claim missing
                or malformed; signed with a key that the provider does not publish.
            KeysUnreadableError: no key was ever read.
        """
        known = self._known.find(token, self._keys.generation)
        if known is not None:
            self._keys.freshen()
            return known
        key = await self._keys.find(_key_id(token))
        if key is None:
            raise InvalidTokenError("signed with a key that the identity provider does not publish")
        claims = _decode(token, key.key, key.algorithm, self._expected, LEEWAY_SECONDS)
        principal = principal_of(claims, self._expected.customer_claim)
        everybody = principal.customer_id is None and ANY_CUSTOMER in principal.scopes
        principal = principal._replace(any_customer=everybody)
        return self._known.keep(token, principal, claims, self._keys.generation)


def principal_of(claims: Mapping[str, Any], customer_claim: str) -> Principal:
    """The bearer by the claims: scopes as in RFC 9068 (`scope`), or a list as some providers write it (`scp`).

    Raises:
        InvalidTokenError: a claim is malformed.
    """
    scope = claims.get("scope", claims.get("scp", ""))
    if isinstance(scope, list) and all(isinstance(name, str) for name in scope):
        scope = " ".join(scope)
    if not isinstance(scope, str):
        raise InvalidTokenError("the claim scope must be a string")
    subject, customer_id = claims["sub"], claims.get(customer_claim)
    if not isinstance(subject, str) or not subject:
        raise InvalidTokenError("the claim sub must be a string that is not empty")
    if customer_claim in claims and not (isinstance(customer_id, str) and 0 < len(customer_id) <= MAX_ID):
        raise InvalidTokenError(f"the claim {customer_claim} must be a string that is not empty")
    return Principal(subject, frozenset(scope.split()), customer_id)


def _decode(token: str, key: Any, algorithm: str, expected: Expected, leeway: int) -> dict[str, Any]:
    if len(token) > MAX_TOKEN:
        raise InvalidTokenError("longer than any of ours")
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=expected.audience,
            issuer=expected.issuer,
            leeway=leeway,
            options={"require": list(REQUIRED)},
        )
    except jwt.PyJWTError as error:
        raise InvalidTokenError(str(error)) from error
    return claims


def _digest(token: str) -> bytes:
    return sha256(token.encode(errors="surrogatepass")).digest()


def _key_id(token: str) -> str:
    """Which key a token says it was signed with. Nothing else of its header is heeded: no `jku`, `jwk` or `x5u`."""
    if len(token) > MAX_TOKEN:
        raise InvalidTokenError("longer than any of ours")
    try:
        key_id = jwt.get_unverified_header(token).get("kid")
    except jwt.PyJWTError as error:
        raise InvalidTokenError(str(error)) from error
    if not isinstance(key_id, str) or not 0 < len(key_id) <= MAX_ID:
        raise InvalidTokenError("the header names no key (kid)")
    return key_id
