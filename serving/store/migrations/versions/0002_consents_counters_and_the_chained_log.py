"""Consents, more facts, contact and capacity counters, and the hash-chained decision log.

The decisions of the first release become the first links of the chain, in the order in which they were made.
"""

import secrets
from datetime import UTC, datetime
from hashlib import sha256

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True)
GENESIS = "0" * 64
CHUNK = 500
OLD, NEW = "decisions_0001", "decisions"
NEW_FACTS = {
    "time_zone": sa.String,
    "income_band": sa.String,
    "kyc_status": sa.String,
    "knowledge_level": sa.String,
    "liquid_amount": sa.Float,
    "horizon_months": sa.Float,
    "in_arrears": sa.Boolean,
    "bereaved": sa.Boolean,
    "fraud_victim": sa.Boolean,
    "open_complaint": sa.Boolean,
}


def upgrade() -> None:
    """Adds what is new, and carries the old decisions over."""
    for name, type_ in NEW_FACTS.items():
        op.add_column("customer_facts", sa.Column(name, type_))
    op.create_index("holdings_by_product", "holdings", ["product_id"])
    _consents()
    _counters()
    op.drop_index("decisions_by_customer", NEW)
    op.rename_table(NEW, OLD)
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"ALTER INDEX decisions_pkey RENAME TO {OLD}_pkey")
    _decisions()
    _carry_over()
    op.drop_table(OLD)
    op.drop_table("schema_version")
    statements = _POSTGRESQL if op.get_context().dialect.name == "postgresql" else _SQLITE
    for statement in statements:
        op.execute(statement)


def _consents() -> None:
    op.create_table(
        "dataset_facts",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("keeps_consents", sa.Boolean, nullable=False),
        sa.Column("kept", sa.Text, nullable=False),
        sa.Column("confirmed_at", TIME, nullable=False),
    )
    op.create_table(
        "consents",
        sa.Column("customer_id", sa.String, primary_key=True),
        sa.Column("purpose", sa.String, primary_key=True),
        sa.Column("channel", sa.String, primary_key=True),
        sa.Column("granted", sa.Boolean, nullable=False),
        sa.Column("given_at", TIME, nullable=False),
        sa.Column("loaded_at", TIME),
    )


def _counters() -> None:
    op.create_table(
        "applications",
        sa.Column("customer_id", sa.String, primary_key=True),
        sa.Column("product_id", sa.String, primary_key=True),
        sa.Column("applied_at", TIME, nullable=False),
        sa.Column("loaded_at", TIME),
    )
    op.create_table(
        "contacts",
        sa.Column("contact_id", sa.String, primary_key=True),
        sa.Column("customer_id", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("category", sa.String, nullable=False),
        sa.Column("product_id", sa.String),
        sa.Column("contacted_at", TIME, nullable=False),
        sa.Column("expires_at", TIME),
    )
    op.create_index("contacts_by_customer", "contacts", ["customer_id", "contacted_at"])
    op.create_table(
        "product_capacity",
        sa.Column("product_id", sa.String, primary_key=True),
        sa.Column("units", sa.BigInteger, nullable=False),
        sa.Column("sold", sa.BigInteger, nullable=False),
        sa.Column("reserved", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "capacity_reservations",
        sa.Column("reservation_id", sa.String, primary_key=True),
        sa.Column("customer_id", sa.String, nullable=False),
        sa.Column("product_id", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
    )
    by_product = ["product_id", "state", "expires_at"]
    op.create_index("capacity_reservations_by_product", "capacity_reservations", by_product)


def _decisions() -> None:
    op.create_table(
        NEW,
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("decision_id", sa.String, nullable=False, unique=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("customer_id", sa.String),
        sa.Column("payload", sa.Text),
        sa.Column("features_digest", sa.String(64)),
        sa.Column("erased_at", TIME),
    )
    op.create_index("decisions_by_customer", NEW, ["customer_id", "created_at"])
    op.create_index("decisions_by_features", NEW, ["features_digest"])
    op.create_table(
        "decision_features",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("customer_id", sa.String, nullable=False),
        sa.Column("features", sa.Text, nullable=False),
    )
    op.create_index("decision_features_by_customer", "decision_features", ["customer_id"])
    op.create_table(
        "decision_chain",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )


def _carry_over() -> None:
    """Chains the rows of the first release."""
    connection = op.get_bind()
    metadata = sa.MetaData()
    old, new = (sa.Table(name, metadata, autoload_with=connection) for name in (OLD, NEW))
    sequence, before = 0, GENESIS
    last = connection.scalar(sa.select(sa.func.count()).select_from(old)) or 0
    for start in range(0, last, CHUNK):
        page = sa.select(old).order_by(old.c.created_at, old.c.decision_id).offset(start).limit(CHUNK)
        rows = []
        for row in connection.execute(page).mappings().all():
            sequence += 1
            rows.append(_link(dict(row), sequence, before))
            before = str(rows[-1]["hash"])
        connection.execute(new.insert(), rows)
    head = sa.table("decision_chain", sa.column("id"), sa.column("sequence"), sa.column("hash"))
    connection.execute(head.insert().values(id=1, sequence=sequence, hash=before))


def _link(old: dict[str, object], sequence: int, before: str) -> dict[str, object]:
    """A row of the first release as a link of the chain."""
    payload = _canonical(
        {
            "customer_id": old["customer_id"],
            "request": old["request"],
            "answer": old["answer"],
            "salt": secrets.token_hex(16),
        }
    )
    created_at = old["created_at"]
    assert isinstance(created_at, datetime)  # noqa: S101 - the column's type
    at = created_at.replace(tzinfo=UTC) if created_at.tzinfo is None else created_at.astimezone(UTC)
    record = _canonical(
        {
            "decision_id": old["decision_id"],
            "request_id": old["request_id"],
            "created_at": at.isoformat(),
            "mode": old["mode"],
            "versions": {"model": old["model_version"], "policy": old["policy_version"]},
            "payload_sha256": sha256(payload.encode()).hexdigest(),
        }
    )
    return {
        "sequence": sequence,
        "decision_id": old["decision_id"],
        "created_at": created_at,
        "record": record,
        "hash": sha256(f"{sequence}\n{before}\n{record}".encode()).hexdigest(),
        "customer_id": old["customer_id"],
        "payload": payload,
    }


def _canonical(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


# A decision never changes, and is never deleted. Only an erasure may take what is personal out of it, all at once.
_ERASURE = (
    "NEW.customer_id IS NULL AND NEW.payload IS NULL AND NEW.features_digest IS NULL AND NEW.erased_at IS NOT NULL "
    "AND OLD.erased_at IS NULL AND NEW.sequence = OLD.sequence AND NEW.decision_id = OLD.decision_id "
    "AND NEW.created_at = OLD.created_at AND NEW.record = OLD.record AND NEW.hash = OLD.hash"
)
_SQLITE = (
    f"CREATE TRIGGER decisions_keep BEFORE UPDATE ON decisions WHEN NOT ({_ERASURE}) "
    "BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END",
    "CREATE TRIGGER decisions_stay BEFORE DELETE ON decisions "
    "BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END",
    "CREATE TRIGGER decision_features_keep BEFORE UPDATE ON decision_features "
    "BEGIN SELECT RAISE(ABORT, 'decision_features are append-only'); END",
)
_POSTGRESQL = (
    "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION '% are append-only', TG_TABLE_NAME; END $$",
    f"CREATE TRIGGER decisions_keep BEFORE UPDATE ON decisions FOR EACH ROW WHEN (NOT ({_ERASURE})) "
    "EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER decisions_stay BEFORE DELETE ON decisions FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER decisions_whole BEFORE TRUNCATE ON decisions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER decision_features_keep BEFORE UPDATE ON decision_features FOR EACH ROW "
    "EXECUTE FUNCTION refuse_change()",
)
