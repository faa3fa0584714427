"""The service's settings: from the environment (`RECSYS_...`), or given by the command line."""

from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from recsys.home import Home
from serving.store.database import Synchronous, sqlite_url

MINIMUM_SECRET: Final = 32
"""Characters: HS256 wants 256 bits (RFC 7518, section 3.2)."""


class Settings(BaseSettings):
    """What an operator can set."""

    model_config = SettingsConfigDict(env_prefix="RECSYS_", frozen=True, extra="ignore")

    home: Path = Path(".recsys")
    """The state directory."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    secret: SecretStr | None = Field(default=None, min_length=MINIMUM_SECRET)
    """Signs tokens; None: the home's own random key, for local use."""
    copy_key: SecretStr | None = None
    """Of the endpoint that rewrites campaigns' copy, where there is one."""
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
    """Requests for answers that a worker works on at once, and as many others; above that it sheds with 429."""
    read_timeout_ms: int = Field(default=75, ge=1)
    """How long an answer waits for the facts of a customer, and again for his features."""
    write_timeout_ms: int = Field(default=3_000, ge=1)
    """How long an app waits until its events or consents are stored."""
    reload_seconds: float = Field(default=2.0, ge=0.0, le=5.0, allow_inf_nan=False)
    """How often the registry and the policy pack are looked at for something new; 0: never."""
    torch_threads: int = Field(default=1, ge=1)
    """Per worker; a request is too small to share out."""

    def signing_key(self) -> str:
        """The key that tokens are signed with."""
        return Home(self.home).secret() if self.secret is None else self.secret.get_secret_value()

    def store_url(self) -> str:
        """The URL of the SQL store."""
        return self.database_url or sqlite_url(self.home)
