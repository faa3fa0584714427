"""Answers by the key that a client sent: written once, given again, gone after a day or with the customer."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import delete, select, update

from serving.store.database import Store
from serving.store.tables import idempotency_customers, idempotency_keys

_K = idempotency_keys.c


class Attempt(NamedTuple):
    """A request with a key."""

    key: str
    """Digest of who asks, what for, and the key."""
    request: str
    """Digest of the body."""
    attempt_id: str
    """Of this request alone."""


class Standing(StrEnum):
    """What is known of a key."""

    OURS = "ours"
    """Nobody asked before: this request is to be answered."""
    ANSWERED = "answered"
    UNDER_WAY = "under way"
    """Another request with it is being answered."""
    OTHER_REQUEST = "other request"
    """It was used for another body."""


class Claim(NamedTuple):
    """What came of claiming a key."""

    standing: Standing
    answer: bytes | None = None


class IdempotencyStore:
    """Keeps answers in the SQL store, so that all workers know them, after a restart too."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(self, attempt: Attempt, customers: Sequence[str], now: datetime, lease: timedelta) -> Claim:
        """Takes a key for a request, or says what stands in the way.

        A request that took it and was not heard of within its lease (its worker was killed) holds it no longer.

        Raises:
            StoreError: nothing is known.
        """
        values = {"request": attempt.request, "claimed_by": attempt.attempt_id, "lease_until": now + lease}
        with self._store.writing() as connection:
            gone = select(_K.key).where(_K.expires_at < now)
            connection.execute(delete(idempotency_customers).where(idempotency_customers.c.key.in_(gone)))
            connection.execute(delete(idempotency_keys).where(_K.expires_at < now))
            # It ends with its lease until it is answered: what nobody answers is soon forgotten.
            new = {"key": attempt.key, "expires_at": now + lease, **values}
            statement = self._store.upsert(idempotency_keys).on_conflict_do_nothing().returning(_K.key)
            if connection.scalar(statement, new) is not None:
                if customers:
                    rows = [{"key": attempt.key, "customer_id": customer} for customer in customers]
                    connection.execute(self._store.upsert(idempotency_customers).on_conflict_do_nothing(), rows)
                return Claim(Standing.OURS)
            found = connection.execute(select(_K.request, _K.answer).where(_K.key == attempt.key)).one()
        if found.request != attempt.request:
            return Claim(Standing.OTHER_REQUEST)
        return Claim(Standing.UNDER_WAY if found.answer is None else Standing.ANSWERED, found.answer)

    def answer(self, attempt: Attempt, answer: bytes, expires_at: datetime) -> None:
        """Keeps the answer, if the key is still this request's."""
        with self._store.writing() as connection:
            mine = (_K.key == attempt.key, _K.claimed_by == attempt.attempt_id)
            connection.execute(update(idempotency_keys).where(*mine).values(answer=answer, expires_at=expires_at))

    def release(self, attempt: Attempt) -> None:
        """Gives a key back that got no answer: the next request with it is answered anew."""
        with self._store.writing() as connection:
            mine = (_K.key == attempt.key, _K.claimed_by == attempt.attempt_id)
            gone = connection.execute(delete(idempotency_keys).where(*mine)).rowcount
            if gone:
                connection.execute(delete(idempotency_customers).where(idempotency_customers.c.key == attempt.key))
