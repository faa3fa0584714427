"""The service's settings: from the environment (`RECSYS_...`), or given by the command line."""

from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from recsys.errors import ConfigError
from recsys.home import Home
from serving.store.database import Synchronous, sqlite_url

MINIMUM_SECRET: Final = 32
"""Characters: HS256 wants 256 bits (RFC 7518, section 3.2)."""


class Mode(StrEnum):
    """Who may reach the service."""

    LOCAL = "local"
    """This machine only, with tokens that `recsys token` signs."""
    PRODUCTION = "production"
    """Everybody who has a token of the bank's identity provider."""


class Settings(BaseSettings):
    """What an operator can set."""

    model_config = SettingsConfigDict(env_prefix="RECSYS_", frozen=True, extra="ignore", hide_input_in_errors=True)

    home: Path = Path(".recsys")
    """The state directory."""
    mode: Mode = Mode.LOCAL
    """Local mode listens on a loopback address only; production mode refuses to start on defaults."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    secret: SecretStr | None = Field(default=None, min_length=MINIMUM_SECRET)
    """Signs tracking tokens and cursors, and in local mode bearer tokens; None: the home's own random key, for local
    use."""
    copy_key: SecretStr | None = None
    """Of the endpoint that rewrites campaigns' copy, where there is one."""
    jwks_url: str | None = None
    """Where the identity provider publishes its keys (https)."""
    jwks_file: Path | None = None
    """The same as a file, which is read again now and then."""
    jwks_timeout_ms: int = Field(default=2_000, ge=1)
    """How long a token that is signed with an unknown key waits for the identity provider."""
    jwks_refresh_seconds: float = Field(default=300.0, gt=0.0, allow_inf_nan=False)
    """How old the keys may get before they are read again."""
    jwks_cooldown_seconds: float = Field(default=10.0, ge=0.0, allow_inf_nan=False)
    """How often tokens with unknown keys may have the keys read again."""
    token_issuer: str | None = None
    """The `iss` that tokens must have in production."""
    token_audience: str | None = None
    """The `aud` that tokens must have in production."""
    customer_claim: str = "customer_id"
    """The claim that names the customer whom a token is for."""
    docs: bool | None = None
    """Whether the API's description is served (/docs, /openapi.json); None: in local mode only."""
    metrics_open: bool | None = None
    """Whether /metrics needs no token; None: in local mode only, else one with the scope `metrics:read`."""
    max_body_kb: int = Field(default=2_048, ge=1)
    """How long a body may be; the catalogue's, which carry pictures, may be longer."""
    rate_limit_client: int | None = Field(default=None, ge=1)
    """Requests of one service in `rate_limit_seconds`; None: 60,000."""
    rate_limit_customer: int | None = Field(default=None, ge=1)
    """Requests about one customer in `rate_limit_seconds`; None: 600, in local mode 60,000."""
    rate_limit_seconds: int = Field(default=60, ge=1, le=3_600)
    """How long requests are counted together."""
    rate_limit_redis_url: SecretStr | None = None
    """Where they are counted so that it holds across workers; None: every worker counts for itself."""
    idempotency_hours: int = Field(default=24, ge=1)
    """How long an answer is given again to who asks again with the same Idempotency-Key."""
    database_url: str | None = None
    """SQLAlchemy URL of the SQL store; None: SQLite in the home."""
    sqlite_synchronous: Synchronous = "NORMAL"
    """NORMAL: what was acknowledged outlives a killed process; FULL: a power cut too, for some ms a write."""
    journal_fsync: bool = True
    """Whether a decision is answered only when its record outlives a power cut; False: a killed process only."""
    max_future_seconds: int = Field(default=300, ge=0)
    """How far an app's clock may be ahead: an event later than this is refused."""
    max_late_hours: int = Field(default=72, ge=1)
    """How long ago an event may have happened: an older one is refused."""
    max_in_progress: int = Field(default=8, ge=1)
    """Requests for answers that a worker lets in at once, and as many others; above that it sheds with 429. While more
    comes than it can do it lets fewer in, so that those do not wait."""
    read_timeout_ms: int = Field(default=75, ge=1)
    """How long an answer waits for the facts of a customer, and again for his features."""
    write_timeout_ms: int = Field(default=3_000, ge=1)
    """How long an app waits until its events or consents are stored."""
    reload_seconds: float = Field(default=2.0, ge=0.0, le=5.0, allow_inf_nan=False)
    """How often the registry and the policy pack are looked at for something new; 0: never."""
    json_logs: bool | None = None
    """Whether the log is one JSON object a line, with a line for every request; None: in production."""
    otlp_endpoint: str | None = None
    """Where an OpenTelemetry collector takes traces over HTTP, such as http://127.0.0.1:4318/v1/traces; None: none."""
    torch_threads: int = Field(default=1, ge=1)
    """Per worker; a request is too small to share out."""

    @property
    def logs_json(self) -> bool:
        """Whether the log is JSON."""
        return self.mode is Mode.PRODUCTION if self.json_logs is None else self.json_logs

    def signing_key(self) -> str:
        """The key that tokens are signed with."""
        return Home(self.home).secret() if self.secret is None else self.secret.get_secret_value()

    def client_quota(self) -> int:
        """Requests of one service in a window."""
        return self.rate_limit_client or 60_000

    def customer_quota(self) -> int:
        """Requests about one customer in a window; a customer of the demo may be a load test."""
        return self.rate_limit_customer or (60_000 if self.mode is Mode.LOCAL else 600)

    def store_url(self) -> str:
        """The URL of the SQL store."""
        return self.database_url or sqlite_url(self.home)


def read_settings(**values: Any) -> Settings:
    """The settings of the environment, with some given.

    Raises:
        ConfigError: one cannot be used; the message names the variable, and never what a secret is.
    """
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ConfigError(f"RECSYS_{str(first['loc'][0]).upper()}", first["msg"]) from None
