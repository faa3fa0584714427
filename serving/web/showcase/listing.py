"""Finds customers: by a part of their id, and by what is known of them."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
from sqlalchemy import select

from recsys.features.spec import ViewName
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP
from serving.store.database import Store
from serving.store.tables import customer_facts

PAGE_SIZE: Final = 25
_F: Final = customer_facts.c
_HISTORY: Final = "product_ids"


class Known(StrEnum):
    """Which customers to list."""

    ALL = "all"
    TEXT = "text"
    """Those of whom a message may be read."""
    PICTURES = "pictures"
    """Those of whom a picture may be looked at."""
    EVERYTHING = "everything"
    """Those of whom the history, messages and pictures are known."""
    NEW = "new"
    """Those without a history."""


class Search(NamedTuple):
    """What is looked for."""

    text: str = ""
    """A part of the id; empty: any."""
    known: Known = Known.ALL
    page: int = 1


class Line(NamedTuple):
    """A customer in the list."""

    customer_id: str
    segment: str | None
    country: str | None
    language: str | None
    risk_level: str | None
    risk_assessed_at: datetime | None
    products: int
    """In his history."""
    messages: int
    pictures: int


class CustomerPage(NamedTuple):
    """A part of the list."""

    lines: list[Line]
    total: int
    search: Search

    @property
    def pages(self) -> int:
        """How many parts there are."""
        return max(1, -(-self.total // PAGE_SIZE))


class CustomerList:
    """Lists customers: those that the SQL store knows, with what the feature tables have of them.

    Args:
        store: of facts; who was erased is not in it.
        features: the folder of the feature tables.
    """

    def __init__(self, store: Store, features: Path) -> None:
        self._store = store
        self._features = features

    def page(self, search: Search) -> CustomerPage:
        """One part of the list; a page that does not exist is empty.

        Raises:
            StoreError: the database cannot be read.
        """
        found = self._ids(search)
        start = (search.page - 1) * PAGE_SIZE
        return CustomerPage(self._lines(found[start : start + PAGE_SIZE]), len(found), search)

    def _ids(self, search: Search) -> list[str]:
        statement = select(_F.customer_id).order_by(_F.customer_id)
        if search.text:
            statement = statement.where(_F.customer_id.contains(search.text, autoescape=True))
        with self._store.reading() as connection:
            ids = list(connection.scalars(statement))
        for view, has in _views(search.known):
            table = self._table(view)
            holders = set() if table is None else set(table.select(CUSTOMER_ID).unique().collect().to_series())
            ids = [customer_id for customer_id in ids if (customer_id in holders) is has]
        return ids

    def _lines(self, ids: Sequence[str]) -> list[Line]:
        columns = (_F.segment, _F.country, _F.language, _F.risk_level, _F.risk_assessed_at)
        statement = select(_F.customer_id, *columns).where(_F.customer_id.in_(ids))
        with self._store.reading() as connection:
            facts = {row[0]: row for row in connection.execute(statement)}
        history = self._latest(ViewName.CUSTOMER_HISTORY, pl.col(_HISTORY).list.n_unique(), ids)
        messages = self._latest(ViewName.CUSTOMER_TEXT, pl.col("n_messages"), ids)
        pictures = self._latest(ViewName.CUSTOMER_IMAGES, pl.col("n_images"), ids)
        return [
            Line(*facts[one], *(int(counts.get(one) or 0) for counts in (history, messages, pictures)))
            for one in ids
            if one in facts
        ]

    def _latest(self, view: ViewName, value: pl.Expr, ids: Sequence[str]) -> dict[str, Any]:
        """A value of the last row of each of these customers."""
        table = self._table(view)
        if table is None:
            return {}
        mine = table.filter(pl.col(CUSTOMER_ID).is_in(list(ids))).sort(EVENT_TIMESTAMP)
        rows = mine.group_by(CUSTOMER_ID).agg(value.last())
        return dict(rows.collect().iter_rows())

    def _table(self, view: ViewName) -> pl.LazyFrame | None:
        file = self._features / f"{view}.parquet"
        return pl.scan_parquet(file) if file.exists() else None


def _views(known: Known) -> list[tuple[ViewName, bool]]:
    """Which tables the customers must, or must not, be in."""
    if known is Known.TEXT:
        return [(ViewName.CUSTOMER_TEXT, True)]
    if known is Known.PICTURES:
        return [(ViewName.CUSTOMER_IMAGES, True)]
    if known is Known.NEW:
        return [(ViewName.CUSTOMER_HISTORY, False)]
    if known is Known.EVERYTHING:
        return [(view, True) for view in (ViewName.CUSTOMER_HISTORY, ViewName.CUSTOMER_TEXT, ViewName.CUSTOMER_IMAGES)]
    return []
