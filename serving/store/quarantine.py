"""Events that name a decision which the log does not have: kept apart, without any effect, until it turns up.

The signature of their tracking token is ours, so the decision was made: its record may still be in the journal of a
worker elsewhere, or was lost with a disk. What is learned from an event without its decision would be wrong.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import delete, select

from serving.journal import segments
from serving.store.database import Store
from serving.store.tables import decisions, quarantined_events

_Q = quarantined_events.c
MOST_RELEASED = 500
"""At once: others who write get a turn in between."""


class Quarantined(NamedTuple):
    """One event; its names are the columns of the table."""

    event_id: str
    customer_id: str
    decision_id: str
    received_at: datetime
    event: str
    """JSON, as it was sent."""


class Quarantine:
    """The events that are kept apart.

    Args:
        store: has them, and the log.
        journals: of all workers of this machine: decisions that are on their way into the log.
    """

    def __init__(self, store: Store, journals: Path) -> None:
        self._store = store
        self._journals = journals

    def unknown(self, decision_ids: Collection[str]) -> set[str]:
        """Those that neither the log nor a journal has.

        Raises:
            StoreError: nobody can say.
        """
        missing = set(decision_ids) - self._logged(decision_ids)
        if not missing:
            return missing
        missing -= self._journalled(missing)
        return missing - self._logged(missing)  # one may have gone from the journal into the log meanwhile

    def put(self, rows: Sequence[Quarantined]) -> set[str]:
        """Keeps events; returns the ids of those that were not there yet."""
        if not rows:
            return set()
        statement = self._store.upsert(quarantined_events).on_conflict_do_nothing().returning(_Q.event_id)
        with self._store.writing() as connection:
            return set(connection.scalars(statement, [row._asdict() for row in rows]))

    def rows(self, limit: int = 1000) -> list[Quarantined]:
        """What is kept, the oldest first."""
        statement = select(*(_Q[name] for name in Quarantined._fields)).order_by(_Q.received_at).limit(limit)
        with self._store.reading() as connection:
            return [Quarantined(*row) for row in connection.execute(statement)]

    def releasable(self) -> list[Quarantined]:
        """Those whose decision the log has by now."""
        known = select(decisions.c.decision_id).where(decisions.c.decision_id == _Q.decision_id).exists()
        statement = select(*(_Q[name] for name in Quarantined._fields)).where(known).limit(MOST_RELEASED)
        with self._store.reading() as connection:
            return [Quarantined(*row) for row in connection.execute(statement)]

    def remove(self, event_ids: Sequence[str]) -> int:
        """Keeps them no longer; returns how many there were."""
        with self._store.writing() as connection:
            return connection.execute(delete(quarantined_events).where(_Q.event_id.in_(list(event_ids)))).rowcount

    def _logged(self, decision_ids: Collection[str]) -> set[str]:
        statement = select(decisions.c.decision_id).where(decisions.c.decision_id.in_(list(decision_ids)))
        with self._store.reading() as connection:
            return set(connection.scalars(statement))

    def _journalled(self, decision_ids: Collection[str]) -> set[str]:
        """Some seconds of decisions at most, unless the store is down."""
        found: set[str] = set()
        for journal in self._journals.glob("*"):
            for segment in segments(journal):
                try:
                    content = segment.read_bytes()
                except FileNotFoundError:  # it has gone into the log
                    continue
                found |= {decision_id for decision_id in decision_ids if decision_id.encode() in content}
        return found
