"""What is known of a customer and a product before a moment: counts of what happened, and attributes as codes."""

import polars as pl

from recsys.campaigns.uplift.history import AT
from recsys.schema import CUSTOMER_ID, EVENT_TIMESTAMP, EVENT_TYPE, PRODUCT_ID, EventType

_KINDS = (EventType.IMPRESSION, EventType.VIEW, EventType.CLICK, EventType.DISMISS, EventType.APPLY)


def with_features(
    rows: pl.DataFrame,
    events: pl.DataFrame,
    customers: pl.DataFrame,
    products: pl.DataFrame,
    everybody: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, list[str]]:
    """Adds the columns that learners read, and names them; nothing after `at` is read.

    Args:
        rows: customer_id, product_id and at (datetime).
        events: of the data contract.
        customers: one row per customer, with attributes: numbers and texts.
        products: one row per product, with attributes: numbers and texts; `category` also groups the counts.
        everybody: the events by which a product's own counts go; None: `events`, which must then be the same people's
            whenever a model that was trained on the columns is asked.
    """
    rows = rows.with_row_index("row")
    known = events.join(products.select(PRODUCT_ID, pl.col("category").alias("_category")), on=PRODUCT_ID, how="left")
    wide = rows.join(products.select(PRODUCT_ID, pl.col("category").alias("_category")), on=PRODUCT_ID, how="left")
    names: list[str] = []
    keys = {"pair": [CUSTOMER_ID, PRODUCT_ID], "category": [CUSTOMER_ID, "_category"], "all": [CUSTOMER_ID]}
    for level, by in {**keys, "product": [PRODUCT_ID]}.items():
        counted = known if everybody is None or level != "product" else everybody
        wide, added = _with_counts(wide, counted, by, level)
        names += added
    for table, key in ((customers, CUSTOMER_ID), (products, PRODUCT_ID)):
        coded = _coded(table, key)
        wide = wide.join(coded, on=key, how="left")
        names += [name for name in coded.columns if name != key]
    return wide.sort("row").drop("row", "_category"), names


def _with_counts(rows: pl.DataFrame, events: pl.DataFrame, by: list[str], level: str) -> tuple[pl.DataFrame, list[str]]:
    names = [f"{level}_{kind}" for kind in _KINDS]
    flags = [(pl.col(EVENT_TYPE) == kind).cast(pl.Int32).alias(name) for kind, name in zip(_KINDS, names, strict=True)]
    asked = rows.select(by).unique().lazy()  # nobody asks about the others
    steps = (
        events.lazy()
        .join(asked, on=by, how="semi")
        .select(*by, pl.col(EVENT_TIMESTAMP).alias("_when"), *flags)
        .sort("_when")
        .with_columns(pl.col(names).cum_sum().over(by))
        .collect()
    )
    joined = rows.sort(AT).join_asof(
        steps,
        left_on=AT,
        right_on="_when",
        by=by,
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    return joined.with_columns(pl.col(names).fill_null(0)).drop("_when", strict=False), names


def _coded(table: pl.DataFrame, key: str) -> pl.DataFrame:
    """Numbers as they are, texts as the rank of their spelling; other columns are left out."""
    columns = []
    for name, kind in table.schema.items():
        if name == key:
            continue
        column = pl.col(name)
        if kind.is_numeric() or kind == pl.Boolean:
            columns.append(column.cast(pl.Float64).alias(f"is_{key}_{name}"))
        elif kind == pl.String and table[name].n_unique() <= 64:  # more are names, not groups
            columns.append(column.rank("dense").cast(pl.Float64).alias(f"is_{key}_{name}"))
    return table.select(key, *columns)
