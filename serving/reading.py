"""Reads what is known of a customer, from stores that may be slow or down."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from recsys.schema import Kind
from serving.feature_cache import FeatureCache
from serving.guard import Guard, GuardConfig, UnavailableError
from serving.loading import Components, FeatureReader
from serving.metrics import Metrics
from serving.models import ModelHolder
from serving.recording import NOTHING_HELD_BACK
from serving.store.facts import CustomerRecord, FactStore

FACT_THREADS = 4
FEATURE_THREADS = 1
"""Feast's SQLite store has one connection, which is for one thread."""


class ReadFeatures(NamedTuple):
    """What was read of a customer."""

    row: Mapping[str, Any] | None
    """None: he has none, or they cannot be read: the answer is then what is popular."""
    cached: bool
    """Whether it was read some time ago, because it cannot be read now."""


NOTHING_READ = ReadFeatures(None, False)


class CustomerReader:
    """Reads facts and features, each within its time-out, and neither while its store is down.

    Args:
        components: where they are.
        metrics: counts failures.
        timeout: seconds that either may take.
    """

    def __init__(self, components: Components, metrics: Metrics, timeout: float) -> None:
        self.features = components.features
        self._facts = FactStore(components.store)
        self._cache = FeatureCache()
        self._sql = Guard("sql", GuardConfig(timeout, FACT_THREADS), metrics)
        self._online = Guard("features", GuardConfig(timeout, FEATURE_THREADS), metrics)

    async def read_facts(
        self, customer_id: str, revision: int, now: datetime
    ) -> tuple[CustomerRecord | None, Mapping[Kind, Sequence[str]]]:
        """The customer's facts, and the items that changed after a revision of the catalogue.

        None where they cannot be read: the customer is then treated as the most restricted there is.
        """
        try:
            return await self._sql.call(self._facts.read_with_changes, customer_id, now, revision)
        except UnavailableError:
            return None, NOTHING_HELD_BACK

    async def read_features(self, customer_id: str, now: datetime) -> ReadFeatures:
        """His features; where they cannot be read, those that were read last, if that was a short time ago."""
        try:
            row = await self._online.call(self.features.read_customer, customer_id)
        except UnavailableError:
            old = self._cache.get(customer_id, now)
            return ReadFeatures(old, old is not None)
        self._cache.put(customer_id, row, now)
        return ReadFeatures(row, False)

    def close(self) -> None:
        """Reads no more."""
        self._sql.close()
        self._online.close()


class AnswerSources(NamedTuple):
    """What answers are made from."""

    models: ModelHolder
    customers: CustomerReader

    @property
    def features(self) -> FeatureReader:
        """Where the features of customers are read."""
        return self.customers.features
