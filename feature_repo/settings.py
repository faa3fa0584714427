"""Which online store: the one setting that differs between a laptop and a bank."""

from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict


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

    @property
    def yaml_name(self) -> str:
        """The store's definition beside this file."""
        return "feature_store.yaml" if self.online_store == "sqlite" else "feature_store.redis.yaml"
