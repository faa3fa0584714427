"""The decision log: append-only, hash-chained rows, one a decision.

A row has a record, which is chained and stays for ever, and what is personal (the payload and the feature row), which
the record covers by digest only: an erasure takes it out and leaves a tombstone, and the chain still verifies. The
database itself refuses every other change (triggers in `migrations/versions`).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, delete, insert, select, update

from serving.store.chain import GENESIS, canonical, digest, link
from serving.store.database import Store
from serving.store.tables import decision_chain, decision_features, decisions

_D = decisions.c


class DecisionEntry(NamedTuple):
    """One decision on its way into the log."""

    decision_id: str
    customer_id: str
    created_at: datetime
    record: str
    """Canonical JSON; holds the digest of `payload`."""
    payload: str
    """Canonical JSON; holds the digest of `features`."""
    features_digest: str | None
    features: str | None
    """Canonical JSON of the row that the model read, with whose it is; None: none was read."""

    @classmethod
    def build(
        cls, record: dict[str, Any], payload: dict[str, Any], features: dict[str, Any] | None, created_at: datetime
    ) -> "DecisionEntry":
        """Ties the three parts together.

        Args:
            record: what is not personal; has a decision_id.
            payload: what is; has a customer_id and a salt, without which its digest could be guessed.
            features: the row that the model read.
            created_at: when it was decided.
        """
        customer_id = payload["customer_id"]
        row = None if features is None else canonical({"customer_id": customer_id, "features": features})
        row_digest = None if row is None else digest(row)
        personal = canonical({**payload, "features_sha256": row_digest})
        public = canonical({**record, "created_at": created_at, "payload_sha256": digest(personal)})
        return cls(record["decision_id"], customer_id, created_at, public, personal, row_digest, row)


class LoggedDecision(NamedTuple):
    """One row of the log."""

    sequence: int
    decision_id: str
    created_at: datetime
    record: str
    hash: str
    customer_id: str | None
    payload: str | None
    features_digest: str | None
    erased_at: datetime | None


class DecisionStore:
    """Appends decisions to the SQL store, reads them, and takes out what is personal."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def append(self, entries: Sequence[DecisionEntry]) -> int:
        """Chains entries to the log, in their order, all or none. One that is there already is left out.

        Returns:
            How many were new.

        Raises:
            StoreError: the database cannot be written; nothing was.
        """
        with self._store.writing() as connection:
            sequence, before = self._lock_head(connection)
            new = _not_in_log(connection, entries)
            if not new:
                return 0
            rows = []
            for entry in new:
                sequence += 1
                before = link(sequence, before, entry.record)
                rows.append(_row(entry, sequence, before))
            features = {entry.features_digest: entry for entry in new if entry.features is not None}
            if features:
                statement = self._store.upsert(decision_features).on_conflict_do_nothing()
                connection.execute(statement, [_features_row(entry) for entry in features.values()])
            connection.execute(insert(decisions), rows)
            connection.execute(update(decision_chain).values(sequence=sequence, hash=before))
        return len(new)

    def read(self, decision_id: str) -> LoggedDecision | None:
        """One decision; None where the log does not have it."""
        with self._store.reading() as connection:
            row = connection.execute(select(*_columns()).where(_D.decision_id == decision_id)).first()
        return None if row is None else LoggedDecision(*row)

    def read_features(self, features_digest: str) -> dict[str, Any] | None:
        """A feature row as the model read it; None where it is gone."""
        statement = select(decision_features.c.features).where(decision_features.c.digest == features_digest)
        with self._store.reading() as connection:
            found = connection.scalar(statement)
        return None if found is None else orjson.loads(found)["features"]

    def latest_of(self, customer_id: str) -> LoggedDecision | None:
        """A customer's last decision."""
        statement = select(*_columns()).where(_D.customer_id == customer_id).order_by(_D.created_at.desc()).limit(1)
        with self._store.reading() as connection:
            row = connection.execute(statement).first()
        return None if row is None else LoggedDecision(*row)

    def walk(self, chunk: int = 1000) -> Iterator[LoggedDecision]:
        """Every row, in sequence."""
        last = -1
        while True:
            statement = select(*_columns()).where(_D.sequence > last).order_by(_D.sequence).limit(chunk)
            with self._store.reading() as connection:
                rows = [LoggedDecision(*row) for row in connection.execute(statement)]
            yield from rows
            if len(rows) < chunk:
                return
            last = rows[-1].sequence

    def head(self) -> tuple[int, str]:
        """The number and the hash that the last row must have."""
        with self._store.reading() as connection:
            row = connection.execute(select(decision_chain.c.sequence, decision_chain.c.hash)).first()
        return (0, GENESIS) if row is None else (int(row[0]), str(row[1]))

    def erase_customer(self, customer_id: str, at: datetime) -> int:
        """Takes out what is personal of all decisions about a customer; the chain still verifies.

        Returns:
            Of how many; doing it again finds none.

        Raises:
            StoreError: nothing was taken out.
        """
        with self._store.writing() as connection:
            connection.execute(delete(decision_features).where(decision_features.c.customer_id == customer_id))
            return connection.execute(_tombstone(at).where(_D.customer_id == customer_id)).rowcount

    def anonymise_before(self, instant: datetime, at: datetime) -> int:
        """Takes out what is personal of all decisions that were made before `instant`; the retention job's part."""
        with self._store.writing() as connection:
            count = connection.execute(_tombstone(at).where(_D.created_at < instant, _D.erased_at.is_(None))).rowcount
            used = select(_D.features_digest).where(_D.features_digest.is_not(None))
            connection.execute(delete(decision_features).where(decision_features.c.digest.not_in(used)))
            return count

    def _lock_head(self, connection: Connection) -> tuple[int, str]:
        """The end of the chain, which nobody else may move until the transaction ends."""
        head = update(decision_chain).values(id=decision_chain.c.id)
        row = connection.execute(head.returning(decision_chain.c.sequence, decision_chain.c.hash)).one()
        return int(row[0]), str(row[1])


def _not_in_log(connection: Connection, entries: Sequence[DecisionEntry]) -> list[DecisionEntry]:
    """The entries whose decision_id is new, each once."""
    by_id = {entry.decision_id: entry for entry in entries}
    known = set(connection.scalars(select(_D.decision_id).where(_D.decision_id.in_(list(by_id)))))
    return [entry for decision_id, entry in by_id.items() if decision_id not in known]


def _row(entry: DecisionEntry, sequence: int, hash_: str) -> dict[str, Any]:
    names = ("decision_id", "created_at", "record", "customer_id", "payload", "features_digest")
    return {"sequence": sequence, "hash": hash_, **{name: getattr(entry, name) for name in names}}


def _features_row(entry: DecisionEntry) -> dict[str, Any]:
    return {"digest": entry.features_digest, "customer_id": entry.customer_id, "features": entry.features}


def _tombstone(at: datetime) -> Any:
    nothing = {"customer_id": None, "payload": None, "features_digest": None}
    return update(decisions).values(**nothing, erased_at=at)


def _columns() -> list[Any]:
    return [_D[name] for name in LoggedDecision._fields]
