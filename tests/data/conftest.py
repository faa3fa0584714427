"""A tiny dataset with every table, every column type and two pictures, for tests that break one thing of it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from PIL import Image

START = datetime(2026, 1, 1, tzinfo=UTC)
SHARED = Path(__file__).parents[2] / "../shared/data"


def day(number: float) -> datetime:
    return START + timedelta(days=number)


@dataclass
class TinyDataset:
    """A dataset directory whose tables can be replaced."""

    path: Path

    def read(self, table: str) -> pl.DataFrame:
        return pl.read_parquet(self.path / f"{table}.parquet")

    def write(self, table: str, frame: pl.DataFrame) -> None:
        frame.write_parquet(self.path / f"{table}.parquet")

    def set(self, table: str, column: str, row: int, value: Any) -> None:
        """Writes one cell."""
        frame = self.read(table)
        values = frame[column].to_list()
        values[row] = value
        self.write(table, frame.with_columns(pl.Series(column, values, dtype=frame.schema[column])))

    def replace(self, table: str, *columns: pl.Expr | pl.Series) -> None:
        self.write(table, self.read(table).with_columns(*columns))

    def configure(self, **values: Any) -> None:
        """Changes keys of dataset.yaml; None removes one."""
        file = self.path / "dataset.yaml"
        merged = {**yaml.safe_load(file.read_text()), **values}
        file.write_text(yaml.safe_dump({key: value for key, value in merged.items() if value is not None}))

    def bytes(self) -> dict[str, bytes]:
        return {str(file): file.read_bytes() for file in sorted(self.path.rglob("*")) if file.is_file()}


def tiny_tables() -> dict[str, dict[str, list[Any]]]:
    return {
        "customers": {
            "customer_id": ["a", "b", "b"],
            "event_timestamp": [day(0), day(0), day(2)],
            "risk_level": ["C1", None, "C5"],
            "risk_assessed_at": [day(-9), None, day(1)],
            "is_minor": [False, True, False],
            "age": [30.0, None, 41.0],
            "job": ["clerk", None, "cook"],
        },
        "products": {
            "product_id": ["p", "q"],
            "event_timestamp": [day(0), day(0)],
            "name": ["Fund", "Card"],
            "image_path": ["images/p.png", None],
            "bank_risk": ["R1", None],
            "status": ["live", "draft"],
            "fee": [1.5, None],
            "available_to": [day(9999), None],
            "countries": [["DE", "FR"], None],
        },
        "contents": {
            "content_id": ["k"],
            "event_timestamp": [day(0)],
            "product_id": ["p"],
            "headline": ["Save"],
            "image_path": ["images/k.jpg"],
            "status": ["approved"],
        },
        "events": {
            "event_id": ["e1", "e2", "e3", "e4"],
            "customer_id": ["a", "a", "b", "a"],
            "event_timestamp": [day(3), day(4), day(4), day(5)],
            "event_type": ["impression", "click", "convert", "dismiss"],
            "product_id": ["p", None, "q", "q"],
            "content_id": [None, "k", None, None],
            "value": [None, 1.0, 2.0, None],
            "propensity": [0.5, None, None, 1.0],
        },
        **_tiny_records(),
    }


def _tiny_records() -> dict[str, dict[str, list[Any]]]:
    """The tables that a dataset may lack."""
    return {
        "messages": {
            "message_id": ["m1"],
            "customer_id": ["a"],
            "event_timestamp": [day(3)],
            "text": ["I want a card"],
            "source": ["chat"],
        },
        "transactions": {
            "transaction_id": ["t1", "t2"],
            "customer_id": ["a", "b"],
            "event_timestamp": [day(1), day(2)],
            "amount": [-9.99, 2000.0],
        },
        "holdings": {"customer_id": ["a"], "product_id": ["p"], "opened_at": [day(1)], "closed_at": [day(900)]},
        "consents": {
            "customer_id": ["a", "a"],
            "purpose": ["marketing", "marketing"],
            "event_timestamp": [day(0), day(0)],
            "channel": [None, "push"],
            "granted": [True, False],
        },
    }


@pytest.fixture
def tiny(tmp_path: Path) -> TinyDataset:
    dataset = TinyDataset(tmp_path / "bank")
    (dataset.path / "images").mkdir(parents=True)
    Image.new("RGB", (4, 4), "red").save(dataset.path / "images/p.png")
    Image.new("RGB", (4, 4), "blue").save(dataset.path / "images/k.jpg")
    for table, columns in tiny_tables().items():
        dataset.write(table, pl.DataFrame(columns))
    features = {"customers": {"age": "numeric", "job": "categorical"}, "products": {"name": "text"}}
    values = {"name": "tiny", "policy": "bank", "currency": "EUR", "features": features}
    (dataset.path / "dataset.yaml").write_text(yaml.safe_dump(values))
    return dataset


@pytest.fixture
def shared_data() -> Path:
    """The real public data beside the repository."""
    if not (SHARED / "ml100k_raw" / "u.data").exists():
        pytest.skip("MovieLens-100K does not lie in ../shared/data")
    return SHARED
