"""What the catalogue says of a product, as copy may state it, and the version that an approval is pinned to."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from recsys.config import BaseConfig

_PERCENT_FEES = frozenset({"fund", "pension", "wealth"})


class ProductFacts(BaseConfig):
    """The facts of one product; copy may state these and nothing else."""

    product_id: str
    name: str
    category: str = "other"
    currency: str | None = None
    rate: float | None = None
    """Percent a year."""
    fee: float | None = None
    """Percent a year where `fee_is_percent`, else money."""
    min_amount: float | None = None
    """In money."""
    term_months: int | None = None
    risk: str | None = None
    """The stricter of the issuer's and the bank's rating, R1..R5."""
    is_credit: bool = False
    valid_until: date | None = None

    @property
    def fee_is_percent(self) -> bool:
        """Investments charge a share, everything else an amount."""
        return self.category in _PERCENT_FEES

    @property
    def version(self) -> str:
        """The product version: sha256 of the facts in canonical JSON; one changed fact voids an approval."""
        return canonical_hash(self.model_dump(mode="json"))


def facts_of(row: Mapping[str, Any]) -> ProductFacts:
    """The facts in a row of the products table (data-contract.md); absent columns are facts not stated."""
    ratings = [row[name] for name in ("issuer_risk", "bank_risk") if row.get(name)]
    ends = row.get("available_to")
    return ProductFacts(
        product_id=row["product_id"],
        name=row["name"],
        category=row.get("category") or "other",
        currency=row.get("currency"),
        rate=row.get("rate"),
        fee=row.get("fee"),
        min_amount=row.get("min_amount"),
        term_months=row.get("term_months"),
        risk=max(ratings) if ratings else None,
        is_credit=bool(row.get("is_credit")),
        valid_until=ends.date() if isinstance(ends, datetime) else ends,
    )


def canonical_hash(values: Mapping[str, Any] | Sequence[Any]) -> str:
    """Sha256 of `values` as JSON with sorted keys, no spaces and the characters as they are."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
