"""Encoded texts and pictures: forgets those of one customer, and those that no feature table needs any more."""

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from recsys.data.contract import Dataset
from recsys.encoders.cache import forget_encodings, picture_key, text_key
from recsys.encoders.vector_store import KEY_BYTES
from recsys.features.build import CONFIG_FILE, USED_ENCODINGS_FILE
from recsys.features.config import FeatureConfig
from recsys.features.text import with_country
from recsys.home import Home
from recsys.privacy.redaction import Redactor
from recsys.schema import CUSTOMER_ID, FeatureKind, Table


def forget_customer_encodings(home: Home, dataset: Dataset, customer_id: str) -> int:
    """Forgets what a customer wrote and sent, others' equal texts included: those are encoded again when needed.

    Args:
        home: whose cache.
        dataset: still has his rows.
        customer_id: who.

    Returns:
        How many vectors went.
    """
    texts = _redacted_texts(dataset, customer_id, _config(home))
    files = [file for path in _pictures(dataset, customer_id) if (file := dataset.image_file(path))]
    found = [key for key in (*map(text_key, texts), *map(picture_key, files)) if key is not None]
    keys = np.array(found, dtype=f"S{KEY_BYTES}")
    if not len(keys):
        return 0
    used = home.features / USED_ENCODINGS_FILE
    if used.exists():
        _write(used, np.setdiff1d(np.load(used), keys))
    return forget_encodings(home.encodings, lambda stored: np.isin(stored, keys))


def prune_encodings(home: Home, before: datetime, *, dry_run: bool = False) -> int:
    """Forgets what was encoded before an instant and is in no feature table of the home.

    Returns:
        How many vectors went.
    """
    used = home.features / USED_ENCODINGS_FILE
    if not used.exists():
        return 0
    keys = np.load(used)
    return forget_encodings(home.encodings, lambda stored: ~np.isin(stored, keys), before.timestamp(), dry_run=dry_run)


def _config(home: Home) -> FeatureConfig:
    """What the present tables were built with: texts are redacted in the same way again."""
    file = home.features / CONFIG_FILE
    return FeatureConfig.parse(json.loads(file.read_text()), str(file)) if file.exists() else FeatureConfig()


def _redacted_texts(dataset: Dataset, customer_id: str, config: FeatureConfig) -> list[str | None]:
    redactor = Redactor(config.redaction)
    texts: list[str | None] = []
    if dataset.has(Table.MESSAGES) and "text" in dataset.columns(Table.MESSAGES):
        rows = dataset.scan(Table.MESSAGES).filter(pl.col(CUSTOMER_ID) == customer_id)
        messages = with_country(rows, dataset).select("text", "country").collect()
        texts += redactor.redact(messages["text"], messages["country"]).to_list()
    kinds = dataset.declared(Table.CUSTOMERS)
    for name in dataset.columns(Table.CUSTOMERS):
        if kinds.get(name) is FeatureKind.TEXT:
            rows = dataset.scan(Table.CUSTOMERS).filter(pl.col(CUSTOMER_ID) == customer_id)
            texts += redactor.redact(rows.select(name).collect()[name]).to_list()
    return texts


def _pictures(dataset: Dataset, customer_id: str) -> list[str]:
    if not dataset.has(Table.MESSAGES) or "image_path" not in dataset.columns(Table.MESSAGES):
        return []
    rows = dataset.scan(Table.MESSAGES).filter(pl.col(CUSTOMER_ID) == customer_id, pl.col("image_path").is_not_null())
    return sorted(rows.select("image_path").unique().collect()["image_path"].to_list())


def _write(file: Path, keys: np.ndarray) -> None:
    unfinished = file.with_name(f".{file.name}.partial")
    with unfinished.open("wb") as handle:
        np.save(handle, keys)
    unfinished.replace(file)
