"""What must be set before a service may be reached from other machines: a start on defaults is refused."""

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from recsys.errors import ConfigError
from serving.auth.keys import KEPT_FILE, KeysConfig, SigningKeys, file_reader, url_reader
from serving.auth.verifiers import Expected, JwksVerifier, LocalVerifier, TokenVerifier
from serving.metrics import Metrics
from serving.settings import Mode, Settings

MINIMUM_DIFFERENT: Final = 10
"""Characters of a secret: fewer are a word that somebody typed again and again."""
_MAKE_SECRET: Final = "python -c 'import secrets; print(secrets.token_urlsafe(48))'"  # noqa: S105 - makes one


def check_exposure(settings: Settings) -> None:
    """Refuses a service that would stand open.

    Raises:
        ConfigError: local mode on an address that others reach, or production mode on defaults. All that is missing
            is named at once, with what to do.
    """
    if settings.mode is Mode.LOCAL:
        if not is_loopback(settings.host):
            raise ConfigError(
                f"host {settings.host or '(all)'}",
                "local mode trusts everybody who can read this home, so it listens on 127.0.0.1 only: use "
                "--host 127.0.0.1, or set RECSYS_MODE=production with RECSYS_SECRET, RECSYS_JWKS_URL (or "
                "RECSYS_JWKS_FILE), RECSYS_TOKEN_ISSUER and RECSYS_TOKEN_AUDIENCE",
            )
        return
    missing = [*_secret_findings(settings), *_provider_findings(settings)]
    if missing:
        raise ConfigError("RECSYS_MODE=production", "; ".join(missing))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def make_verifier(settings: Settings, metrics: Metrics) -> TokenVerifier:
    """What judges bearer tokens in the mode that is set."""
    if settings.mode is Mode.LOCAL:
        return LocalVerifier(settings.signing_key())
    config = KeysConfig(settings.jwks_timeout_ms / 1000, settings.jwks_refresh_seconds, settings.jwks_cooldown_seconds)
    if settings.jwks_file is not None:
        read = file_reader(settings.jwks_file)
    else:
        read = url_reader(settings.jwks_url or "", config.timeout)
    keys = SigningKeys(read, settings.home / KEPT_FILE, config, metrics)
    expected = Expected(settings.token_issuer or "", settings.token_audience or "", settings.customer_claim)
    return JwksVerifier(keys, expected)


def _secret_findings(settings: Settings) -> list[str]:
    if settings.secret is None:
        return [f"RECSYS_SECRET is not set: make one with {_MAKE_SECRET}"]
    if len(set(settings.secret.get_secret_value())) < MINIMUM_DIFFERENT:
        return [f"RECSYS_SECRET is no random text: make one with {_MAKE_SECRET}"]
    return []


def _provider_findings(settings: Settings) -> list[str]:
    found = []
    if (settings.jwks_url is None) == (settings.jwks_file is None):
        found.append("name the keys of the identity provider: one of RECSYS_JWKS_URL and RECSYS_JWKS_FILE")
    elif settings.jwks_url is not None:
        parts = urlsplit(settings.jwks_url)
        trusted = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not trusted or not parts.hostname:
            found.append("RECSYS_JWKS_URL must be an https address: keys that came in the clear are anybody's")
    elif settings.jwks_file is not None and not settings.jwks_file.is_file():
        found.append(f"RECSYS_JWKS_FILE: there is no file {settings.jwks_file}")
    if not settings.token_issuer:
        found.append("RECSYS_TOKEN_ISSUER is not set: the `iss` of the identity provider's tokens")
    if not settings.token_audience:
        found.append("RECSYS_TOKEN_AUDIENCE is not set: the `aud` of tokens for this API")
    return found
