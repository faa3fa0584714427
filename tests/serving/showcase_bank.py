"""The dataset behind the page of the tiny service: one customer with every modality, and markup where words go."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import yaml
from PIL import Image

from recsys.features.build import CONFIG_FILE
from recsys.features.config import FeatureConfig
from recsys.home import Home
from recsys.schema import CONSENT_PURPOSES
from recsys.testing.tiny_scorer import NOW, tiny_contents, tiny_products

EVIL = "<script>alert(1)</script>"
PHONE = "+44 7700 900123"
DAY = timedelta(days=1)


def write_showcase_bank(home: Path, folder: Path) -> None:
    """Writes the dataset and makes the home its own."""
    folder.mkdir(parents=True)
    frames = {
        "customers": pl.DataFrame({"customer_id": ["anna"], "event_timestamp": [NOW - 90 * DAY], "country": ["GB"]}),
        "products": tiny_products().with_columns(
            event_timestamp=NOW - 90 * DAY, description=pl.lit(EVIL), image_path=pl.lit("images/p.png")
        ),
        "contents": tiny_contents().with_columns(event_timestamp=NOW - 90 * DAY, body=pl.lit(EVIL), ai_generated=True),
        "events": _events(),
        "messages": pl.DataFrame(
            {
                "message_id": ["m1", "m2"],
                "customer_id": ["anna", "anna"],
                "event_timestamp": [NOW - 9 * DAY, NOW - 8 * DAY],
                "text": [f"Call me on {PHONE}", f"a house {EVIL}"],
                "source": ["chat", "search"],
                "image_path": ["images/p.png", None],
            }
        ),
        "transactions": pl.DataFrame(
            {
                "transaction_id": ["t1", "t2", "t3"],
                "customer_id": ["anna"] * 3,
                "event_timestamp": [NOW - 3 * DAY] * 3,
                "amount": [2000.0, -75.0, -25.0],
                "merchant_category": ["salary", "groceries", "casino"],
            }
        ),
        "consents": pl.DataFrame(
            {
                "customer_id": ["anna"] * 4,
                "purpose": list(CONSENT_PURPOSES),
                "event_timestamp": [NOW - 90 * DAY] * 4,
                "granted": [True] * 4,
            }
        ),
    }
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")
    (folder / "images").mkdir()
    Image.new("RGB", (8, 8), "teal").save(folder / "images" / "p.png")
    (folder / "dataset.yaml").write_text(yaml.safe_dump({"name": "tiny", "policy": "bank", "currency": "GBP"}))
    Home(home).claim("tiny", folder)
    features = Home(home).features
    features.mkdir(exist_ok=True)
    (features / CONFIG_FILE).write_text(FeatureConfig().model_dump_json())
    _feature_rows(features)


def _events() -> pl.DataFrame:
    kinds = ("impression", "view", "click", "click")
    return pl.DataFrame(
        {
            "event_id": [f"old-{number}" for number in range(4)],
            "customer_id": ["anna"] * 4,
            "event_timestamp": [NOW - (6 - number) * DAY for number in range(4)],
            "event_type": list(kinds),
            "product_id": ["p01", "p03", "p05", "p05"],
            "content_id": [None, None, "p05-a", "p05-a"],
        }
    )


def _feature_rows(features: Path) -> None:
    """What the list counts: anna has two messages, one picture and two products in her history."""
    row = {"customer_id": ["anna"], "event_timestamp": [NOW - DAY]}
    tables = {
        "customer_history": {"product_ids": [["p03", "p05", "p05"]]},
        "customer_text": {"n_messages": [2.0]},
        "customer_images": {"n_images": [1.0]},
    }
    for name, columns in tables.items():
        pl.DataFrame({**row, **columns}).write_parquet(features / f"{name}.parquet")
