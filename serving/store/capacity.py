"""Product capacity: units are reserved, then confirmed or released, and never one more than there are.

One conditional UPDATE of the product's row decides: the database makes concurrent ones wait for each other, in SQLite
and in PostgreSQL, and the condition is judged on what the one before left.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, case, delete, select, update

from serving.store.database import Store
from serving.store.tables import capacity_reservations, product_capacity

_R = capacity_reservations.c
_P = product_capacity.c


class State(StrEnum):
    """Of a reservation."""

    RESERVED = "reserved"
    CONFIRMED = "confirmed"
    """Sold; the event that says so has not come yet."""
    SETTLED = "settled"
    RELEASED = "released"


class CapacityStore:
    """Reserves units of products of limited capacity; a product without a row has no limit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def reserve(self, reservation_id: str, customer_id: str, product_id: str, now: datetime, lasts: timedelta) -> bool:
        """Takes one unit for a while.

        Args:
            reservation_id: the caller's own; asking twice with it takes one unit.
            customer_id: for whom.
            product_id: of what.
            now: when.
            lasts: after this time without a confirmation the unit is free again.

        Returns:
            False where there is none left.

        Raises:
            StoreError: nothing was reserved.
        """
        values = {"customer_id": customer_id, "product_id": product_id, "state": State.RESERVED.value}
        with self._store.writing() as connection:
            statement = self._store.upsert(capacity_reservations).on_conflict_do_nothing()
            row = {"reservation_id": reservation_id, "expires_at": now + lasts, **values}
            made = connection.execute(statement.returning(_R.reservation_id), [row]).first()
            if made is None:
                state = connection.scalar(select(_R.state).where(_R.reservation_id == reservation_id))
                return state != State.RELEASED
            if self._take(connection, product_id):
                return True
            if self._release_expired(connection, product_id, now) and self._take(connection, product_id):
                return True
            connection.execute(delete(capacity_reservations).where(_R.reservation_id == reservation_id))
            return False

    def confirm(self, reservation_id: str) -> bool:
        """The unit is sold. Doing it twice sells one; False where there is no such reservation any more."""
        with self._store.writing() as connection:
            moved = _move(connection, reservation_id, State.RESERVED, State.CONFIRMED)
            if moved is not None:
                values = {"reserved": _P.reserved - 1, "sold": _P.sold + 1}
                connection.execute(update(product_capacity).where(_P.product_id == moved).values(values))
                return True
            state = connection.scalar(select(_R.state).where(_R.reservation_id == reservation_id))
        return state in (State.CONFIRMED, State.SETTLED)

    def release(self, reservation_id: str) -> bool:
        """The unit is free again. False where it was not reserved (any more)."""
        with self._store.writing() as connection:
            moved = _move(connection, reservation_id, State.RESERVED, State.RELEASED)
            if moved is None:
                return False
            free = update(product_capacity).where(_P.product_id == moved).values(reserved=_P.reserved - 1)
            connection.execute(free)
        return True

    def _take(self, connection: Connection, product_id: str) -> bool:
        """One unit more, if there is one; a product without a row has always one."""
        there_is = _P.sold + _P.reserved < _P.units
        taken = update(product_capacity).where(_P.product_id == product_id, there_is).values(reserved=_P.reserved + 1)
        if connection.execute(taken).rowcount:
            return True
        return connection.scalar(select(_P.units).where(_P.product_id == product_id)) is None

    def _release_expired(self, connection: Connection, product_id: str, now: datetime) -> int:
        """Frees the units whose reservations were neither confirmed nor released in time."""
        overdue = (_R.product_id == product_id, _R.state == State.RESERVED.value, _R.expires_at <= now)
        count = connection.execute(
            update(capacity_reservations).where(*overdue).values(state=State.RELEASED.value)
        ).rowcount
        if count:
            free = update(product_capacity).where(_P.product_id == product_id).values(reserved=_P.reserved - count)
            connection.execute(free)
        return count


def count_sale(connection: Connection, customer_id: str, product_id: str) -> None:
    """An event says that a unit was sold: the customer's own reservation if he has one, else one unit more.

    What was sold was sold, even one too many: the bank's other channels sell too.
    """
    mine = (_R.customer_id == customer_id, _R.product_id == product_id)
    open_states = (State.CONFIRMED.value, State.RESERVED.value)
    first = case((_R.state == State.CONFIRMED.value, 0), else_=1)
    found = connection.execute(
        select(_R.reservation_id, _R.state).where(*mine, _R.state.in_(open_states)).order_by(first, _R.reservation_id)
    ).first()
    sold, reserved = 1, 0
    if found is not None:
        settled = update(capacity_reservations).where(
            _R.reservation_id == found.reservation_id, _R.state == found.state
        )
        if connection.execute(settled.values(state=State.SETTLED.value)).rowcount:
            sold, reserved = (0, 0) if found.state == State.CONFIRMED else (1, -1)
    values = {"sold": _P.sold + sold, "reserved": _P.reserved + reserved}
    connection.execute(update(product_capacity).where(_P.product_id == product_id).values(values))


def _move(connection: Connection, reservation_id: str, before: State, after: State) -> str | None:
    """The product of a reservation that was in one state and now is in another; None where it was not."""
    moved = update(capacity_reservations).where(_R.reservation_id == reservation_id, _R.state == before.value)
    product_id = connection.scalar(moved.values(state=after.value).returning(_R.product_id))
    return None if product_id is None else str(product_id)
