"""What the rules read: products, contents and customers as aligned numpy arrays, built from frames.

B customers, N products, C contents, E relations (customer has or declined product). Times are `datetime64[us]` in
UTC with NaT for "not known"; a column that a frame lacks is "not known" for everybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys.schema import CONTENT_ID, CUSTOMER_ID, PRODUCT_ID, PRODUCT_STATUSES, RISK_LEVELS, RISK_RATINGS

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
CodeArray = NDArray[np.int8]
FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]
TextArray = NDArray[np.str_]

NO_RATING = 0
"""The code of a missing C-level or R-rating; 1 to 5 are the known ones."""
LIVE, PAUSED, SOLD_OUT, DRAFT = range(len(PRODUCT_STATUSES))
ADULT_AGE = 18
NOT_A_TIME = np.datetime64("NaT", "us")


def as_instant(time: datetime) -> np.datetime64:
    """An aware time as `datetime64[us]` in UTC.

    Raises:
        ValueError: `time` has no zone, so it names no instant.
    """
    if time.tzinfo is None:
        raise ValueError(f"{time} has no time zone: give an aware time")
    return np.datetime64(time.astimezone(UTC).replace(tzinfo=None), "us")


class Restriction(NamedTuple):
    """Which values of one attribute (a country, a segment, a channel) each of N products is open to."""

    codes: dict[str, int]
    allowed: BoolArray
    """[V + 1, N]: the last row is for a value that no product names, and for an unknown one."""

    def closed_to(self, values: Sequence[str | None]) -> BoolArray:
        """[B, N]: the products that are closed to each of B values."""
        unknown = len(self.codes)
        rows = [unknown if value is None else self.codes.get(value, unknown) for value in values]
        return ~self.allowed[rows]


class Relations(NamedTuple):
    """Which products B customers have, or declined, and when: compressed rows, E entries."""

    offsets: IntArray
    """[B + 1]: customer b owns the entries offsets[b] up to offsets[b + 1]."""
    products: IntArray
    """[E]: the product's position in the catalogue."""
    since: TimeArray
    until: TimeArray
    """[E]: NaT where it has no end."""

    @classmethod
    def empty(cls, customers: int) -> Self:
        """No relation for any of `customers`."""
        times = np.empty(0, dtype="datetime64[us]")
        return cls(np.zeros(customers + 1, dtype=np.int64), np.empty(0, dtype=np.int64), times, times)

    @classmethod
    def build(cls, customers: int, owners: IntArray, products: IntArray, since: TimeArray, until: TimeArray) -> Self:
        """Relations in any order; entries with a negative owner or product (not in this catalogue) are dropped."""
        kept = np.flatnonzero((owners >= 0) & (products >= 0))
        order = kept[np.argsort(owners[kept], kind="stable")]
        offsets = np.searchsorted(owners[order], np.arange(customers + 1))
        return cls(offsets.astype(np.int64), products[order], since[order], until[order])

    def slice(self, start: int, stop: int) -> Self:
        """The relations of the customers from `start` up to `stop`."""
        stop = min(stop, len(self.offsets) - 1)
        low, high = self.offsets[start], self.offsets[stop]
        entries = slice(int(low), int(high))
        return type(self)(
            self.offsets[start : stop + 1] - low, self.products[entries], self.since[entries], self.until[entries]
        )

    def mask(self, entries: BoolArray, products: int) -> BoolArray:
        """[B, N]: true where one of the chosen `entries` [E] joins the customer and the product."""
        customers = len(self.offsets) - 1
        mask = np.zeros((customers, products), dtype=bool)
        owners = np.repeat(np.arange(customers), np.diff(self.offsets))
        mask[owners[entries], self.products[entries]] = True
        return mask


@dataclass(frozen=True)
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
    min_age: FloatArray
    """0 where there is no minimum."""
    countries: Restriction | None
    segments: Restriction | None
    channels: Restriction | None

    @classmethod
    def from_frame(cls, frame: pl.DataFrame) -> Self:
        """From one row a product, with the canonical columns of products.parquet that are there."""
        ids = frame[PRODUCT_ID].to_list()
        return cls(
            ids=tuple(ids),
            category=_texts(_values(frame, "category")),
            status=_status(frame),
            available_from=_times(frame, "available_from"),
            available_to=_times(frame, "available_to"),
            risk=np.maximum(_codes(frame, "issuer_risk", RISK_RATINGS), _codes(frame, "bank_risk", RISK_RATINGS)),
            repeatable=np.array([value is True for value in _values(frame, "repeatable")], dtype=bool),
            min_age=np.nan_to_num(_numbers(frame, "min_age"), nan=0.0),
            countries=_restriction(frame, "countries"),
            segments=_restriction(frame, "segments"),
            channels=_restriction(frame, "channels"),
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


@dataclass(frozen=True)
class ContentFacts:
    """C contents as the rules see them, in catalogue order."""

    ids: tuple[str, ...]
    product: IntArray
    """The position of the product that each is about."""
    status: TextArray | None
    """None where the catalogue keeps no states; empty where one is missing."""
    hash_matches: BoolArray
    """Whether the approval is of exactly this content."""
    valid_from: TimeArray
    valid_to: TimeArray
    language: TextArray
    """Primary language tags; empty where it is not known."""

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, products: ProductFacts) -> Self:
        """From one row a content; each must be about one of `products`.

        Raises:
            ValueError: a content is about a product that is not in the catalogue.
        """
        product = products.positions(frame[PRODUCT_ID].to_list())
        if (product < 0).any():
            orphan = frame.row(int(np.argmin(product)), named=True)
            raise ValueError(f"content {orphan[CONTENT_ID]} is about product {orphan[PRODUCT_ID]}, which is unknown")
        hashes = zip(_values(frame, "content_hash"), _values(frame, "approved_hash"), strict=True)
        hashed = {"content_hash", "approved_hash"} <= set(frame.columns)
        return cls(
            ids=tuple(frame[CONTENT_ID].to_list()),
            product=product,
            status=_texts(frame["status"].to_list()) if "status" in frame.columns else None,
            hash_matches=np.array([not hashed or (a is not None and a == b) for a, b in hashes], dtype=bool),
            valid_from=_times(frame, "valid_from"),
            valid_to=_times(frame, "valid_to"),
            language=_texts([primary(tag) for tag in _values(frame, "language")]),
        )

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class CustomerFacts:
    """B customers as the rules see them. What is not known is the most restricted value."""

    risk_level: CodeArray
    risk_assessed_at: TimeArray
    age: FloatArray
    """Years that he is known to have reached; NaN where nothing is known of it."""
    segment: tuple[str | None, ...]
    country: tuple[str | None, ...]
    language: tuple[str | None, ...]
    held: Relations
    declined: Relations

    @classmethod
    def unknown(cls, customers: int) -> Self:
        """Customers of whom nothing is known: the most restricted there are."""
        nothing = (None,) * customers
        return cls(
            risk_level=np.zeros(customers, dtype=np.int8),
            risk_assessed_at=np.full(customers, NOT_A_TIME),
            age=np.full(customers, np.nan),
            segment=nothing,
            country=nothing,
            language=nothing,
            held=Relations.empty(customers),
            declined=Relations.empty(customers),
        )

    @classmethod
    def from_frame(cls, customers: pl.DataFrame) -> Self:
        """From one row a customer, in the order of the rows, with nothing held or declined yet."""
        return cls(
            risk_level=_codes(customers, "risk_level", RISK_LEVELS),
            risk_assessed_at=_times(customers, "risk_assessed_at"),
            age=_known_ages(_numbers(customers, "age"), _values(customers, "is_minor")),
            segment=tuple(_values(customers, "segment")),
            country=tuple(_values(customers, "country")),
            language=tuple(_values(customers, "language")),
            held=Relations.empty(len(customers)),
            declined=Relations.empty(len(customers)),
        )

    @classmethod
    def single(cls, row: Mapping[str, Any]) -> Self:
        """As `from_frame` for one customer, without the cost of a frame: the path of a request."""
        level, assessed_at = row.get("risk_level"), row.get("risk_assessed_at")
        code = RISK_LEVELS.index(level) + 1 if level in RISK_LEVELS else NO_RATING
        age = row.get("age")
        return cls(
            risk_level=np.array([code], dtype=np.int8),
            risk_assessed_at=np.array([NOT_A_TIME if assessed_at is None else as_instant(assessed_at)]),
            age=_known_ages(np.array([np.nan if age is None else age]), [row.get("is_minor")]),
            segment=(row.get("segment"),),
            country=(row.get("country"),),
            language=(row.get("language"),),
            held=Relations.empty(1),
            declined=Relations.empty(1),
        )

    def __len__(self) -> int:
        return len(self.risk_level)

    def with_relations(self, held: Relations, declined: Relations) -> Self:
        """The same customers, with what they have and what they declined."""
        return replace(self, held=held, declined=declined)

    def slice(self, start: int, stop: int) -> Self:
        """The customers from `start` up to `stop`."""
        rows = slice(start, stop)
        return type(self)(
            risk_level=self.risk_level[rows],
            risk_assessed_at=self.risk_assessed_at[rows],
            age=self.age[rows],
            segment=self.segment[rows],
            country=self.country[rows],
            language=self.language[rows],
            held=self.held.slice(start, stop),
            declined=self.declined.slice(start, stop),
        )


def relations(rows: pl.DataFrame, customers: Sequence[str], products: ProductFacts) -> Relations:
    """The relations in `rows` (customer_id, product_id, since, until) of the named customers and known products."""
    owner = {customer_id: position for position, customer_id in enumerate(customers)}
    owners = np.array([owner.get(customer_id, -1) for customer_id in rows[CUSTOMER_ID].to_list()], dtype=np.int64)
    items = products.positions(rows[PRODUCT_ID].to_list())
    return Relations.build(len(customers), owners, items, _times(rows, "since"), _times(rows, "until"))


def primary(tag: str | None) -> str:
    """The primary language of a tag, empty where there is none.

    >>> primary("zh-Hans-CN"), primary(None)
    ('zh', '')
    """
    return (tag or "").replace("_", "-").partition("-")[0].lower()


def _texts(values: Sequence[str | None]) -> TextArray:
    return np.array([value or "" for value in values], dtype=np.str_)


def _values(frame: pl.DataFrame, column: str) -> list[Any]:
    return frame[column].to_list() if column in frame.columns else [None] * len(frame)


def _codes(frame: pl.DataFrame, column: str, scale: Sequence[str]) -> CodeArray:
    """1 to 5 by the place in `scale`; a value outside the scale is no rating (validation refuses it earlier)."""
    code = {name: position + 1 for position, name in enumerate(scale)}
    return np.array([code.get(value, NO_RATING) for value in _values(frame, column)], dtype=np.int8)


def _status(frame: pl.DataFrame) -> CodeArray:
    """A catalogue without states is live; one with states has an empty one only by mistake: not live."""
    if "status" not in frame.columns:
        return np.full(len(frame), LIVE, dtype=np.int8)
    code = {name: position for position, name in enumerate(PRODUCT_STATUSES)}
    return np.array([code.get(value, DRAFT) for value in frame["status"].to_list()], dtype=np.int8)


def _numbers(frame: pl.DataFrame, column: str) -> FloatArray:
    return np.array([np.nan if value is None else value for value in _values(frame, column)], dtype=np.float64)


def _times(frame: pl.DataFrame, column: str) -> TimeArray:
    if column not in frame.columns or frame.schema[column] == pl.Null:
        return np.full(len(frame), NOT_A_TIME)
    return frame[column].dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(pl.Datetime("us")).to_numpy()


def _known_ages(age: FloatArray, minor: Sequence[bool | None]) -> FloatArray:
    """The age, where a dataset declares one; else what `is_minor` says of it."""
    adult = np.array([value is False for value in minor], dtype=bool)
    child = np.array([value is True for value in minor], dtype=bool)
    age = np.where(np.isnan(age) & adult, ADULT_AGE, age)
    return np.where(child, np.minimum(age, ADULT_AGE - 1), age)  # a minor of unknown age stays unknown


def _restriction(frame: pl.DataFrame, column: str) -> Restriction | None:
    """None where no product is restricted; an empty list restricts nothing."""
    lists: list[list[str] | None] = _values(frame, column)
    codes: dict[str, int] = {}
    for value in (value for values in lists for value in values or ()):
        codes.setdefault(value, len(codes))
    if not codes:
        return None
    allowed = np.zeros((len(codes) + 1, len(lists)), dtype=bool)
    for position, values in enumerate(lists):
        allowed[[codes[value] for value in values] if values else slice(None), position] = True
    return Restriction(codes, allowed)
