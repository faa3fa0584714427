"""Checks the decision log: finds a row that was changed, removed or moved, and names the first one."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
from sqlalchemy import select

from recsys.errors import RecsysError
from serving.store.chain import GENESIS, digest, link
from serving.store.database import Store
from serving.store.decisions import DecisionStore, LoggedDecision
from serving.store.tables import decision_features, decisions


class Anchor(NamedTuple):
    """A link of the chain that was written down elsewhere; what came before it cannot be made anew unnoticed."""

    sequence: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> "Anchor":
        """From `SEQUENCE:HASH`, as `recsys audit verify` prints it.

        Raises:
            RecsysError: it is no such text.
        """
        sequence, _, hash_ = text.partition(":")
        if not sequence.isdigit() or len(hash_) != len(GENESIS):
            raise RecsysError(f"`{text}` is no anchor: give SEQUENCE:HASH, as `recsys audit verify` printed it")
        return cls(int(sequence), hash_.lower())


class Finding(NamedTuple):
    """What is wrong with a row."""

    sequence: int
    decision_id: str | None
    """None where the row is not there."""
    problem: str


class Verification(NamedTuple):
    """The state of the log."""

    rows: int
    erased: int
    """Of them, tombstones."""
    head: Anchor
    """Worth writing down elsewhere."""
    finding: Finding | None
    """The first row that is wrong; None: the log is whole."""


def verify(store: Store, anchor: Anchor | None = None) -> Verification:
    """Walks the whole chain.

    Args:
        store: has the log.
        anchor: a link that must be in it.

    Raises:
        StoreError: the log cannot be read.
    """
    log, rows, erased, before = DecisionStore(store), 0, 0, GENESIS
    head = Anchor(*log.head())  # before the walk: what is appended meanwhile lies beyond it
    finding = None
    for row in log.walk():
        finding = _check(row, rows + 1, before, anchor)
        if finding is not None:
            break
        rows, erased, before = rows + 1, erased + (row.erased_at is not None), row.hash
    if finding is None:
        finding = _check_end(rows, head, anchor) or next(_lost_features(store), None)
    return Verification(rows, erased, Anchor(rows, before), finding)


def _check(row: LoggedDecision, expected: int, before: str, anchor: Anchor | None) -> Finding | None:
    """What is wrong with a row, as the one that must come `expected`."""
    if row.sequence != expected:
        return Finding(expected, None, f"the row was removed: after {expected - 1} comes {row.sequence}")
    problem = None
    if row.hash != link(expected, before, row.record):
        problem = "the row was changed, or another one was put in its place: its hash is not that of its record"
    elif anchor is not None and anchor.sequence == expected and anchor.hash != row.hash:
        problem = "the chain was made anew: it is not the one that the anchor is of"
    else:
        problem = _check_parts(row, orjson.loads(row.record))
    return None if problem is None else Finding(expected, row.decision_id, problem)


def _check_parts(row: LoggedDecision, record: dict[str, Any]) -> str | None:
    """What is wrong with the parts that the record vouches for."""
    if row.decision_id != record["decision_id"] or row.created_at.isoformat() != record["created_at"]:
        return "the decision_id or created_at beside the record was changed"
    if row.payload is None:
        return None if row.erased_at is not None else "what is personal was taken out without an erasure"
    if digest(row.payload) != record["payload_sha256"]:
        return "the payload was changed"
    payload = orjson.loads(row.payload)
    if row.customer_id != payload["customer_id"] or row.features_digest != payload.get("features_sha256"):
        return "the customer_id or features_digest beside the payload was changed"
    return None


def _check_end(rows: int, head: Anchor, anchor: Anchor | None) -> Finding | None:
    last = max(head.sequence, anchor.sequence if anchor is not None else 0)
    return Finding(rows + 1, None, f"the rows up to {last} were removed from the end") if rows < last else None


def _lost_features(store: Store) -> Iterator[Finding]:
    """Decisions whose feature row is gone or was changed."""
    columns = (decisions.c.sequence, decisions.c.decision_id, decisions.c.features_digest, decision_features.c.features)
    joined = decisions.outerjoin(decision_features, decisions.c.features_digest == decision_features.c.digest)
    statement = select(*columns).select_from(joined).where(decisions.c.features_digest.is_not(None))
    with store.reading() as connection:
        for sequence, decision_id, expected, features in connection.execution_options(yield_per=500).execute(
            statement.order_by(decisions.c.sequence)
        ):
            if features is None:
                yield Finding(sequence, decision_id, "the feature row that it was made from was removed")
            elif digest(features) != expected:
                yield Finding(sequence, decision_id, "the feature row that it was made from was changed")
