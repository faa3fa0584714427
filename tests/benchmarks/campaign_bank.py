"""A bank of any size with all that a campaign needs: creatives, consents, time zones and logged impressions."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl

from recsys.data.contract import Dataset
from tests.benchmarks.large_bank import DAYS, START, write_large_bank

EXPOSURES_EACH = 2


def write_campaign_bank(path: Path, customers: int, products: int, seed: int = 0) -> Dataset:
    """`write_large_bank` with a creative for each product and channel, and everybody's consent but a tenth's."""
    write_large_bank(path, customers, products, seed)
    rng = np.random.default_rng(seed + 1)
    zones = rng.choice(["Europe/Dublin", "Europe/Lisbon", "Europe/Helsinki", "Europe/Amsterdam"], customers)
    rows = pl.read_parquet(path / "customers.parquet").with_columns(
        pl.Series("time_zone", zones), pl.lit("en").alias("language"), pl.lit("verified").alias("kyc_status")
    )
    rows.write_parquet(path / "customers.parquet")
    _consents(rng, rows).write_parquet(path / "consents.parquet")
    _contents(products).write_parquet(path / "contents.parquet")
    margins = pl.Series("value", np.random.default_rng(products).uniform(20, 200, products))
    catalogue = pl.read_parquet(path / "products.parquet").with_columns(margins)
    catalogue.write_parquet(path / "products.parquet")
    events = pl.read_parquet(path / "events.parquet")
    shown = _impressions(rng, rows["customer_id"], products)
    pl.concat([events, shown], how="diagonal").write_parquet(path / "events.parquet")
    return Dataset.open(path)


def _consents(rng: np.random.Generator, customers: pl.DataFrame) -> pl.DataFrame:
    purposes = [
        customers.select("customer_id", "event_timestamp").with_columns(
            pl.lit(purpose).alias("purpose"), pl.Series("granted", rng.random(len(customers)) < 0.9)
        )
        for purpose in ("marketing", "profiling")
    ]
    return pl.concat(purposes).with_columns(pl.lit(None, pl.String).alias("channel"))


def _contents(products: int) -> pl.DataFrame:
    rows = [(product, channel) for product in range(products) for channel in ("email", "app")]
    return pl.DataFrame(
        {
            "content_id": [f"a{number:05}" for number in range(len(rows))],
            "event_timestamp": pl.Series([START - timedelta(days=90)] * len(rows), dtype=pl.Datetime("us", "UTC")),
            "product_id": [f"p{product:04}" for product, _ in rows],
            "channel": [channel for _, channel in rows],
            "language": ["en"] * len(rows),
            "headline": ["Have a look"] * len(rows),
            "body": ["At your own pace."] * len(rows),
            "tone": ["warm"] * len(rows),
            "status": ["approved"] * len(rows),
        }
    )


def _impressions(rng: np.random.Generator, names: pl.Series, products: int) -> pl.DataFrame:
    """Impressions of the first month, a twentieth of them answered by a click a day later."""
    n = EXPOSURES_EACH * len(names)
    micros = (rng.uniform(0, DAYS / 2, n) * 86_400_000_000).astype(np.int64)
    times = pl.Series(micros).cast(pl.Duration("us")) + pl.lit(START).cast(pl.Datetime("us", "UTC"))
    shown = pl.DataFrame(
        {
            "customer_id": names[rng.integers(0, len(names), n)],
            "event_type": ["impression"] * n,
            "product_id": pl.Series([f"p{number:04}" for number in range(products)])[rng.integers(0, products, n)],
            "channel": rng.choice(["email", "app"], n),
            "event_id": [f"i{number:09}" for number in range(n)],
        }
    ).with_columns(event_timestamp=times)
    answered = shown.filter(pl.Series(rng.random(n) < 0.05)).with_columns(
        pl.lit("click").alias("event_type"),
        ("k" + pl.col("event_id")).alias("event_id"),
        pl.col("event_timestamp") + pl.duration(days=1),
    )
    return pl.concat([shown, answered])
