"""What the dataset of a home has of one customer: what he wrote, did, looked at and spent."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from recsys.data.contract import Dataset
from recsys.errors import RecsysError
from recsys.features.build import CONFIG_FILE
from recsys.features.config import FeatureConfig
from recsys.features.consent import Consent, Purpose
from recsys.home import Home
from recsys.privacy.merchants import is_sensitive
from recsys.privacy.redaction import Redactor
from recsys.schema import (
    CONTENT_ID,
    CUSTOMER_ID,
    EVENT_ID,
    EVENT_TIMESTAMP,
    EVENT_TYPE,
    MESSAGE_ID,
    PRODUCT_ID,
    EventType,
    Table,
)

MESSAGES: Final = 12
EVENTS: Final = 200
SPENDING_DAYS: Final = 90
CATEGORIES: Final = 8
_LOOKED: Final = (EventType.VIEW, EventType.CLICK, EventType.APPLY, EventType.CONVERT)


class Message(NamedTuple):
    """Something that the customer wrote, as the engine reads it."""

    message_id: str
    at: datetime
    text: str
    """Redacted."""
    source: str | None
    picture: bool
    """Whether he sent a picture with it."""


class Did(NamedTuple):
    """Something that the customer did."""

    event_id: str
    at: datetime
    event_type: str
    product_id: str | None
    content_id: str | None
    live: bool
    """Whether the service heard of it itself; else it is the dataset's."""


class Looked(NamedTuple):
    """An item whose picture the customer looked at."""

    kind: str
    """`contents` or `products`."""
    item_id: str
    product_id: str | None
    at: datetime
    """The last time."""
    times: int


class Spent(NamedTuple):
    """What went through the account in a category."""

    category: str
    amount: float
    share: float
    """Of all that went out."""


class Spending(NamedTuple):
    """What went through the account in the last days that the dataset knows of him."""

    days: int
    until: datetime
    money_in: float
    money_out: float
    movements: int
    categories: list[Spent]
    """By amount; sensitive ones are left out, here as in features."""


class Records:
    """Reads a home's dataset for people. Whoever asks has to know that the customer allows it."""

    def __init__(self, home: Home) -> None:
        self._home = home

    @cached_property
    def dataset(self) -> Dataset | None:
        """The home's dataset; None where it is not where it was."""
        try:
            return Dataset.open(self._home.dataset_path())
        except RecsysError:
            return None

    @property
    def currency(self) -> str:
        """Of amounts; empty where the dataset does not say."""
        return "" if self.dataset is None else self.dataset.config.currency or ""

    def messages(self, customer_id: str, country: str | None) -> list[Message]:
        """His last messages among those that the engine may read, redacted."""
        rows = self._of(Table.MESSAGES, customer_id, MESSAGES, Purpose.TEXT_ANALYSIS)
        if rows.is_empty():
            return []
        columns = set(rows.columns)
        texts = rows["text"] if "text" in columns else pl.Series([None] * len(rows), dtype=pl.String)
        redacted = self._redactor.redact(texts, pl.Series([country] * len(rows), dtype=pl.String))
        sources = rows["source"] if "source" in columns else [None] * len(rows)
        sent = rows["image_path"] if "image_path" in columns else [None] * len(rows)
        return [
            Message(key, at, text or "", source, path is not None)
            for key, at, text, source, path in zip(
                rows[MESSAGE_ID], rows[EVENT_TIMESTAMP], redacted, sources, sent, strict=True
            )
        ]

    def events(self, customer_id: str) -> list[Did]:
        """His last events, impressions aside: those say what he was shown."""
        rows = self._of(Table.EVENTS, customer_id, EVENTS)
        for name in (PRODUCT_ID, CONTENT_ID):
            if name not in rows.columns:
                rows = rows.with_columns(pl.lit(None, pl.String).alias(name))
        if rows.is_empty():
            return []
        chosen = rows.select(EVENT_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, CONTENT_ID)
        return [Did._make((*row, False)) for row in chosen.iter_rows()]

    def spending(self, customer_id: str) -> Spending | None:
        """The last days of his account; None where it has none."""
        dataset = self.dataset
        if dataset is None or not dataset.has(Table.TRANSACTIONS):
            return None
        mine = dataset.scan(Table.TRANSACTIONS).filter(pl.col(CUSTOMER_ID) == customer_id)
        rows = mine.collect(engine="streaming")
        if rows.is_empty():
            return None
        until: datetime = rows[EVENT_TIMESTAMP].max()  # type: ignore[assignment]
        recent = rows.filter(pl.col(EVENT_TIMESTAMP) > until - timedelta(days=SPENDING_DAYS))
        out = recent.filter(pl.col("amount") < 0)
        paid = float(-out["amount"].sum())
        return Spending(
            days=SPENDING_DAYS,
            until=until.astimezone(UTC),
            money_in=float(recent.filter(pl.col("amount") > 0)["amount"].sum()),
            money_out=paid,
            movements=len(recent),
            categories=_categories(out, paid),
        )

    def sent_picture(self, customer_id: str, message_id: str) -> Path | None:
        """The picture that he sent with a message of his own."""
        dataset = self.dataset
        if dataset is None or not dataset.has(Table.MESSAGES) or "image_path" not in dataset.columns(Table.MESSAGES):
            return None
        mine = (pl.col(CUSTOMER_ID) == customer_id) & (pl.col(MESSAGE_ID) == message_id)
        found = dataset.scan(Table.MESSAGES).filter(mine).select("image_path").collect().to_series().to_list()
        return dataset.image_file(found[0]) if found and found[0] else None

    def _of(self, table: Table, customer_id: str, limit: int, purpose: Purpose | None = None) -> pl.DataFrame:
        """His last rows of a table, the newest first, without impressions; no columns where there is no such table.

        Where a purpose is named: those only that he agreed to be read for it, both then and now.
        """
        if self.dataset is None or not self.dataset.has(table):
            return pl.DataFrame()
        rows = self.dataset.scan(table).filter(pl.col(CUSTOMER_ID) == customer_id)
        if table is Table.EVENTS:
            rows = rows.filter(pl.col(EVENT_TYPE) != EventType.IMPRESSION)
        if purpose is not None:
            rows = Consent(self.dataset).keep_at_the_time(rows, purpose)
        return rows.sort(EVENT_TIMESTAMP, descending=True).head(limit).collect(engine="streaming")

    @cached_property
    def _redactor(self) -> Redactor:
        return Redactor(FeatureConfig.from_yaml(self._home.features / CONFIG_FILE).redaction)  # JSON is YAML


def looked_at(events: Sequence[Did], limit: int) -> list[Looked]:
    """The items of events, the newest first, each once: its creative, or the product where there was none."""
    found: dict[tuple[str, str], Looked] = {}
    for event in events:
        item_id = event.content_id or event.product_id
        if item_id is None or event.event_type not in _LOOKED:
            continue
        kind = "contents" if event.content_id else "products"
        before = found.get((kind, item_id))
        times = 1 if before is None else before.times + 1
        at = event.at if before is None else before.at
        found[kind, item_id] = Looked(kind, item_id, event.product_id, at, times)
    return list(found.values())[:limit]


def _categories(out: pl.DataFrame, paid: float) -> list[Spent]:
    if "merchant_category" not in out.columns or not paid:
        return []
    sums = out.drop_nulls("merchant_category").group_by("merchant_category").agg(-pl.col("amount").sum())
    rows = sums.sort("amount", "merchant_category", descending=[True, False]).iter_rows()
    allowed = [(name, amount) for name, amount in rows if not is_sensitive(name)]
    return [Spent(name, amount, amount / paid) for name, amount in allowed[:CATEGORIES]]
