"""The public keys of the identity provider (JWKS, RFC 7517): read again now and then, and kept when it is down."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from serving.metrics import Metrics

LOGGER: Final = logging.getLogger("recsys.serving")
KEPT_FILE: Final = "jwks.json"
"""In the home: the public keys that were read last, for a start while the identity provider is down."""
MINIMUM_RSA_BITS: Final = 2048
"""RFC 7518, section 3.3."""
MAX_SET_BYTES: Final = 1 << 20
_DEPENDENCY: Final = "jwks"
KeySet = Mapping[str, Any]
"""A JWK set as it is written."""


class KeysUnreadableError(Exception):
    """No key was ever read, so nobody's token can be judged."""


class PublicKey(NamedTuple):
    """A key that verifies signatures of one algorithm: what a token says of its algorithm does not choose it."""

    key: RSAPublicKey | EllipticCurvePublicKey
    algorithm: str


class KeysConfig(NamedTuple):
    """How the keys are read."""

    timeout: float = 2.0
    """Seconds a token with an unknown key waits."""
    refresh_seconds: float = 300.0
    """Keys that are older are read again, beside the requests."""
    cooldown_seconds: float = 10.0
    """However many unknown keys are named, the provider is asked once in so many seconds."""


class SigningKeys:
    """The keys by their id. For one event loop.

    Args:
        read: gets the key set; it is called in a thread and may raise whatever is wrong.
        kept: where the last key set is kept over a restart; None: nowhere.
        config: how often.
        metrics: says whether the provider answers.
        timer: seconds.
    """

    def __init__(
        self,
        read: Callable[[], KeySet],
        kept: Path | None,
        config: KeysConfig,
        metrics: Metrics,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        self._read = read
        self._kept = kept
        self._config = config
        self._metrics = metrics
        self._timer = timer
        self._keys: Mapping[str, PublicKey] = MappingProxyType({})
        self._tried_at: float | None = None
        self._task: asyncio.Task[None] | None = None
        self.generation = 0
        """Rises when the keys change: what was verified with those before is to be verified again."""

    async def find(self, key_id: str) -> PublicKey | None:
        """The key of that id, which the provider is asked for where it is not known; None: there is none.

        Raises:
            KeysUnreadableError: no key was ever read.
        """
        found = self._keys.get(key_id)
        if found is not None:
            self.freshen()
            return found
        if self._older_than(self._config.cooldown_seconds):
            self._refresh()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._config.timeout)
        if not self._keys:
            raise KeysUnreadableError
        return self._keys.get(key_id)

    async def start(self) -> None:
        """Reads the keys for the first time; where the provider is down, those that were kept."""
        self._refresh()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._config.timeout)
        if not self._keys and self._kept is not None and self._kept.exists():
            try:
                self._take(orjson.loads(self._kept.read_bytes()))
                LOGGER.warning("the identity provider does not answer: using the keys that were read last")
            except (OSError, ValueError, jwt.PyJWTError) as error:
                LOGGER.warning("the kept keys cannot be read: %s", type(error).__name__)

    def freshen(self) -> None:
        """Reads keys that are old again, beside whatever goes on."""
        if self._older_than(self._config.refresh_seconds):
            self._refresh()

    def _older_than(self, seconds: float) -> bool:
        return self._tried_at is None or self._timer() - self._tried_at >= seconds

    def _refresh(self) -> None:
        """Reads the keys in a task, one at a time."""
        if self._task is None or self._task.done():
            self._tried_at = self._timer()
            self._task = asyncio.create_task(self._replace())

    async def _replace(self) -> None:
        try:
            document = await asyncio.to_thread(self._read)
            self._take(document)
        except Exception as error:  # whatever the provider sends, the keys that are known stay
            self._metrics.failures.labels(_DEPENDENCY).inc()
            self._metrics.up.labels(_DEPENDENCY).set(0)
            LOGGER.warning("the keys of the identity provider cannot be read: %s", type(error).__name__)
            return
        self._metrics.up.labels(_DEPENDENCY).set(1)
        if self._kept is not None:
            await asyncio.to_thread(_keep, self._kept, document)

    def _take(self, document: KeySet) -> None:
        keys = public_keys(document)
        if _numbers(keys) != _numbers(self._keys):
            self._keys = MappingProxyType(keys)
            self.generation += 1


def public_keys(document: KeySet) -> dict[str, PublicKey]:
    """The keys of a set that may verify tokens: RSA for RS256, P-256 for ES256, each with an id.

    Symmetric keys, keys for encryption, short keys and keys of other algorithms are left out.

    Raises:
        ValueError: it is no key set, or has no such key.
    """
    entries = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(entries, list):
        raise ValueError("not a JWK set")
    keys = {}
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or entry.get("use", "sig") != "sig":
            continue
        try:
            made = _public_key(entry)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if made is not None and entry.get("alg", made.algorithm) == made.algorithm:
            keys[entry["kid"]] = made
    if not keys:
        raise ValueError("the JWK set has no RSA or P-256 key with a kid")
    return keys


def _public_key(entry: dict[str, Any]) -> PublicKey | None:
    if entry.get("kty") == "RSA":
        key = jwt.PyJWK(entry, algorithm="RS256").key
        public = key if isinstance(key, RSAPublicKey) else key.public_key()
        return PublicKey(public, "RS256") if public.key_size >= MINIMUM_RSA_BITS else None
    if entry.get("kty") == "EC" and entry.get("crv") == "P-256":
        key = jwt.PyJWK(entry, algorithm="ES256").key
        public = key if isinstance(key, EllipticCurvePublicKey) else key.public_key()
        return PublicKey(public, "ES256") if isinstance(public.curve, SECP256R1) else None
    return None


def url_reader(url: str, timeout: float) -> Callable[[], KeySet]:
    """Reads a key set over HTTP(S); a redirect is not followed."""
    client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=timeout)
    return client.fetch_data


def file_reader(file: Path) -> Callable[[], KeySet]:
    """Reads a key set from a file."""

    def read() -> KeySet:
        with file.open("rb") as opened:
            found: KeySet = orjson.loads(opened.read(MAX_SET_BYTES))
        return found

    return read


def _numbers(keys: Mapping[str, PublicKey]) -> dict[str, Any]:
    return {key_id: (found.algorithm, found.key.public_numbers()) for key_id, found in keys.items()}


def _keep(file: Path, document: KeySet) -> None:
    """Public parts only: a provider that publishes more by mistake shall not have it copied."""
    secret = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
    entries = [{name: value for name, value in entry.items() if name not in secret} for entry in document["keys"]]
    content = orjson.dumps({"keys": entries})
    temporary = file.with_name(f"{file.name}.partial")
    try:
        if not file.exists() or file.read_bytes() != content:
            temporary.write_bytes(content)
            temporary.replace(file)
    except OSError as error:
        LOGGER.warning("the keys of the identity provider cannot be kept: %s", type(error).__name__)
