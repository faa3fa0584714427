"""What an approval of copy is pinned to: the product as the catalogue had it, and the words of the creative."""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

WORDS: Final = (
    "content_id",
    "product_id",
    "language",
    "tone",
    "headline",
    "body",
    "call_to_action",
    "disclaimer",
)
"""The columns of a creative that a customer reads, or by which he is chosen to read it."""


def product_version(row: Mapping[str, Any]) -> str:
    """Sha256 of all that the catalogue says of a product."""
    return _hash(dict(row))


def words_hash(row: Mapping[str, Any]) -> str:
    """Sha256 of a creative's words, as the table `contents` has them; a column that is not there says nothing."""
    return _hash({name: row.get(name) for name in WORDS})


def _hash(values: Mapping[str, Any]) -> str:
    plain = {name: str(value) if isinstance(value, date) else value for name, value in values.items()}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
