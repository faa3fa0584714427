"""What was decided: one row a decision."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import insert

from serving.store.database import Store
from serving.store.tables import decisions


class DecisionRecord(NamedTuple):
    """One decision, as it was answered."""

    decision_id: str
    request_id: str
    customer_id: str
    created_at: datetime
    mode: str
    model_version: str
    policy_version: str
    request: dict[str, Any]
    answer: dict[str, Any]


class DecisionStore:
    """Appends decisions to the SQL store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def append(self, record: DecisionRecord) -> None:
        """Writes one decision, durably.

        Raises:
            StoreError: the database cannot be written.
        """
        with self._store.writing() as connection:
            connection.execute(insert(decisions), record._asdict())
