"""The rules that rows must keep, as lazy expressions: one streaming pass counts all breaches of a table.

Plain polars rather than a schema library: the rules are lazy sums, so that 100 million rows need one pass and no copy,
and the offending rows are read only where there are some.
"""

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from recsys.data.columns import SCHEMAS, TIME_DTYPE, Column, ValueType
from recsys.data.contract import DatasetConfig, value_type
from recsys.data.table_view import POSITION, TableView, first_rows
from recsys.schema import CONTENT_ID, CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, EventType, Table

RECORDED_TIMES: Final = (EVENT_TIMESTAMP, "joined_at", "risk_assessed_at", "opened_at")
"""Times at which something has happened. Plans (`available_to`, `valid_to`, `closed_at`...) may lie in the future."""
NULLABLE_KEYS: Final = ((Table.CONSENTS, "channel"),)
KEYS_A_PASS: Final = 5_000_000
"""How many distinct keys the search for duplicates holds at once."""
OWNERS: Final = {CUSTOMER_ID: Table.CUSTOMERS, PRODUCT_ID: Table.PRODUCTS, CONTENT_ID: Table.CONTENTS}
"""Which table knows the ids that other tables name."""


class Rule(NamedTuple):
    """One rule on the rows of a table."""

    column: str
    text: str
    violation: pl.Expr
    """True where a row breaks it."""
    evidence: tuple[str, ...] = ()
    """Columns to show beside the key and `column`."""


def check_rows(view: TableView, config: DatasetConfig, limit: tuple[datetime, str]) -> list[str]:
    """Findings of all rules that look at one row at a time.

    Args:
        view: the table.
        config: dataset.yaml, for the event types and the declared columns.
        limit: the latest time that anything recorded may have, and the words that say why.
    """
    rules = list(_row_rules(view, config, limit))
    if not rules:
        return []
    sums = [rule.violation.fill_null(value=False).sum().alias(str(number)) for number, rule in enumerate(rules)]
    counts = view.frame.select(sums).collect(engine="streaming").row(0)
    return [
        view.describe(rule.text, rule.column, count, view.offending(rule.violation, [rule.column, *rule.evidence]))
        for rule, count in zip(rules, counts, strict=True)
        if count
    ]


def check_duplicates(view: TableView) -> list[str]:
    """A finding where two rows have one key; memory is bounded by looking at one share of the keys at a time."""
    names = SCHEMAS[view.table].key
    key = tuple(name for name in names if name in view.columns)
    if any((view.table, name) not in NULLABLE_KEYS for name in names if name not in key):
        return []  # a required column that is missing has its own finding
    shares = math.ceil(view.rows / KEYS_A_PASS)
    complete = pl.all_horizontal(pl.col(name).is_not_null() for name in key if (view.table, name) not in NULLABLE_KEYS)
    count, samples = 0, []
    for share in range(shares):
        keys = view.frame.select(POSITION, *key).filter(complete)
        if shares > 1:
            keys = keys.filter(pl.struct(key).hash() % shares == share)
        repeated = keys.group_by(key).agg(pl.len().alias("times"), pl.col(POSITION).max()).filter(pl.col("times") > 1)
        total = repeated.select(pl.len()).collect(engine="streaming").item()
        if total:
            count += total
            samples.append(first_rows(repeated, [*key, "times"]))
    return [view.describe("is a duplicate key", _join(key), count, pl.concat(samples), unit="key")] if count else []


def check_references(views: dict[Table, TableView]) -> list[str]:
    """Findings for ids that the table that owns them does not know; a table that is not there is not asked."""
    findings = []
    for view in views.values():
        for column, owner in OWNERS.items():
            known = views.get(owner)
            if owner is view.table or known is None or column not in view.columns or column not in known.columns:
                continue
            ids = known.frame.select(pl.col(column).drop_nulls().unique())
            unknown = view.frame.filter(pl.col(column).is_not_null()).join(ids, on=column, how="anti")
            count = unknown.select(pl.len()).collect(engine="streaming").item()
            if count:
                rows = first_rows(unknown, view.evidence([column]))
                findings.append(view.describe(f"names an unknown {owner.removesuffix('s')}", column, count, rows))
    return findings


def _row_rules(view: TableView, config: DatasetConfig, limit: tuple[datetime, str]) -> Iterator[Rule]:
    schema, declared = SCHEMAS[view.table], config.features.get(view.table, {})
    for name in view.columns:
        column = schema.columns.get(name, Column(value_type(view.table, name, declared) or ValueType.ID))
        yield from _column_rules(name, column, is_key=name in schema.key)
        if name in RECORDED_TIMES:
            latest, why = limit
            yield Rule(name, f"is later than {latest.isoformat()}, {why}", pl.col(name) > pl.lit(latest, TIME_DTYPE))
    if view.table is Table.EVENTS:
        yield from _event_rules(view, config)


def _column_rules(name: str, column: Column, is_key: bool) -> Iterator[Rule]:
    value = pl.col(name)
    if column.required:
        empty = value.is_null() | (value == "") if column.type is ValueType.ID else value.is_null()
        yield Rule(name, "is a null or empty key" if is_key else "is required and null or empty", empty)
    if column.values:
        yield Rule(name, f"is none of {_join(column.values)}", ~value.is_in(list(column.values)))
    if column.type is ValueType.NUMBER:
        yield Rule(name, "is not a finite number", ~value.is_finite())


def _event_rules(view: TableView, config: DatasetConfig) -> Iterator[Rule]:
    items = [name for name in (PRODUCT_ID, CONTENT_ID) if name in view.columns]
    nothing = (
        pl.all_horizontal(pl.col(name).is_null() | (pl.col(name) == "") for name in items) if items else pl.lit(True)
    )
    yield Rule(PRODUCT_ID, "and content_id are both missing: an event needs at least one", nothing, (EVENT_TYPE,))
    if EVENT_TYPE in view.columns:
        known = [str(name) for name in (*EventType, *config.event_weights)]  # polars makes an Enum of a StrEnum
        text = "is an unknown event type: give it a weight in dataset.yaml (event_weights)"
        yield Rule(EVENT_TYPE, text, ~pl.col(EVENT_TYPE).is_in(known))
    if "propensity" in view.columns:
        yield Rule("propensity", "is no probability from 0 to 1", ~pl.col("propensity").is_between(0, 1))


def _join(names: tuple[str, ...]) -> str:
    return ", ".join(names)
