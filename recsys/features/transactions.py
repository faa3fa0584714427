"""customer_transactions: what the account says, one row per active day, stamped at the next midnight UTC.

The stamp is when the day's batch has landed: nobody knew the sum of a day while it was running.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import polars as pl

from recsys.features.attributes import slug
from recsys.features.consent import Purpose
from recsys.features.plan import CustomerRange, Sources, ViewPlan
from recsys.features.spec import ColumnType, Entity, FeatureColumn, FeatureView, ViewName
from recsys.privacy.merchants import is_sensitive
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, FeatureKind, Table

WINDOWS: Final = (30, 90)
MAX_CATEGORIES: Final = 40
LAST_TRANSACTION = "last_transaction_at"
_CENTS = 100
_CATEGORY = "merchant_category"


class Category(NamedTuple):
    """The part of the column names that says which, and the raw merchant categories that are added up."""

    slug: str
    members: tuple[str, ...]


def share_name(category: str, days: int) -> str:
    """The column with a category's share of the payments in a window.

    >>> share_name("fuel", 90)
    'share_fuel_90d'
    """
    return f"share_{category}_{days}d"


def plan_transactions(sources: Sources) -> ViewPlan | None:
    """The view; None where there are no transactions."""
    dataset = sources.dataset
    if not dataset.has(Table.TRANSACTIONS):
        return None
    has_category = _CATEGORY in dataset.columns(Table.TRANSACTIONS)
    seen = _category_counts(sources) if has_category else []
    sensitive = [name for name, _ in seen if is_sensitive(name)]
    categories = _categories([(name, n) for name, n in seen if not is_sensitive(name)])
    view = FeatureView(name=ViewName.CUSTOMER_TRANSACTIONS, entity=Entity.CUSTOMER, columns=_columns(categories))

    def frames(customers: CustomerRange) -> Iterator[pl.DataFrame]:
        rows = sources.consent.keep_now(customers.of(dataset.scan(Table.TRANSACTIONS)), Purpose.PROFILING)
        category = pl.col(_CATEGORY) if has_category else pl.lit(None, pl.String).alias(_CATEGORY)
        kept = rows.select(CUSTOMER_ID, EVENT_TIMESTAMP, "amount", category).filter(
            pl.col(_CATEGORY).is_null() | ~pl.col(_CATEGORY).is_in(sensitive)
        )
        yield transaction_rows(kept.collect(), categories)

    return ViewPlan(view, "transactions.parquet", frames)


def transaction_rows(transactions: pl.DataFrame, categories: Sequence[Category]) -> pl.DataFrame:
    """The state after each active day.

    Money is added up in whole cents, so that a sum that has left a window leaves nothing behind.

    Args:
        transactions: customer_id, event_timestamp, amount, merchant_category.
        categories: the share columns.

    Returns:
        n_<30/90>d, sum_in_<30/90>d and sum_out_<30/90>d (both as positive amounts), share_<category>_<30/90>d (of the
        number of payments: one large one tells less than how often; null where there were none) and
        last_transaction_at, sorted by customer and day.
    """
    cents = (pl.col("amount") * _CENTS).round().cast(pl.Int64)
    out = (-cents).clip(lower_bound=0)
    paid = pl.col("amount") < 0
    payments = [
        (paid & pl.col(_CATEGORY).is_in(list(c.members))).sum().cast(pl.Int64).alias(c.slug) for c in categories
    ]
    days = (
        transactions.lazy()
        .group_by(CUSTOMER_ID, pl.col(EVENT_TIMESTAMP).dt.truncate("1d").alias("day"))
        .agg(
            pl.len().cast(pl.Int64).alias("n"),
            cents.clip(lower_bound=0).sum().alias("sum_in"),
            out.sum().alias("sum_out"),
            pl.col(EVENT_TIMESTAMP).max().dt.epoch("s").alias(LAST_TRANSACTION),
            paid.sum().cast(pl.Int64).alias("n_out"),
            *payments,
        )
        .sort(CUSTOMER_ID, "day")
    )
    shares = [
        pl.when(_window("n_out", window) > 0)
        .then(_window(category.slug, window) / _window("n_out", window))
        .alias(share_name(category.slug, window))
        for category in categories
        for window in WINDOWS
    ]
    return days.select(
        CUSTOMER_ID,
        pl.col("day").dt.offset_by("1d").alias(EVENT_TIMESTAMP),
        *(_window("n", window).alias(f"n_{window}d") for window in WINDOWS),
        *(
            (_window(name, window) / _CENTS).alias(f"{name}_{window}d")
            for name in ("sum_in", "sum_out")
            for window in WINDOWS
        ),
        *shares,
        LAST_TRANSACTION,
    ).collect()


def _window(column: str, days: int) -> pl.Expr:
    """The sum over the last `days` days, today included."""
    return pl.col(column).rolling_sum_by("day", window_size=f"{days}d", closed="right").over(CUSTOMER_ID)


def _columns(categories: Sequence[Category]) -> tuple[FeatureColumn, ...]:
    sums = [f"{name}_{window}d" for name in ("n", "sum_in", "sum_out") for window in WINDOWS]
    numeric = [*sums, *(share_name(category.slug, window) for category in categories for window in WINDOWS)]
    return (
        *(FeatureColumn(name=name, kind=FeatureKind.NUMERIC, type=ColumnType.FLOAT) for name in numeric),
        FeatureColumn(name=LAST_TRANSACTION, kind=FeatureKind.TIMESTAMP, type=ColumnType.INT),
    )


def _category_counts(sources: Sources) -> list[tuple[str, int]]:
    category = pl.col(_CATEGORY)
    counts = sources.dataset.scan(Table.TRANSACTIONS).filter(category.is_not_null()).group_by(category).len()
    return sorted(counts.collect(engine="streaming").iter_rows())


def _categories(counts: Sequence[tuple[str, int]]) -> list[Category]:
    """The most frequent categories, at most 40, sorted; two that read alike are one."""
    members: dict[str, list[str]] = {}
    totals: dict[str, int] = {}
    for name, count in counts:
        members.setdefault(slug(name), []).append(name)
        totals[slug(name)] = totals.get(slug(name), 0) + count
    kept = sorted(sorted(totals, key=lambda key: (-totals[key], key))[:MAX_CATEGORIES])
    return [Category(key, tuple(members[key])) for key in kept]
