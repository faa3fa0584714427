"""A bank of the size that is asked for: a simulated one, several times over, under other names.

The copies go through the real path of features. Their texts and pictures are the simulated ones, which the cache of
encodings knows after the first copy; so a large bank costs little more than a small one. It is for measuring speed:
nothing that is learned from it is worth anything.
"""

import shutil
from pathlib import Path
from typing import Final

import polars as pl
import yaml
from pydantic import Field
from rich.progress import Progress

from recsys.config import BaseConfig
from recsys.data.contract import CONFIG_FILE, Dataset
from recsys.schema import CONTENT_ID, CUSTOMER_ID, PRODUCT_ID, Table
from recsys.simulator import SimulatorConfig, simulate

NAME: Final = "benchmark-bank"
MOST_SIMULATED: Final = 1000
PRODUCTS_SIMULATED: Final = 80
_COPY: Final = "copy"
_PLACE: Final = "place"
_OWN: Final = {
    Table.EVENTS: "event_id",
    Table.MESSAGES: "message_id",
    Table.TRANSACTIONS: "transaction_id",
}
"""The ids that nobody else names."""


class BankSize(BaseConfig):
    """How large the bank is."""

    customers: int = Field(default=50_000, ge=100)
    products: int = Field(default=500, ge=10)
    contents: int = Field(default=2_000, ge=10)
    days: int = Field(default=60, ge=28)
    """Of behaviour: how long histories are."""


def write_bank(out: Path, size: BankSize, progress: Progress | None = None) -> Dataset:
    """Writes the dataset directory `out`, which must not exist.

    Raises:
        RecsysError: it does.
    """
    source = out.with_name(f"{out.name}.simulated")
    config = SimulatorConfig(
        customers=min(size.customers, MOST_SIMULATED),
        products=min(size.products, PRODUCTS_SIMULATED),
        days=size.days,
        creatives_per_product=(4, 8),
        transactions_per_customer=20.0,
        messages_per_customer=3.0,
    )
    simulate(config, source, progress)
    _enlarge(Dataset.open(source), out, size)
    shutil.rmtree(source)
    return Dataset.open(out)


def _enlarge(source: Dataset, out: Path, size: BankSize) -> None:
    out.mkdir(parents=True)
    shutil.copytree(source.path / "images", out / "images")
    values = yaml.safe_load((source.path / CONFIG_FILE).read_text()) | {"name": NAME}
    (out / CONFIG_FILE).write_text(yaml.safe_dump(values))
    tables = {table: pl.scan_parquet(source.path / f"{table}.parquet") for table in Table if source.has(table)}
    products = _products(tables[Table.PRODUCTS], size.products).collect()
    contents = _contents(tables[Table.CONTENTS], products, size.contents).collect()
    products.drop(_COPY).write_parquet(out / f"{Table.PRODUCTS}.parquet")
    contents.drop(_COPY).write_parquet(out / f"{Table.CONTENTS}.parquet")
    people = _first_copies(tables[Table.CUSTOMERS], CUSTOMER_ID, size.customers)
    kept = {PRODUCT_ID: products[PRODUCT_ID].to_list(), CONTENT_ID: contents[CONTENT_ID].to_list()}
    for table in (Table.CUSTOMERS, *_OWN, Table.HOLDINGS, Table.CONSENTS):
        if table in tables:
            rows = tables[table].join(people, on=CUSTOMER_ID)
            copied = _with_items(rows, kept, int(products[_COPY].max() or 0) + 1)  # type: ignore[arg-type]
            own = [_OWN[table]] if table in _OWN else []
            renamed = copied.with_columns(_renamed(name, pl.col(_COPY)) for name in [CUSTOMER_ID, *own])
            renamed.drop(_COPY, _PLACE).sink_parquet(out / f"{table}.parquet")


def _first_copies(rows: pl.LazyFrame, key: str, wanted: int) -> pl.LazyFrame:
    """The ids of the first `wanted` copies: of all the first one, then of all the second one, ..."""
    ids = rows.select(pl.col(key).unique().sort()).collect().with_row_index(_PLACE).lazy()
    count = ids.select(pl.len()).collect().item()
    return _copies(ids, -(-wanted // count)).sort(_COPY, key).head(wanted)


def _copies(rows: pl.LazyFrame, count: int) -> pl.LazyFrame:
    return rows.join(pl.LazyFrame({_COPY: range(count)}), how="cross")


def _renamed(column: str, copy: pl.Expr, mark: str = "-") -> pl.Expr:
    """The id in its copy; that of the first copy is the simulated one."""
    return pl.when(copy == 0).then(pl.col(column)).otherwise(pl.concat_str([pl.col(column), pl.lit(mark), copy]))


def _products(rows: pl.LazyFrame, wanted: int) -> pl.LazyFrame:
    copied = rows.join(_first_copies(rows, PRODUCT_ID, wanted), on=PRODUCT_ID)
    renamed = copied.with_columns(_renamed(name, pl.col(_COPY)) for name in (PRODUCT_ID, "name"))
    return renamed.drop(_PLACE).sort(_COPY, PRODUCT_ID, "event_timestamp")


def _contents(rows: pl.LazyFrame, products: pl.DataFrame, wanted: int) -> pl.LazyFrame:
    copied = _copies(rows, int(products[_COPY].max() or 0) + 1)  # type: ignore[arg-type]
    named = copied.with_columns(_renamed(name, pl.col(_COPY)) for name in (PRODUCT_ID, CONTENT_ID, "headline"))
    own = named.filter(pl.col(PRODUCT_ID).is_in(products[PRODUCT_ID].to_list())).drop(_COPY)
    there = own.select(pl.col(CONTENT_ID).n_unique()).collect().item()
    own = _copies(own, -(-wanted // there))  # a product may need more creatives than were simulated of it
    own = own.with_columns(_renamed(CONTENT_ID, pl.col(_COPY), "~"))
    # as many of each product as there is room for: the first of all, then the second of all, ...
    ids = own.select(PRODUCT_ID, CONTENT_ID).unique()
    ranked = ids.with_columns(pl.col(CONTENT_ID).rank("ordinal").over(PRODUCT_ID).alias("nth"))
    chosen = ranked.sort("nth", CONTENT_ID).head(wanted)
    return own.join(chosen, on=CONTENT_ID, how="semi").sort(CONTENT_ID, "event_timestamp")


def _with_items(rows: pl.LazyFrame, kept: dict[str, list[str]], copies: int) -> pl.LazyFrame:
    """Each customer's copy has another copy of his products, with its own creatives, as far as there is one."""
    which = (pl.col(_COPY) + pl.col(_PLACE)).cast(pl.Int64) % copies
    for name in (name for name in kept if name in rows.collect_schema().names()):
        other = _renamed(name, which)
        first = pl.when(pl.col(name).is_in(kept[name])).then(pl.col(name))
        rows = rows.with_columns(pl.when(other.is_in(kept[name])).then(other).otherwise(first).alias(name))
    return rows
