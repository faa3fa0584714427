"""Which online store: the one setting that differs between a laptop and a bank."""

from types import MappingProxyType
from typing import Final, Literal, Self

from pydantic_settings import BaseSettings, SettingsConfigDict

_IMPATIENCE: Final = MappingProxyType({"socket_connect_timeout": 0.5, "socket_timeout": 1, "retry": "null"})
"""By default redis-py tries a dead server four times, with pauses of seconds."""


class StoreSettings(BaseSettings):
    """Read from the environment: `RECSYS_ONLINE_STORE=redis RECSYS_REDIS=host:port`."""

    model_config = SettingsConfigDict(env_prefix="RECSYS_", extra="ignore", frozen=True)

    online_store: Literal["sqlite", "redis"] = "sqlite"
    """SQLite lies in the home and needs nothing; Redis is for several machines."""
    redis: str = "localhost:6379"
    """`host:port`, then options of Feast's connection string such as `,db=1,ssl=true,password=...`."""

    @property
    def identity(self) -> str:
        """Names the store that values were written to, without secrets."""
        return "sqlite" if self.online_store == "sqlite" else f"redis:{self.redis.partition(',')[0]}"

    def impatient(self) -> Self:
        """For who must answer: a Redis that is down or silent raises soon, where its client would wait for seconds.

        What the operator's own options say stays.
        """
        present = {option.partition("=")[0] for option in self.redis.split(",")}
        missing = [f"{name}={value}" for name, value in _IMPATIENCE.items() if name not in present]
        return self.model_copy(update={"redis": ",".join([self.redis, *missing])})

    @property
    def yaml_name(self) -> str:
        """The store's definition beside this file."""
        return "feature_store.yaml" if self.online_store == "sqlite" else "feature_store.redis.yaml"
