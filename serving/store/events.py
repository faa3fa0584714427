"""What customers did: stored once per event_id, with what follows from it for the rules, in one transaction."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, select, update

from recsys.schema import EventType
from serving.store.capacity import count_sale
from serving.store.database import Store
from serving.store.in_app import View, count_views
from serving.store.tables import applications, dismissals, events, holdings

Fact = tuple[str, str, datetime]
"""customer_id, product_id, when."""


class EventRecord(NamedTuple):
    """One accepted event; its names are the columns of the table `events`."""

    event_id: str
    customer_id: str
    event_type: str
    event_timestamp: datetime
    product_id: str | None
    content_id: str | None
    channel: str | None
    placement: str | None
    value: float | None
    decision_id: str | None
    position: int | None
    received_at: datetime
    campaign_id: str | None = None


class Consequences(NamedTuple):
    """What events change of what the rules know."""

    holdings: list[Fact]
    dismissals: list[Fact]
    applications: list[Fact]
    sales: list[Fact]
    """Conversions: each uses a unit of a product of limited capacity, and ends an application."""


class EventStore:
    """Writes events to the SQL store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self, rows: Sequence[EventRecord], consequences_of: Callable[[Sequence[EventRecord]], Consequences]
    ) -> set[str]:
        """Stores the events that are new, and their consequences, together or not at all.

        Args:
            rows: no event_id twice.
            consequences_of: says what the new ones among them mean for the rules.

        Returns:
            The event_ids that were new; the others had been stored before.

        Raises:
            StoreError: nothing was stored.
        """
        if not rows:
            return set()
        with self._store.writing() as connection:
            statement = self._store.upsert(events).on_conflict_do_nothing().returning(events.c.event_id)
            new = set(connection.scalars(statement, [row._asdict() for row in rows]))
            stored = [row for row in rows if row.event_id in new]
            follow(consequences_of(stored), self._store, connection)
            count_views(connection, [view for row in stored if (view := _view(row)) is not None])
        return new

    def apply_pending(self, customer_id: str, apply: Callable[[Sequence[EventRecord]], None]) -> int:
        """Hands a customer's events that the online features do not know yet to `apply`, in time order, once.

        Other writers of this customer wait meanwhile, in other processes too. Where `apply` raises, the events stay
        pending.

        Returns:
            How many were applied.
        """
        with self._store.writing() as connection:
            self._store.lock_customer(connection, customer_id)
            claim = (
                update(events)
                .where(events.c.customer_id == customer_id, events.c.applied_at.is_(None))
                .values(applied_at=datetime.now(UTC))
                .returning(*(events.c[name] for name in EventRecord._fields))
            )
            rows = [EventRecord(*row) for row in connection.execute(claim)]
            if rows:
                apply(sorted(rows, key=lambda row: (row.event_timestamp, row.event_id)))
        return len(rows)

    def pending_customers(self) -> list[str]:
        """The customers with events that the online features do not know yet."""
        statement = select(events.c.customer_id).where(events.c.applied_at.is_(None)).distinct()
        with self._store.reading() as connection:
            return sorted(connection.scalars(statement))


def follow(consequences: Consequences, store: Store, connection: Connection) -> None:
    """Writes what events mean, within the transaction that stores them."""
    if consequences.holdings:
        statement = store.upsert(holdings).on_conflict_do_nothing()
        connection.execute(statement, _values(consequences.holdings, "opened_at"))
    if consequences.dismissals:
        connection.execute(_latest(dismissals, "dismissed_at", store), _values(consequences.dismissals, "dismissed_at"))
    if consequences.applications:
        connection.execute(_latest(applications, "applied_at", store), _values(consequences.applications, "applied_at"))
    for customer_id, product_id, sold_at in consequences.sales:
        mine = (applications.c.customer_id == customer_id, applications.c.product_id == product_id)
        connection.execute(delete(applications).where(*mine, applications.c.applied_at <= sold_at))
        count_sale(connection, customer_id, product_id)


def _view(row: EventRecord) -> View | None:
    if row.campaign_id is None or row.event_type != EventType.IMPRESSION:
        return None
    return View(row.campaign_id, row.customer_id, row.product_id, row.content_id, row.event_timestamp, row.received_at)


def _values(facts: Sequence[Fact], when: str) -> list[dict[str, Any]]:
    return [dict(zip(("customer_id", "product_id", when), fact, strict=True)) for fact in facts]


def _latest(table: Table, when: str, store: Store) -> Any:
    """An insert that keeps the later of two times."""
    statement = store.upsert(table)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[table.c.customer_id, table.c.product_id],
        set_={when: new[when], "loaded_at": None},
        where=new[when] > table.c[when],
    )
