"""A tiny random bank with every table of the data contract, for tests that need a whole dataset in a second."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import yaml
from PIL import Image

from recsys.data.contract import Dataset

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
DAYS: Final = 120
EVENT_TYPES: Final = ("impression", "view", "click", "dismiss", "apply", "convert")
CATEGORIES: Final = ("groceries", "travel", "Health & Beauty", "fuel", "gambling", "salary")
SENTENCES: Final = (
    "I want to save for a house",
    "the card was declined abroad",
    "how do I open a pension",
    "  ",
    "is there a loan for a used car",
)
_COLOURS: Final = ("red", "navy", "olive", "teal", "orange", "purple")


def write_tiny_bank(path: Path, customers: int = 30, seed: int = 0, prefix: str = "c") -> Dataset:
    """Writes a valid dataset directory and opens it.

    It has tied event times, customers without events, blank and missing texts, null numbers, sensitive merchant
    categories, two versions of a product, and consents that are given, withheld and withdrawn.

    Args:
        path: the directory to make.
        customers: how many.
        seed: of everything that is drawn.
        prefix: of a customer's identifier, before three digits. `c000` is also a piece of a random hexadecimal
            number now and then: who greps for a customer takes a prefix that is not.
    """
    rng = np.random.default_rng(seed)
    path.mkdir(parents=True)
    ids = [f"{prefix}{number:03}" for number in range(customers)]
    tables = {
        "customers": _customers(rng, ids),
        "products": _products(),
        "contents": _contents(),
        "events": _events(rng, ids),
        "messages": _messages(rng, ids),
        "transactions": _transactions(rng, ids),
        "consents": _consents(ids),
    }
    for name, frame in tables.items():
        frame.write_parquet(path / f"{name}.parquet")
    _draw_images(path / "images")
    features = {"customers": {"age": "numeric", "occupation": "categorical"}, "products": {"tags": "categorical_list"}}
    config = {"name": "tiny-bank", "policy": "bank", "currency": "EUR", "features": features}
    (path / "dataset.yaml").write_text(yaml.safe_dump(config))
    return Dataset.open(path)


def _times(rng: np.random.Generator, n: int, resolution: timedelta) -> pl.Series:
    steps = rng.integers(0, timedelta(days=DAYS) // resolution, n)
    return pl.Series([START + int(step) * resolution for step in steps], dtype=pl.Datetime("us", "UTC"))


def _pick(rng: np.random.Generator, values: Sequence[str | None], n: int) -> list[str | None]:
    return [values[index] for index in rng.integers(0, len(values), n)]


def _customers(rng: np.random.Generator, ids: list[str]) -> pl.DataFrame:
    first = pl.DataFrame(
        {
            "customer_id": ids,
            "event_timestamp": [START - timedelta(days=30)] * len(ids),
            "segment": _pick(rng, ["retail", "affluent", None], len(ids)),
            "risk_level": _pick(rng, ["C1", "C3", "C5"], len(ids)),
            "liquid_amount": rng.uniform(0, 1e5, len(ids)),
            "joined_at": [START - timedelta(days=int(days)) for days in rng.integers(30, 3000, len(ids))],
            "in_arrears": rng.random(len(ids)) < 0.1,
            "age": [None if draw < 0.2 else float(int(18 + 60 * draw)) for draw in rng.random(len(ids))],
            "occupation": _pick(rng, ["cook", "clerk", " "], len(ids)),
        }
    )
    moved = first[::3].with_columns(event_timestamp=pl.lit(START + timedelta(days=60)), segment=pl.lit("affluent"))
    return pl.concat([first, moved]).with_columns(pl.col("event_timestamp", "joined_at").dt.cast_time_unit("us"))


def _products() -> pl.DataFrame:
    n = 6
    first = pl.DataFrame(
        {
            "product_id": [f"p{number}" for number in range(n)],
            "event_timestamp": [START - timedelta(days=90)] * n,
            "name": ["Easy saver", "Growth fund", "Gold card", "Car loan", "Home loan", "Pension plan"],
            "description": ["Save a little", None, "Pay anywhere", "Drive away", "Move in", "Later is now"],
            "category": ["savings", "fund", "card", "loan", "mortgage", "pension"],
            "rate": [1.5, None, 0.0, 6.9, 3.2, None],
            "is_credit": [False, False, True, True, True, False],
            "status": ["live"] * n,
            "value": [10.0, 40.0, 25.0, 60.0, 300.0, 80.0],
            "tags": [["safe", "short"], ["risk"], [], None, ["long"], ["long", "safe"]],
            "image_path": [f"images/p{number}.png" if number else None for number in range(n)],
        }
    )
    repriced = first[:1].with_columns(event_timestamp=pl.lit(START + timedelta(days=50)), rate=pl.lit(2.5))
    return pl.concat([first, repriced]).with_columns(pl.col("event_timestamp").dt.cast_time_unit("us"))


def _contents() -> pl.DataFrame:
    n = 8
    return pl.DataFrame(
        {
            "content_id": [f"k{number}" for number in range(n)],
            "event_timestamp": [START - timedelta(days=90)] * n,
            "product_id": [f"p{number % 6}" for number in range(n)],
            "channel": ["app", "email"] * (n // 2),
            "tone": ["warm", "plain", "bold", "plain"] * (n // 4),
            "headline": [f"Offer {number} for you" for number in range(n)],
            "body": ["A few words about it"] * n,
            "image_path": [f"images/k{number}.png" if number % 2 else None for number in range(n)],
            "ai_generated": [number % 2 == 0 for number in range(n)],
        }
    )


def _events(rng: np.random.Generator, ids: list[str]) -> pl.DataFrame:
    n = 25 * len(ids)
    products = _pick(rng, [f"p{number}" for number in range(6)], n)
    contents = _pick(rng, [None, *(f"k{number}" for number in range(8))], n)
    types = rng.choice(EVENT_TYPES, n, p=[0.5, 0.2, 0.15, 0.08, 0.04, 0.03])
    events = pl.DataFrame(
        {
            "event_id": [f"e{number:05}" for number in rng.permutation(n)],
            "customer_id": _pick(rng, ids[:-2], n),
            "event_timestamp": _times(rng, n, timedelta(hours=2)),
            "event_type": types,
            "product_id": products,
            "content_id": contents,
        }
    )
    return events.sort("customer_id", "event_timestamp", "event_id")


def _messages(rng: np.random.Generator, ids: list[str]) -> pl.DataFrame:
    n = 4 * len(ids)
    return pl.DataFrame(
        {
            "message_id": [f"m{number:04}" for number in range(n)],
            "customer_id": _pick(rng, ids, n),
            "event_timestamp": _times(rng, n, timedelta(hours=1)),
            "text": _pick(rng, [*SENTENCES, None], n),
            "source": ["chat"] * n,
            "image_path": _pick(rng, [None, None, "images/p1.png"], n),
        }
    ).sort("customer_id", "event_timestamp", "message_id")


def _transactions(rng: np.random.Generator, ids: list[str]) -> pl.DataFrame:
    n = 30 * len(ids)
    categories = _pick(rng, CATEGORIES, n)
    amounts = [
        round(float(draw), 2) if category == "salary" else -round(float(draw) / 10, 2)
        for category, draw in zip(categories, rng.uniform(1, 3000, n), strict=True)
    ]
    return pl.DataFrame(
        {
            "transaction_id": [f"t{number:05}" for number in range(n)],
            "customer_id": _pick(rng, ids, n),
            "event_timestamp": _times(rng, n, timedelta(minutes=1)),
            "amount": amounts,
            "merchant_category": categories,
        }
    )


def _consents(ids: list[str]) -> pl.DataFrame:
    """Every seventh customer refuses profiling, every fifth withdraws text analysis, every fourth never gave images."""
    rows = []
    for number, id_ in enumerate(ids):
        given = START - timedelta(days=1)
        rows.append((id_, "profiling", given, number % 7 != 3))
        rows.append((id_, "text_analysis", given, True))
        if number % 5 == 2:
            rows.append((id_, "text_analysis", START + timedelta(days=80), False))
        if number % 4 != 1:
            rows.append((id_, "image_analysis", given, True))
    frame = pl.DataFrame(rows, schema=["customer_id", "purpose", "event_timestamp", "granted"], orient="row")
    return frame.with_columns(pl.col("event_timestamp").cast(pl.Datetime("us", "UTC")))


def _draw_images(folder: Path) -> None:
    folder.mkdir()
    names = [*(f"p{number}" for number in range(1, 6)), *(f"k{number}" for number in range(1, 8, 2))]
    for place, name in enumerate(names):
        picture = Image.new("RGB", (48, 32), _COLOURS[place % len(_COLOURS)])
        picture.putpixel((place, place), (255, 255, 255))
        picture.save(folder / f"{name}.png")
