"""What customers agree to and withdraw through the API: it counts from the very next request on."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, or_, select

from recsys.policy.facts import ConsentAnswer
from serving.store.database import Store
from serving.store.facts import channel_key
from serving.store.tables import consents


class GivenConsent(NamedTuple):
    """One answer of a customer."""

    purpose: str
    channel: str | None
    """None: for all channels."""
    granted: bool
    given_at: datetime


class ConsentStore:
    """Writes consents to the SQL store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, customer_id: str, answers: Sequence[GivenConsent]) -> list[ConsentAnswer]:
        """Writes answers, all or none; one that is older than what is stored changes nothing.

        Of two answers of one time the refusal stands.

        Args:
            customer_id: whose.
            answers: one a purpose and channel.

        Returns:
            All that the customer answered by now, the latest of each purpose and channel.

        Raises:
            StoreError: nothing was stored.
        """
        statement = self._store.upsert(consents)
        new, old = statement.excluded, consents.c
        refused = and_(new.given_at == old.given_at, ~new.granted)
        statement = statement.on_conflict_do_update(
            index_elements=[old.customer_id, old.purpose, old.channel],
            set_={"granted": new.granted, "given_at": new.given_at, "loaded_at": None},
            where=or_(new.given_at > old.given_at, refused),
        )
        rows = [
            {**answer._asdict(), "channel": channel_key(answer.channel), "customer_id": customer_id}
            for answer in answers
        ]
        columns = (old.purpose, old.channel, old.granted, old.given_at)
        present = select(*columns).where(old.customer_id == customer_id).order_by(old.purpose, old.channel)
        with self._store.writing() as connection:
            connection.execute(statement, rows)
            found = connection.execute(present).all()
        return [
            ConsentAnswer(purpose, channel or None, granted, given_at) for purpose, channel, granted, given_at in found
        ]
