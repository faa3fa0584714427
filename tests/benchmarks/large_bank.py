"""A bank of any size in seconds, without texts and pictures: what speed is measured on, never quality."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from recsys.data.contract import Dataset

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 120
EVENTS_EACH = 4


def write_large_bank(path: Path, customers: int, products: int, seed: int = 0) -> Dataset:
    """Writes a valid dataset directory with the rules of a bank and opens it.

    Args:
        path: the directory to make.
        customers: how many, with EVENTS_EACH events each on average.
        products: how many; the same for every number of customers.
        seed: of everything that is drawn.
    """
    path.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    names = pl.Series([f"c{number:07}" for number in range(customers)])
    _products(products).write_parquet(path / "products.parquet")
    _customers(rng, names).write_parquet(path / "customers.parquet")
    _events(rng, names, products).write_parquet(path / "events.parquet")
    features = {"customers": {"age": "numeric", "occupation": "categorical"}}
    config = {"name": "large-bank", "policy": "bank", "features": features}
    (path / "dataset.yaml").write_text(yaml.safe_dump(config))
    return Dataset.open(path)


def _times(days: np.ndarray) -> pl.Series:
    micros = (days * 86_400_000_000).astype(np.int64)
    return pl.Series(micros).cast(pl.Duration("us")) + pl.lit(START).cast(pl.Datetime("us", "UTC"))


def _products(n: int) -> pl.DataFrame:
    rng = np.random.default_rng(n)
    investment = rng.random(n) < 0.4
    risk = [f"R{level}" if risky else None for level, risky in zip(rng.integers(1, 6, n), investment, strict=True)]
    return pl.DataFrame(
        {
            "product_id": [f"p{number:04}" for number in range(n)],
            "event_timestamp": pl.Series([START - timedelta(days=90)] * n, dtype=pl.Datetime("us", "UTC")),
            "name": [f"Product {number}" for number in range(n)],
            "category": ["fund" if risky else "savings" for risky in investment],
            "rate": rng.uniform(0, 8, n),
            "issuer_risk": risk,
            "bank_risk": risk,
            "status": rng.choice(["live", "paused"], n, p=[0.95, 0.05]),
            "min_age": rng.choice([18.0, 25.0], n),
        }
    )


def _customers(rng: np.random.Generator, names: pl.Series) -> pl.DataFrame:
    n = len(names)
    instants = pl.Series([START - timedelta(days=30)] * n, dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame(
        {
            "customer_id": names,
            "event_timestamp": instants,
            "segment": rng.choice(["retail", "affluent", "private"], n),
            "region": rng.choice([f"r{number}" for number in range(20)], n),
            "risk_level": rng.choice(["C1", "C2", "C3", "C4", "C5"], n),
            "risk_assessed_at": instants,
            "age": rng.integers(18, 90, n).astype(np.float64),
            "occupation": rng.choice(["cook", "clerk", "nurse", "driver"], n),
        }
    )


def _events(rng: np.random.Generator, names: pl.Series, products: int) -> pl.DataFrame:
    n = EVENTS_EACH * len(names)
    popular = np.minimum((rng.pareto(1.2, n) * products / 20).astype(np.int64), products - 1)
    frame = pl.DataFrame(
        {
            "customer_id": names[rng.integers(0, len(names), n)],
            "event_type": rng.choice(["click", "apply", "convert"], n, p=[0.8, 0.1, 0.1]),
            "product_id": pl.Series([f"p{number:04}" for number in range(products)])[popular],
            "days": rng.uniform(0, DAYS, n),
        }
    )
    ids = pl.Series([f"e{number:09}" for number in range(n)])
    return frame.with_columns(event_id=ids, event_timestamp=_times(frame["days"].to_numpy())).drop("days")
