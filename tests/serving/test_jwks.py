"""Production's tokens: RS256 and ES256 by an identity provider's keys, and everything else refused."""

import asyncio
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization

from serving.auth.keys import KeysConfig, KeysUnreadableError, SigningKeys, public_keys, url_reader
from serving.auth.verifiers import Expected, JwksVerifier
from serving.metrics import Metrics
from serving.settings import Mode, Settings
from serving.testing import Service, token_of
from serving.tokens import InvalidTokenError, Principal
from tests.serving.identity_provider import AUDIENCE, ISSUER, Key, Provider, publishing
from tests.serving.running import running

SECRET = "a-secret-of-the-bank-0123456789-abcdef"
RSA, EC = Key("rsa-1"), Key("ec-1", "ES256")


class Timer:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def provider() -> Iterator[Provider]:
    with publishing(Provider(RSA, EC)) as running:
        yield running


@contextmanager
def serving(home: Path, provider: Provider, **changes: Any) -> Iterator[Service]:
    """The service in production mode."""
    values = {"jwks_url": provider.url, "jwks_cooldown_seconds": 0.0, "read_timeout_ms": 10_000} | changes
    settings = Settings(
        home=home,
        mode=Mode.PRODUCTION,
        host="0.0.0.0",  # noqa: S104 - nothing listens
        secret=SECRET,
        token_issuer=ISSUER,
        token_audience=AUDIENCE,
        **values,
    )
    with running(settings, "anna", "ben") as service:
        yield service


def keys_of(provider: Provider, timer: Timer, kept: Path | None = None, cooldown: float = 10.0) -> SigningKeys:
    config = KeysConfig(timeout=1.0, refresh_seconds=300.0, cooldown_seconds=cooldown)
    return SigningKeys(url_reader(provider.url, 1.0), kept, config, Metrics(), timer)


def verifier_of(keys: SigningKeys) -> JwksVerifier:
    return JwksVerifier(keys, Expected(ISSUER, AUDIENCE))


def test_service_in_production_takes_the_providers_tokens_and_not_its_own(provider: Provider, tmp_path: Path) -> None:
    with serving(tmp_path, provider) as service:
        for key in (RSA, EC):
            answer = service.ask(None, key.sign())
            assert answer.status_code == 200
            assert answer.json()["placements"][0]["items"]
            assert service.ask("ben", key.sign()).status_code == 403
        assert service.ask("anna", token_of("anna")).status_code == 401
        assert service.ask("anna", jwt.encode({"sub": "x"}, SECRET, "HS256")).status_code == 401
        assert provider.asked == 1


def test_service_in_production_needs_a_scope_to_ask_about_any_customer(provider: Provider, tmp_path: Path) -> None:
    with serving(tmp_path, provider) as service:
        nobody = service.ask("anna", RSA.sign(customer_id=None))
        assert nobody.status_code == 403
        assert "customers:all" in nobody.json()["detail"]
        everybody = RSA.sign(customer_id=None, scope="recommendations:read customers:all")
        assert service.ask("anna", everybody).status_code == 200
        both = RSA.sign(scope="recommendations:read customers:all")
        assert service.ask("ben", both).status_code == 403


def public_pem(key: Key) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.private.public_key().public_bytes(serialization.Encoding.PEM, form))


def mac_signed(key: bytes, algorithm: str = "HS256", **header: Any) -> str:
    """What PyJWT refuses to sign: HS256 with a public key as its secret."""
    now = datetime.now(UTC)
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "app-7", "iat": int(now.timestamp())}
    claims |= {"exp": int((now + timedelta(minutes=5)).timestamp()), "scope": "recommendations:read"}
    claims |= {"customer_id": "anna"}
    parts = [{"alg": algorithm, "typ": "JWT", "kid": RSA.key_id, **header}, claims]
    text = b".".join(urlsafe_b64encode(orjson.dumps(part)).rstrip(b"=") for part in parts)
    signature = b"" if algorithm == "none" else urlsafe_b64encode(hmac.digest(key, text, sha256)).rstrip(b"=")
    return (text + b"." + signature).decode()


def refused_tokens() -> dict[str, str]:
    now = datetime.now(UTC)
    stranger, other = Key("rsa-1"), Key("unknown")
    return {
        "nonsense": "nonsense",
        "too long": "a" * 10_000,
        "none": mac_signed(b"", "none"),
        "None": mac_signed(b"", "None"),
        "HS256 with the public key": mac_signed(public_pem(RSA)),
        "HS256 with the JWK": mac_signed(orjson.dumps(RSA.jwk)),
        "HS256 with the server's secret": mac_signed(SECRET.encode()),
        "HS256 that says RS256": mac_signed(public_pem(RSA), "RS256"),
        "another's key under a known id": stranger.sign(),
        "an unknown key": other.sign(),
        "an unknown key that is in the token": other.sign(header={"jwk": other.jwk}),
        "an unknown key where the token says": other.sign(header={"jku": "https://evil.example/jwks"}),
        "no key id": RSA.sign(header={"kid": None}),
        "an empty key id": RSA.sign(header={"kid": ""}),
        "the EC key's id": RSA.sign(header={"kid": "ec-1"}),
        "RS512": jwt.encode({"sub": "x"}, RSA.private, "RS512", {"kid": "rsa-1"}),
        "PS256": jwt.encode({"sub": "x"}, RSA.private, "PS256", {"kid": "rsa-1"}),
        "wrong audience": RSA.sign(aud="https://api.bank.example/payments"),
        "no audience": RSA.sign(aud=None),
        "wrong issuer": RSA.sign(iss="https://login.evil.example"),
        "no issuer": RSA.sign(iss=None),
        "expired": RSA.sign(exp=now - timedelta(seconds=30)),
        "no end": RSA.sign(exp=None),
        "not yet": RSA.sign(nbf=now + timedelta(minutes=2)),
        "issued tomorrow": RSA.sign(iat=now + timedelta(days=1)),
        "no subject": RSA.sign(sub=None),
        "an empty subject": RSA.sign(sub=""),
        "a customer that is no text": RSA.sign(customer_id=7),
        "an empty customer": RSA.sign(customer_id=""),
        "scopes that are no text": RSA.sign(scope=7),
        "changed after it was signed": RSA.sign()[:-8] + "AAAAAAAA",
    }


def test_service_in_production_refuses_every_other_token(provider: Provider, tmp_path: Path) -> None:
    with serving(tmp_path, provider) as service:
        for what, token in refused_tokens().items():
            answer = service.ask("anna", token)
            assert answer.status_code == 401, what
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
            assert answer.json()["detail"] == "the bearer token is not valid"
        assert service.ask("anna", RSA.sign()).status_code == 200


def test_service_in_production_whose_customer_claim_is_null_is_nobody(provider: Provider, tmp_path: Path) -> None:
    with serving(tmp_path, provider) as service:
        token = jwt.encode(
            {**jwt.decode(RSA.sign(), options={"verify_signature": False}), "customer_id": None},
            RSA.private,
            "RS256",
            {"kid": "rsa-1"},
        )
        assert service.ask("anna", token).status_code == 401


def test_service_in_production_reads_another_claim_and_list_of_scopes(provider: Provider, tmp_path: Path) -> None:
    with serving(tmp_path, provider, customer_claim="bank_customer") as service:
        token = RSA.sign(customer_id="ben", bank_customer="anna", scope=None, scp=["recommendations:read"])
        assert service.ask("anna", token).status_code == 200
        assert service.ask("ben", token).status_code == 403


def test_keys_rotated_are_found_and_withdrawn_ones_are_refused(provider: Provider) -> None:
    async def run() -> None:
        timer = Timer()
        keys = keys_of(provider, timer)
        verifier = verifier_of(keys)
        await verifier.start()
        assert (await verifier.verify(RSA.sign())).customer_id == "anna"
        new = Key("rsa-2")
        provider.keys = [new.jwk, RSA.jwk]
        timer.now = 11.0
        old = RSA.sign()
        assert await verifier.verify(new.sign())
        assert await verifier.verify(old)
        provider.keys = [new.jwk]
        timer.now = 400.0
        await verifier.verify(new.sign())  # starts the refresh of keys that are old
        await _settled(keys)
        timer.now = 401.0
        with pytest.raises(InvalidTokenError, match="does not publish"):
            await verifier.verify(old)  # it was remembered, but the keys have changed

    asyncio.run(run())


def test_keys_unknown_ids_ask_the_provider_once_in_a_while(provider: Provider) -> None:
    async def run() -> None:
        timer = Timer()
        verifier = verifier_of(keys_of(provider, timer))
        await verifier.start()
        stranger = Key("x")
        for number in range(50):
            with pytest.raises(InvalidTokenError):
                await verifier.verify(stranger.sign(header={"kid": f"unknown-{number}"}))
        assert provider.asked == 1
        timer.now = 10.5
        await asyncio.gather(
            *(verifier.verify(stranger.sign(header={"kid": f"more-{number}"})) for number in range(5)),
            return_exceptions=True,
        )
        assert provider.asked == 2

    asyncio.run(run())


def test_keys_stay_while_the_provider_is_down_and_over_a_restart(provider: Provider, tmp_path: Path) -> None:
    async def run() -> None:
        timer, kept = Timer(), tmp_path / "jwks.json"
        keys = keys_of(provider, timer, kept)
        verifier = verifier_of(keys)
        await verifier.start()
        await _settled(keys)
        provider.status = 500
        for timer.now in (1_000.0, 2_000.0):
            assert await verifier.verify(RSA.sign())
            await _settled(keys)
        provider.status, provider.keys = 200, []
        timer.now = 3_000.0
        assert await verifier.verify(EC.sign())  # an empty set is a mistake, not a withdrawal of everything
        provider.status = 503
        restarted = verifier_of(keys_of(provider, Timer(), kept))
        await restarted.start()
        assert (await restarted.verify(RSA.sign())).subject == "app-7"
        nothing = verifier_of(keys_of(provider, Timer(), tmp_path / "none.json", cooldown=0.0))
        await nothing.start()
        with pytest.raises(KeysUnreadableError):
            await nothing.verify(RSA.sign())
        provider.status, provider.keys = 200, [RSA.jwk]
        assert await nothing.verify(RSA.sign())

    asyncio.run(run())


def test_service_that_never_read_a_key_says_so_and_recovers(provider: Provider, tmp_path: Path) -> None:
    provider.status = 500
    with serving(tmp_path, provider) as service:
        answer = service.ask("anna", RSA.sign())
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        up = service.app.state.services.metrics.up.labels("jwks")
        assert up._value.get() == 0
        provider.status = 200
        assert service.ask("anna", RSA.sign()).status_code == 200
        assert up._value.get() == 1


def test_keys_slow_provider_holds_up_no_known_token(provider: Provider) -> None:
    async def run() -> None:
        timer = Timer()
        keys = keys_of(provider, timer)
        verifier = verifier_of(keys)
        await verifier.start()
        provider.delay.clear()
        timer.now = 500.0
        await asyncio.wait_for(verifier.verify(RSA.sign()), 0.5)
        provider.delay.set()
        await _settled(keys)

    asyncio.run(run())


def test_public_keys_leaves_out_what_must_not_verify() -> None:
    oct_key = {"kty": "oct", "kid": "mac", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}
    usable = public_keys(
        {
            "keys": [
                RSA.jwk,
                EC.jwk,
                oct_key,
                {**RSA.jwk, "kid": "enc", "use": "enc"},
                {**RSA.jwk, "kid": "rs512", "alg": "RS512"},
                {**RSA.jwk, "kid": None},
                Key("short", bits=1024).jwk,
                {"kty": "RSA", "kid": "broken"},
                "nothing",
            ]
        }
    )
    assert {key_id: key.algorithm for key_id, key in usable.items()} == {"rsa-1": "RS256", "ec-1": "ES256"}
    for useless in ({"keys": [oct_key]}, {"keys": []}, {}, []):
        with pytest.raises(ValueError, match="JWK set"):
            public_keys(useless)  # type: ignore[arg-type]


def test_keys_from_a_file_are_read_again(tmp_path: Path, provider: Provider) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(provider.document())
    with serving(tmp_path / "home", provider, jwks_url=None, jwks_file=file) as service:
        assert service.ask("anna", EC.sign()).status_code == 200
        new = Key("later")
        provider.keys = [new.jwk]
        file.write_bytes(provider.document())
        assert service.ask("anna", new.sign()).status_code == 200
        assert provider.asked == 0


def test_verify_remembers_no_token_past_its_end(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        verifier = verifier_of(keys_of(provider, Timer()))
        await verifier.start()
        token = RSA.sign(exp=datetime.now(UTC) + timedelta(seconds=20))
        first = await verifier.verify(token)
        assert first == Principal("app-7", frozenset({"recommendations:read", "events:write"}), "anna")
        assert await verifier.verify(token) is first
        later = datetime.now(UTC).timestamp() + 40
        monkeypatch.setattr("serving.auth.verifiers.time", lambda: later)
        monkeypatch.setattr("jwt.api_jwt.datetime", _Later)
        with pytest.raises(InvalidTokenError, match="expired"):
            await verifier.verify(token)

    asyncio.run(run())


class _Later(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> "_Later":
        return super().now(tz) + timedelta(seconds=40)  # type: ignore[return-value]


async def _settled(keys: SigningKeys) -> None:
    if keys._task is not None:
        await keys._task
