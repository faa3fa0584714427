"""Takes a customer, or what is past its time, out of the SQL store."""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Connection, MetaData, String, Table, cast, delete, func, or_, select, text, update

from recsys.privacy.search import Needle
from serving.store.database import Store
from serving.store.decisions import DecisionStore
from serving.store.tables import METADATA, capacity_reservations, decisions, idempotency_customers, idempotency_keys

ERASED: Final = "erased"
"""Stands for a customer where the row must stay because something is counted by it."""
_CUSTOMER: Final = "customer_id"
_KEPT: Final = frozenset({decisions.name, capacity_reservations.name})


def erase_customer(store: Store, customer_id: str) -> dict[str, int]:
    """Removes a customer from every table; safe to repeat, and to be finished by another call.

    His decisions stay as links of the hash chain, without anything personal in them; his reservations stay counted.

    Returns:
        Table to rows that were deleted, or changed where they stay.

    Raises:
        StoreError: the database cannot be written.
    """
    counts = {decisions.name: DecisionStore(store).erase_customer(customer_id, datetime.now(UTC))}
    with store.writing() as connection:
        store.lock_customer(connection, customer_id)
        reserved = capacity_reservations.c.customer_id == customer_id
        counts[capacity_reservations.name] = connection.execute(
            update(capacity_reservations).where(reserved).values(customer_id=ERASED)
        ).rowcount
        counts[idempotency_keys.name] = forget_answers(connection, customer_id)
        for table in personal_tables():
            counts[table.name] = connection.execute(delete(table).where(table.c[_CUSTOMER] == customer_id)).rowcount
    compact(store)
    return {name: count for name, count in counts.items() if count}


def forget_answers(connection: Connection, customer_id: str) -> int:
    """Removes the answers about a customer that were kept for who asks again; of a batch the whole answer goes."""
    about_him = select(idempotency_customers.c.key).where(idempotency_customers.c.customer_id == customer_id)
    return connection.execute(delete(idempotency_keys).where(idempotency_keys.c.key.in_(about_him))).rowcount


def find_customer(store: Store, customer_id: str) -> list[str]:
    """The columns that name a customer, or hold a plain hash of his id, as `table.column`; none after an erasure.

    Asks the database what tables it has, so that one which the program does not know is searched too.
    """
    needle = Needle(customer_id)
    present = MetaData()
    present.reflect(store.engine)
    found = []
    with store.reading() as connection:
        for table in present.sorted_tables:
            for column in table.columns:
                value = cast(column, String)
                near = or_(*(value.contains(text.decode(), autoescape=True) for text in needle.printable))
                if any(needle.is_in(str(held).encode()) for held in connection.scalars(select(value).where(near))):
                    found.append(f"{table.name}.{column.name}")
    return found


def personal_tables() -> list[Table]:
    """The tables whose rows belong to one customer and go with him."""
    return [table for table in METADATA.sorted_tables if _CUSTOMER in table.columns and table.name not in _KEPT]


def erase_before(store: Store, table: Table, column: str, before: datetime, *, dry_run: bool = False) -> int:
    """Deletes the rows of `table` whose time in `column` is before an instant; returns how many."""
    old = table.c[column] < before
    with store.writing() as connection:
        count = connection.scalar(select(func.count()).select_from(table).where(old)) or 0
        if count and not dry_run:
            connection.execute(delete(table).where(old))
    return count


def anonymise_decisions(store: Store, before: datetime, *, dry_run: bool = False) -> int:
    """Takes what is personal out of the decisions made before an instant, and out of what their replay needs.

    Returns:
        How many decisions were changed.
    """
    if not dry_run:
        return DecisionStore(store).anonymise_before(before, datetime.now(UTC))
    old = (decisions.c.created_at < before, decisions.c.erased_at.is_(None))
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(decisions).where(*old)) or 0


def compact(store: Store) -> None:
    """What a database deletes it only marks as free, until it is told to write itself anew."""
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM"))
        if store.engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
