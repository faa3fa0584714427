"""The authoritative facts of one customer: read at every request, never cached."""

from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import bindparam, select

from recsys.policy.facts import NOT_A_TIME as OPEN
from recsys.policy.facts import CustomerFacts, ProductFacts, Relations, as_instant
from serving.store.database import Store
from serving.store.tables import customer_facts, dismissals, holdings

_FACTS = select(customer_facts).where(customer_facts.c.customer_id == bindparam("id"))
_HELD = select(holdings.c.product_id, holdings.c.opened_at, holdings.c.closed_at).where(
    holdings.c.customer_id == bindparam("id")
)
_DECLINED = select(dismissals.c.product_id, dismissals.c.dismissed_at).where(
    dismissals.c.customer_id == bindparam("id")
)


class Relation(NamedTuple):
    """A product that the customer has or declined."""

    product_id: str
    since: datetime
    until: datetime | None


class CustomerRecord(NamedTuple):
    """What the store says of one customer."""

    facts: dict[str, Any] | None
    """None: the bank does not know him."""
    held: list[Relation]
    declined: list[Relation]

    def as_facts(self, products: ProductFacts) -> CustomerFacts:
        """As the rules read them, B = 1."""
        known = CustomerFacts.unknown(1) if self.facts is None else CustomerFacts.single(self.facts)
        return known.with_relations(_relations(self.held, products), _relations(self.declined, products))


class FactStore:
    """Reads facts from the SQL store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, customer_id: str) -> CustomerRecord:
        """The facts of a customer.

        Raises:
            StoreError: the database cannot be read; the caller answers as for the most restricted customer.
        """
        key = {"id": customer_id}
        with self._store.reading() as connection:
            facts = connection.execute(_FACTS, key).mappings().first()
            held = [Relation(*row) for row in connection.execute(_HELD, key)]
            declined = [Relation(*row, None) for row in connection.execute(_DECLINED, key)]
        return CustomerRecord(dict(facts) if facts is not None else None, held, declined)


def _relations(rows: list[Relation], products: ProductFacts) -> Relations:
    if not rows:
        return Relations.empty(1)
    positions = products.positions([row.product_id for row in rows])
    since = np.array([as_instant(row.since) for row in rows], dtype="datetime64[us]")
    until = np.array([OPEN if row.until is None else as_instant(row.until) for row in rows], dtype="datetime64[us]")
    return Relations.build(1, np.zeros(len(rows), dtype=np.int64), positions, since, until)
