"""The products as the rules see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
import polars as pl

from recsys.policy.facts.arrays import (
    BoolArray,
    CodeArray,
    FloatArray,
    IntArray,
    Restriction,
    TextArray,
    TimeArray,
    codes_of,
    flags_of,
    numbers_of,
    texts,
    times_of,
    values_of,
)
from recsys.schema import PRODUCT_ID, PRODUCT_STATUSES, RISK_RATINGS

LIVE, PAUSED, SOLD_OUT, DRAFT = range(len(PRODUCT_STATUSES))
_UNREAD: Final = frozenset({"description", "image_path"})
"""Long, and no rule's business."""


@dataclass(frozen=True, eq=False)
class ProductFacts:
    """N products as the rules see them, in catalogue order."""

    ids: tuple[str, ...]
    category: TextArray
    """Empty where it is not known."""
    status: CodeArray
    available_from: TimeArray
    available_to: TimeArray
    risk: CodeArray
    """The higher of the issuer's and the bank's rating, 1 to 5; NO_RATING where there is neither."""
    repeatable: BoolArray
    is_credit: BoolArray
    """What the catalogue says; a pack may name further categories."""
    min_age: FloatArray
    """0 where there is no minimum."""
    min_amount: FloatArray
    term_months: FloatArray
    rate: FloatArray
    fee: FloatArray
    """NaN where there is none."""
    capacity: FloatArray
    """Units that may be sold; NaN where there is no limit."""
    countries: Restriction | None
    segments: Restriction | None
    channels: Restriction | None
    prerequisites: Mapping[int, IntArray]
    """By position, the positions of the products of which the customer must have one; those out of the catalogue are
    left out, so that an empty array means: nobody can have it."""
    columns: Mapping[str, list[Any]]
    """Every column of the catalogue but the long ones: a pack may name columns that the data contract does not."""

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> Self:
        """From one row a product, with the canonical columns of products.parquet that are there."""
        ids = frame[PRODUCT_ID].to_list()
        return cls(
            ids=tuple(ids),
            category=texts(values_of(frame, "category")),
            status=_status(frame),
            available_from=times_of(frame, "available_from"),
            available_to=times_of(frame, "available_to"),
            risk=np.maximum(codes_of(frame, "issuer_risk", RISK_RATINGS), codes_of(frame, "bank_risk", RISK_RATINGS)),
            repeatable=flags_of(frame, "repeatable"),
            is_credit=flags_of(frame, "is_credit"),
            min_age=np.nan_to_num(numbers_of(frame, "min_age"), nan=0.0),
            min_amount=numbers_of(frame, "min_amount"),
            term_months=numbers_of(frame, "term_months"),
            rate=numbers_of(frame, "rate"),
            fee=numbers_of(frame, "fee"),
            capacity=numbers_of(frame, "capacity"),
            countries=Restriction.of(values_of(frame, "countries")),
            segments=Restriction.of(values_of(frame, "segments")),
            channels=Restriction.of(values_of(frame, "channels")),
            prerequisites=_prerequisites(ids, values_of(frame, "prerequisites")),
            columns={name: frame[name].to_list() for name in frame.columns if name not in _UNREAD},
        )

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def index(self) -> dict[str, int]:
        """Id to position."""
        return {product_id: position for position, product_id in enumerate(self.ids)}

    def positions(self, ids: Sequence[str]) -> IntArray:
        """The position of each id; -1 for one that is not in the catalogue."""
        return np.array([self.index.get(product_id, -1) for product_id in ids], dtype=np.int64)


def _status(frame: pl.DataFrame) -> CodeArray:
    """A catalogue without states is live; one with states has an empty one only by mistake: not live."""
    if "status" not in frame.columns:
        return np.full(len(frame), LIVE, dtype=np.int8)
    code = {name: position for position, name in enumerate(PRODUCT_STATUSES)}
    return np.array([code.get(value, DRAFT) for value in frame["status"].to_list()], dtype=np.int8)


def _prerequisites(ids: Sequence[str], lists: Sequence[Sequence[str] | None]) -> dict[int, IntArray]:
    place = {product_id: position for position, product_id in enumerate(ids)}
    return {
        position: np.array([place[name] for name in names if name in place], dtype=np.int64)
        for position, names in enumerate(lists)
        if names
    }
